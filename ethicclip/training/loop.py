"""`train`: from pair sets to a run folder that open_clip loads, with a loss curve that survives being killed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
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
from ethicclip.errors import BadInputError, StorageError, UsageError
from ethicclip.interruption import StopRequest, stop_requests
from ethicclip.processes import Processes, joined
from ethicclip.progress import SILENT, Progress, Task
from ethicclip.training import runfolder
from ethicclip.training.board import FOLDER as BOARD_FOLDER
from ethicclip.training.board import Board
from ethicclip.training.canaries import with_canaries
from ethicclip.training.compiling import check_compiler
from ethicclip.training.cost import EnergyMeter
from ethicclip.training.dense import supports_dense
from ethicclip.training.finishing import TrainResult, finish, result_of
from ethicclip.training.loading import Loader, Recipe, quarter_of_memory
from ethicclip.training.logs import LogRow, LossLog
from ethicclip.training.order import EpochOrder, MixedOrder
from ethicclip.training.pretrained import fill_towers
from ethicclip.training.resolution import check_coarse
from ethicclip.training.restricted import restricted_folder
from ethicclip.training.settings import TrainSettings
from ethicclip.training.sharing import SharedOrder
from ethicclip.training.steps import Trainer, choose_device
from ethicclip.training.validating import Validation, check_validation

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource


def train(
    settings: TrainSettings,
    sources: Sequence[PairSource],
    out: Path,
    *,
    weights: Sequence[float] | None = None,
    validation: PairSource | None = None,
    resume: bool = False,
    workers: int = 0,
    cache_bytes: int | None = None,
    canary_seed: int | None = None,
    tensorboard: bool = False,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train a CLIP model on pair sets; under `torchrun` together with the other processes.

    Args:
        settings: What to train and how; `settings.digest()` with the data's digests is the run's identity.
        sources: Pair sets, used one after the other as one set.
        out: The run folder; new or empty, or with `resume` one that holds this same run unfinished.
        weights: How often each source is drawn from, see `MixedOrder`; None takes every pair once an epoch.
        validation: Public pairs kept aside; the weights that do best on them are kept.
        resume: Go on from the last checkpoint; from the start where there is none yet.
        workers: Processes that decode pictures; 0 decodes in this one. Changes no result.
        cache_bytes: Memory for preprocessed pictures, which are then decoded once only; a quarter of the machine's by
            default. Changes no result.
        canary_seed: Of the canaries' coins; None takes them from the operating system.
        tensorboard: Write the curves for TensorBoard too.
        progress: Where to report.

    Returns:
        The finished run. On Ctrl-C or SIGTERM a checkpoint is written and `KeyboardInterrupt` is raised.

    Raises:
        BadInputError: No pairs, an unreadable pair, a folder that holds something else, other settings or data on
            resume, weights that do not fit, or a loss that is not finite.
        StorageError: The disk is full; the last checkpoint is whole, and `resume` goes on from it.
        UsageError: An unknown model, a GPU asked for and absent, validation pairs that are not public, a batch that the
            processes cannot share, or privacy, which `train_private` gives.
    """
    if settings.privacy is not None:
        raise UsageError("these settings ask for differential privacy", next_step="Call train_private with them.")
    count = sum(len(source) for source in sources)
    if count < 2:
        raise BadInputError(
            f"{count} pairs in {len(sources)} pair set(s): contrastive training needs at least 2",
            next_step="Generate more pairs.",
        )
    check_weights(sources, weights)
    if validation is not None:
        check_validation(settings, validation, sources)
    with joined(choose_device(settings).type) as processes, ExitStack() as stack:
        model = build_model(settings)
        pretrained = fill_towers(settings, model)
        identity = runfolder.identity(settings, sources, weights=weights, validation=validation, pretrained=pretrained)
        if processes.first:
            runfolder.claim(out, identity, resume=resume)
        processes.wait()
        if settings.canaries:
            sources, weights = _beside_canaries(settings, sources, weights, out, canary_seed, processes)
        order = order_of(settings, sources, weights)
        total_steps = settings.epochs * order.steps_per_epoch
        trainer = Trainer(settings, model, total_steps, processes=processes)
        progress = progress if processes.first else SILENT
        first_step = _restore(trainer, out, progress) if resume else 0
        recipe = recipe_of(settings, model)
        room = (quarter_of_memory() if cache_bytes is None else cache_bytes) // processes.count
        validating = None
        if validation is not None and processes.first:
            validating = Validation(
                trainer,
                validation,
                replace(recipe, augment=False, dense=False),
                out,
                every=settings.validate_steps or order.steps_per_epoch,
                first_step=first_step,
                workers=workers,
                cache_bytes=room // 4,
            )
            stack.callback(validating.close)
            room -= room // 4
        energy = EnergyMeter(gpu=processes.local_rank if trainer.device.type == "cuda" else None)
        started = time.perf_counter()
        shared = SharedOrder(order, order.batch_size, processes)
        session = _Session(trainer, processes, out, order.batch_size, validating)
        with (
            Board(out / BOARD_FOLDER if tensorboard and processes.first else None, first_step=first_step) as board,
            Loader(sources, recipe, shared, workers=workers, cache_bytes=room) as loader,
            progress.task("train", total=total_steps - first_step, unit="step") as task,
            stop_requests() as stop,
            ExitStack() as files,
        ):
            log = None
            if processes.first:
                log = files.enter_context(LossLog(out / runfolder.LOG_FILE, keep_until=first_step))
            session.run(loader, log, board, first_step=first_step, task=task, stop=stop)
        if processes.first:
            finish(
                identity,
                trainer,
                out,
                batch_size=order.batch_size,
                first_step=first_step,
                seconds=time.perf_counter() - started,
                energy=energy,
                processes=processes,
                validation=validating,
            )
        processes.wait()
        return result_of(out)


