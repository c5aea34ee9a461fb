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
from torch import Tensor

from ethicclip import __version__
from ethicclip.checkpoints import (
    Checkpoint,
    list_checkpoints,
    read_checkpoint,
    restore_training_state,
    training_state,
    write_checkpoint,
)
from ethicclip.errors import UsageError
from ethicclip.files import write_bytes, write_json, write_text
from ethicclip.generation.diffusion.averaging import Average
from ethicclip.generation.diffusion.folder import CHECKPOINTS, MANIFEST, SCHEMA, claim, finish
from ethicclip.generation.diffusion.memory import memory_advice
from ethicclip.generation.diffusion.network import build_network, build_schedule, denoising_losses
from ethicclip.generation.diffusion.opening import choose_device
from ethicclip.generation.diffusion.pictures import Shelf, draw_step, phantom_shelf, shelf_of
from ethicclip.generation.diffusion.private import PrivateFit, terms_of
from ethicclip.generation.diffusion.settings import FitSettings
from ethicclip.generation.diffusion.sheet import sample_sheet
from ethicclip.generation.diffusion.watching import Watch, Watching
from ethicclip.generation.learning import LearningSet, refuse_empty
from ethicclip.generation.phantom import GENERATOR
from ethicclip.interruption import stop_requests
from ethicclip.privacy import PrivacyStatement
from ethicclip.privacy.statement import FILE as STATEMENT_FILE
from ethicclip.privacy.units import units_of
from ethicclip.progress import SILENT, Progress
from ethicclip.provenance import KeyStore

_LOG = "log.csv"
_LOGGED_EVERY = 20
_LONGEST_GRADIENT = 1.0


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
    """Fit a conditional diffusion model.

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
        BadInputError: An empty set, pictures that cannot be read, a folder in use.
        UsageError: A private fit that is to be watched, an epsilon out of reach, or one over the joint budget.
        IntegrityError: The account of a private fit is gone or was edited.
        StorageError: Memory or disk ran out.
        KeyboardInterrupt: The run was asked to stop; a checkpoint was written.
    """
    started = time.monotonic()
    refuse_empty(learning)
    device = choose_device(settings.device)
    private = settings.privacy is not None
    if private and watch is not None:
        raise UsageError(
            "a check for copies looks at patients outside the account of a private fit",
            next_step="Leave --control out, and audit what is drawn from the finished generator.",
        )
    if settings.privacy is not None:
        # What cannot be kept is refused before anything is written.
        units = units_of(learning.patient_ids, settings.privacy.unit)
        terms_of(settings, settings.privacy, units=len(units), data="")
    told = None if private else len(learning)
    identity = {
        "schema": SCHEMA,
        "settings": settings.resolved(),
        "data": {"origin": str(learning.origin), "alias": learning.alias, "pictures": told},
        "licence": learning.licence,
    }
    restricted = claim(out, identity, resume=resume)
    # A picture that goes because another patient's is there would move more than one patient's worth.
    repeats_go = settings.deduplicate and settings.steps > 0 and not private
    kept = learning.without_duplicates(progress=progress) if repeats_go else learning
    trainer = _Trainer(settings, device)
    resumed_from = trainer.restore(restricted / CHECKPOINTS)
    before = settings.pretrain_steps
    account = (
        PrivateFit(
            settings,
            learning,
            restricted,
            keys=keys or KeyStore.default(),
            budget=budget,
            resumed=max(0, resumed_from - before) if resume else None,
        )
        if private
        else None
    )
    watching = Watching(watch, settings, kept.known, restricted, since=resumed_from)
    stages = _stages(settings, kept, progress)
    log = _Log(restricted / _LOG, since=resumed_from)
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
                    if trainer.step % settings.sheet_steps == 0 or due:
                        path = restricted / "samples" / f"step_{trainer.step:06d}.png"
                        with trainer.averaged() as network:
                            write_bytes(path, sample_sheet(network, trainer.schedule, settings, device))
                    if on_cohort and (trainer.step % settings.watch_steps == 0 or due):
                        with trainer.averaged() as network:
                            found = watching.look(network, trainer.schedule, device, trainer.step)
                        stopped = bool(found) and settings.stop_on_leak
                    if stop.requested or trainer.step % settings.checkpoint_steps == 0 or stopped:
                        trainer.keep(restricted / CHECKPOINTS)
                    if stop.requested:
                        raise KeyboardInterrupt
            if stopped:
                break
    trainer.save(out)
    said: PrivacyStatement | None = None
    if account is not None:
        account.kept = trainer.step - before
        said = account.finish()
        write_json(out / STATEMENT_FILE, said.to_json())
    document = {
        **identity,
        "conditions": list(_names()),
        "steps": trainer.step,
        "learnt": None if private else {"pictures": len(kept), "left_out": len(learning) - len(kept)},
        "pretraining": {"generator": GENERATOR, "steps": settings.pretrain_steps} if settings.pretrain_steps else None,
        "stopped_on_leak": stopped,
        "watched": [{"step": step, "copies": found, "samples": of} for step, found, of in watching.found],
        "differential_privacy": None if said is None else said.to_json(),
        "versions": {"ethicclip": __version__, "torch": str(torch.__version__)},
    }
    write_text(out / "README.md", _card(document, learning))
    finish(out, document)
    for checkpoint in list_checkpoints(restricted / CHECKPOINTS):
        checkpoint.unlink()
    return FitResult(
        out=out,
        steps=trainer.step,
        resumed_from=resumed_from,
        pictures=None if private else len(kept),
        left_out=len(learning) - len(kept),
        parameters=sum(one.numel() for one in trainer.network.parameters()),
        stopped_on_leak=stopped,
        copy_rates=watching.found,
        statement=said,
        seconds=time.monotonic() - started,
    )


