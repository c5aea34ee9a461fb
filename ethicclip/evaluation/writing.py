"""Result folders: whole or not at all, and tables that name real files for the owner's eyes only."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip.files import PARTIAL_SUFFIX, atomic_path, storage_errors


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a verb found and wrote.

    Attributes:
        out: The folder.
        document: The content of its JSON file.
        files: Everything written, the JSON file first.
    """

    out: Path
    document: dict[str, Any]
    files: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """The document, and where it lies."""
        return {**self.document, "out": str(self.out)}


@contextmanager
def whole_folder(out: Path, *, last: str) -> Iterator[Path]:
    """Yield a folder beside `out` that becomes `out` when all went well, and vanishes when not.

    Args:
        out: Absent, or an empty folder.
        last: The file that readers look for, put in place after all others.
    """
    place = Path(os.path.abspath(out))  # noqa: PTH100 - lexical, so that "." has a name
    staging = place.with_name(f".{place.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    with storage_errors(out):
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            yield staging
            if place.exists():
                # Someone may stand in this folder, so it stays, and is filled; what readers look for comes last.
                for path in sorted(staging.iterdir(), key=lambda path: (path.name == last, path.name)):
                    path.replace(place / path.name)
            else:
                staging.replace(place)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def files_of(out: Path, *, first: str) -> tuple[Path, ...]:
    """What a finished folder holds, `first` first, without what a killed run left."""
    written = (path for path in out.iterdir() if not path.name.endswith(PARTIAL_SUFFIX))
    return tuple(sorted(written, key=lambda path: (path.name != first, path.name)))


def write_private_table(path: Path, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write CSV that only its owner may read, not even while it is being written: it names real files."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(rows)
    with atomic_path(path) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text.getvalue())
