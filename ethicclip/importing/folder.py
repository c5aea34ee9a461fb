"""Any images with captions: a table with a column for each, or a folder with a text file beside every picture."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.imaging import list_images
from ethicclip.importing.annotations import AnnotationRow, read_annotations
from ethicclip.importing.rows import ImportResult, Row, clean, resolve_files, write_rows
from ethicclip.importing.settings import FolderSettings
from ethicclip.pairs import Origin
from ethicclip.progress import SILENT, Progress
from ethicclip.terms import Condition
from ethicclip.terms.conditions import UnknownLabelError, condition_spellings, is_skipped, label_key
from ethicclip.terms.vocabulary import Vocabulary

IMPORTER = "import/folder/1"

TABLES = ("captions.csv", "captions.parquet", "metadata.csv", "metadata.jsonl", "pairs.csv")
"""Names under which a folder's table is looked for."""

_COLUMNS = {
    "file": ("file", "filename", "image", "imagepath", "imgpath", "path"),
    "caption": ("caption", "text", "description", "report"),
    "en": ("captionen", "englishcaption", "en"),
    "zh": ("captionzh", "chinesecaption", "zh", "captioncn"),
    "labels": ("labels", "label", "diagnosis"),
    "grade": ("drgrade", "grade"),
    "eye": ("eye", "laterality", "side"),
    "patient_id": ("patientid", "patient"),
}
_EYES = {"left": "left", "l": "left", "os": "left", "right": "right", "r": "right", "od": "right"}
_EMPTY = frozenset({"", "nan", "none", "null", "n/a"})


def import_folder(
    source: Path, out: Path, settings: FolderSettings, *, workers: int = 1, progress: Progress = SILENT
) -> ImportResult:
    """Make a pair set of any images with captions.

    Args:
        source: A table (CSV, TSV, Parquet, JSON, JSON Lines) with columns ``file`` and ``caption`` (English, or
            settings.caption_language) or ``caption_en`` and ``caption_zh``; optional are ``labels`` (known conditions,
            separated by semicolons), ``dr_grade``, ``eye``, ``patient_id``; other columns are kept in the records. Or a
            folder that holds such a table (`TABLES`), or one with ``NAME.txt`` beside every ``NAME.jpg``.
        out: Folder of the pair set.
        settings: Licence, origin and how pictures are brought in.
        workers: Processes; changes no byte.
        progress: Where to report.

    Raises:
        BadInputError: A missing column, a file that leads outside, a label that is not known, a broken picture.
    """
    table = _find_table(source)
    root = source if table is None else table.parent
    found: Sequence[AnnotationRow] = _beside(source) if table is None else read_annotations(table)
    what = str(source if table is None else table)
    columns = _columns(found, what)
    files = resolve_files([_cell(row, columns.get("file")) for row in found], root, what=what)
    labels = _labels(found, columns, what)
    left_out: Counter[str] = Counter()
    rows: list[Row] = []
    for number, (item, file, known) in enumerate(zip(found, files, labels, strict=True), start=1):
        captions = _captions(item, columns, settings.caption_language, f"row {number} of {what}")
        if not captions:
            left_out["no caption"] += 1
            continue
        rows.append(
            Row(
                file=file,
                captions=captions,
                labels=known,
                grade=_grade(item, columns, number, what),
                eye=_EYES.get(_cell(item, columns.get("eye")).casefold()),
                patient_id=_cell(item, columns.get("patient_id")) or None,
                more=_more(item, columns),
            )
        )
    return write_rows(
        out,
        rows,
        settings,
        root=root,
        name=re.sub(r"[^A-Za-z0-9_-]+", "-", source.stem).strip("-") or "imported",
        importer=IMPORTER,
        origin=Origin(settings.origin),
        left_out=left_out,
        notes=(f"Imported; its origin ({settings.origin}) is what the one who imported it said.",),
        workers=workers,
        progress=progress,
    )


def _find_table(source: Path) -> Path | None:
    """The table to read, or None for a folder of pictures with texts beside them."""
    if not source.exists():
        raise BadInputError(f"{source} does not exist", next_step="Check the path.")
    if source.is_file():
        return source
    tables = [source / name for name in TABLES if (source / name).is_file()]
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise BadInputError(f"the folder {source} holds {names}", next_step="Give the path of the table you mean.")
    return tables[0] if tables else None


