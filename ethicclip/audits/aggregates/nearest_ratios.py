"""Aggregates from nearest distances: authenticity (Alaa et al. 2022) and the nearest-neighbour distance ratio."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ethicclip.audits.aggregates.value import Aggregate, Interval, cluster_draws, clustered_share
from ethicclip.audits.search import nearest

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_BOOTSTRAP = 400


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


def authentic(synthetic: Floats, real: Floats, patients: Indices) -> tuple[npt.NDArray[np.bool_], Indices]:
    """Which synthetic images are authentic, and the patient nearest to each.

    An image is authentic when it is farther from its nearest real picture than that picture is from its nearest
    picture of another patient (Alaa et al. 2022, section 3.3; "another patient" in place of "another picture", since
    two eyes of one patient are alike).
    """
    distance, _, row = first_and_other(synthetic, real, patients)
    _, spacing, _ = first_and_other(real, real, patients)
    return distance > spacing[row], patients[row]


def authenticity(
    synthetic: Floats, reference: tuple[Floats, Indices], control: tuple[Floats, Indices] | None
) -> Aggregate:
    """Share of authentic images against the reference, with the same share against the control beside it."""
    hits, nearby = authentic(synthetic, *reference)
    interval = clustered_share(hits, nearby)
    beside = None if control is None else float(authentic(synthetic, *control)[0].mean())
    return _aggregate(
        interval,
        name="authenticity",
        source="Alaa et al. 2022",
        control=beside,
        note="It has no fixed null: without one copy it was measured between 0.47 and 0.88; only the difference from "
        "the control says anything.",
    )


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
