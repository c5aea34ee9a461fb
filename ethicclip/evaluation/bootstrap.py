"""Intervals by resampling patients, for any score of `ethicclip.evaluation.metrics`.

The unit is the patient: two eyes of one person are not two observations, and an interval over images would be too
narrow. Patients are drawn with replacement, all their images with them, and every score is computed anew.

From the resamples only the standard error is taken; the interval is a t interval on the logit scale of the score's
range. Percentile and BCa intervals were measured first and rejected: with 10 positive patients of 100 and a true AUROC
of .98 they covered .78 and .86 instead of .95 (this one .92; over five such worlds and six scores .92 to .99), because
a percentile interval cannot reach beyond what the few positives show. A small form of that measurement is kept as a
test. Degrees of freedom come from the patients of each class (a sensitivity over 8 patients has 7, however many healthy
eyes stand beside them), joined by Satterthwaite's formula where several classes share in a score.

Where the sample has no error at all, every resample agrees and a bootstrap would claim certainty. There the bound is
that of Clopper and Pearson for m patients: (alpha/2)^(1/m). It is exact for a proportion, and valid for an AUROC (m
disjoint positive-negative pairs, all ranked rightly) and for the average over k classes (m disjoint k-tuples, all
right, and the mean of the recalls is at least the k-th root of their product); for kappa, F1 and average precision it
is a rule of thumb.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import special

from ethicclip.evaluation.metrics import Array, Indices, Weights

Statistic = Callable[[Weights], Array]
"""Weights (b, n) -> values (b, ...)."""

Key = TypeVar("Key", bound=Hashable)

METHOD = "patient bootstrap standard error, t interval on the logit scale"
EDGE_METHOD = "no error in the sample: (alpha/2)^(1/m) bound for m patients"
FEW_PATIENTS = 5
# Small enough for a chunk to stay in the processor's cache, which is twice as fast.
_CHUNK_CELLS = 500_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score with its interval; never a bare number.

    Attributes:
        estimate: The score over all images; None when it is undefined.
        low, high: The interval; None when there is none.
        n: Images it rests on.
        patients: Patients they come from (images, where patients cannot be told apart).
        method: How the interval was made.
        reason: Why something is missing or weak; empty when nothing is.
        undefined_resamples: Resamples in which the score did not exist, for example because a class vanished.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    patients: int = 0
    method: str = ""
    reason: str = ""
    undefined_resamples: int = 0

    def to_json(self) -> dict[str, Any]:
        """The object written to metrics.json; an undefined score has no interval and says why."""
        if self.estimate is None:
            return {"estimate": None, "reason": self.reason, "n": self.n, "patients": self.patients}
        shown: dict[str, Any] = {
            "estimate": self.estimate,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "patients": self.patients,
            "method": self.method,
        }
        if self.undefined_resamples:
            shown["undefined_resamples"] = self.undefined_resamples
        if self.reason:
            shown["reason"] = self.reason
        return shown

    def __str__(self) -> str:
        if self.estimate is None:
            return f"undefined ({self.reason})"
        if self.low is None or self.high is None:
            return f"{self.estimate:.3f} [no interval]"
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One score to put an interval on.

    Attributes:
        statistic: Name of the statistic that it is read from, so that many scores share one computation.
        value: Values of the statistic (b, ...) -> the score (b,), NaN where undefined.
        rows: Which images it rests on, bool (n,).
        rarest: Patients of the rarest class it needs; the bound at the edge comes from it.
        freedom: Degrees of freedom of its standard error; `rarest` - 1 when None.
        low_end, high_end: The score's range.
        floor_variance: Variance that resampling cannot show, added to the bootstrap's (see `unseen_variance`).
        edge_power: k of a mean over k classes, 1 otherwise; for the bound at the edge.
        undefined: What to say when the score does not exist.
    """

    statistic: str
    value: Callable[[Array], Array]
    rows: npt.NDArray[np.bool_]
    rarest: int
    freedom: float | None = None
    low_end: float = 0.0
    high_end: float = 1.0
    floor_variance: float = 0.0
    edge_power: int = 1
    undefined: str = "a class has no image"


