"""Validation on pairs that are kept aside, and the weights that did best on them.

For the *public* only: synthetic pairs, or real ones that the user says are public. A choice made by private pictures is
a use of them, which no statement of a run would cover.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch

from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import write_bytes, write_text
from ethicclip.training.loading import Loader, Recipe
from ethicclip.training.settings import TrainSettings
from ethicclip.training.steps import Trainer

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource

LOG_FILE = "validation.csv"
BEST_FILE = "best.safetensors"
"""In the folder of checkpoints, while the run goes on."""


def check_validation(settings: TrainSettings, source: PairSource, training: Sequence[PairSource]) -> None:
    """Refuse validation pairs that are private or that training sees.

    Raises:
        UsageError: They show real patients and nobody said that they are public, or they are among the training pairs.
        BadInputError: There are fewer than 2.
    """
    if str(source.origin) != "synthetic" and not settings.validation_public:
        raise UsageError(
            f"the validation pairs are of origin {source.origin}: choosing weights by private eyes is a use of them",
            next_step="Validate on synthetic pairs such as phantom:1000,seed=9, or say that these are public with "
            "--set validation_public=true.",
        )
    if source.digest in {other.digest for other in training}:
        raise UsageError(
            "the validation pairs are among the training pairs", next_step="Keep a set aside, or give another seed."
        )
    if len(source) < 2:
        raise BadInputError(f"{len(source)} validation pairs: at least 2 are needed to contrast them")


class InOrder:
    """All pairs once, in their order."""

    def __init__(self, count: int, batch_size: int) -> None:
        self.batch_size = min(batch_size, count)
        self.steps = count // self.batch_size

    def batch(self, step: int) -> list[int]:
        """The pairs of a batch."""
        return list(range(step * self.batch_size, (step + 1) * self.batch_size))

    def epoch(self, step: int) -> int:
        """Captions are the same every time."""
        return 0 * step


class Validation:
    """Validates when it is time, and keeps the best weights.

    Args:
        trainer: Its model is validated as it would be exported.
        source: The pairs.
        recipe: Without augmentation.
        out: The run folder.
        every: Steps between validations.
        first_step: Rows of later steps are cut away.
        workers: Processes that decode.
        cache_bytes: Memory for preprocessed pictures.
    """

    def __init__(
        self,
        trainer: Trainer,
        source: PairSource,
        recipe: Recipe,
        out: Path,
        *,
        every: int,
        first_step: int,
        workers: int = 0,
        cache_bytes: int | None = None,
    ) -> None:
        self._trainer = trainer
        self._order = InOrder(len(source), trainer.settings.batch_size)
        self._loader = Loader([source], recipe, self._order, workers=workers, cache_bytes=cache_bytes)
        self._every = every
        self._log = out / LOG_FILE
        self._best_file = out / "checkpoints" / BEST_FILE
        self.rows = [row for row in read_validation(self._log) if row[0] <= first_step]

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and loss of the best weights so far; the earlier ones where two are equal."""
        return min(self.rows, key=lambda row: (row[1], row[0]), default=None)

    def close(self) -> None:
        """End the decoding processes."""
        self._loader.__exit__(None, None, None)

    def after(self, step: int) -> float | None:
        """Validate after `step` steps when it is time, or it is the last one: the loss; None otherwise.

        Raises:
            StorageError: The disk is full; the best weights before are whole.
        """
        if step % self._every and step != self._trainer.total_steps:
            return None
        with self._trainer.exported():
            losses = [self._trainer.measure(batch) for batch in self._loader.batches(0, self._order.steps)]
            loss = sum(losses) / len(losses)
            before = self.best
            if before is None or loss < before[1]:
                tensors = {
                    name: tensor.detach().cpu().contiguous()
                    for name, tensor in self._trainer.model.model.state_dict().items()
                }
                write_bytes(self._best_file, safetensors.torch.save(tensors, metadata={"step": json.dumps(step)}))
        self.rows.append((step, loss))
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("step", "loss"))
        writer.writerows((number, repr(value)) for number, value in self.rows)
        write_text(self._log, lines.getvalue())
        return loss

    def take_best(self) -> dict[str, Any]:
        """Put the best weights into the model; what is written of the choice.

        Raises:
            BadInputError: The file of the best weights is gone or broken.
        """
        try:
            self._trainer.model.model.load_state_dict(safetensors.torch.load_file(str(self._best_file)))
        except (OSError, safetensors.SafetensorError, RuntimeError) as error:
            raise BadInputError(
                f"the best weights {self._best_file} cannot be read: {error}", next_step="Train again in a new folder."
            ) from None
        step, loss = self.best or (0, 0.0)
        return {
            "kept": "best",
            "step": step,
            "loss": loss,
            "validations": len(self.rows),
            "pairs": self._order.steps * self._order.batch_size,
        }

    def drop(self) -> None:
        """Delete the file of the best weights: they are the model now."""
        self._best_file.unlink(missing_ok=True)


def read_validation(path: Path) -> list[tuple[int, float]]:
    """Step and loss of each validation.

    Raises:
        BadInputError: The file is not a log of ours.
    """
    if not path.is_file():
        return []
    try:
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        return [(int(row["step"]), float(row["loss"])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{path} is not a validation log: {error}", next_step="Start a new run.") from None
