"""Fitting with differential privacy: DP-SGD on the denoising loss, a patient's whole gradient clipped at once.

The loss of a picture depends on no other picture, so that a unit adds one vector to a step's sum: the mean gradient of
a few draws of its pictures, times and noises (Dockhorn et al. 2022, 2210.09929, "noise multiplicity"), clipped to C.
Units are Poisson-sampled; the account is written before the step; what is measured stays in the restricted folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ethicclip.errors import UsageError
from ethicclip.files import canonical_json, sha256_bytes
from ethicclip.generation.diffusion.latent import Autoencoder, LatentShelf
from ethicclip.generation.diffusion.network import denoising_losses
from ethicclip.generation.diffusion.pictures import Shelf
from ethicclip.generation.diffusion.settings import FitPrivacy, FitSettings
from ethicclip.generation.diffusion.starting import Start, of_start
from ethicclip.generation.learning import LearningSet
from ethicclip.generation.phantom import GENERATOR
from ethicclip.privacy import Account, Budget, GeneratorMechanism, PrivacyStatement, Purpose, Terms, Unit, noise_for
from ethicclip.privacy.clipping import ClippedSum
from ethicclip.privacy.mechanisms import check_rate, default_delta
from ethicclip.privacy.per_unit import PerUnitGradients, clippable_parameters
from ethicclip.privacy.statement import PICTURES, StepsPart, statement
from ethicclip.privacy.units import Entropy, PoissonSampler, units_of
from ethicclip.provenance import KeyStore

ACCOUNT_FILE = "account.json"
_CHUNK_ROWS = 64
_ATTENTION = re.compile(r"\battentions\.|\btime_emb_proj\.")
"""Weights that `trained=attention` trains; conditions reach a UNet through the projections of its time embedding."""


class Stepper(Protocol):
    """What a private step needs of the trainer: the network, its schedule, and a way to apply a gradient."""

    network: Any
    schedule: Any
    device: torch.device

    def apply(self, gradients: list[Tensor]) -> None:
        """Let the optimizer take a step with these gradients, one a trained parameter."""


@dataclass(frozen=True, kw_only=True)
class _Draw:
    """One unit's part in a step; `multiplicity` entries each."""

    rows: list[int]
    flips: list[bool]
    dropped: npt.NDArray[np.bool_]
    times: npt.NDArray[np.int64]
    noise: npt.NDArray[np.float32]


