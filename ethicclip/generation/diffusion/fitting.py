"""`fit-generator --engine diffusion`: phantoms first, then the cohort; saved as a pipeline that stock diffusers loads.

Every step is a function of seed, step and data, so that a run that was cut off ends with the weights of one that was
not. What was computed from patients' pictures (loss, samples, copies) goes to the restricted folder.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ethicclip import __version__
from ethicclip.checkpoints import list_checkpoints
from ethicclip.errors import UsageError
from ethicclip.files import write_bytes, write_json, write_text
from ethicclip.generation.diffusion.folder import (
    CHECKPOINTS,
    MANIFEST,
    RESTRICTED,
    SCHEMA,
    claim,
    finish,
    of_autoencoder,
)
from ethicclip.generation.diffusion.latent import (
    Autoencoder,
    LatentShelf,
    encoded_shelf,
    latent_side,
    open_autoencoder,
)
from ethicclip.generation.diffusion.memory import memory_advice
from ethicclip.generation.diffusion.opening import choose_device
from ethicclip.generation.diffusion.pictures import Shelf, phantom_shelf, shelf_of
from ethicclip.generation.diffusion.private import PrivateFit, terms_of
from ethicclip.generation.diffusion.settings import FitSettings
from ethicclip.generation.diffusion.sheet import sample_sheet
from ethicclip.generation.diffusion.starting import begin, of_start
from ethicclip.generation.diffusion.trainer import Trainer
from ethicclip.generation.diffusion.watching import Watch, Watching
from ethicclip.generation.learning import LearningSet, refuse_empty
from ethicclip.generation.phantom import GENERATOR
from ethicclip.interruption import stop_requests
from ethicclip.pairs import Origin
from ethicclip.privacy import PrivacyStatement
from ethicclip.privacy.statement import FILE as STATEMENT_FILE
from ethicclip.privacy.units import units_of
from ethicclip.processes import Processes, joined
from ethicclip.progress import SILENT, Progress
from ethicclip.provenance import KeyStore

_LOG = "log.csv"
_LOGGED_EVERY = 20


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """A fitted generator.

    Attributes:
        out: Its folder: a diffusers pipeline.
        steps: Steps taken, those on phantoms included.
        resumed_from: Steps of an earlier call that were kept.
        pictures: Pictures it learnt from, after deduplication; not told of a private fit.
        left_out: Pictures that repeated an earlier one.
        parameters: Weights of the network.
        autoencoder: Name and sha256 of the autoencoder in whose space it learnt.
        start: Name, sha256, origin and licence of the generator that it began with.
        stopped_on_leak: Whether a check found copies and the run ended there.
        copy_rates: (step, copies, samples) of each check.
        statement: Of a private run.
        seconds: Wall clock of this call.
    """

    out: Path
    steps: int
    resumed_from: int
    pictures: int | None
    left_out: int
    parameters: int
    autoencoder: dict[str, str] | None
    start: dict[str, str] | None
    stopped_on_leak: bool
    copy_rates: tuple[tuple[int, int, int], ...]
    statement: PrivacyStatement | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "out": str(self.out),
            "engine": "diffusion",
            "steps": self.steps,
            "resumed_from": self.resumed_from,
            "pictures": self.pictures,
            "left_out": self.left_out,
            "parameters": self.parameters,
            "autoencoder": self.autoencoder,
            "start": self.start,
            "stopped_on_leak": self.stopped_on_leak,
            "copies": [{"step": step, "copies": found, "samples": of} for step, found, of in self.copy_rates],
            "privacy": None if self.statement is None else self.statement.to_json(),
            "seconds": round(self.seconds, 3),
        }

    def lines(self) -> tuple[str, ...]:
        """What a person reads."""
        kept = f", the first {self.resumed_from:,} kept from before" if self.resumed_from else ""
        lines = [
            f"a diffusion generator of {self.parameters:,} weights in {self.out}: {self.steps:,} steps{kept}, "
            + ("" if self.pictures is None else f"{self.pictures} pictures ({self.left_out} repeats left out), ")
            + f"{self.seconds:.0f} s"
        ]
        lines += [f"step {step}: {found} of {of} samples flagged as copies" for step, found, of in self.copy_rates]
        if self.stopped_on_leak:
            lines.append("stopped: the last check found copies. Do not release samples of this generator.")
        lines += [] if self.start is None else [of_start(self.start)]
        lines += [] if self.autoencoder is None else [of_autoencoder(self.autoencoder)]
        lines += [] if self.statement is None else list(self.statement.lines())
        lines.append(
            f"draw from it: ethicclip generate --engine diffusion --generator {self.out} --count N --out PAIRS"
        )
        return tuple(lines)


def fit(
    settings: FitSettings,
    learning: LearningSet,
    out: Path,
    *,
    resume: bool = False,
    watch: Watch | None = None,
    budget: Path | None = None,
    keys: KeyStore | None = None,
    progress: Progress = SILENT,
) -> FitResult:
    """Fit a conditional diffusion model; under `torchrun` together with the other processes.

    Several processes share every batch; the first one writes and checks for copies. They end with the weights of one,
    but for the rounding of sums.

    Args:
        settings: The network and its schedule of learning.
        learning: Pictures with what is known of them.
        out: Folder of the generator: new, empty, or an unfinished one with `resume`.
        resume: Go on from the last checkpoint.
        watch: Looks for copies among samples: takes a folder of pictures and a step, gives the number flagged.
        budget: Of a private fit: joint budget of these patients, in which it is reserved.
        keys: Seal account and budget; the machine's own by default.
        progress: Where to report.

    Raises:
        BadInputError: An empty set, pictures that cannot be read, a folder in use, a broken autoencoder or start.
        UsageError: A private fit that is to be watched or has several processes, an epsilon out of reach or over the
            joint budget, a batch that processes cannot share, a size that does not fit the autoencoder, a start of
            another shape or space, or one that learnt real eyes for a private fit.
        IntegrityError: The account of a private fit is gone or was edited, or a start is not as it was written.
        StorageError: Memory or disk ran out.
        KeyboardInterrupt: The run was asked to stop; a checkpoint was written.
    """
    refuse_empty(learning)
    device = choose_device(settings.device)
    with joined(device.type) as processes:
        result = _fit(
            settings,
            learning,
            out,
            device,
            processes,
            resume=resume,
            watch=watch,
            budget=budget,
            keys=keys,
            progress=progress if processes.first else SILENT,
        )
        processes.wait()
    return result


def _fit(
    settings: FitSettings,
    learning: LearningSet,
    out: Path,
    device: torch.device,
    processes: Processes,
    *,
    resume: bool,
    watch: Watch | None,
    budget: Path | None,
    keys: KeyStore | None,
    progress: Progress,
) -> FitResult:
    started = time.monotonic()
    private = settings.privacy is not None
    if private and watch is not None:
        raise UsageError(
            "a check for copies looks at patients outside the account of a private fit",
            next_step="Leave --control out, and audit what is drawn from the finished generator.",
        )
    if private and processes.count > 1:
        raise UsageError(
            "a private fit runs in one process: its coins and its account are one",
            next_step="Start it without torchrun.",
        )
    share = processes.share(settings.batch_size, "pictures")
    start, settings = begin(settings)
    autoencoder = None if settings.autoencoder is None else open_autoencoder(Path(settings.autoencoder), device)
    side = settings.size if autoencoder is None else latent_side(settings, autoencoder)
    if settings.privacy is not None:
        # What cannot be kept is refused before anything is written.
        units = units_of(learning.patient_ids, settings.privacy.unit)
        terms_of(settings, settings.privacy, units=len(units), data="")
    lineage = None if autoencoder is None else autoencoder.lineage()
    if start is not None:
        start.check_space(None if lineage is None else lineage["sha256"])
    began = None if start is None else start.lineage()
    origin = learning.origin if start is None or start.origin is Origin.SYNTHETIC else start.origin
    licence = "; ".join(sorted({learning.licence} | ({start.licence} if start is not None else set())))
    told = None if private else len(learning)
    identity = {
        "schema": SCHEMA,
        "settings": settings.resolved(),
        "data": {"origin": str(origin), "alias": learning.alias, "pictures": told},
        "licence": licence,
        "autoencoder": lineage,
        "start": began,
    }
    restricted = claim(out, identity, resume=resume) if processes.first else out / RESTRICTED
    processes.wait()
    # A picture that goes because another patient's is there would move more than one patient's worth.
    repeats_go = settings.deduplicate and settings.steps > 0 and not private
    kept = learning.without_duplicates(progress=progress) if repeats_go else learning
    trainer = Trainer(settings, device, autoencoder, side, share, processes, start)
    resumed_from = trainer.restore(restricted / CHECKPOINTS)
    before = settings.pretrain_steps
    account = (
        PrivateFit(
            settings,
            learning,
            restricted,
            keys=keys or KeyStore.default(),
            budget=budget,
            autoencoder=autoencoder,
            start=start,
            resumed=max(0, resumed_from - before) if resume else None,
        )
        if private
        else None
    )
    watching = Watching(watch if processes.first else None, settings, kept.known, restricted, since=resumed_from)
    stages = _stages(settings, kept, autoencoder, device, progress)
    log = _Log(restricted / _LOG if processes.first else None, since=resumed_from)
    stopped = False
    with memory_advice(settings.size, fitting=True), stop_requests() as stop, log:
        for label, first, last, shelf in stages:
            if last <= trainer.step:
                continue
            pictures = shelf()
            with progress.task(label, total=last - first, unit="steps") as bar:
                bar.advance(trainer.step - first)
                on_cohort = first >= before
                while trainer.step < last and not stopped:
                    loss = (
                        account.advance(trainer, pictures)
                        if account is not None and on_cohort
                        else trainer.advance(pictures)
                    )
                    if loss is None:  # steps lost to a kill stay paid for
                        break
                    log.note(trainer.step, loss)
                    bar.advance()
                    due = trainer.step == last
                    if processes.first and (trainer.step % settings.sheet_steps == 0 or due):
                        path = restricted / "samples" / f"step_{trainer.step:06d}.png"
                        with trainer.averaged() as network:
                            write_bytes(path, sample_sheet(network, trainer.schedule, autoencoder, settings, device))
                    if on_cohort and (trainer.step % settings.watch_steps == 0 or due):
                        with trainer.averaged() as network:
                            found = watching.look(network, trainer.schedule, autoencoder, device, trainer.step)
                        stopped = processes.total(found, device) > 0 and settings.stop_on_leak
                    # Signals reach the processes at different steps: they stop together.
                    stopping = processes.total(float(stop.requested), device) > 0
                    if processes.first and (stopping or trainer.step % settings.checkpoint_steps == 0 or stopped):
                        trainer.keep(restricted / CHECKPOINTS)
                    if stopping:
                        raise KeyboardInterrupt
            if stopped:
                break
    if processes.first:
        trainer.save(out)
    said: PrivacyStatement | None = None
    if account is not None:
        account.kept = trainer.step - before
        said = account.finish()
    result = FitResult(
        out=out,
        steps=trainer.step,
        resumed_from=resumed_from,
        pictures=None if private else len(kept),
        left_out=len(learning) - len(kept),
        parameters=sum(one.numel() for one in trainer.network.parameters()),
        autoencoder=lineage,
        start=began,
        stopped_on_leak=stopped,
        copy_rates=watching.found,
        statement=said,
        seconds=time.monotonic() - started,
    )
    if not processes.first:
        return result
    if said is not None:
        write_json(out / STATEMENT_FILE, said.to_json())
    document = {
        **identity,
        "conditions": list(_names()),
        "steps": trainer.step,
        "learnt": None if private else {"pictures": len(kept), "left_out": len(learning) - len(kept)},
        "pretraining": {"generator": GENERATOR, "steps": settings.pretrain_steps} if settings.pretrain_steps else None,
        "processes": processes.count,
        "stopped_on_leak": stopped,
        "watched": [{"step": step, "copies": found, "samples": of} for step, found, of in watching.found],
        "differential_privacy": None if said is None else said.to_json(),
        "versions": {"ethicclip": __version__, "torch": str(torch.__version__)},
    }
    write_text(out / "README.md", _card(document))
    finish(out, document)
    for checkpoint in list_checkpoints(restricted / CHECKPOINTS):
        checkpoint.unlink()
    return result


def _stages(
    settings: FitSettings,
    learning: LearningSet,
    autoencoder: Autoencoder | None,
    device: torch.device,
    progress: Progress,
) -> list[tuple[str, int, int, Callable[[], Shelf | LatentShelf]]]:
    """Name, first and last step of each stage, and its pictures when they are wanted."""
    before, size = settings.pretrain_steps, settings.size

    def ready(shelf: Shelf) -> Shelf | LatentShelf:
        if autoencoder is None:
            return shelf
        return encoded_shelf(shelf, autoencoder, device, flip=settings.flip, progress=progress)

    def phantoms() -> Shelf | LatentShelf:
        return ready(phantom_shelf(settings.pretrain_phantoms, size, settings.seed, progress=progress))

    def cohort() -> Shelf | LatentShelf:
        return ready(shelf_of(learning, size, progress=progress))

    return [("on phantoms", 0, before, phantoms), (f"on {learning.alias}", before, before + settings.steps, cohort)]


class _Log:
    """Mean loss of every few steps; rows after the step that a run goes on from are written anew. No path, no file."""

    def __init__(self, path: Path | None, *, since: int) -> None:
        self._path = path
        self._rows: list[tuple[int, float]] = []
        self._open: list[float] = []
        if path is not None and path.is_file():
            rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
            self._rows = [(int(row["step"]), float(row["loss"])) for row in rows if int(row["step"]) <= since]

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *error: object) -> None:
        text = "".join(f"{step},{loss:.6g}\n" for step, loss in self._rows)
        if self._path is not None:
            write_text(self._path, f"step,loss\n{text}")

    def note(self, step: int, loss: float) -> None:
        """One step's loss."""
        self._open.append(loss)
        if len(self._open) == _LOGGED_EVERY:
            self._rows.append((step, sum(self._open) / _LOGGED_EVERY))
            self._open = []


