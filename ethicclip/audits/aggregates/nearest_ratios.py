"""Aggregates from nearest distances: authenticity (Alaa et al. 2022) and the nearest-neighbour distance ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from ethicclip.audits.aggregates.value import Aggregate, Interval, cluster_draws
from ethicclip.audits.search import nearest
from ethicclip.audits.statistics import clopper_pearson

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_BOOTSTRAP = 400
_GROUPS = 20
_NEIGHBOURS = 12
"""Neighbours fetched, so that one is left when a twentieth of the patients is not."""


def first_and_other(queries: Floats, real: Floats, patients: Indices) -> tuple[Doubles, Doubles, Indices]:
    """Distance to the nearest picture, to the nearest of *another* patient, and the nearest picture's row.

    Args:
        queries: float32 (n, d).
        real: float32 (m, d).
        patients: int64 (m,).

    Returns:
        float64 (n,), float64 (n,) with infinity where there is no other patient, and int64 (n,).
    """
    most = int(np.bincount(np.unique(patients, return_inverse=True)[1]).max(initial=0)) + 1
    distances, rows = nearest(queries, real, most)
    owner = patients[rows]
    other = np.where(owner != owner[:, :1], distances, np.inf).min(axis=1)
    return distances[:, 0], other, rows[:, 0]


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Real neighbours of synthetic images and of real pictures, enough to leave groups of patients out.

    Attributes:
        to_real: Distances of synthetic images, float64 (n, k), and rows, int64 (n, k), of their real neighbours.
        among_real: The same of each real picture, its own patient left out (infinity).
        patients: Patient of each real picture.
    """

    to_real: tuple[Doubles, Indices]
    among_real: tuple[Doubles, Indices]
    patients: Indices

    @classmethod
    def of(cls, synthetic: Floats, real: Floats, patients: Indices) -> Neighbours:
        """Search once."""
        most = int(np.bincount(np.unique(patients, return_inverse=True)[1]).max(initial=0))
        distances, rows = nearest(real, real, most + _NEIGHBOURS)
        return cls(
            to_real=nearest(synthetic, real, _NEIGHBOURS),
            among_real=(np.where(patients[rows] != patients[:, None], distances, np.inf), rows),
            patients=patients,
        )

    def authentic(self, left_out: npt.NDArray[np.bool_] | None = None) -> tuple[npt.NDArray[np.bool_], Indices]:
        """Which synthetic images are authentic, and the patient nearest to each.

        An image is authentic when it is farther from its nearest real picture than that picture is from its nearest
        picture of another patient (Alaa et al. 2022, section 3.3; "another patient" in place of "another picture",
        since two eyes of one patient are alike).

        Args:
            left_out: Real pictures to do without, bool (m,).
        """
        (distance, row), (apart, others) = self.to_real, self.among_real
        if left_out is not None:
            distance = np.where(left_out[row], np.inf, distance)
            apart = np.where(left_out[others], np.inf, apart)
        place = distance.argmin(axis=1)
        first = row[np.arange(len(row)), place]
        return distance.min(axis=1) > apart.min(axis=1)[first], self.patients[first]


def authenticity(
    synthetic: Floats,
    reference: tuple[Floats, Indices],
    control: tuple[Floats, Indices] | None,
    *,
    rng: np.random.Generator,
) -> Aggregate:
    """Share of authentic images against the reference, with the same share against the control beside it.

    The variance is that of the images plus that of the reference's patients, by a jackknife that leaves out one of
    `_GROUPS` groups of them at a time; interval on the logit scale.
    """
    neighbours = Neighbours.of(synthetic, *reference)
    hits, nearby = neighbours.authentic()
    share, count = float(hits.mean()), len(hits)
    names, where = np.unique(reference[1], return_inverse=True)
    groups = min(_GROUPS, len(names))
    group = (rng.permutation(len(names)) % groups)[where]
    without = np.array([neighbours.authentic(group == one)[0].mean() for one in range(groups)])
    jackknife = (groups - 1) / groups * float(((without - without.mean()) ** 2).sum())
    interval = _on_logits(share, share * (1 - share) / count + jackknife, len(np.unique(nearby)), groups - 1)
    beside = None if control is None else float(Neighbours.of(synthetic, *control).authentic()[0].mean())
    return _aggregate(
        interval,
        name="authenticity",
        source="Alaa et al. 2022",
        control=beside,
        note="It has no fixed null: without one copy it was measured between 0.47 and 0.88; only the difference from "
        "the control says anything.",
    )


def _on_logits(share: float, variance: float, n: int, freedom: int) -> Interval:
    if share in (0.0, 1.0):
        exact = clopper_pearson(round(share * n), n)
        return Interval(estimate=share, low=exact.low, high=exact.high, n=n, method="clopper-pearson of patients")
    half = float(student.ppf(0.975, freedom)) * float(np.sqrt(variance)) / (share * (1 - share))
    centre = float(np.log(share / (1 - share)))
    low, high = (float(1 / (1 + np.exp(-(centre + sign * half)))) for sign in (-1, 1))
    method = "images plus jackknife by patient, logit scale"
    return Interval(estimate=share, low=low, high=high, n=n, method=method)


def ratios(synthetic: Floats, real: Floats, patients: Indices) -> tuple[Doubles, Indices]:
    """d1/d2 of each synthetic image, d2 from another patient than d1, and the nearest patient; in [0, 1]."""
    first, other, row = first_and_other(synthetic, real, patients)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(other > 0, first / other, 1.0)
    return found, patients[row]


def distance_ratio(
    synthetic: Floats,
    reference: tuple[Floats, Indices],
    control: tuple[Floats, Indices] | None,
    *,
    rng: np.random.Generator,
) -> Aggregate:
    """5th percentile of d1/d2 over the synthetic set, bootstrap by nearest patient, with the control's beside it."""
    values, nearby = ratios(synthetic, *reference)
    quantile = 0.05
    draws = [
        float(np.quantile(values[rows], quantile)) for rows in cluster_draws(nearby, rng=rng, repetitions=_BOOTSTRAP)
    ]
    low, high = (float(value) for value in np.quantile(draws, [0.025, 0.975]))
    interval = Interval(
        estimate=float(np.quantile(values, quantile)),
        low=low,
        high=high,
        n=len(np.unique(nearby)),
        method="percentile bootstrap by nearest patient",
    )
    beside = None if control is None else float(np.quantile(ratios(synthetic, *control)[0], quantile))
    return _aggregate(
        interval,
        name="nearest-neighbour distance ratio, 5th percentile",
        source="Zhao et al. 2021",
        control=beside,
        note="Small when an image is far nearer to one patient than to any other; the second neighbour is of another "
        "patient.",
    )


def _aggregate(interval: Interval, *, name: str, source: str, control: float | None, note: str) -> Aggregate:
    return Aggregate(
        name=name,
        source=source,
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        unit="distinct nearest reference patients",
        control=control,
        control_means="" if control is None else "the same synthetic set against the control",
        method=interval.method,
        note=note,
    )
