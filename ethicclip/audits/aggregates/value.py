"""What an aggregate is: a value with interval, sample size, unit and its value on the control; never a verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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


def cluster_draws(clusters: Indices, *, rng: np.random.Generator, repetitions: int) -> list[Indices]:
    """Rows of each bootstrap draw of whole clusters, as many clusters as there are."""
    names, where = np.unique(clusters, return_inverse=True)
    order = np.argsort(where, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(where, minlength=len(names)))])
    members = [order[starts[i] : starts[i + 1]] for i in range(len(names))]
    return [
        np.concatenate([members[i] for i in rng.integers(0, len(names), size=len(names))]) for _ in range(repetitions)
    ]