def _names() -> tuple[str, ...]:
    from ethicclip.generation.diffusion.conditions import NAMES  # noqa: PLC0415

    return NAMES


def _card(document: dict[str, Any]) -> str:
    """What the folder is, for whoever opens it."""
    origin = document["data"]["origin"]
    learnt = "pictures" if document["learnt"] is None else f"{document['learnt']['pictures']} pictures"
    said = (
        "It can repeat the pictures it learnt from: audit what is drawn from it before that leaves the house."
        if document["differential_privacy"] is None
        else "Its differential privacy is stated in privacy.json."
    )
    through = "" if document["start"] is None else f" {of_start(document['start'])}"
    through += "" if document["autoencoder"] is None else f" {of_autoencoder(document['autoencoder'])}"
    return (
        "# A diffusion generator of fundus photographs\n\n"
        f"Fitted to {learnt} of origin {origin} by EthicCLIP {__version__}, "
        f"{document['steps']} steps. {said}{through}\n\n"
        "Stock diffusers loads it (`DiffusionPipeline.from_pretrained`); conditions go to the network as "
        f"`class_labels`: the vector of `conditions` in {MANIFEST}, scaled as docs/guide.md says. `restricted/` shows "
        f"patients and stays in the house.\n\nLicence: {document['licence']}\n"
    )
