"""The loss curve: one CSV row a step, cut back to the checkpoint at a resume, and drawn at the end."""

from __future__ import annotations

import csv
import io
import itertools
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ethicclip.errors import BadInputError
from ethicclip.files import storage_errors, write_bytes, write_text

COLUMNS = ("step", "epoch", "loss", "learning_rate", "samples_per_s")


@dataclass(frozen=True, kw_only=True)
class LogRow:
    """One step: its number (from 1), epoch (from 0), loss, learning rate and speed."""

    step: int
    epoch: int
    loss: float
    learning_rate: float
    samples_per_s: float

    def line(self) -> str:
        """The CSV line; the loss at full precision, so that curves can be compared to the bit."""
        return f"{self.step},{self.epoch},{self.loss!r},{self.learning_rate:.6g},{self.samples_per_s:.1f}\n"


class LossLog:
    """Appends rows to log.csv, each on disk before the next step.

    Args:
        path: The file.
        keep_until: Rows of later steps are cut away (they will be made again); 0 starts anew.
    """

    def __init__(self, path: Path, *, keep_until: int) -> None:
        self._path = path
        self._keep_until = keep_until
        self._stream: IO[str] | None = None

    def __enter__(self) -> Self:
        kept = [row for row in read_log(self._path) if row.step <= self._keep_until] if self._keep_until else []
        write_text(self._path, ",".join(COLUMNS) + "\n" + "".join(row.line() for row in kept))
        with storage_errors(self._path):
            self._stream = self._path.open("a", encoding="utf-8", newline="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            with storage_errors(self._path):
                self._stream.close()

    def append(self, row: LogRow) -> None:
        """Write one row.

        Raises:
            StorageError: The disk is full.
        """
        if self._stream is not None:
            with storage_errors(self._path):
                self._stream.write(row.line())
                self._stream.flush()


def read_log(path: Path) -> list[LogRow]:
    """All whole rows of a log; a last line cut by a kill is left out.

    Raises:
        BadInputError: The file is not a log of ours.
    """
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    try:
        return [
            LogRow(
                step=int(row["step"]),
                epoch=int(row["epoch"]),
                loss=float(row["loss"]),
                learning_rate=float(row["learning_rate"]),
                samples_per_s=float(row["samples_per_s"]),
            )
            for row in csv.DictReader(io.StringIO(whole))
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{path} is not a training log: {error}", next_step="Start a new run.") from None


def draw_loss(rows: list[LogRow], path: Path) -> None:
    """Draw the loss over steps, raw and smoothed, as SVG; the same rows give the same bytes."""
    steps = np.array([row.step for row in rows])
    losses = np.array([row.loss for row in rows])
    smooth = _smoothed(losses, window=max(1, len(rows) // 40))
    with matplotlib.rc_context({"svg.hashsalt": "ethicclip", "font.size": 10}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(steps, losses, color="#9db4c8", linewidth=0.7, label="each step")
        axes.plot(steps, smooth, color="#1f4e79", linewidth=1.6, label="running mean")
        starts = [row.step for before, row in itertools.pairwise(rows) if row.epoch != before.epoch]
        for start in starts[:: max(1, len(starts) // 30)]:
            axes.axvline(start, color="#e4e4e4", linewidth=0.6, zorder=0)
        axes.set(xlabel="step (grey lines: epochs)", ylabel="contrastive loss")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_bytes(path, drawn.getvalue())


def _smoothed(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], *, window: int) -> list[float]:
    """The mean over the last `window` values, fewer at the start."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return [float(mean) for mean in (total[ends] - total[starts]) / (ends - starts)]
