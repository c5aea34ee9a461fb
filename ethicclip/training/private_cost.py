"""What one private step takes on this machine, on pictures of noise: for `privacy plan`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ethicclip.errors import UsageError
from ethicclip.privacy import Mechanism
from ethicclip.privacy.units import PoissonSampler
from ethicclip.training.bank import public_bank
from ethicclip.training.loading import Batch
from ethicclip.training.loop import build_model
from ethicclip.training.private_steps import (
    CHUNK_PAIRS,
    Contributions,
    GroupedContributions,
    PromptBankContributions,
    private_gradient,
)
from ethicclip.training.settings import TrainSettings
from ethicclip.training.steps import choose_device
from ethicclip.training.trained_part import choose_parameters, set_mode

_LABELS = frozenset({"glaucoma"})


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Weights that are trained, and seconds of a step of expected size (from one chunk where it is larger)."""

    trained_weights: int
    seconds: float


def step_cost(settings: TrainSettings) -> StepCost:
    """Measure one step.

    Raises:
        UsageError: No privacy in the settings, an unknown model, or one with batch normalisation.
    """
    private = settings.privacy
    if private is None:
        raise UsageError("these settings ask for no privacy", next_step="Set privacy.epsilon.")
    device = choose_device(settings)
    model = build_model(settings).to(device)
    bank = public_bank(settings.languages)
    parameters, _ = choose_parameters(model, private, device)
    size = model.preprocess.size
    noise = np.random.default_rng(0).integers(0, 256, size=(CHUNK_PAIRS, size, size, 3), dtype=np.uint8)

    def read(chunks: Sequence[Sequence[int]]) -> Iterator[Batch]:
        for chunk in chunks:
            yield Batch(
                step=0,
                epoch=0,
                pixels=noise[: len(chunk)],
                captions=["A fundus photograph of glaucoma."] * len(chunk),
                labels=[_LABELS] * len(chunk),
            )

    grouped = private.mechanism is Mechanism.GROUPED
    # A chunk, or what one group expects, at a time: a step is as many of them as it needs.
    whole = settings.batch_size if not grouped else max(2 * private.groups, settings.batch_size)
    measured = min(whole, CHUNK_PAIRS)
    contributions: Contributions
    if grouped:
        sampler = PoissonSampler(measured, 1.0)
        contributions = GroupedContributions(settings, private, model, parameters, device, sampler)
    else:
        contributions = PromptBankContributions(model, bank, parameters, device, head_only=private.part == "head")
    set_mode(model, private.part)
    seconds = []
    for _ in range(2):  # the first also allocates
        started = time.perf_counter()
        private_gradient(
            contributions,
            [[number] for number in range(measured)],
            read,
            parameters,
            max_grad_norm=private.max_grad_norm,
            noise_std=1.0,
            normaliser=1.0,
        )
        seconds.append(time.perf_counter() - started)
    return StepCost(
        trained_weights=sum(parameter.numel() for parameter in parameters), seconds=seconds[-1] * whole / measured
    )
