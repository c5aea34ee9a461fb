"""One eye under two names: pictures of different patients that show the same eye.

Patient ids under-count: a person who came twice may have two. Such pictures are linked, and linked patients are
one unit. A control patient linked to a reference patient was in effect seen by the generator and leaves the control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ethicclip.audits.comparison import Comparer, Effort, Pair
from ethicclip.audits.decision import UNFITTED_START, stands_alone
from ethicclip.audits.describing import describe
from ethicclip.audits.description.local import Recipe
from ethicclip.audits.retrieval import VoteSettings
from ethicclip.audits.statistics import FEWEST_IMPOSTORS, fit_tail
from ethicclip.audits.verification import Tolerances
from ethicclip.cohorts import Cohort
from ethicclip.progress import SILENT, Progress

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_EXPECTED_FALSE_LINKS = 0.05
_SCREEN = 0.9
_SCREENED_CANDIDATES = 3
_VOTERS = 200
"""Keypoints that vote here: a pair has two chances, since either picture is asked about the other."""


@dataclass(frozen=True, kw_only=True)
class Impostors:
    """Real pictures compared with the pictures of *other* patients, exactly as synthetic images are.

    Attributes:
        rows: The pictures that were asked about, int64 (n,).
        results: Their pairs, best first.
    """

    rows: Indices
    results: Sequence[Sequence[Pair]]

    def scores(self, unit: Indices) -> Doubles:
        """Best score of each with another unit, 0 where there is none, float64 (n,)."""
        best = [
            max((pair.score for pair in pairs if unit[pair.picture] != unit[row]), default=0.0)
            for row, pairs in zip(self.rows, self.results, strict=True)
        ]
        return np.array(best, dtype=np.float64)


def impostor_pairs(
    comparer: Comparer, effort: Effort, *, count: int, seed: int, workers: int, progress: Progress
) -> Impostors:
    """Compare `count` random real pictures with those of all other patients; blind to the sides."""
    rng = np.random.default_rng([seed, 11])
    shown = np.flatnonzero(~comparer.real.empty)
    rows = np.sort(rng.choice(shown, size=min(count, len(shown)), replace=False)).astype(np.int64)
    results = comparer.compare(
        comparer.real.rows(rows),
        effort,
        exclude=comparer.patients[rows],
        workers=workers,
        progress=progress,
        what="pairs of other patients",
    )
    return Impostors(rows=rows, results=results)


def same_eye_links(
    comparer: Comparer, impostors: Impostors, *, workers: int, progress: Progress
) -> list[tuple[int, int, float]]:
    """Pairs of pictures (i < j) of different patients that show one eye, with their scores, strongest first.

    Every real picture is asked, upright only (an eye is not flipped by a visit), and what has more votes than nine in
    ten impostors' best is verified; the impostors' own pictures were asked already. The threshold comes from the
    impostors' tail, so that 0.05 false links are expected over all pictures; the few impostors that are links
    themselves do not move that tail.
    """
    tail = fit_tail(impostors.scores(comparer.patients), fallback=UNFITTED_START)
    threshold = tail.threshold(expected=_EXPECTED_FALSE_LINKS, trials=len(comparer.real))
    votes = [max((pair.votes for pair in pairs), default=0.0) for pairs in impostors.results]
    screen = float(np.quantile(votes, _SCREEN)) if len(votes) >= FEWEST_IMPOSTORS else 0.0
    rest = np.setdiff1d(np.arange(len(comparer.real)), impostors.rows)
    results = comparer.compare(
        comparer.real.rows(rest),
        Effort(candidates=_SCREENED_CANDIDATES, mirror=False, least_votes=screen, voters=_VOTERS),
        exclude=comparer.patients[rest],
        workers=workers,
        progress=progress,
        what="real images with each other",
    )
    found: dict[tuple[int, int], float] = {}
    asked = [*zip(impostors.rows.tolist(), impostors.results, strict=True), *zip(rest.tolist(), results, strict=True)]
    for row, pairs in asked:
        for pair in pairs:
            if pair.score > threshold and not pair.flipped and stands_alone(pair):
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
    described = describe(cohort, recipe or Recipe(), what="the cohort", workers=workers, progress=progress)
    comparer = Comparer(described, numbered(cohort.patients()), votes=VoteSettings(), tolerances=Tolerances())
    impostors = impostor_pairs(comparer, Effort(candidates=8), count=400, seed=0, workers=workers, progress=progress)
    return same_eye_links(comparer, impostors, workers=workers, progress=progress)


def numbered(patients: Sequence[str]) -> Indices:
    """Patients as numbers in the order of first appearance, int64 (n,)."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(patient, len(numbers)) for patient in patients], dtype=np.int64)