class PrivateFit:
    """The private stage of a fit.

    Args:
        settings: With `privacy` set; `batch_size` is the expected number of units a step.
        learning: The pictures, with their patients.
        restricted: The run's restricted folder.
        keys: Seal account and budget.
        budget: Joint budget in which the run is reserved.
        autoencoder: In whose space the network learns; it is taken as public.
        start: The generator that the fit began with; it is taken as public.
        resumed: Private steps that the last checkpoint knows of; None for a new run.
        entropy: Where coins and noise come from.

    Raises:
        UsageError: An epsilon out of reach or over the joint budget, or a sampling rate over 1.
        BadInputError: Patients are protected and a picture has none.
        IntegrityError: The account of a resumed run is gone or was edited.
    """

    def __init__(
        self,
        settings: FitSettings,
        learning: LearningSet,
        restricted: Path,
        *,
        keys: KeyStore,
        budget: Path | None,
        resumed: int | None,
        autoencoder: Autoencoder | None = None,
        start: Start | None = None,
        entropy: Entropy = os.urandom,
    ) -> None:
        private = settings.privacy
        if private is None:
            raise UsageError("these settings ask for no privacy", next_step="Set privacy.epsilon.")
        self._settings, self._private, self._origin = settings, private, str(learning.origin)
        self._units = units_of(learning.patient_ids, private.unit)
        committed = keys.commit("pair-set", learning.digest.encode())
        self.terms = terms_of(settings, private, units=len(self._units), data=committed)
        path = restricted / ACCOUNT_FILE
        self.account = (
            Account.resume(path, self.terms, keys, at_least=resumed)
            if resumed is not None and (path.exists() or resumed)
            else Account.begin(path, self.terms, keys)
        )
        self._keys, self._budget, self._autoencoder, self._start = keys, budget, autoencoder, start
        if budget is not None:
            event = self.terms.event(self.terms.allowed_steps)
            what = f"diffusion on {learning.alias}"
            Budget(budget, keys).reserve(self.account.number, Purpose.GENERATOR, what, event, unit=private.unit)
        self._sampler = PoissonSampler(len(self._units), self.terms.sample_rate, entropy)
        self._entropy = entropy
        self._parameters: list[torch.nn.Parameter] = []
        self._frozen: list[str] = []
        self._taken = 0

    def advance(self, stepper: Stepper, shelf: Shelf | LatentShelf) -> float | None:
        """One accounted step; its mean loss (private), or None when the budget holds no further step."""
        if not self._parameters:
            self._choose(stepper)
        if not self.account.spend_step():
            return None
        private, settings = self._private, self._settings
        # A seed nobody keeps, and a stream of each unit's own: what one unit draws does not depend on the others.
        secret = int.from_bytes(self._entropy(16), "little")
        chosen = self._sampler.draw()
        total = ClippedSum(self._parameters, private.max_grad_norm)
        engine = PerUnitGradients(self._parameters)
        each = max(1, _CHUNK_ROWS // private.multiplicity)
        seen = 0.0
        stepper.network.train()
        for start in range(0, len(chosen), each):
            draws = [self._draw(int(unit), secret, stepper) for unit in chosen[start : start + each]]
            seen += self._add(stepper, shelf, draws, engine, total)
        noise_std = self.terms.noise_multiplier * private.max_grad_norm
        released = total.release(noise_std, self._entropy)
        stepper.apply([one / settings.batch_size for one in released])
        self._taken += 1
        return seen / max(1, len(chosen))

    def _draw(self, unit: int, secret: int, stepper: Stepper) -> _Draw:
        """What one unit contributes in this step: pictures of its own, times, noises."""
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([secret, unit])))
        count, shape = self._private.multiplicity, _shape(stepper.network)
        return _Draw(
            rows=[int(row) for row in random.choice(np.asarray(self._units[unit]), count, replace=True)],
            flips=[bool(one) and self._settings.flip for one in random.random(count) < 0.5],
            dropped=random.random(count) < self._settings.drop,
            times=random.integers(0, stepper.schedule.config.num_train_timesteps, count),
            noise=random.standard_normal((count, *shape), dtype=np.float32),
        )

    def _add(
        self,
        stepper: Stepper,
        shelf: Shelf | LatentShelf,
        draws: Sequence[_Draw],
        engine: PerUnitGradients,
        total: ClippedSum,
    ) -> float:
        """Add the clipped gradient of each unit's draw; the sum of the units' losses."""
        device = stepper.device
        rows = [row for draw in draws for row in draw.rows]
        pictures, conditions = shelf.tensors(rows, [flip for draw in draws for flip in draw.flips])
        conditions[torch.from_numpy(np.concatenate([draw.dropped for draw in draws]))] = 0.0
        times = torch.from_numpy(np.concatenate([draw.times for draw in draws]))
        noise = torch.from_numpy(np.concatenate([draw.noise for draw in draws]))
        found: list[Tensor] = []

        def losses() -> Tensor:
            by_row = denoising_losses(
                stepper.network,
                stepper.schedule,
                pictures.to(device),
                conditions.to(device),
                times.to(device),
                noise.to(device),
                self._settings.snr_gamma,
            )
            found.append(by_row.detach())
            return by_row / self._private.multiplicity

        engine.add(losses, units=len(draws), into=total)
        return float(found[0].sum()) / self._private.multiplicity

    def _choose(self, stepper: Stepper) -> None:
        """Train what was asked for and can be clipped by unit, freeze the rest."""
        named = list(stepper.network.named_parameters())
        random = torch.Generator().manual_seed(0)
        probe = torch.randn(1, *_shape(stepper.network), generator=random).to(stepper.device)
        labels = torch.zeros(1, 4 * self._settings.channels, device=stepper.device)
        time = torch.tensor([500], device=stepper.device)

        def run() -> Tensor:
            result: Tensor = stepper.network(probe, time, class_labels=labels).sample
            return result

        able = clippable_parameters([weight for _, weight in named], run)
        for (name, weight), possible in zip(named, able, strict=True):
            learns = possible and (self._private.trained == "all" or bool(_ATTENTION.search(name)))
            weight.requires_grad_(learns)
            if learns:
                self._parameters.append(weight)
            else:
                self._frozen.append(name)

    def finish(self) -> PrivacyStatement:
        """Settle the joint budget; what may be said of the run's privacy."""
        if self._budget is not None:
            Budget(self._budget, self._keys).settle(self.account.number, self.account.steps)
        private = self._private
        trained, start = sum(one.numel() for one in self._parameters), self._start
        public = [f"fresh weights of seed {self._settings.seed}" if start is None else of_start(start.lineage())]
        if self._settings.pretrain_steps:
            steps = self._settings.pretrain_steps
            public.append(f"phantoms of {GENERATOR}, {steps} steps before the first patient was seen")
        if self._autoencoder is not None:
            public.append(f"the autoencoder {self._autoencoder.name} (sha256 {self._autoencoder.digest})")
        return statement(
            self.terms,
            steps=StepsPart(
                planned=self._settings.steps,
                accounted=self.account.steps,
                lost_to_interruptions=self.account.steps - self.kept,
            ),
            unit=private.unit,
            mechanism=GeneratorMechanism.DENOISING,
            max_grad_norm=private.max_grad_norm,
            normaliser=float(self._settings.batch_size),
            origins=[self._origin],
            rate_configured=private.sample_rate is not None,
            trained=f"{trained:,} weights of the UNet" + (", attention" if private.trained == "attention" else ""),
            frozen=self._frozen,
            public_inputs=public,
            tuning=private.tuning,
            canaries=0,
            caveats=_caveats(private, latent=self._autoencoder is not None, started=start is not None),
            data=PICTURES,
        )

    kept: int = 0
    """Private steps whose result is in the weights; the fit sets it before `finish`."""


