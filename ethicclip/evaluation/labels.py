"""From a column of labels to classes: which rows are scored, which are left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ethicclip.errors import BadInputError
from ethicclip.evaluation.metrics import Indices
from ethicclip.terms.conditions import (
    LANGUAGES,
    Condition,
    UnknownLabelError,
    condition_for,
    dr_grade_for,
    is_skipped,
    label_key,
    prompts,
)
from ethicclip.terms.vocabulary import Concept, Vocabulary

NO_LABEL = "(empty)"
MOST_LABELS = 20
_EMPTY = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>"})


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """The part of a cohort that is scored.

    Attributes:
        rows: Row numbers in the cohort, ascending.
        truth: Class index of each of these rows, int64.
        classes: What the indices mean.
        positive: Index of the positive class when there are two, else None.
        skipped: Labels that name no condition on purpose ("other", "multiple") -> rows.
        left_out: Other labels that were not scored, and empty ones -> rows; the rarest are pooled beyond
            `MOST_LABELS`, since a column of free text can say more of a patient than a record should.
    """

    rows: tuple[int, ...]
    truth: Indices
    classes: tuple[Concept, ...]
    positive: int | None
    skipped: Mapping[str, int]
    left_out: Mapping[str, int]

    @property
    def graded(self) -> bool:
        """Whether the classes are grades of diabetic retinopathy."""
        return all(concept.grade is not None for concept in self.classes)


def label_rows(
    labels: Sequence[str],
    vocabulary: Vocabulary,
    *,
    column: str,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
) -> LabelledRows:
    """Choose rows and classes.

    Args:
        labels: One label a row, "" where there is none.
        vocabulary: Built-in words and the user's.
        column: The column's name; one that names a condition may hold 0 and 1 for absent and present.
        classes: Labels to score, or None for all known ones.
        positive: Label of the positive class of two.

    Raises:
        UnknownLabelError: A label, or a name in `classes`, is not known.
        BadInputError: Fewer than two classes have rows; `positive` is not one of two classes.
    """
    cleaned = [NO_LABEL if label.strip().casefold() in _EMPTY else label.strip() for label in labels]
    present = [label for label in cleaned if label != NO_LABEL]
    meaning = _presence(present, column) or _meaning(present, vocabulary, column=column, classes=classes)
    known = {label: concept for label, concept in meaning.items() if concept is not None}
    if classes is None:
        chosen = vocabulary.in_order(known.values())
    else:
        chosen = _chosen(classes, known, vocabulary, column=column)
    index = {concept.id: place for place, concept in enumerate(chosen)}
    rows, truth = [], []
    skipped: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for row, label in enumerate(cleaned):
        concept = known.get(label)
        if concept is not None and concept.id in index:
            rows.append(row)
            truth.append(index[concept.id])
        elif is_skipped(label):
            skipped[label] += 1
        else:
            left_out[label] += 1
    _refuse_too_few(chosen, truth, column=column)
    return LabelledRows(
        rows=tuple(rows),
        truth=np.array(truth, dtype=np.int64),
        classes=chosen,
        positive=_positive(chosen, positive, known, vocabulary),
        skipped=dict(sorted(skipped.items())),
        left_out=_pooled(left_out),
    )


def _presence(present: Sequence[str], column: str) -> dict[str, Concept | None]:
    """0 and 1 in a column named after a condition: absent and present; empty when it is not such a column."""
    try:
        condition = condition_for(column)
    except UnknownLabelError:
        return {}
    values = {label: dr_grade_for(label) for label in set(present)}
    if condition is Condition.NORMAL or not {0, 1} <= set(values.values()):
        return {}
    if any(grade not in (0, 1, None) for grade in values.values()):
        return {}
    absent = Concept(
        id=f"no_{condition.value}",
        is_normal=True,
        given={language: prompts(Condition.NORMAL, language) for language in LANGUAGES},
    )
    meaning = {0: absent, 1: Concept(id=condition.value)}
    # "suspect" and the like have no place between 0 and 1: left out, and counted.
    return {label: None if grade is None else meaning[grade] for label, grade in values.items()}


def _meaning(
    present: Sequence[str], vocabulary: Vocabulary, *, column: str, classes: Sequence[str] | None
) -> Mapping[str, Concept | None]:
    if classes is None:
        return vocabulary.resolve(present, where=f"column {column!r}")
    if _are_grades(classes, vocabulary):
        grades = {label: dr_grade_for(label) for label in set(present)}
        return {label: None if grade is None else vocabulary.grade(grade) for label, grade in grades.items()}
    return {label: vocabulary.condition_for(label) for label in set(present) if not is_skipped(label)}


def _are_grades(classes: Sequence[str], vocabulary: Vocabulary) -> bool:
    return all(dr_grade_for(name) is not None for name in classes) and any(
        vocabulary.condition_for(name) is None for name in classes
    )


def _concept(name: str, known: Mapping[str, Concept], vocabulary: Vocabulary, *, grades: bool) -> Concept | None:
    same = [concept for label, concept in known.items() if label_key(label) == label_key(name) or concept.id == name]
    if same:
        return same[0]
    grade = dr_grade_for(name)
    return vocabulary.grade(grade) if grades and grade is not None else vocabulary.condition_for(name)


def _chosen(
    classes: Sequence[str], known: Mapping[str, Concept], vocabulary: Vocabulary, *, column: str
) -> tuple[Concept, ...]:
    grades = _are_grades(classes, vocabulary)
    concepts = {name: _concept(name, known, vocabulary, grades=grades) for name in classes}
    unknown = {name: 0 for name, concept in concepts.items() if concept is None}
    if unknown:
        raise UnknownLabelError(unknown, known=vocabulary.spellings(), where="the chosen classes")
    distinct = {concept.id: concept for concept in concepts.values() if concept is not None}
    found = {concept.id for concept in known.values()}
    missing = [name for name, concept in concepts.items() if concept is not None and concept.id not in found]
    if missing:
        raise BadInputError(
            f"no row of column {column!r} has the class(es) {', '.join(missing)}",
            details=[f"the column holds: {', '.join(sorted(known)) or 'no known label'}"],
            next_step="Choose classes that the cohort has, or another column with --label-column.",
        )
    return tuple(distinct.values())


def _positive(
    chosen: Sequence[Concept], positive: str | None, known: Mapping[str, Concept], vocabulary: Vocabulary
) -> int | None:
    if len(chosen) != 2:
        if positive is not None:
            raise BadInputError(
                f"a positive class ({positive!r}) is asked for among {len(chosen)} classes",
                next_step="Choose two classes with --classes, or leave the positive class out.",
            )
        return None
    if positive is None:
        return 0 if chosen[1].is_normal and not chosen[0].is_normal else 1
    concept = _concept(positive, known, vocabulary, grades=chosen[0].grade is not None)
    for place, candidate in enumerate(chosen):
        if concept is not None and candidate.id == concept.id:
            return place
    raise BadInputError(
        f"the positive class {positive!r} is not one of {chosen[0].id} and {chosen[1].id}",
        next_step="Name one of the two.",
    )


def _pooled(counts: Counter[str]) -> dict[str, int]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept, pooled = ranked[:MOST_LABELS], ranked[MOST_LABELS:]
    shown = dict(sorted(kept))
    if pooled:
        shown[f"({len(pooled)} further labels)"] = sum(count for _, count in pooled)
    return shown


def _refuse_too_few(chosen: Sequence[Concept], truth: Sequence[int], *, column: str) -> None:
    if len(set(truth)) >= 2:
        return
    only = f"only the class {chosen[truth[0]].id!r}" if truth else "no known label"
    raise BadInputError(
        f"column {column!r} holds {only}; a score needs at least two classes with images",
        next_step="Choose another column with --label-column, or a cohort that holds more than one class.",
    )
