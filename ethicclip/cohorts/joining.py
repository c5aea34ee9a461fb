"""Which images must stay together: one patient's, and those of patients who share a picture or an eye."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ethicclip.cohorts.cohort import Cohort


class JoinReason(StrEnum):
    """Why two images of different patients are kept together."""

    EXACT_COPY = "exact_copy"
    NEAR_DUPLICATE = "near_duplicate"
    SAME_EYE = "same_eye"


@dataclass(frozen=True, kw_only=True)
class Join:
    """Two rows of different patients that are kept in one part.

    Attributes:
        first: Row of one image.
        second: Row of the other; larger than `first`.
        reason: What joined them.
        score: Of a near-duplicate, None for other reasons.
        mirrored: True when one image is the other's mirror image.
    """

    first: int
    second: int
    reason: JoinReason
    score: float | None = None
    mirrored: bool = False

    def to_json(self, cohort: Cohort) -> dict[str, Any]:
        """The join with file names instead of rows."""
        return {
            "file_a": str(cohort.files[self.first]),
            "file_b": str(cohort.files[self.second]),
            "reason": self.reason.value,
            "score": None if self.score is None else round(self.score, 4),
            "mirrored": self.mirrored,
        }


def exact_copies(cohort: Cohort) -> list[Join]:
    """Images with equal bytes under different patients, each joined to the first such image."""
    patients = cohort.patients()
    first_with: dict[str, int] = {}
    joins = []
    for row, digest in enumerate(cohort.content_hashes()):
        first = first_with.setdefault(digest, row)
        if patients[first] != patients[row]:
            joins.append(Join(first=first, second=row, reason=JoinReason.EXACT_COPY))
    return joins


def units(patients: Sequence[str], pairs: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Groups of rows that may not be separated, by union-find; ordered by their first row.

    Args:
        patients: One identifier a row; rows of one patient are one unit.
        pairs: Further rows to keep together; the relation is transitive.
    """
    parent = list(range(len(patients)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(a: int, b: int) -> None:
        low, high = sorted((root(a), root(b)))
        parent[high] = low

    first_of: dict[str, int] = {}
    for row, patient in enumerate(patients):
        join(first_of.setdefault(patient, row), row)
    for a, b in pairs:
        join(a, b)
    members: dict[int, list[int]] = defaultdict(list)
    for row in range(len(patients)):
        members[root(row)].append(row)
    return [tuple(rows) for _, rows in sorted(members.items())]
