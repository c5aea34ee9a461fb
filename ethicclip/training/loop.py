"""`train`: from pair sets to a run folder that open_clip loads, with a loss curve that survives being killed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import write_json, write_text
from ethicclip.interruption import StopRequest, stop_requests
from ethicclip.progress import SILENT, Progress, Task
from ethicclip.training import runfolder
from ethicclip.training.canaries import with_canaries
from ethicclip.training.card import model_card
from ethicclip.training.dense import supports_dense
from ethicclip.training.loading import Loader, Recipe
from ethicclip.training.logs import LogRow, LossLog, draw_loss, read_log
from ethicclip.training.order import EpochOrder
from ethicclip.training.restricted import restricted_folder
from ethicclip.training.settings import TrainSettings
from ethicclip.training.steps import Trainer

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource

_FINAL_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished run.

    Attributes:
        out: The run folder.
        steps: Steps of the whole schedule.
        resumed_from: The step that this call went on from; 0 when it began at the start.
        final_loss: Mean loss of the last 20 steps (an average of training losses: no score).
        samples_per_s: Pairs a second in this call, data loading included.
        seconds: Duration of this call's steps.
        parameters: Weights of the model.
        run: The contents of run.json.
    """

    out: Path
    steps: int
    resumed_from: int
    final_loss: float
    samples_per_s: float
    seconds: float
    parameters: int
    run: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "out": str(self.out),
            "steps": self.steps,
            "resumed_from": self.resumed_from,
            "final_loss": self.final_loss,
            "samples_per_s": self.samples_per_s,
            "seconds": self.seconds,
            "parameters": self.parameters,
            "run": self.run,
        }

    def lines(self) -> tuple[str, ...]:
        """What a person reads."""
        kept = f", the first {self.resumed_from:,} kept from before" if self.resumed_from else ""
        return (
            f"trained {self.run['model']['name']} ({self.parameters:,} weights) for {self.steps:,} steps{kept}",
            f"loss {self.final_loss:.3f} (mean of the last {_FINAL_ROWS} steps), {self.samples_per_s:.0f} pairs/s",
            f"written to {self.out}; open {self.out / runfolder.FIGURE_FILE} and {self.out / runfolder.CARD_FILE}",
        )