def _beside(folder: Path) -> list[dict[str, Any]]:
    rows, lacking = [], []
    for picture in list_images(folder):
        text = picture.with_suffix(".txt")
        if not text.is_file():
            lacking.append(picture.name)
            continue
        rows.append(
            {
                "file": picture.relative_to(folder).as_posix(),
                "caption": text.read_text(encoding="utf-8", errors="replace"),
            }
        )
    if lacking:
        raise BadInputError(
            f"{len(lacking)} pictures of {folder} have no caption beside them, {lacking[0]!r} among them",
            next_step=f"Write NAME.txt beside each picture, or a table named {' or '.join(TABLES[:2])}.",
        )
    return rows


def _columns(rows: Sequence[AnnotationRow], what: str) -> dict[str, str]:
    """Our name of a column -> theirs."""
    theirs = list(dict.fromkeys(str(name) for row in rows for name in row))
    found: dict[str, str] = {}
    for ours, spellings in _COLUMNS.items():
        # In the order of preference, so that a table with both `file` and `path` is read as its maker meant it.
        named = [name for spelling in spellings for name in theirs if label_key(name) == spelling]
        if named:
            found[ours] = named[0]
    if "file" not in found or not {"caption", "en", "zh"} & set(found):
        raise BadInputError(
            f"{what} has columns {', '.join(theirs) or 'none'}; needed are file and caption",
            next_step="Name them file and caption (or caption_en, caption_zh).",
        )
    return found


def _cell(row: AnnotationRow, column: str | None) -> str:
    value = row.get(column) if column is not None else None
    text = "" if value is None or isinstance(value, list | dict) else str(value).strip()
    return "" if text.casefold() in _EMPTY else text


def _captions(row: AnnotationRow, columns: Mapping[str, str], language: str, where: str) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for ours, spoken in (("en", "en"), ("zh", "zh"), ("caption", language)):
        value = row.get(columns.get(ours, ""))
        texts = value if isinstance(value, list) else [_cell(row, columns.get(ours))]
        kept = [text for text in (clean(str(text), where) for text in texts) if text]
        if kept:
            captions.setdefault(spoken, []).extend(text for text in kept if text not in captions.get(spoken, []))
    return captions


def _labels(rows: Sequence[AnnotationRow], columns: Mapping[str, str], what: str) -> list[list[str]]:
    """Ids of conditions for every row; nothing is guessed."""
    column = columns.get("labels")
    if column is None:
        return [[] for _ in rows]
    cells = [_label_cell(row.get(column)) for row in rows]
    vocabulary = Vocabulary.read(None)
    unknown: Counter[str] = Counter()
    found: list[list[str]] = []
    for cell in cells:
        ids = set()
        for label in cell:
            concept = vocabulary.condition_for(label)
            if concept is not None:
                ids.add(concept.id)
            elif not is_skipped(label):
                unknown[label] += 1
        found.append([condition.value for condition in Condition if condition.value in ids])
    if unknown:
        raise UnknownLabelError(unknown, known=condition_spellings(), where=f"column {column!r} of {what}")
    return found


def _label_cell(value: Any) -> list[str]:
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            value = value.strip().strip("[]")
    parts = value if isinstance(value, list) else re.split(r"[;|]", "" if value is None else str(value))
    labels = [str(part).strip().strip("'\"") for part in parts]
    return [label for label in labels if label.casefold() not in _EMPTY]


def _grade(row: AnnotationRow, columns: Mapping[str, str], number: int, what: str) -> int | None:
    text = _cell(row, columns.get("grade"))
    if not text:
        return None
    if re.fullmatch(r"[0-4](\.0+)?", text):
        return int(text[0])
    raise BadInputError(
        f"row {number} of {what} has the grade {text[:40]!r}, not 0 to 4", next_step="Mend it, or rename the column."
    )


def _more(row: AnnotationRow, columns: Mapping[str, str]) -> dict[str, Any]:
    """Columns that are nothing of ours, kept under one name so that they cannot stand in for ours."""
    taken = set(columns.values())
    others = {str(name): value for name, value in row.items() if str(name) not in taken and value not in ("", None)}
    return {"columns": others} if others else {}
