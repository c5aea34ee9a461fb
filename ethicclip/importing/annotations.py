"""Reads a table of annotations from CSV, TSV, Parquet, JSON or JSON Lines into rows, as if it were hostile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from ethicclip.cohorts.tables import TABLE_SUFFIXES, Columns, read_table
from ethicclip.errors import BadInputError

JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson", ".txt"})

MAX_JSON_BYTES = 4 << 30
_LISTS = ("annotations", "data", "images", "rows")

AnnotationRow = Mapping[str, Any]


class _TableRows(Sequence[AnnotationRow]):
    """Rows of a table, each made when it is asked for: a million of them at once would take gigabytes."""

    def __init__(self, columns: Columns) -> None:
        self._names, self._cells = list(columns), list(columns.values())

    def __len__(self) -> int:
        return len(self._cells[0])

    @overload
    def __getitem__(self, index: int) -> AnnotationRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[AnnotationRow]: ...
    def __getitem__(self, index: int | slice) -> AnnotationRow | Sequence[AnnotationRow]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return {name: cells[index] for name, cells in zip(self._names, self._cells, strict=True)}


def read_annotations(path: Path) -> Sequence[AnnotationRow]:
    """Every row as a mapping from field to value; of tables all values are text.

    JSON may be a list of objects, an object whose values are objects (their keys are then the file names), an object
    with one such list under ``annotations``, ``data``, ``images`` or ``rows``, or one object a line.

    Raises:
        BadInputError: Missing, of another kind, not UTF-8, not JSON, a key twice in one object, or nested without end.
    """
    if not path.is_file():
        raise BadInputError(f"the annotation file {path} does not exist", next_step="Check the path.")
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return _TableRows(read_table(path))
    if suffix not in JSON_SUFFIXES:
        known = ", ".join(sorted(TABLE_SUFFIXES | JSON_SUFFIXES))
        raise BadInputError(f"{path} is none of {known}", next_step="Save the annotations in one of these forms.")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise BadInputError(f"{path} is over {MAX_JSON_BYTES >> 30} GiB", next_step="Split it, or save it as Parquet.")
    rows = list(_rows(path, _documents(path)))
    if not rows:
        raise BadInputError(f"{path} holds no annotation", next_step="Check the path.")
    return rows


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    """The JSON documents of a file with where each stands: one, or one a line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is not UTF-8 text (byte {error.start})", next_step="Save it as UTF-8.") from None
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    by_line = path.suffix.lower() in (".jsonl", ".ndjson") or (
        path.suffix.lower() == ".txt" and len(lines) > 1 and lines[0][1].rstrip().endswith("}")
    )
    if not by_line:
        yield str(path), _parsed(text, str(path))
        return
    for number, line in lines:
        yield f"line {number} of {path}", _parsed(line, f"line {number} of {path}")


def _parsed(text: str, where: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise BadInputError(f"{where} has the key {twice!r} twice in one object", next_step="Keep one of them.")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=_no_constant)
    except RecursionError:
        raise BadInputError(f"{where} is nested too deeply to be an annotation") from None
    except ValueError as error:
        raise BadInputError(f"{where} is not JSON: {error}", next_step="Mend the file.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a value of JSON")


def _rows(path: Path, documents: Iterator[tuple[str, Any]]) -> Iterator[AnnotationRow]:
    for where, document in documents:
        inside = [document.get(name) for name in _LISTS] if isinstance(document, dict) else []
        wrapped = [item for item in inside if isinstance(item, list)]
        if wrapped or isinstance(document, list):
            items = wrapped[0] if wrapped else document
        elif isinstance(document, dict) and document and all(isinstance(item, dict) for item in document.values()):
            # The key names the picture unless the object does so itself.
            items = [{"file": name, **item} for name, item in document.items()]
        else:
            items = [document]
        for number, item in enumerate(items, start=1):
            if not isinstance(item, dict) or not item:
                raise BadInputError(
                    f"item {number} of {where} is not an annotation but a {type(item).__name__}",
                    next_step="Write one object with fields a picture.",
                )
            yield item