def train(
    settings: TrainSettings,
    sources: Sequence[PairSource],
    out: Path,
    *,
    resume: bool = False,
    workers: int = 0,
    cache_bytes: int | None = None,
    canary_seed: int | None = None,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train a CLIP model on pair sets.

    Args:
        settings: What to train and how; `settings.digest()` with the data's digests is the run's identity.
        sources: Pair sets, used one after the other as one set.
        out: The run folder; new or empty, or with `resume` one that holds this same run unfinished.
        resume: Go on from the last checkpoint; from the start where there is none yet.
        workers: Processes that decode pictures; 0 decodes in this one. Changes no result.
        cache_bytes: Memory for preprocessed pictures, which are then decoded once only; a quarter of the machine's by
            default. Changes no result.
        canary_seed: Of the canaries' coins; None takes them from the operating system.
        progress: Where to report.

    Returns:
        The finished run. On Ctrl-C or SIGTERM a checkpoint is written and `KeyboardInterrupt` is raised.

    Raises:
        BadInputError: No pairs, an unreadable pair, a folder that holds something else, other settings or data on
            resume, or a loss that is not finite.
        StorageError: The disk is full; the last checkpoint is whole, and `resume` goes on from it.
        UsageError: An unknown model, a GPU asked for and absent, or privacy, which `train_private` gives.
    """
    if settings.privacy is not None:
        raise UsageError("these settings ask for differential privacy", next_step="Call train_private with them.")
    count = sum(len(source) for source in sources)
    if count < 2:
        raise BadInputError(
            f"{count} pairs in {len(sources)} pair set(s): contrastive training needs at least 2",
            next_step="Generate more pairs.",
        )
    model = build_model(settings)
    identity = runfolder.identity(settings, sources)
    runfolder.claim(out, identity, resume=resume)
    if settings.canaries:
        sources = with_canaries(settings, sources, restricted_folder(out), seed=canary_seed)
    order = EpochOrder(sum(len(source) for source in sources), settings.batch_size, settings.seed)
    total_steps = settings.epochs * order.steps_per_epoch
    trainer = Trainer(settings, model, total_steps)
    first_step = _restore(trainer, out, progress) if resume else 0
    recipe = recipe_of(settings, model)
    started = time.perf_counter()
    with (
        Loader(sources, recipe, order, workers=workers, cache_bytes=cache_bytes) as loader,
        LossLog(out / runfolder.LOG_FILE, keep_until=first_step) as log,
        progress.task("train", total=total_steps - first_step, unit="step") as task,
        stop_requests() as stop,
    ):
        _run_steps(trainer, loader, log, out, first_step=first_step, task=task, stop=stop)
    seconds = time.perf_counter() - started
    return _finish(identity, trainer, out, order, first_step=first_step, seconds=seconds)


def build_model(settings: TrainSettings) -> ClipModel:
    """The model with its first weights, as the settings ask for it."""
    return clip.create(
        settings.model,
        image_size=settings.image_size,
        seed=settings.seed,
        local_mean=settings.local_mean,
        sigmoid=settings.objective == "siglip",
    )


def recipe_of(settings: TrainSettings, model: ClipModel) -> Recipe:
    """How pairs become examples under these settings."""
    visual: Any = model.model.visual
    return Recipe(
        preprocess=model.preprocess,
        languages=settings.languages,
        prompt_share=settings.prompt_share,
        augment=settings.augment,
        seed=settings.seed,
        # Private pairs are real, and masks of real eyes would be private too.
        dense=settings.dense_weight > 0 and settings.privacy is None and supports_dense(visual),
    )


def _restore(trainer: Trainer, out: Path, progress: Progress) -> int:
    """Load the newest readable checkpoint; the number of steps it has behind it."""
    found = list_checkpoints(out / runfolder.CHECKPOINTS)
    if not found:
        return 0
    checkpoint = read_checkpoint(found[-1])
    restore_training_state(trainer.learned, trainer.optimizer, checkpoint.tensors)
    progress.say(f"going on after step {checkpoint.step:,} of {trainer.total_steps:,}")
    return checkpoint.step


def _run_steps(
    trainer: Trainer, loader: Loader, log: LossLog, out: Path, *, first_step: int, task: Task, stop: StopRequest
) -> None:
    every = trainer.settings.checkpoint_steps
    folder = out / runfolder.CHECKPOINTS
    before = time.perf_counter()
    for batch in loader.batches(first_step, trainer.total_steps):
        if batch.step == 0:
            trainer.begin(batch)
        loss, rate = trainer.step(batch)
        now = time.perf_counter()
        speed = len(batch.captions) / max(1e-9, now - before)
        before = now
        done = batch.step + 1
        log.append(LogRow(step=done, epoch=batch.epoch, loss=loss, learning_rate=rate, samples_per_s=speed))
        task.advance()
        task.note(f"loss {loss:.3f}, {speed:.0f} pairs/s")
        if stop.requested or done % every == 0:
            state = training_state(trainer.learned, trainer.optimizer)
            write_checkpoint(folder, Checkpoint(step=done, scalars={}, tensors=state))
        if stop.requested:
            raise KeyboardInterrupt


def _finish(
    identity: dict[str, Any],
    trainer: Trainer,
    out: Path,
    order: EpochOrder,
    *,
    first_step: int,
    seconds: float,
) -> TrainResult:
    """Write model, figure and card, then mark the run as finished, then drop the checkpoints."""
    model = trainer.model
    model.to("cpu")
    model.model.eval()
    clip.save(model, out)
    rows = read_log(out / runfolder.LOG_FILE)
    draw_loss(rows, out / runfolder.FIGURE_FILE)
    last = [row.loss for row in rows[-_FINAL_ROWS:]]
    steps_done = trainer.total_steps - first_step
    speed = steps_done * order.batch_size / seconds if steps_done else 0.0
    run = {
        **identity,
        **runfolder.environment(trainer.device),
        "model": {"name": trainer.settings.model, "parameters": model.parameter_count(), "embed_dim": model.embed_dim},
        "preprocess": model.preprocess.to_json(),
        "precision": str(trainer.dtype).removeprefix("torch."),
        "batch_size": order.batch_size,
        "learning_rate": trainer.learning_rate,
        "steps": trainer.total_steps,
        "resumed_from": first_step,
        "seconds": round(seconds, 3),
        "samples_per_s": round(speed, 2),
        "peak_memory_bytes": runfolder.peak_memory_bytes(trainer.device),
        "final_loss": math.fsum(last) / len(last),
        "differential_privacy": None,
        "finished": True,
    }
    write_text(out / runfolder.CARD_FILE, model_card(run))
    write_json(out / runfolder.RUN_FILE, run)
    for checkpoint in list_checkpoints(out / runfolder.CHECKPOINTS):
        checkpoint.unlink()
    return TrainResult(
        out=out,
        steps=trainer.total_steps,
        resumed_from=first_step,
        final_loss=run["final_loss"],
        samples_per_s=run["samples_per_s"],
        seconds=run["seconds"],
        parameters=model.parameter_count(),
        run=run,
    )
