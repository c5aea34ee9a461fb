"""A lower bound on epsilon from one training run with canaries (Steinke, Nasr, Jagielski 2023, 2305.08846).

Pure functions of counts. A bound of 0 does not mean private: it means that this attack proved nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ethicclip.errors import UsageError

MOST_EPSILON = 50.0

_HALVINGS = 50


@dataclass(frozen=True, kw_only=True)
class OneRunBound:
    """What the guesses certify.

    Attributes:
        epsilon: The lower bound; 0 when nothing is certified.
        confidence: One-sided, over the coins.
        delta: The delta of the mechanism under test.
        canaries: m, all canaries.
        guesses: r, guesses of the number chosen.
        correct: v of them.
        tried: How many numbers of guesses were tried (Bonferroni).
    """

    epsilon: float
    confidence: float
    delta: float
    canaries: int
    guesses: int
    correct: int
    tried: int

    def to_json(self) -> dict[str, float | int]:
        """JSON types."""
        return vars(self).copy()


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Probability of at least `correct` right guesses under an (epsilon, delta) private mechanism.

    Theorem 5.2 and appendix D of the paper: beta = P(Binomial(r, e^eps / (1 + e^eps)) >= v), plus 2 m delta alpha with
    alpha = max over i of P(v > Binomial >= v - i) / i.

    Raises:
        UsageError: Counts that cannot be.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise UsageError(f"{correct} right of {guesses} guesses about {canaries} canaries cannot be")
    share = 1.0 / (1.0 + math.exp(-epsilon))
    beta = float(stats.binom.sf(correct - 1, guesses, share))
    alpha = 0.0
    if correct and delta > 0:
        below = np.cumsum(stats.binom.pmf(np.arange(correct - 1, -1, -1), guesses, share))
        alpha = float((below / np.arange(1, correct + 1)).max())
    return min(1.0, beta + 2 * canaries * delta * alpha)


def epsilon_bound(canaries: int, guesses: int, correct: int, *, delta: float, confidence: float) -> float:
    """The largest epsilon rejected at `confidence`, for a number of guesses fixed beforehand; 0 when none is.

    Example:
        >>> [round(epsilon_bound(r, r, r, delta=0.0, confidence=0.95), 2) for r in (10, 40, 100, 1000)]
        [1.05, 2.55, 3.49, 5.81]
    """
    alpha = 1.0 - confidence
    if p_value(canaries, guesses, correct, 0.0, delta) >= alpha:
        return 0.0
    low, high = 0.0, MOST_EPSILON
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(canaries, guesses, correct, middle, delta) < alpha else (low, middle)
    return low


def one_run_bound(
    scores: npt.NDArray[np.float64],
    included: npt.NDArray[np.bool_],
    *,
    delta: float,
    confidence: float,
    numbers: Sequence[int] | None = None,
) -> OneRunBound:
    """Guess the coins from the scores and say what the guesses certify.

    The r/2 highest scores are guessed "in", the r/2 lowest "out", the rest is left open. Several r are tried; each is
    held to a Bonferroni share of the error.

    Args:
        scores: float64 (m,), higher where a canary looks more like one that was put in; made without the coins.
        included: bool (m,), the coins.
        delta: Of the mechanism under test.
        confidence: One-sided.
        numbers: The r to try, fixed beforehand; by default from a fiftieth of all canaries to all.
    """
    total = len(scores)
    if total != len(included) or total < 2:
        raise UsageError(f"{total} scores for {len(included)} coins")
    tried = list(default_numbers(total) if numbers is None else numbers)
    # Ties are broken by position, which knows nothing of the coins.
    order = np.argsort(-scores, kind="stable")
    best: tuple[float, int, int] = (0.0, tried[0], 0)
    for number in tried:
        high, low = order[: number // 2], order[total - number // 2 :]
        guesses = len(high) + len(low)
        correct = int(included[high].sum() + (~included[low]).sum())
        bound = epsilon_bound(total, guesses, correct, delta=delta, confidence=1.0 - (1.0 - confidence) / len(tried))
        if bound > best[0] or best[2] == 0:
            best = (bound, guesses, correct)
    return OneRunBound(
        epsilon=best[0],
        confidence=confidence,
        delta=delta,
        canaries=total,
        guesses=best[1],
        correct=best[2],
        tried=len(tried),
    )


def default_numbers(total: int) -> list[int]:
    """Even numbers of guesses from a fiftieth of all canaries (at least 10, where there are so many) to all."""
    even = {2 * (max(min(10, total), round(total * share)) // 2) for share in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)}
    return sorted(number for number in even if number >= 2)
