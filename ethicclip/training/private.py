"""`train` with differential privacy: the account first, then the step; nothing private leaves the restricted folder.

What is released is the weights (of checkpoints too) and the statement. Loss, gradient norms, clipped shares, realised
batch sizes and times are written to `restricted/` only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ethicclip import clip
from ethicclip.checkpoints import (
    Checkpoint,
    list_checkpoints,
    read_checkpoint,
    restore_training_state,
    training_state,
    write_checkpoint,
)
from ethicclip.clip import ClipModel
from ethicclip.clip.shipped import locate
from ethicclip.errors import BadInputError, IntegrityError, UsageError
from ethicclip.files import canonical_json, sha256_bytes, write_json, write_text
from ethicclip.interruption import stop_requests
from ethicclip.privacy import Account, Budget, Mechanism, PrivacyStatement, Terms, noise_for, steps_within
from ethicclip.privacy.mechanisms import SampledGaussian, check_rate, default_delta
from ethicclip.privacy.planning import EpsilonSoFar
from ethicclip.privacy.statement import FILE as STATEMENT_FILE
from ethicclip.privacy.statement import StepsPart, statement
from ethicclip.privacy.units import Entropy, PoissonSampler
from ethicclip.progress import SILENT, Progress
from ethicclip.provenance import KeyStore
from ethicclip.training import runfolder
from ethicclip.training.bank import PromptBank, log_prior, prepare_fresh_towers, public_bank
from ethicclip.training.canaries import with_canaries
from ethicclip.training.card import model_card
from ethicclip.training.frozen import KeptFeatures
from ethicclip.training.loading import Loader
from ethicclip.training.loop import build_model, recipe_of
from ethicclip.training.optimisation import build_optimizer, learning_rate_at
from ethicclip.training.private_data import ChunkOrder, ChunkReader, capped, units_of_sources
from ethicclip.training.private_steps import (
    Contributions,
    GroupedContributions,
    PromptBankContributions,
    private_gradient,
)
from ethicclip.training.restricted import ACCOUNT_FILE, LOG_FILE, PrivateLog, restricted_folder
from ethicclip.training.settings import PrivateSettings, TrainSettings
from ethicclip.training.steps import choose_device
from ethicclip.training.trained_part import choose_parameters, refuse_batch_statistics, set_mode

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource

Observer = Callable[[int, list[torch.Tensor]], None]
"""Sees the step's number and its noised gradient: what a white-box attacker may see."""

_LEARNING_RATE = 1e-3
_UNITS_PUBLIC = "The number of units is treated as public: the sampling rate and, unless given, delta follow from it."


@dataclass(frozen=True, kw_only=True)
class PrivateTrainResult:
    """A finished private run.

    Attributes:
        out: The run folder.
        statement: What may be said of its privacy.
        steps: Steps accounted for.
        resumed_from: Steps that were already accounted for when this call began.
        parameters: Weights of the model.
        run: The contents of run.json.
    """

    out: Path
    statement: PrivacyStatement
    steps: int
    resumed_from: int
    parameters: int
    run: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "out": str(self.out),
            "steps": self.steps,
            "resumed_from": self.resumed_from,
            "parameters": self.parameters,
            "privacy": self.statement.to_json(),
            "run": self.run,
        }

    def lines(self) -> tuple[str, ...]:
        """What a person reads."""
        lost = self.statement.steps.lost_to_interruptions
        return (
            f"trained {self.run['model']['name']} privately for {self.steps:,} steps"
            + (f", {lost} of them lost to interruptions and still paid for" if lost else ""),
            *self.statement.lines(),
            f"written to {self.out}; {STATEMENT_FILE} is the statement, restricted/ stays in the house",
        )


