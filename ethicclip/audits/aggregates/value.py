"""What an aggregate is: a value with interval, sample size, unit and its value on the control; never a verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from ethicclip.audits.statistics import clopper_pearson

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One aggregate figure of the literature.

    Attributes:
        name: What it is called there.
        source: Where it is defined.
        estimate, low, high: The value and its interval; None when it was not run.
        n: Number of units behind it.
        unit: What `n` counts.
        control: The same figure where there can be no copying, to be read beside it; None where there is none.
        control_means: What `control` was measured on.
        level: Confidence of the interval.
        method: How the interval was made.
        note: How to read it, or why it was not run.
    """

    name: str
    source: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unit: str = "patients"
    control: float | None = None
    control_means: str = ""
    level: float = 0.95
    method: str = ""
    note: str = ""

    @property
    def ran(self) -> bool:
        """Whether there is a value."""
        return self.estimate is not None

    def to_json(self) -> dict[str, Any]:
        """As JSON types; an end that does not exist is null."""
        return {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its interval, before it gets a name."""

    estimate: float
    low: float
    high: float
    n: int
    method: str


def clustered_mean(values: Doubles, clusters: Indices, *, level: float = 0.95) -> Interval:
    """Mean with an interval by cluster: linearised variance of a ratio of cluster totals, t on clusters - 1.

    Args:
        values: One an image, float64 (n,), n > 0.
        clusters: What images share (their nearest patient, or their own), int64 (n,).
        level: Confidence.
    """
    mean = float(values.mean())
    _, where = np.unique(clusters, return_inverse=True)
    sums = np.bincount(where, weights=values - mean)
    count = len(sums)
    if count < 2:
        return Interval(estimate=mean, low=-np.inf, high=np.inf, n=count, method="one cluster: no interval")
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum())) / len(values)
    half = error * float(student.ppf(1 - (1 - level) / 2, count - 1))
    return Interval(estimate=mean, low=mean - half, high=mean + half, n=count, method="t interval by cluster")


def clustered_share(hits: npt.NDArray[np.bool_], clusters: Indices, *, level: float = 0.95) -> Interval:
    """Share with an interval by cluster on the logit scale; the exact bound of so many clusters at 0 and 1."""
    share, count = float(hits.mean()), len(np.unique(clusters))
    if share in (0.0, 1.0) or count < 2:
        exact = clopper_pearson(round(share * count), count, level=level)
        return Interval(estimate=share, low=exact.low, high=exact.high, n=count, method="clopper-pearson of clusters")
    plain = clustered_mean(hits.astype(np.float64), clusters, level=level)
    half = (plain.high - share) / (share * (1 - share))
    centre = float(np.log(share / (1 - share)))
    low, high = (1 / (1 + np.exp(-(centre + sign * half))) for sign in (-1, 1))
    return Interval(
        estimate=share, low=float(low), high=float(high), n=count, method="t interval by cluster, logit scale"
    )


def cluster_draws(clusters: Indices, *, rng: np.random.Generator, repetitions: int) -> list[Indices]:
    """Rows of each bootstrap draw of whole clusters, as many clusters as there are."""
    names, where = np.unique(clusters, return_inverse=True)
    order = np.argsort(where, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(where, minlength=len(names)))])
    members = [order[starts[i] : starts[i + 1]] for i in range(len(names))]
    return [
        np.concatenate([members[i] for i in rng.integers(0, len(names), size=len(names))]) for _ in range(repetitions)
    ]
