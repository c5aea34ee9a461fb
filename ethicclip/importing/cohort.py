"""A real cohort as pairs: its labels in words, its patients in the index, its folder for the owner's eyes only.

Captions state the diagnosis and the eye and nothing else, because nothing else is known of these pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.errors import BadInputError, UsageError
from ethicclip.importing.rows import ImportResult, Row, write_rows
from ethicclip.importing.settings import CohortSettings
from ethicclip.pairs import Origin
from ethicclip.progress import SILENT, Progress
from ethicclip.terms import Condition, label_captions, label_names
from ethicclip.terms.conditions import UnknownLabelError, condition_for, dr_grade_for, is_skipped
from ethicclip.terms.vocabulary import Vocabulary

IMPORTER = "import/cohort/1"

_EMPTY = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>"})
_GRADE_COLUMNS = ("dr_grade", "grade")


def import_cohort(
    cohort: Path | Cohort,
    out: Path,
    settings: CohortSettings,
    *,
    workers: int = 1,
    progress: Progress = SILENT,
) -> ImportResult:
    """Make a pair set of labelled eyes.

    Args:
        cohort: What `ethicclip.cohorts.read_cohort` reads, or a cohort that was read.
        out: Folder of the pair set; mode 0700 when the eyes are real.
        settings: Licence, label column, languages.
        workers: Processes; changes no byte.
        progress: Where to report.

    Returns:
        The finished set, of origin real (synthetic for a simulated population). Rows whose labels name no condition
        ("other", "multiple" without a column that says which) are left out and counted.

    Raises:
        BadInputError: A label that is not known, no label at all, or a broken picture.
        UsageError: The label column is not there.
    """
    eyes = cohort if isinstance(cohort, Cohort) else read_cohort(cohort)
    grades = _grades(eyes)
    found = _conditions(eyes, settings.label_column, grades)
    sides = eyes.column("eye") if "eye" in eyes.table.columns else [""] * len(eyes)
    left_out: Counter[str] = Counter()
    rows: list[Row] = []
    for number, conditions in enumerate(found):
        if conditions is None:
            left_out["the label names no condition"] += 1
            continue
        graded = grades[number]
        if graded is not None and (graded > 0) != (Condition.DIABETIC_RETINOPATHY in conditions):
            # Label and grade contradict each other: the label is what the cohort is scored by.
            graded = None
        eye = sides[number].casefold() if sides[number].casefold() in ("left", "right") else None
        captions: dict[str, Sequence[str]] = {
            language: label_captions(label_names(conditions, graded, language), eye, language)
            for language in settings.languages
        }
        rows.append(
            Row(
                file=str(eyes.files[number]),
                captions=captions,
                labels=[condition.value for condition in conditions],
                grade=graded,
                eye=eye,
                patient_id=None if eyes.patient_ids is None else eyes.patient_ids[number],
            )
        )
    return write_rows(
        out,
        rows,
        settings,
        root=Path(),
        name=re.sub(r"[^A-Za-z0-9_-]+", "-", eyes.alias).strip("-") or "cohort",
        importer=IMPORTER,
        origin=Origin.SYNTHETIC if eyes.simulated else Origin.REAL,
        left_out=left_out,
        notes=(*eyes.notes, "Captions are written from labels; labels of public cohorts are noisy."),
        workers=workers,
        progress=progress,
    )


def _conditions(
    eyes: Cohort, label_column: str | None, grades: Sequence[int | None]
) -> list[tuple[Condition, ...] | None]:
    """What each row has, from label column, grades and columns named after conditions; None when nothing says."""
    columns = [str(name) for name in eyes.table.columns]
    if label_column is not None and label_column not in columns:
        raise UsageError(
            f"{eyes.alias} has no column {label_column!r}; it has {', '.join(columns)}",
            next_step="Name the column with --label-column.",
        )
    flags = {name: meant for name in columns if name != label_column and (meant := _named_after(name)) is not None}
    if label_column is None and not flags:
        raise BadInputError(
            f"{eyes.alias} has no column that is named after a condition",
            next_step="Name the column with --label-column.",
        )
    texts = [""] * len(eyes) if label_column is None else eyes.column(label_column)
    meaning = _meaning(texts, where=f"column {label_column!r} of {eyes.alias}")
    present = {name: _present(eyes.column(name)) for name in flags}
    result: list[tuple[Condition, ...] | None] = []
    for row, text in enumerate(texts):
        found = {flags[name] for name, values in present.items() if values[row]}
        condition = meaning.get(text)
        if grades[row] and condition is not Condition.NORMAL:
            found.add(Condition.DIABETIC_RETINOPATHY)
        if condition is not None and not (condition is Condition.NORMAL and found):
            found.add(condition)
        result.append(tuple(item for item in Condition if item in found) or None)
    return result


def _named_after(column: str) -> Condition | None:
    try:
        condition = condition_for(column)
    except UnknownLabelError:
        return None
    return None if condition is Condition.NORMAL else condition


def _present(values: Sequence[str]) -> list[bool]:
    """Only a plain yes, or a grade above 0, counts: "suspect" is no diagnosis."""
    return [re.fullmatch(r"[1-9](\.0+)?|true|yes", value.strip().casefold()) is not None for value in values]


def _meaning(texts: Sequence[str], *, where: str) -> Mapping[str, Condition]:
    """Label -> condition; grades of retinopathy are conditions too, 0 being none."""
    labels = [text for text in texts if text.strip().casefold() not in _EMPTY and not is_skipped(text)]
    concepts = Vocabulary.read(None).resolve(labels, where=where)
    found: dict[str, Condition] = {}
    for label, concept in concepts.items():
        if concept.grade is None:
            found[label] = Condition(concept.id)
        else:
            found[label] = Condition.DIABETIC_RETINOPATHY if concept.grade else Condition.NORMAL
    return found


def _grades(eyes: Cohort) -> list[int | None]:
    """ICDR grades where a column gives them."""
    column = next((name for name in _GRADE_COLUMNS if name in eyes.table.columns), None)
    if column is None:
        return [None] * len(eyes)
    return [None if value.strip().casefold() in _EMPTY else dr_grade_for(value) for value in eyes.column(column)]