def _stages(
    settings: FitSettings, learning: LearningSet, progress: Progress
) -> list[tuple[str, int, int, Callable[[], Shelf]]]:
    """Name, first and last step of each stage, and its pictures when they are wanted."""
    before, size = settings.pretrain_steps, settings.size
    phantoms = settings.pretrain_phantoms
    return [
        ("on phantoms", 0, before, lambda: phantom_shelf(phantoms, size, settings.seed, progress=progress)),
        (
            f"on {learning.alias}",
            before,
            before + settings.steps,
            lambda: shelf_of(learning, size, progress=progress),
        ),
    ]


class _Trainer:
    """Network, optimizer, average and step counter."""

    def __init__(self, settings: FitSettings, device: torch.device) -> None:
        half = settings.precision == "bf16" or (
            settings.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
        )
        self._settings = settings
        self._precision = torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)
        self.device = device
        self.schedule = build_schedule()
        self.network: Any = build_network(settings, settings.seed).to(device, memory_format=torch.channels_last)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=1e-4, betas=(0.9, 0.99)
        )
        self._average = Average(self.network, settings.ema_decay)
        self.step = 0

    def advance(self, shelf: Shelf) -> float:
        """One step; its loss."""
        settings, device = self._settings, self.device
        draw = draw_step(
            settings.seed,
            self.step,
            pictures=len(shelf.known),
            batch=settings.batch_size,
            times=self.schedule.config.num_train_timesteps,
            flip=settings.flip,
            drop=settings.drop,
        )
        pictures, conditions = shelf.tensors(draw.rows, draw.flips)
        conditions[torch.tensor(draw.dropped)] = 0.0
        generator = torch.Generator().manual_seed(draw.noise_seed)
        noise = torch.randn(pictures.shape, generator=generator)
        self._warm_up()
        self.network.train()
        with self._precision:
            losses = denoising_losses(
                self.network,
                self.schedule,
                pictures.to(device, memory_format=torch.channels_last),
                conditions.to(device),
                torch.tensor(draw.times, device=device),
                noise.to(device, memory_format=torch.channels_last),
                settings.snr_gamma,
            )
            loss = losses.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LONGEST_GRADIENT)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average.update(self.step)
        return float(loss.detach())

    def apply(self, gradients: list[Tensor]) -> None:
        """One step of the optimizer with gradients from elsewhere, one a parameter that requires one."""
        self._warm_up()
        trained = [one for one in self.network.parameters() if one.requires_grad]
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = gradient.to(parameter.dtype)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average.update(self.step)

    def _warm_up(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * min(1.0, (self.step + 1) / self._settings.warmup)

    def averaged(self) -> Any:
        """The network with its averaged weights while the block runs."""
        return self._average.applied()

    def keep(self, folder: Path) -> None:
        """Write a checkpoint."""
        tensors: dict[str, Tensor] = training_state(self.network, self._optimizer)
        tensors |= {f"average/{name}": value for name, value in self._average.state().items()}
        write_checkpoint(folder, Checkpoint(step=self.step, scalars={}, tensors=tensors))

    def restore(self, folder: Path) -> int:
        """Go on from the last checkpoint, if there is one; the step it was written at."""
        found = list_checkpoints(folder)
        if not found:
            return 0
        checkpoint = read_checkpoint(found[-1])
        average = {
            name.removeprefix("average/"): value
            for name, value in checkpoint.tensors.items()
            if name.startswith("average/")
        }
        rest = {name: value for name, value in checkpoint.tensors.items() if not name.startswith("average/")}
        restore_training_state(self.network, self._optimizer, rest)
        self._average.load(average)
        self.step = checkpoint.step
        return self.step

    def save(self, out: Path) -> None:
        """Write the pipeline with averaged weights."""
        from diffusers import DDPMPipeline  # noqa: PLC0415

        with self.averaged() as network:
            DDPMPipeline(unet=network, scheduler=self.schedule).save_pretrained(out, safe_serialization=True)


class _Log:
    """Mean loss of every few steps; rows after the step that a run goes on from are written anew."""

    def __init__(self, path: Path, *, since: int) -> None:
        self._path = path
        self._rows: list[tuple[int, float]] = []
        self._open: list[float] = []
        if path.is_file():
            rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
            self._rows = [(int(row["step"]), float(row["loss"])) for row in rows if int(row["step"]) <= since]

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *error: object) -> None:
        text = "".join(f"{step},{loss:.6g}\n" for step, loss in self._rows)
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


def _card(document: dict[str, Any], learning: LearningSet) -> str:
    """What the folder is, for whoever opens it."""
    origin = document["data"]["origin"]
    learnt = "pictures" if document["learnt"] is None else f"{document['learnt']['pictures']} pictures"
    said = (
        "It can repeat the pictures it learnt from: audit what is drawn from it before that leaves the house."
        if document["differential_privacy"] is None
        else "Its differential privacy is stated in privacy.json."
    )
    return (
        "# A diffusion generator of fundus photographs\n\n"
        f"Fitted to {learnt} of origin {origin} by EthicCLIP {__version__}, "
        f"{document['steps']} steps. {said}\n\n"
        "Stock diffusers loads it (`DiffusionPipeline.from_pretrained`); conditions go to the network as "
        f"`class_labels`: the vector of `conditions` in {MANIFEST}, scaled as docs/guide.md says. `restricted/` shows "
        f"patients and stays in the house.\n\nLicence: {learning.licence}\n"
    )