def check_weights(sources: Sequence[PairSource], weights: Sequence[float] | None) -> None:
    """Refuse weights that are not one positive number a source.

    Raises:
        UsageError: See above, or a source with a weight has no pairs.
    """
    if weights is None:
        return
    if len(weights) != len(sources) or not all(weight > 0 for weight in weights):
        raise UsageError(
            f"the weights {list(weights)} are not one positive number for each of {len(sources)} sets",
            next_step="Give every set a weight, or none.",
        )
    if not all(len(source) for source in sources):
        raise UsageError("a set with a weight has no pairs", next_step="Leave it away.")


def order_of(
    settings: TrainSettings, sources: Sequence[PairSource], weights: Sequence[float] | None
) -> EpochOrder | MixedOrder:
    """Which pairs a step takes."""
    counts = [len(source) for source in sources]
    if weights is None:
        return EpochOrder(sum(counts), settings.batch_size, settings.seed)
    return MixedOrder(counts, weights, settings.batch_size, settings.seed)


def build_model(settings: TrainSettings) -> ClipModel:
    """The model with its first weights, able to do what the settings ask of its towers.

    Raises:
        UsageError: An unknown model, towers that cannot, or no compiler: nothing has been written then.
    """
    model = clip.create(
        settings.model,
        image_size=settings.image_size,
        seed=settings.seed,
        local_mean=settings.local_mean,
        sigmoid=settings.objective == "siglip",
    )
    towers: Any = model.model
    check_coarse(settings.coarse_size, model.preprocess.size, towers.visual)
    if settings.compile:
        check_compiler()
    if settings.recompute:
        try:
            towers.set_grad_checkpointing(True)
        except Exception as error:  # noqa: BLE001 - open_clip raises a bare one where timm has none
            raise UsageError(
                f"the model {settings.model!r} cannot recompute activations: {error}", next_step="Set chunk instead."
            ) from None
    return model


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
        dense=settings.dense_weight > 0
        and settings.privacy is None
        and settings.frozen != "image"
        and supports_dense(visual),
    )


