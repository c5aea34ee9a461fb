"""The end of a run: the model that is kept, its figure, card and record; then the checkpoints go."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip import clip
from ethicclip.checkpoints import list_checkpoints
from ethicclip.files import read_json, write_json, write_text
from ethicclip.processes import Processes
from ethicclip.training import runfolder
from ethicclip.training.card import model_card
from ethicclip.training.cost import EnergyMeter, energy_words
from ethicclip.training.logs import draw_loss, read_log
from ethicclip.training.steps import Trainer
from ethicclip.training.validating import Validation

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
            f"loss {self.final_loss:.3f} (mean of the last {_FINAL_ROWS} steps){self._choice()}",
            self._cost(),
            f"written to {self.out}; open {self.out / runfolder.FIGURE_FILE} and {self.out / runfolder.CARD_FILE}",
        )

    def _choice(self) -> str:
        weights = self.run["weights"]
        if weights["kept"] == "best":
            return f"; kept the weights of step {weights['step']:,}, best of {weights['validations']} validations"
        return "; kept the averaged weights" if weights["kept"] == "average" else ""

    def _cost(self) -> str:
        memory = ", ".join(f"{name} {size / 2**30:.2f} GiB" for name, size in self.run["peak_memory_bytes"].items())
        return (
            f"{self.seconds:.1f} s, {self.samples_per_s:.0f} pairs/s, peak memory {memory}, "
            f"{energy_words(self.run['energy'])}"
        )


def finish(
    identity: dict[str, Any],
    trainer: Trainer,
    out: Path,
    *,
    batch_size: int,
    first_step: int,
    seconds: float,
    energy: EnergyMeter,
    processes: Processes,
    validation: Validation | None,
) -> None:
    """Write model, figure and card, then mark the run as finished, then drop the checkpoints.

    Raises:
        StorageError: The disk is full; the last step's checkpoint is whole, and `--resume` does the rest.
    """
    model = trainer.model
    spent = energy.summary()
    weights: dict[str, Any] = {"kept": "last" if trainer.average is None else "average"}
    if validation is not None:
        weights = validation.take_best()
    with trainer.exported() if validation is None else contextlib.nullcontext():
        model.to("cpu")
        model.model.eval()
        clip.save(model, out)
    rows = read_log(out / runfolder.LOG_FILE)
    draw_loss(rows, out / runfolder.FIGURE_FILE)
    last = [row.loss for row in rows[-_FINAL_ROWS:]]
    steps_done = trainer.total_steps - first_step
    speed = steps_done * batch_size / seconds if steps_done else 0.0
    run = {
        **identity,
        **runfolder.environment(trainer.device),
        "model": {"name": trainer.settings.model, "parameters": model.parameter_count(), "embed_dim": model.embed_dim},
        "preprocess": model.preprocess.to_json(),
        "precision": str(trainer.dtype).removeprefix("torch."),
        "batch_size": batch_size,
        "learning_rate": trainer.learning_rate,
        "steps": trainer.total_steps,
        "resumed_from": first_step,
        "seconds": round(seconds, 3),
        "samples_per_s": round(speed, 2),
        "peak_memory_bytes": runfolder.peak_memory_bytes(trainer.device),
        "energy": spent,
        "processes": processes.count,
        "weights": weights,
        "final_loss": math.fsum(last) / len(last),
        "differential_privacy": None,
        "finished": True,
    }
    write_text(out / runfolder.CARD_FILE, model_card(run))
    write_json(out / runfolder.RUN_FILE, run)
    for checkpoint in list_checkpoints(out / runfolder.CHECKPOINTS):
        checkpoint.unlink()
    if validation is not None:
        validation.drop()


def result_of(out: Path) -> TrainResult:
    """The result of the finished run in a folder."""
    run = read_json(out / runfolder.RUN_FILE)
    return TrainResult(
        out=out,
        steps=run["steps"],
        resumed_from=run["resumed_from"],
        final_loss=run["final_loss"],
        samples_per_s=run["samples_per_s"],
        seconds=run["seconds"],
        parameters=run["model"]["parameters"],
        run=run,
    )