def train_private(
    settings: TrainSettings,
    sources: Sequence[PairSource],
    out: Path,
    *,
    resume: bool = False,
    workers: int = 0,
    cache_bytes: int = 1 << 30,
    canary_seed: int | None = None,
    budget: Path | None = None,
    keys: KeyStore | None = None,
    progress: Progress = SILENT,
    entropy: Entropy = os.urandom,
    observe: Observer | None = None,
    features: KeptFeatures | None = None,
) -> PrivateTrainResult:
    """Train with differential privacy.

    Args:
        settings: With `privacy` set; `batch_size` is the expected number of units a step.
        sources: Pair sets with random access.
        out: As for `train`.
        resume: Go on from the last checkpoint; steps accounted for after it are lost and stay accounted for.
        workers: Processes that decode pictures.
        cache_bytes: Memory for preprocessed pictures.
        canary_seed: Of the canaries' coins; None takes them from the operating system.
        budget: A joint budget that the run is reserved in.
        keys: Seal the account; `KeyStore.default` when None.
        progress: Where to report.
        entropy: Seeds sampling and noise; anything but `os.urandom` is for tests.
        observe: For audits of the implementation.
        features: Shared by runs of a sweep that train a head on the same sources from the same start, without
            augmentation. Changes no result.

    Raises:
        BadInputError: As for `train`, or pairs without patient ids.
        UsageError: An impossible target, q over 1, batch normalisation, or an overspent budget.
        IntegrityError: The account was tampered with, or the accountants disagree.
    """
    private = settings.privacy
    if private is None:
        raise UsageError("these settings ask for no privacy", next_step="Set privacy.epsilon.")
    keys = KeyStore.default() if keys is None else keys
    device = choose_device(settings)
    present = units_of_sources(sources, private.unit)
    model, bank, public_inputs = _public_start(settings, private)
    log_prior(bank, private.class_prior)  # refused before anything is written
    if private.class_prior:
        public_inputs.append(f"a class prior stated by the user as public: {private.class_prior}")
    run = _identity(settings, private, sources, keys)
    terms = _terms(settings, private, units=len(present) + settings.canaries, run=run)
    reserved = terms.event(terms.allowed_steps)
    if budget is not None and not resume:
        Budget(budget, keys).require(private.unit, reserved)
    runfolder.claim(out, run, resume=resume)
    folder = restricted_folder(out)
    sources = with_canaries(settings, sources, folder, seed=canary_seed)
    units = units_of_sources(sources, private.unit)
    model.to(device).model.to(memory_format=torch.channels_last)
    parameters, frozen = choose_parameters(model, private, device)
    optimizer = build_optimizer(model.model, weight_decay=settings.weight_decay)
    found = list_checkpoints(out / runfolder.CHECKPOINTS) if resume else []
    taken = accounted = 0
    if found:
        checkpoint = read_checkpoint(found[-1])
        accounted, taken = checkpoint.step, int(checkpoint.scalars["taken"])
    account = _open_account(folder / ACCOUNT_FILE, terms, keys, resume=resume, at_least=accounted)
    if found:
        restore_training_state(model.model, optimizer, checkpoint.tensors)
    if budget is not None:
        what = f"{model.name}, {private.mechanism}"
        Budget(budget, keys).reserve(account.number, private.purpose, what, reserved, unit=private.unit)
    resumed_from = account.steps
    if resumed_from:
        progress.say(
            f"going on: {account.steps:,} steps are accounted for"
            + (f", {account.steps - taken:,} of them lost and still paid for" if account.steps > taken else "")
        )
    sampler = PoissonSampler(len(units), terms.sample_rate, entropy)
    contributions: Contributions
    if private.mechanism is Mechanism.PROMPT_BANK:
        contributions = PromptBankContributions(
            model,
            bank,
            parameters,
            device,
            prior=private.class_prior,
            head_only=private.part == "head",
            kept=None if settings.augment else features or KeptFeatures(),
        )
    else:
        contributions = GroupedContributions(settings, private, model, parameters, device, sampler)
    noise_std = terms.noise_multiplier * private.mechanism.sensitivity_factor * private.max_grad_norm
    normaliser = float(settings.batch_size if private.mechanism is Mechanism.PROMPT_BANK else private.groups)
    peak = _LEARNING_RATE if settings.learning_rate is None else settings.learning_rate
    so_far = EpsilonSoFar(reserved, terms.delta)
    order = ChunkOrder()
    set_mode(model, private.part)
    with (
        Loader(sources, recipe_of(settings, model), order, workers=workers, cache_bytes=cache_bytes) as loader,
        PrivateLog(folder / LOG_FILE) as log,
        progress.task("train privately", total=account.left, unit="step") as task,
        stop_requests() as stop,
    ):
        read = ChunkReader(loader, order)
        while account.spend_step():
            read.step = account.steps
            drawn = np.random.default_rng(int.from_bytes(entropy(16), "little"))
            chosen = [capped(units[unit], private.max_unit_pairs, drawn) for unit in sampler.draw()]
            gradient, record = private_gradient(
                contributions,
                chosen,
                read,
                parameters,
                max_grad_norm=private.max_grad_norm,
                noise_std=noise_std,
                normaliser=normaliser,
                entropy=entropy,
            )
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(
                    account.steps - 1, total=terms.allowed_steps, peak=peak, warmup=settings.warmup
                )
            for parameter, released in zip(parameters, gradient, strict=True):
                parameter.grad = released.to(parameter.dtype)
            if observe is not None:
                observe(account.steps, gradient)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            taken += 1
            log.append(record.row(account.steps, private.max_grad_norm))
            task.advance()
            task.note(f"epsilon {so_far.after(account.steps):.2f} of {private.epsilon:g} at delta {terms.delta:g}")
            if stop.requested or account.steps % settings.checkpoint_steps == 0:
                state = training_state(model.model, optimizer)
                write_checkpoint(
                    out / runfolder.CHECKPOINTS,
                    Checkpoint(step=account.steps, scalars={"taken": taken}, tensors=state),
                )
            if stop.requested:
                raise KeyboardInterrupt
    if budget is not None:
        Budget(budget, keys).settle(account.number, account.steps)
    said = statement(
        terms,
        steps=StepsPart(
            planned=_planned_steps(settings, terms.sample_rate),
            accounted=account.steps,
            lost_to_interruptions=account.steps - taken,
        ),
        unit=private.unit,
        mechanism=private.mechanism,
        max_grad_norm=private.max_grad_norm,
        normaliser=normaliser,
        origins=[str(source["origin"]) for source in run["data"]],
        rate_configured=private.sample_rate is not None,
        trained=f"{sum(parameter.numel() for parameter in parameters):,} of {model.parameter_count():,} weights",
        frozen=frozen,
        public_inputs=public_inputs,
        tuning=private.tuning,
        canaries=settings.canaries,
        caveats=_caveats(private),
    )
    return _finish(settings, model, out, run, said, account, resumed_from, device)


