"""A cohort: real images, whose they are, and what is known of them; every value a string.

Identifiers stay strings because ``007`` and ``7`` may be two people. The object promises that its files
existed when it was read; it does not promise that they decode, nor that two patient ids are two people
(see `ethicclip.cohorts.near_duplicates`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from ethicclip.errors import BadInputError
from ethicclip.files import sha256_bytes, sha256_file
from ethicclip.imaging import Pixels, read_image, refuse_unreadable
from ethicclip.imaging.containers import read_encoded

SHOWN = 20
"""How many offenders an error lists before it counts the rest."""

_READERS = 4
_ALIAS_PART = re.compile(r"[^/\\\x00-\x1f]+")


@dataclass(frozen=True, kw_only=True, eq=False)
class Cohort:
    """Images of real (or simulated) people, one table row a file.

    Attributes:
        alias: What records call it; a name such as ``odir`` or ``odir/test``, never a full path.
        path: The folder or table it was read from.
        files: Absolute paths, one a row; a picture in an archive has one that leads into it (``0.tar/s1.jpg``).
        patient_ids: One a row, or None when patients cannot be told apart.
        table: Every column as str, missing values as ``""``, index 0..n-1; ``file`` equals `files`.
        notes: What a reader of any result on this cohort has to know, in full sentences.
        simulated: True when the people are simulated; every page that shows a result must say so.
    """

    alias: str
    path: Path
    files: tuple[Path, ...]
    patient_ids: tuple[str, ...] | None
    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    simulated: bool = False

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together.

        Raises:
            BadInputError: Unequal lengths, no file at all, or an alias that is a path.
        """
        check_alias(self.alias)
        if not self.files:
            raise BadInputError(f"the cohort {self.alias} holds no image", next_step="Give at least one file.")
        lengths = {len(self.files), len(self.table)}
        if self.patient_ids is not None:
            lengths.add(len(self.patient_ids))
        if len(lengths) != 1:
            raise BadInputError(
                f"the cohort {self.alias} has files, table and patients of unequal lengths {sorted(lengths)}",
                next_step="Give one table row and one patient a file.",
            )

    def __len__(self) -> int:
        return len(self.files)

    def patients(self) -> tuple[str, ...]:
        """One identifier an image: the patient's, or ``file:ROW`` when patients are unknown.

        ``file:ROW`` tells the rows of *this* cohort apart and means nothing in another one.
        """
        if self.patient_ids is not None:
            return self.patient_ids
        return tuple(f"file:{row}" for row in range(len(self)))

    def column(self, name: str) -> list[str]:
        """The values of one table column.

        Raises:
            BadInputError: There is no such column; the message names those there are.
        """
        if name not in self.table.columns:
            raise missing_column(name, [str(column) for column in self.table.columns], of=self.alias)
        return [str(value) for value in self.table[name]]

    def image(self, i: int, max_side: int | None = None) -> Pixels:
        """Decode image `i` to RGB uint8 of shape (height, width, 3), its longer side at most `max_side` pixels.

        Raises:
            BadInputError: The picture cannot be read.
        """
        return read_image(self.files[i], max_side=max_side)

    def content_hashes(self) -> tuple[str, ...]:
        """The sha256 (hex) of every file's bytes, computed once.

        Raises:
            BadInputError: Files that were there have gone; the message lists them.
        """
        return self._content_hashes

    @cached_property
    def _content_hashes(self) -> tuple[str, ...]:
        with ThreadPoolExecutor(_READERS) as pool:
            found = list(pool.map(_hash_or_problem, self.files))
        refuse_unreadable([problem for _, problem in found if problem], of=len(found), what=self.alias)
        return tuple(digest for digest, _ in found)

    def subset(self, rows: Sequence[int]) -> Cohort:
        """The cohort of these rows, in this order; alias, notes and the simulated flag stay.

        Raises:
            BadInputError: No row, a row twice, or one that does not exist.
        """
        chosen = [int(row) for row in rows]
        if len(set(chosen)) != len(chosen):
            raise BadInputError(f"a subset of {self.alias} names a row twice", next_step="Name each row once.")
        if wrong := [row for row in chosen if not 0 <= row < len(self)]:
            raise BadInputError(
                f"a subset of {self.alias} names row {wrong[0]}", next_step=f"Rows are 0 to {len(self) - 1}."
            )
        part = replace(
            self,
            files=tuple(self.files[row] for row in chosen),
            patient_ids=None if self.patient_ids is None else tuple(self.patient_ids[row] for row in chosen),
            table=self.table.iloc[chosen].reset_index(drop=True),
        )
        if "_content_hashes" in self.__dict__:
            part.__dict__["_content_hashes"] = tuple(self._content_hashes[row] for row in chosen)
        return part


def check_alias(alias: str) -> None:
    """Refuse an alias that would carry a path into the records.

    Raises:
        BadInputError: An empty, absolute or path-like alias.
    """
    parts = alias.split("/")
    if any(part in ("", ".", "..", "~") or not _ALIAS_PART.fullmatch(part) for part in parts) or len(parts) > 2:
        raise BadInputError(
            f"the cohort alias {alias!r} is not a plain name",
            next_step="Use a name such as odir or odir/test; aliases go into reports, so a path has no place there.",
        )


def missing_column(name: str, available: Sequence[str], *, of: str) -> BadInputError:
    """The error for a column that is not there: what there is, and the closest name."""
    by_lower = {column.lower(): column for column in available}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    hint = f"did you mean {by_lower[close[0]]!r}? " if close else ""
    return BadInputError(
        f"{of} has no column {name!r}; {hint}it has {', '.join(available) or 'no column'}",
        next_step=f"Name the column {name!r}, or name one of those there are where the command lets you.",
    )


def shorten(lines: Sequence[str]) -> list[str]:
    """The first `SHOWN` lines, and how many more there are."""
    shown = list(lines[:SHOWN])
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more")
    return shown


def _hash_or_problem(path: Path) -> tuple[str, str]:
    try:
        return (sha256_file(path) if path.is_file() else sha256_bytes(read_encoded(path))), ""
    except OSError as error:
        return "", f"{path}: {error.strerror}"
    except BadInputError as error:
        return "", error.what
