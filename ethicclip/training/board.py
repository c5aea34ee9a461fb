"""The curves of a run for TensorBoard, beside the CSV; an extra of the package."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ethicclip.errors import UsageError
from ethicclip.files import storage_errors

FOLDER = "tensorboard"


class Board:
    """Writes scalars into `FOLDER`; without a folder it writes nothing.

    Args:
        folder: Where the event files go; None for no TensorBoard.
        first_step: Later steps of an earlier call are taken back.

    Raises:
        UsageError: The package tensorboard is not installed.
    """

    def __init__(self, folder: Path | None, *, first_step: int = 0) -> None:
        self._writer: Any = None
        self._folder = folder
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
        except ImportError:
            raise UsageError(
                "the curves for TensorBoard need the package tensorboard",
                next_step="pip install ethicclip[tensorboard], or leave --tensorboard away: log.csv has the curves.",
            ) from None
        with storage_errors(folder):
            self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None and self._folder is not None:
            with storage_errors(self._folder):
                self._writer.close()

    def add(self, step: int, **values: float) -> None:
        """One point of each curve.

        Raises:
            StorageError: The disk is full.
        """
        if self._writer is not None and self._folder is not None:
            with storage_errors(self._folder):
                for name, value in values.items():
                    self._writer.add_scalar(f"train/{name}", value, step)