def _public_start(settings: TrainSettings, private: PrivateSettings) -> tuple[ClipModel, PromptBank, list[str]]:
    """The model before any private pair is read, and what it came from."""
    bank = public_bank(settings.languages)
    phrases = f"a bank of {len(bank.texts)} phrases for {len(bank.classes)} classes (ethicclip.terms)"
    if private.start is not None:
        model = clip.load(locate(Path(private.start)))
        refuse_batch_statistics(model, private.part)
        digest = sha256_bytes(canonical_json(sorted(_weight_digests(model).items())))
        return model, bank, [phrases, f"a start model, weights sha256 {digest}"]
    model = build_model(settings)
    refuse_batch_statistics(model, private.part)
    steps = private.text_steps if private.mechanism is Mechanism.PROMPT_BANK else 0
    prepare_fresh_towers(model, bank, text_steps=steps, seed=settings.seed)
    return model, bank, [phrases, f"fresh weights of seed {settings.seed}, projections centred on patterns and phrases"]


def _weight_digests(model: ClipModel) -> dict[str, str]:
    return {
        name: sha256_bytes(tensor.detach().cpu().contiguous().numpy().tobytes())
        for name, tensor in model.model.state_dict().items()
    }


def _identity(
    settings: TrainSettings, private: PrivateSettings, sources: Sequence[PairSource], keys: KeyStore
) -> dict[str, Any]:
    """As of a plain run, but a hash of the data would tell whoever guesses the data that the guess is right."""
    run = runfolder.identity(settings, sources)
    for entry in run["data"]:
        entry["digest"] = keys.commit("pair-set", str(entry["digest"]).encode())
        if private.sample_rate is not None:
            entry["pairs"] = None
    return run


def _planned_steps(settings: TrainSettings, rate: float) -> int:
    return max(1, round(settings.epochs / rate))


