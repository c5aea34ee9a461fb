"""Membership figures from scores: AUC, and true positives at a fixed rate of false ones, each with its interval.

Pure functions of arrays; one score an independent unit (a patient, where patients are known).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Scores = npt.NDArray[np.float64]

SMALLEST_EXPECTED = 10
"""A rate of false positives is read off only where it means at least this many non-members."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval, or the reason why it was not computed.

    Attributes:
        estimate, low, high: None when `state` is not "DONE".
        n: Units it rests on.
        state: "DONE" or "NOT_RUN".
        reason: Why not.
        threshold_rate: For a true-positive rate: interval of the false-positive rate at the threshold used.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    state: str = "DONE"
    reason: str = ""
    threshold_rate: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        document = {name: value for name, value in vars(self).items() if value not in ("", None) or name == "estimate"}
        if self.threshold_rate is not None:
            document["threshold_rate"] = list(self.threshold_rate)
        return document


def auc(members: Scores, others: Scores, *, confidence: float = 0.95) -> Estimate:
    """Area under the ROC curve with Newcombe's interval (2006, method 5), which holds near 0 and 1 as well.

    Args:
        members: Scores of members, one a unit; higher is more like a member.
        others: Scores of non-members.
        confidence: Two-sided.
    """
    m, n = len(members), len(others)
    ranks = stats.rankdata(np.concatenate([members, others]))
    area = float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    half = (m + n) / 2

    def excess(theta: float) -> float:
        variance = theta * (1 - theta) * (1 + (half - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / (m * n)
        return abs(area - theta) - z * math.sqrt(max(0.0, variance))

    def root(inside: float, outside: float) -> float:
        if excess(outside) <= 0:
            return outside
        return float(optimize.brentq(excess, inside, outside))

    # At the very ends the variance is zero and would be taken for a root.
    inside = min(max(area, 1e-9), 1 - 1e-9)
    low = 0.0 if area <= 0 else root(inside, 1e-12)
    high = 1.0 if area >= 1 else root(inside, 1 - 1e-12)
    return Estimate(estimate=area, low=low, high=high, n=m + n)


def rate_at(members: Scores, others: Scores, false_rate: float, *, confidence: float = 0.95) -> Estimate:
    """The share of members over the threshold that `false_rate` of the non-members pass.

    The threshold is the smallest score that at most that share of non-members exceeds. The interval is Clopper and
    Pearson's at that threshold; `threshold_rate` is the same interval for the rate of false positives there.
    """
    needed = math.ceil(SMALLEST_EXPECTED / false_rate - 1e-9)
    if len(others) < needed:
        return Estimate(
            estimate=None,
            low=None,
            high=None,
            n=len(members),
            state="NOT_RUN",
            reason=f"{len(others)} non-members; a false-positive rate of {false_rate:g} needs {needed}",
        )
    allowed = math.floor(false_rate * len(others) + 1e-9)
    threshold = float(np.sort(others)[::-1][allowed])
    found, wrong = int((members > threshold).sum()), int((others > threshold).sum())
    low, high = proportion_interval(found, len(members), confidence)
    return Estimate(
        estimate=found / len(members),
        low=low,
        high=high,
        n=len(members),
        threshold_rate=proportion_interval(wrong, len(others), confidence),
    )


def proportion_interval(found: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share."""
    tail = (1 - confidence) / 2
    low = 0.0 if found == 0 else float(stats.beta.ppf(tail, found, total - found + 1))
    high = 1.0 if found == total else float(stats.beta.ppf(1 - tail, found + 1, total - found))
    return low, high


def likelihood_ratios(target: Scores, shadows: Scores, inside: npt.NDArray[np.bool_]) -> Scores:
    """LiRA (Carlini et al. 2022, 2112.03570): log-likelihood ratio of "in" against "out" for each unit.

    Args:
        target: Scores under the audited model, float64 (units,).
        shadows: Scores under each shadow model, float64 (shadows, units).
        inside: Whether a shadow was trained on the unit, bool (shadows, units); each unit is in some and out of some.

    Returns:
        float64 (units,). Means are each unit's own; the two variances are shared by all units, as the paper advises for
        few shadow models.
    """
    weights = inside.astype(np.float64)
    mean_in = (shadows * weights).sum(0) / weights.sum(0)
    mean_out = (shadows * (1 - weights)).sum(0) / (1 - weights).sum(0)
    centred = np.where(inside, shadows - mean_in, shadows - mean_out)
    # Two means a unit were taken from the data.
    freedom = max(1, inside.size - 2 * inside.shape[1])
    spread = math.sqrt(float((centred**2).sum()) / freedom) + 1e-12
    return np.asarray(stats.norm.logpdf(target, mean_in, spread) - stats.norm.logpdf(target, mean_out, spread))


def blind_scores(members: Scores, others: Scores, *, seed: int) -> tuple[Scores, Scores]:
    """How well the two sets are told apart without the model: cross-fitted ridge regression on plain features.

    A membership attack that is no better than this found a difference between the sets, not a memory of the model
    (Das et al. 2024, 2406.16201).

    Args:
        members: Features, float64 (m, f).
        others: Features, float64 (n, f).
        seed: Of the two folds.

    Returns:
        Held-out scores of members and of non-members.
    """
    features = np.concatenate([members, others])
    spread = features.std(0) + 1e-9
    features = (features - features.mean(0)) / spread
    side = np.concatenate([np.ones(len(members)), -np.ones(len(others))])
    fold = np.random.default_rng([seed, 0xB11D]).permutation(len(side)) % 2
    scores = np.empty(len(side))
    for held in (0, 1):
        train = fold != held
        x = np.column_stack([features[train], np.ones(train.sum())])
        weights = np.linalg.solve(x.T @ x + len(x) * np.eye(x.shape[1]), x.T @ side[train])
        scores[~train] = np.column_stack([features[~train], np.ones((~train).sum())]) @ weights
    return scores[: len(members)], scores[len(members) :]
