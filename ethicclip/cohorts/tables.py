"""Reads a CSV, TSV or Parquet table into columns of strings, losing nothing that tells two people apart.

Handled: a byte order mark, CRLF, comma, semicolon or tab, Excel's ``sep=`` line, quoted line breaks. Cells
lose surrounding blanks. Refused by name: another encoding, rows longer or shorter than the heading, a column twice.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ethicclip.cohorts.cohort import shorten
from ethicclip.errors import BadInputError

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})

Columns = dict[str, list[str]]

_SEPARATORS = (",", ";", "\t")


def read_table(path: Path) -> Columns:
    """Every column of a table as strings, missing values as ``""``.

    Raises:
        BadInputError: The file cannot be read, is no such table, is ragged, or repeats a column.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(
            f"the table {path} cannot be read: {error.strerror}", next_step="Check the path and its permissions."
        ) from None
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, data)
    return _read_csv(path, data)


def _read_csv(path: Path, data: bytes) -> Columns:
    text = _decode(path, data)
    separator: str | None = "\t" if path.suffix.lower() == ".tsv" else None
    first, _, rest = text.partition("\n")
    first_line = 1
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        separator, text, first_line = first.strip()[4], rest, 2
    separator = separator or _guess_separator(text)
    heading: list[str] | None = None
    rows: list[list[str]] = []
    ragged: list[str] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for raw in reader:
            cells = [cell.strip() for cell in raw]
            if not any(cells):
                continue
            if heading is None:
                heading = cells
            elif len(cells) != len(heading):
                ragged.append(f"line {reader.line_num + first_line - 1}: {len(cells)} cells, not {len(heading)}")
            else:
                rows.append(cells)
    except csv.Error as error:
        raise BadInputError(
            f"the table {path} is not CSV: line {reader.line_num + first_line - 1}: {error}",
            next_step="Mend the quoting of that line.",
        ) from None
    if heading is None:
        raise BadInputError(f"the table {path} is empty", next_step="Write a heading line and one row a file.")
    if ragged:
        raise BadInputError(
            f"{len(ragged)} rows of the table {path} do not have the {len(heading)} cells of its heading",
            details=shorten(ragged),
            next_step="Quote cells that hold the separator, and mend these rows.",
        )
    _check_heading(path, heading)
    return {name: [row[i] for row in rows] for i, name in enumerate(heading)}


def _decode(path: Path, data: bytes) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"the table {path} is not UTF-8 text (byte {error.start})",
            next_step="Save it as CSV UTF-8; guessing the encoding could change names.",
        ) from None
    if "\x00" in text:
        raise BadInputError(
            f"the table {path} holds NUL characters, so it is not a CSV text",
            next_step="Save it as CSV UTF-8 or as Parquet.",
        )
    return text


def _guess_separator(text: str) -> str:
    # The heading alone decides: cells may hold commas (keywords, decimal commas), headings hardly do.
    line = next((line for line in text.splitlines() if line.strip()), "")
    return max(_SEPARATORS, key=lambda separator: (line.count(separator), separator == ","))


def _check_heading(path: Path, heading: Sequence[str]) -> None:
    if any(not name for name in heading):
        raise BadInputError(
            f"column {list(heading).index('') + 1} of the table {path} has no name",
            next_step="Name every column in the heading line, or remove it.",
        )
    twice = sorted({name for name in heading if list(heading).count(name) > 1})
    if twice:
        raise BadInputError(
            f"the table {path} has the column {twice[0]!r} more than once", next_step="Rename or remove one of them."
        )


def _read_parquet(path: Path, data: bytes) -> Columns:
    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise BadInputError(
            f"the table {path} is not Parquet: {str(error).splitlines()[0]}", next_step="Write the file anew."
        ) from None
    names = [str(name).strip() for name in table.column_names]
    _check_heading(path, names)
    return {name: [_text(path, name, cell) for cell in table.column(i).to_pylist()] for i, name in enumerate(names)}


def _text(path: Path, column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        # A column of whole numbers becomes floating as soon as one is missing; 7.0 would hide patient 7.
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, bytes | list | dict | tuple):
        raise BadInputError(
            f"column {column!r} of the table {path} holds {type(value).__name__} values",
            next_step="Keep text, numbers and dates in the table; remove other columns.",
        )
    return str(value).strip()
