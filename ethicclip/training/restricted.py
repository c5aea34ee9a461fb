"""The restricted folder of a run: what was computed from private data outside the account; its owner reads it alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ethicclip.files import storage_errors

FOLDER = "restricted"
ACCOUNT_FILE = "account.json"
CANARIES_FILE = "canaries.json"
LOG_FILE = "log.csv"

COLUMNS = ("accounted_step", "units", "pairs", "loss", "median_norm", "clipped_share", "not_finite")
"""Realised units and pairs of a step, mean loss, and of its contributions the median norm and the share over C."""


def restricted_folder(out: Path) -> Path:
    """`out`/restricted, made with mode 0700 where it is not there yet.

    Raises:
        StorageError: The place refuses writing.
    """
    folder = out / FOLDER
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    return folder


class PrivateLog:
    """Appends one row a step to the restricted log; a resumed run goes on appending.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: IO[str] | None = None

    def __enter__(self) -> Self:
        with storage_errors(self._path):
            fresh = not self._path.exists()
            self._stream = self._path.open("a", encoding="utf-8", newline="")
            if fresh:
                self._stream.write(",".join(COLUMNS) + "\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            with storage_errors(self._path):
                self._stream.close()

    def append(self, row: dict[str, float]) -> None:
        """Write one row, which has a value for each of `COLUMNS`.

        Raises:
            StorageError: The disk is full.
        """
        if self._stream is not None:
            line = io.StringIO()
            csv.DictWriter(line, COLUMNS, lineterminator="\n").writerow(row)
            with storage_errors(self._path):
                self._stream.write(line.getvalue())
                self._stream.flush()