def _terms(settings: TrainSettings, private: PrivateSettings, *, units: int, run: dict[str, Any]) -> Terms:
    """What the run may cost.

    Raises:
        UsageError: q over 1, no delta where the number of units is private, or a target out of reach.
    """
    if private.sample_rate is None:
        if units < 1:
            raise BadInputError("there are no pairs to train on", next_step="Give a pair set that holds some.")
        rate = settings.batch_size / units
        if rate > 1:
            raise UsageError(
                f"a batch of {settings.batch_size} of {units} units is a sampling rate q of {rate:.3g}, over 1",
                next_step=f"Use a batch size of at most {units}.",
            )
    else:
        rate = private.sample_rate
    check_rate(rate)
    delta = private.delta
    if delta is None:
        if private.sample_rate is not None:
            raise UsageError(
                "a configured sample_rate keeps the number of units private, and the default delta would tell it",
                next_step="Give --delta.",
            )
        delta = default_delta(units)
    steps = _planned_steps(settings, rate)
    if private.noise_multiplier is None:
        sigma = noise_for(private.epsilon, delta, sample_rate=rate, steps=steps)
        allowed = steps
    else:
        sigma = private.noise_multiplier
        allowed = steps_within(private.epsilon, delta, noise_multiplier=sigma, sample_rate=rate, most=steps)
        if allowed < 1:
            raise UsageError(
                f"with a noise multiplier of {sigma:g} a single step passes epsilon {private.epsilon:g}",
                next_step="Use more noise, or leave privacy.noise_multiplier out to have it calibrated.",
            )
    SampledGaussian(noise_multiplier=sigma, sample_rate=rate, steps=allowed)
    return Terms(
        run=sha256_bytes(canonical_json([run["settings_sha256"], run["data"]])),
        epsilon=private.epsilon,
        delta=delta,
        noise_multiplier=sigma,
        sample_rate=rate,
        allowed_steps=allowed,
    )


def _open_account(path: Path, terms: Terms, keys: KeyStore, *, resume: bool, at_least: int) -> Account:
    """The account of this run; a run that may have taken steps and has none is stopped."""
    if resume and (path.exists() or at_least):
        return Account.resume(path, terms, keys, at_least=at_least)
    if path.exists():
        raise IntegrityError(f"{path} exists in a new run folder", next_step="Choose another folder.")
    if resume and (path.parent / LOG_FILE).exists():
        raise IntegrityError(
            f"the privacy account {path} is gone, and the run has taken steps",
            next_step="Restore the account; without it the steps already released cannot be accounted for.",
        )
    return Account.begin(path, terms, keys)


def _caveats(private: PrivateSettings) -> list[str]:
    lines = []
    if private.sample_rate is None:
        lines.append(_UNITS_PUBLIC)
    if private.unit.value == "patient":
        lines.append("A patient is what one patient id names; photographs of one person under two ids are two units.")
    else:
        lines.append("The unit is one pair: whoever contributed k pairs has up to k times the epsilon.")
    if private.start is not None:
        lines.append(
            "The start model's own training is outside this account: the statement holds for these patients only if "
            "it never saw them, or is accounted for beside it."
        )
    if private.tuning in ("not stated", "on private data, unaccounted"):
        lines.append("Choosing settings by results on the private data is a release of its own and is not in epsilon.")
    return lines


def _finish(
    settings: TrainSettings,
    model: ClipModel,
    out: Path,
    run: dict[str, Any],
    said: PrivacyStatement,
    account: Account,
    resumed_from: int,
    device: torch.device,
) -> PrivateTrainResult:
    """Write model, statement and card, then mark the run as finished, then drop the checkpoints."""
    model.to("cpu")
    model.model.eval()
    for parameter in model.model.parameters():
        parameter.requires_grad_(True)
    clip.save(model, out)
    write_json(out / STATEMENT_FILE, said.to_json())
    finished = {
        **run,
        **runfolder.environment(device),
        "model": {"name": model.name, "parameters": model.parameter_count(), "embed_dim": model.embed_dim},
        "preprocess": model.preprocess.to_json(),
        "batch_size": settings.batch_size,
        "steps": account.steps,
        "differential_privacy": said.to_json(),
        "finished": True,
    }
    write_text(out / runfolder.CARD_FILE, model_card(finished))
    write_json(out / runfolder.RUN_FILE, finished)
    for checkpoint in list_checkpoints(out / runfolder.CHECKPOINTS):
        checkpoint.unlink()
    return PrivateTrainResult(
        out=out,
        statement=said,
        steps=account.steps,
        resumed_from=resumed_from,
        parameters=model.parameter_count(),
        run=finished,
    )