@dataclass(frozen=True, kw_only=True)
class Resampler:
    """Draws patients with replacement.

    Attributes:
        groups: Patient index of each image, shape (n,), 0 ... patients-1, none missing.
        resamples: How many.
        seed: Of the draw; the same seed draws the same patients for every score.
        level: Of the intervals.
    """

    groups: Indices
    resamples: int = 2000
    seed: int = 0
    level: float = 0.95

    def weights(self) -> Iterator[Weights]:
        """Chunks (b, n) of how often each image was drawn; their union does not depend on the chunk size."""
        patients = int(self.groups.max()) + 1
        rng = np.random.default_rng(self.seed)
        chunk = max(1, _CHUNK_CELLS // max(len(self.groups), 1))
        for start in range(0, self.resamples, chunk):
            rows = min(chunk, self.resamples - start)
            drawn = rng.integers(0, patients, size=(rows, patients), dtype=np.int64)
            flat = (drawn + np.arange(rows)[:, None] * patients).ravel()
            counts = np.bincount(flat, minlength=rows * patients).reshape(rows, patients)
            yield counts[:, self.groups].astype(np.float64)

    def replicate(self, statistics: Mapping[str, Statistic]) -> dict[str, Array]:
        """Every statistic on the same resamples; values (resamples, ...)."""
        parts: dict[str, list[Array]] = {name: [] for name in statistics}
        for weights in self.weights():
            for name, function in statistics.items():
                parts[name].append(np.asarray(function(weights)))
        return {name: np.concatenate(values) for name, values in parts.items()}

    def estimates(self, statistics: Mapping[str, Statistic], scores: Mapping[Key, Score]) -> dict[Key, Estimate]:
        """Each score with its interval, all on the same resamples."""
        replicates = self.replicate(statistics)
        whole = np.ones((1, len(self.groups)))
        observed = {name: np.asarray(function(whole)) for name, function in statistics.items()}
        return {
            key: self._estimate(
                score, float(score.value(observed[score.statistic])[0]), score.value(replicates[score.statistic])
            )
            for key, score in scores.items()
        }

    def bands(self, compute: Statistic) -> tuple[Array, Array]:
        """Pointwise percentile bands of a curve, for figures: lower and upper, shape (k,)."""
        values = self.replicate({"curve": compute})["curve"]
        values = values[~np.isnan(values).any(axis=1)]
        if not len(values):
            empty = np.full(values.shape[1], np.nan)
            return empty, empty
        tail = (1 - self.level) / 2
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        return low, high

    def _estimate(self, score: Score, estimate: float, replicates: Array) -> Estimate:
        n = int(score.rows.sum())
        patients = len(np.unique(self.groups[score.rows]))
        if np.isnan(estimate):
            return Estimate(estimate=None, n=n, patients=patients, reason=score.undefined)
        defined = replicates[~np.isnan(replicates)]
        low, high, method, reason = _interval(score, estimate, defined, alpha=1 - self.level, total=len(replicates))
        return Estimate(
            estimate=estimate,
            low=low,
            high=high,
            n=n,
            patients=patients,
            method=method,
            reason=reason,
            undefined_resamples=len(replicates) - len(defined),
        )


def patient_indices(patients: Sequence[str]) -> Indices:
    """Patient names -> 0 ... p-1 in order of first appearance."""
    order = {name: index for index, name in enumerate(dict.fromkeys(patients))}
    return np.array([order[name] for name in patients], dtype=np.int64)


def patient_folds(groups: Indices, folds: int, *, seed: int) -> Indices:
    """The fold of each image, 0 ... folds-1, with all images of a patient in one; fewer folds for fewer patients."""
    patients = int(groups.max()) + 1
    order = np.random.default_rng(seed).permutation(patients)
    return np.asarray(order[groups] % max(1, min(folds, patients)), dtype=np.int64)


def unseen_variance(recalls: Array, patients: Indices) -> float:
    """Variance of a mean recall that a bootstrap misses because a class is wholly right or wholly wrong.

    For such a class of m patients the proportion (x + 1) / (m + 2) stands in for 0 or 1.

    Args:
        recalls: Recall of each class, shape (k,).
        patients: Patients of each class, shape (k,).
    """
    at_edge = (recalls == 0) | (recalls == 1)
    return float(np.where(at_edge, _shrunk_variance(recalls, patients), 0.0).sum() / len(recalls) ** 2)


def freedom_of_mean(recalls: Array, patients: Indices) -> float:
    """Degrees of freedom of a mean of recalls: Satterthwaite's, from the variance and patients of each class."""
    return satterthwaite(_shrunk_variance(recalls, patients), patients)


def freedom_of_ranking(patients: Indices) -> float:
    """Degrees of freedom of an AUROC from its positive and negative patients, taken as equally variable."""
    return satterthwaite(1.0 / np.maximum(patients, 1), patients)


def _shrunk_variance(recalls: Array, patients: Indices) -> Array:
    counts = np.maximum(patients, 1)
    shrunk = (np.nan_to_num(recalls) * counts + 1) / (counts + 2)
    return np.asarray(shrunk * (1 - shrunk) / counts)


def satterthwaite(variances: Array, patients: Indices) -> float:
    """Degrees of freedom of a sum of independent parts: (sum v)^2 / sum(v^2 / (m - 1)), v of m patients each."""
    return float(variances.sum() ** 2 / (variances**2 / np.maximum(patients - 1, 1)).sum())


def _interval(
    score: Score, estimate: float, defined: Array, *, alpha: float, total: int
) -> tuple[float | None, float | None, str, str]:
    few = f"only {score.rarest} patient(s) in the rarest class" if score.rarest < FEW_PATIENTS else ""
    if score.rarest < 2:
        return score.low_end, score.high_end, "the whole range", few + ": nothing shows how patients differ"
    span = score.high_end - score.low_end
    place = (estimate - score.low_end) / span
    if place in (0.0, 1.0):
        bound = (alpha / 2) ** (1 / (score.rarest * score.edge_power))
        inner = estimate + (1 if place == 0.0 else -1) * (1 - bound) * span
        return min(estimate, inner), max(estimate, inner), EDGE_METHOD, few
    if len(defined) < max(20, total // 2):
        return None, None, "", f"the score exists in only {len(defined)} of {total} resamples"
    error = float(np.sqrt(defined.var(ddof=1) + score.floor_variance)) / span
    freedom = score.rarest - 1 if score.freedom is None else score.freedom
    reach = float(special.stdtrit(freedom, 1 - alpha / 2)) * error / (place * (1 - place))
    centre = np.log(place / (1 - place))
    low, high = (float(1 / (1 + np.exp(-np.clip(centre + side * reach, -700, 700)))) for side in (-1, 1))
    return score.low_end + span * low, score.low_end + span * high, METHOD, few
