"""One eye under two names: pictures of different patients that show the same eye.

Patient ids under-count: a person who came twice may have two. Such pictures are linked, and linked patients are
one unit. A control patient linked to a reference patient was in effect seen by the generator and leaves the control.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ethicclip.audits.comparison import Comparer, Effort, Pair
from ethicclip.audits.decision import UNFITTED_START, stands_alone
from ethicclip.audits.describing import CohortPictures, Described, describe
from ethicclip.audits.description.local import Recipe
from ethicclip.audits.retrieval import VoteSettings
from ethicclip.audits.statistics import fit_tail
from ethicclip.audits.verification import Tolerances
from ethicclip.cohorts import Cohort
from ethicclip.progress import SILENT, Progress

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_LIGHT = Effort(candidates=3, mirror=False)
_EXPECTED_FALSE_LINKS = 0.05


def self_comparison(comparer: Comparer, *, workers: int, progress: Progress) -> list[list[Pair]]:
    """Each real picture against the pictures of all other patients, upright only: an eye is not flipped by a visit."""
    return comparer.compare(
        comparer.real, _LIGHT, exclude=comparer.patients, workers=workers, progress=progress, what="real images"
    )


def same_eye_links(results: Sequence[Sequence[Pair]]) -> list[tuple[int, int, float]]:
    """Pairs of pictures (i < j) of different patients that show one eye, with their scores, strongest first.

    The threshold comes from the tail of the best scores themselves, nearly all of which are impostors, so that 0.05
    false links are expected over all of them.
    """
    best = np.array([pairs[0].score if pairs else 0.0 for pairs in results])
    tail = fit_tail(best, fallback=UNFITTED_START)
    threshold = tail.threshold(expected=_EXPECTED_FALSE_LINKS, trials=len(results))
    found: dict[tuple[int, int], float] = {}
    for row, pairs in enumerate(results):
        for pair in pairs:
            if pair.score > threshold and stands_alone(pair):
                key = (min(row, pair.picture), max(row, pair.picture))
                found[key] = max(found.get(key, 0.0), pair.score)
    return sorted(((i, j, score) for (i, j), score in found.items()), key=lambda link: (-link[2], link[0], link[1]))


def merged_units(patients: Indices, links: Sequence[tuple[int, int, float]]) -> Indices:
    """Patients after linking: the smallest patient number of each connected group, int64 (pictures,)."""
    parent = np.arange(int(patients.max(initial=-1)) + 1)

    def root(patient: int) -> int:
        while parent[patient] != patient:
            parent[patient] = parent[parent[patient]]
            patient = int(parent[patient])
        return patient

    for i, j, _ in links:
        first, second = root(int(patients[i])), root(int(patients[j]))
        parent[max(first, second)] = min(first, second)
    return np.array([root(int(patient)) for patient in patients], dtype=np.int64)


def same_eye_pairs(
    cohort: Cohort, *, workers: int = 2, progress: Progress = SILENT, recipe: Recipe | None = None
) -> list[tuple[int, int, float]]:
    """Rows of a cohort under different patient ids that show the same eye (for a split that keeps them together).

    Args:
        cohort: Real pictures.
        workers: Threads; they change no result.
        progress: Where progress goes.
        recipe: How pictures are described.

    Returns:
        (i, j, score) with i < j, strongest first.
    """
    described = describe(
        CohortPictures(cohort), recipe or Recipe(), what="the cohort", workers=workers, progress=progress
    )
    comparer = Comparer(described, numbered(cohort.patients()), votes=VoteSettings(), tolerances=Tolerances())
    return same_eye_links(self_comparison(comparer, workers=workers, progress=progress))


def numbered(patients: Sequence[str]) -> Indices:
    """Patients as numbers in the order of first appearance, int64 (n,)."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(patient, len(numbers)) for patient in patients], dtype=np.int64)


def active(described: Described) -> npt.NDArray[np.bool_]:
    """Pictures that show something, bool (n,)."""
    return ~described.empty
