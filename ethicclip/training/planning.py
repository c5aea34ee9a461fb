"""`plan`: what a training run would take, from a few real steps on the user's own data and machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ethicclip.errors import BadInputError
from ethicclip.training.loading import Batch, Loader
from ethicclip.training.loop import build_model, check_weights, order_of, recipe_of
from ethicclip.training.settings import TrainSettings
from ethicclip.training.steps import Trainer

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource

_MEASURED_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """What a run would take; the times are estimates from `measured_steps` steps.

    Attributes:
        pairs: In all sources.
        steps, batch_size: Of the schedule.
        parameters: Weights of the model.
        samples_per_s: Pairs a second once pictures are cached.
        seconds: Of all steps.
        disk_bytes: Largest size of the run folder: the model and two checkpoints.
        measured_steps: Steps done for the estimate; 0 when the data is too small to tell.
    """

    pairs: int
    steps: int
    batch_size: int
    parameters: int
    samples_per_s: float
    seconds: float
    disk_bytes: int
    measured_steps: int

    def to_json(self) -> dict[str, Any]:
        """What `--dry-run --json` prints."""
        return asdict(self)

    def lines(self) -> tuple[str, ...]:
        """What a person reads."""
        return (
            f"{self.pairs:,} pairs, {self.steps:,} steps of {self.batch_size}, {self.parameters:,} weights",
            f"about {self.seconds / 60:.1f} minutes at {self.samples_per_s:.0f} pairs/s "
            f"(from {self.measured_steps} steps on this machine)",
            f"at most {self.disk_bytes / 1e6:.0f} MB on disk; nothing was written",
        )


def plan(
    settings: TrainSettings, sources: Sequence[PairSource], *, weights: Sequence[float] | None = None
) -> TrainPlan:
    """Do a few steps in memory and say what the whole run would take.

    Raises:
        BadInputError: Fewer than 2 pairs, or a pair that cannot be read.
        UsageError: An unknown model, or a GPU asked for and absent.
    """
    count = sum(len(source) for source in sources)
    if count < 2:
        raise BadInputError(f"{count} pairs: contrastive training needs at least 2", next_step="Generate more pairs.")
    check_weights(sources, weights)
    order = order_of(settings, sources, weights)
    total_steps = settings.epochs * order.steps_per_epoch
    model = build_model(settings)
    trainer = Trainer(settings, model, total_steps)
    measured = min(_MEASURED_STEPS, total_steps)
    with Loader(sources, recipe_of(settings, model), order) as loader:
        batches = list(loader.batches(0, measured))
        decoding = loader.seconds_waited / measured
        stepping = _seconds_a_step(trainer, batches)
    seconds = total_steps * stepping + order.steps_per_epoch * decoding
    weights_bytes = 4 * model.parameter_count()
    kept = (3 if settings.average is None else 4) * weights_bytes
    return TrainPlan(
        pairs=count,
        steps=total_steps,
        batch_size=order.batch_size,
        parameters=model.parameter_count(),
        samples_per_s=round(order.batch_size / stepping, 1),
        seconds=round(seconds, 1),
        disk_bytes=weights_bytes + 3 * kept,  # while the third checkpoint is written, two older ones are there
        measured_steps=measured,
    )


def _seconds_a_step(trainer: Trainer, batches: Sequence[Batch]) -> float:
    """Mean over the schedule: early steps may see smaller pictures than late ones."""
    settings, last = trainer.settings, trainer.total_steps - 1
    parts = [(1.0, last)]
    if settings.coarse_size is not None:
        parts = [(settings.coarse_share, 0), (1 - settings.coarse_share, last)]
    mean = 0.0
    for share, step in parts:
        trainer.step(replace(batches[0], step=step))  # the first step of a size also allocates
        started = time.perf_counter()
        for batch in batches:
            trainer.step(replace(batch, step=step))
        mean += share * (time.perf_counter() - started) / len(batches)
    return mean