def _beside_canaries(
    settings: TrainSettings,
    sources: Sequence[PairSource],
    weights: Sequence[float] | None,
    out: Path,
    seed: int | None,
    processes: Processes,
) -> tuple[list[PairSource], list[float] | None]:
    """The sources with the canaries; with weights, each canary is drawn as often as a pair of the others on average."""
    before = sum(len(source) for source in sources)
    mixed: list[PairSource] = []
    for turn in (True, False):  # the first process tosses, the others find its coins
        if processes.first is turn:
            mixed = with_canaries(settings, sources, restricted_folder(out), seed=seed)
        processes.wait()
    if weights is None:
        return mixed, None
    return mixed, [*weights, sum(weights) * len(mixed[-1]) / before]


def _restore(trainer: Trainer, out: Path, progress: Progress) -> int:
    """Load the newest readable checkpoint; the number of steps it has behind it."""
    found = list_checkpoints(out / runfolder.CHECKPOINTS)
    if not found:
        return 0
    checkpoint = read_checkpoint(found[-1])
    restore_training_state(trainer.learned, trainer.optimizer, checkpoint.tensors)
    if trainer.average is not None:
        trainer.average.restore(checkpoint.tensors)
    progress.say(f"going on after step {checkpoint.step:,} of {trainer.total_steps:,}")
    return checkpoint.step


class _Session:
    """The steps of one call."""

    def __init__(
        self, trainer: Trainer, processes: Processes, out: Path, batch_size: int, validation: Validation | None
    ) -> None:
        self._trainer = trainer
        self._processes = processes
        self._folder = out / runfolder.CHECKPOINTS
        self._batch_size = batch_size
        self._validation = validation

    def run(
        self, loader: Loader, log: LossLog | None, board: Board, *, first_step: int, task: Task, stop: StopRequest
    ) -> None:
        """All steps from `first_step` on, with a checkpoint after the last one."""
        trainer = self._trainer
        before = time.perf_counter()
        try:
            for batch in loader.batches(first_step, trainer.total_steps):
                if batch.step == 0:
                    trainer.begin(batch)
                loss, rate = trainer.step(batch)
                now = time.perf_counter()
                speed = self._batch_size / max(1e-9, now - before)
                before = now
                done = batch.step + 1
                if log is not None:
                    log.append(LogRow(step=done, epoch=batch.epoch, loss=loss, learning_rate=rate, samples_per_s=speed))
                board.add(done, loss=loss, learning_rate=rate, samples_per_s=speed)
                task.advance()
                task.note(f"loss {loss:.3f}, {speed:.0f} pairs/s")
                self._validate(done, board)
                # Signals reach the processes at different steps: they stop together, or would wait for each other.
                stopping = self._processes.total(float(stop.requested), trainer.device) > 0
                if stopping or done % trainer.settings.checkpoint_steps == 0 or done == trainer.total_steps:
                    self._checkpoint(done)
                if stopping:
                    raise KeyboardInterrupt
        except StorageError as error:
            raise self._kept(error) from error

    def _validate(self, done: int, board: Board) -> None:
        loss = None if self._validation is None else self._validation.after(done)
        if loss is not None:
            board.add(done, validation_loss=loss)

    def _checkpoint(self, done: int) -> None:
        if self._processes.first:
            trainer = self._trainer
            state = training_state(trainer.learned, trainer.optimizer)
            if trainer.average is not None:
                state |= trainer.average.tensors()
            write_checkpoint(self._folder, Checkpoint(step=done, scalars={}, tensors=state))

    def _kept(self, error: StorageError) -> StorageError:
        """The error with what is on disk in spite of it."""
        found = list_checkpoints(self._folder)
        kept = f"step {read_checkpoint(found[-1]).step:,}" if found else "the start: no checkpoint was due yet"
        return StorageError(
            error.what,
            details=[*error.details, f"nothing that was written is lost: the run goes on from {kept}"],
            next_step="Free space, then run the same command again with --resume.",
        )
