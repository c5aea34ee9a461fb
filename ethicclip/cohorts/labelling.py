"""What each eye of a cohort has, from its label column, its grades and columns named after conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ethicclip.cohorts.cohort import Cohort
from ethicclip.errors import BadInputError, UsageError
from ethicclip.terms import Condition
from ethicclip.terms.conditions import UnknownLabelError, condition_for, dr_grade_for, is_skipped
from ethicclip.terms.vocabulary import Vocabulary

_EMPTY = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>"})
_GRADE_COLUMNS = ("dr_grade", "grade")


def conditions_of(
    eyes: Cohort, label_column: str | None, grades: Sequence[int | None]
) -> list[tuple[Condition, ...] | None]:
    """What each row has, from label column, grades and columns named after conditions; None when nothing says.

    Args:
        eyes: The cohort.
        label_column: Its column of labels, or None for columns named after conditions alone.
        grades: As `grades_of` gives them.

    Raises:
        BadInputError: A label that is not known, or no label at all.
        UsageError: The label column is not there.
    """
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


def grades_of(eyes: Cohort) -> list[int | None]:
    """ICDR grades where a column gives them."""
    column = next((name for name in _GRADE_COLUMNS if name in eyes.table.columns), None)
    if column is None:
        return [None] * len(eyes)
    return [None if value.strip().casefold() in _EMPTY else dr_grade_for(value) for value in eyes.column(column)]
