"""Reads a cohort from where people keep them: a folder with a table, a table, or a plain folder of images."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ethicclip.cohorts.archives import is_npz, read_npz, read_tars, tars_of
from ethicclip.cohorts.cohort import Cohort, missing_column, shorten
from ethicclip.cohorts.tables import TABLE_SUFFIXES, Columns, read_table
from ethicclip.errors import BadInputError
from ethicclip.imaging import IMAGE_SUFFIXES, list_images
from ethicclip.imaging.containers import is_there
from ethicclip.imaging.dicom import DICOM_SUFFIXES, laterality

SIMULATED_FLAG = "simulated.json"
"""A file of this name beside the table says that the people are simulated."""

TABLE_NAMES = ("cohort.csv", "cohort.parquet")

PATIENTS_UNKNOWN = (
    "Patients cannot be told apart in this cohort: every image counts as one patient, so intervals are too narrow "
    "and a patient may be on both sides of a split."
)

_EYES = {"left": "left", "l": "left", "os": "left", "right": "right", "r": "right", "od": "right"}
_NAMED_BY_EYE = re.compile(r"(?P<patient>[A-Za-z0-9][A-Za-z0-9-]*)_(?P<eye>left|right|os|od|l|r)", re.IGNORECASE)
# What spreadsheets and data frames write where nothing is known; taken as an id, it would make many people one.
_NO_ID = frozenset({"", "nan", "na", "n/a", "<na>", "none", "null", "nat", "unknown", "?", "-"})


def read_cohort(path: Path, *, alias: str | None = None) -> Cohort:
    """Read a cohort of images.

    Args:
        path: A folder with ``cohort.csv`` or ``cohort.parquet``; a CSV, TSV or Parquet table; a folder of images or
            of DICOM photographs; WebDataset tars, or a folder of them; a MedMNIST ``.npz``, or a part of one
            (``retinamnist.npz/test``). A table needs a column ``file``: absolute, or relative to the table's folder
            and inside it; it may lead into an archive (``0.tar/s1.jpg``). ``patient_id``, ``eye`` and ``label`` are
            used where they are there; other columns are kept.
        alias: What records call it. By default the last part of the folder's or table's own name.

    Returns:
        The cohort. Patients are unknown (`Cohort.patient_ids` is None) without a ``patient_id`` column, unless
        *every* file is named like ``123_left.jpg``; `Cohort.notes` then says that they were read from the names.

    Raises:
        BadInputError: A missing or empty folder or table, a missing column, an empty or repeated file cell, a
            relative path that leaves the folder, files that do not exist, or rows without a patient.

    Example:
        >>> cohort = read_cohort(Path("odir"))  # doctest: +SKIP
        >>> cohort.patients()[:2]  # doctest: +SKIP
        ('2', '3')
    """
    path = Path(path)
    place = Path(os.path.abspath(path))  # noqa: PTH100 - lexical: a link keeps the name its owner gave it
    table_path = None if is_npz(path) or tars_of(path) == [path] else _find_table(path)
    if table_path is None:
        root = place
        columns = _without_table(place)
    else:
        root = place if path.is_dir() else place.parent
        columns = read_table(table_path)
    what = str(path if table_path is None else table_path)
    files = _resolve_files(columns, root, what)
    notes: list[str] = []
    patient_ids = _patients(columns, files, what, notes)
    columns["file"] = [str(file) for file in files]
    return Cohort(
        alias=alias if alias is not None else _default_alias(place, table_path),
        path=path,
        files=files,
        patient_ids=patient_ids,
        table=pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}),
        notes=tuple(notes),
        simulated=(root / SIMULATED_FLAG).is_file(),
    )


def _without_table(place: Path) -> Columns:
    """The table of a plain folder of images, of tars, or of a MedMNIST file."""
    if is_npz(place):
        return read_npz(place)
    if (place / "manifest.json").is_file() and (place / "index.parquet").is_file():
        raise BadInputError(
            f"{place} is a pair set, not a cohort",
            next_step="Name the cohort it was made from; pair sets are for train, audit-leakage and evaluate --pairs.",
        )
    tars = tars_of(place)
    try:
        images = list_images(place, suffixes=IMAGE_SUFFIXES | DICOM_SUFFIXES)
    except BadInputError:
        if not tars:
            raise
        return read_tars(place, tars)
    columns: Columns = {"file": [str(image.relative_to(place)) for image in images]}
    if any(image.suffix.lower() in DICOM_SUFFIXES for image in images):
        columns["eye"] = [laterality(image) if image.suffix.lower() in DICOM_SUFFIXES else "" for image in images]
    return columns


def _find_table(path: Path) -> Path | None:
    """The table to read, or None for a plain folder of images."""
    if path.is_dir():
        tables = [path / name for name in TABLE_NAMES if (path / name).is_file()]
        if len(tables) > 1:
            raise BadInputError(
                f"the folder {path} holds both {' and '.join(TABLE_NAMES)}",
                next_step="Give the path of the table you mean, or remove the other one.",
            )
        return tables[0] if tables else None
    if not path.exists():
        raise BadInputError(f"the cohort {path} does not exist", next_step="Check the path.")
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise BadInputError(
            f"the cohort {path} is neither a folder nor a table ({', '.join(sorted(TABLE_SUFFIXES))})",
            next_step="Save the table as CSV UTF-8 or Parquet, or give a folder of images, tars or a MedMNIST .npz.",
        )
    return path


def _default_alias(place: Path, table_path: Path | None) -> str:
    generic = table_path is not None and table_path.name in TABLE_NAMES
    folder = place if table_path is None or place.suffix.lower() not in TABLE_SUFFIXES or place.is_dir() else None
    if folder is None and generic:
        folder = place.parent
    name = folder.name if folder is not None else place.stem
    if table_path is None and place.suffix.lower() in (".npz", ".tar"):
        name = place.stem
    elif table_path is None and is_npz(place):
        name = f"{place.parent.stem} {place.name}"
    return re.sub(r"[\\\x00-\x1f]", "_", name) or "cohort"


def _resolve_files(columns: Columns, root: Path, what: str) -> tuple[Path, ...]:
    if "file" not in columns:
        raise missing_column("file", list(columns), of=what)
    cells = columns["file"]
    if not cells:
        raise BadInputError(f"{what} has a heading but no row", next_step="Write one row a file.")
    if empty := [f"row {row}" for row, cell in enumerate(cells, start=1) if not cell]:
        raise BadInputError(
            f"{len(empty)} of {len(cells)} rows of {what} name no file",
            details=shorten(empty),
            next_step="Fill the column 'file', or remove these rows.",
        )
    paths = [Path(os.path.normpath(root / cell)) for cell in cells]
    if outside := [
        cell
        for cell, path in zip(cells, paths, strict=True)
        if not Path(cell).is_absolute() and not path.is_relative_to(root)
    ]:
        raise BadInputError(
            f"{len(outside)} relative paths of {what} leave the folder {root}",
            details=shorten(outside),
            next_step="Keep files below the table's folder, or write absolute paths.",
        )
    if twice := [f"{path} ({count} rows)" for path, count in Counter(paths).items() if count > 1]:
        raise BadInputError(
            f"{len(twice)} files of {what} stand in more than one row",
            details=shorten(twice),
            next_step="Keep one row a file.",
        )
    if problems := [problem for path in paths if (problem := _why_no_file(path))]:
        raise BadInputError(
            f"{len(problems)} of {len(cells)} files of {what} are missing",
            details=shorten(problems),
            next_step="Correct the column 'file' (relative to the table's folder, or absolute), or restore the files.",
        )
    return tuple(paths)


def _why_no_file(path: Path) -> str:
    try:
        if is_there(path):
            return ""
        return f"{path} is not a file" if path.exists() else f"{path} does not exist"
    except OSError as error:
        return f"{path}: {error.strerror}"
    except ValueError as error:
        return f"{str(path)!r}: {error}"
    except BadInputError as error:
        return error.what


def _patients(columns: Columns, files: Sequence[Path], what: str, notes: list[str]) -> tuple[str, ...] | None:
    if "patient_id" in columns:
        ids = columns["patient_id"]
        if nameless := [
            f"row {row}: {files[row - 1]}" for row, cell in enumerate(ids, start=1) if cell.lower() in _NO_ID
        ]:
            raise BadInputError(
                f"{len(nameless)} of {len(ids)} rows of {what} have no patient_id",
                details=shorten(nameless),
                next_step="Fill them, remove these rows, or remove the whole column when patients are unknown.",
            )
        return tuple(ids)
    named = [_NAMED_BY_EYE.fullmatch(file.stem) for file in files]
    matches = [match for match in named if match is not None]
    if len(matches) < len(named):
        notes.append(PATIENTS_UNKNOWN)
        return None
    columns["patient_id"] = [match["patient"] for match in matches]
    columns.setdefault("eye", [_EYES[match["eye"].lower()] for match in matches])
    notes.append(
        f"The table has no patient_id: patients were read from file names such as {files[0].name} "
        f"(patient {columns['patient_id'][0]}, {columns['eye'][0]} eye)."
    )
    return tuple(columns["patient_id"])