def terms_of(settings: FitSettings, private: FitPrivacy, *, units: int, data: str) -> Terms:
    """What the private stage may cost.

    Raises:
        UsageError: q over 1, no delta where the number of units is private, or an epsilon out of reach.
    """
    if private.sample_rate is not None and private.delta is None:
        raise UsageError(
            "a configured sample_rate keeps the number of units private, and the default delta would tell it",
            next_step="Give --delta.",
        )
    rate = check_rate(private.sample_rate or settings.batch_size / max(1, units))
    delta = default_delta(units) if private.delta is None else private.delta
    sigma = noise_for(private.epsilon, delta, sample_rate=rate, steps=settings.steps)
    return Terms(
        run=sha256_bytes(canonical_json([settings.digest(), data])),
        epsilon=private.epsilon,
        delta=delta,
        noise_multiplier=sigma,
        sample_rate=rate,
        allowed_steps=settings.steps,
    )


def _shape(network: Any) -> tuple[int, int, int]:
    """Channels and sides of what the network denoises."""
    side = int(network.config.sample_size)
    return int(network.config.in_channels), side, side


def _caveats(private: FitPrivacy, *, latent: bool, started: bool) -> list[str]:
    lines = []
    if started:
        lines.append(
            "The generator that the fit began with is taken as public. If its pictures were drawn by a generator that "
            "had learnt these patients, it carries them, and this epsilon does not cover that."
        )
    if latent:
        lines.append(
            "The autoencoder is taken as public: it was brought, and is part of the generator. If it learnt pictures "
            "of these patients, it carries them, and this epsilon does not cover that."
        )
    if private.sample_rate is None:
        lines.append(
            "The number of units is treated as public: the sampling rate and, unless given, delta follow from it."
        )
    if private.unit is Unit.PATIENT:
        lines.append("A patient is what one patient id names; photographs of one person under two ids are two units.")
    lines.append(
        "Whatever is drawn from the generator is post-processing and costs nothing more. A filter that looks at "
        "patients again, such as `generate --guard`, is not: it ends this epsilon."
    )
    return lines
