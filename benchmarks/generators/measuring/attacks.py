"""Membership from what a generator gives away: scores of each picture under several generators, and figures of them.

Every generator is attacked in its turn and the others are its shadows (LiRA's design; Carlini et al. 2022, 2112.03570):
each saw a half of one pool drawn at random, so members and non-members differ by nothing else. Pure functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from ethicclip.audits.models.membership import Scores, auc, likelihood_ratios, rate_at

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


def squared_distances(pictures: Floats, samples: Floats) -> Scores:
    """Mean squared difference of each picture, (n, d), and each sample, (m, d); float64 (n, m)."""
    wide = pictures.shape[1]
    return np.stack([((samples - one).astype(np.float64) ** 2).sum(1) / wide for one in pictures])


def log_density(distances: Scores, width: float) -> Scores:
    """Log of a Gaussian kernel density of the samples at each picture, up to a constant.

    A soft nearest neighbour, in the place of GAN-Leaks' hard one (Chen et al. 2020, 1909.03935).

    Args:
        distances: As `squared_distances` gives them.
        width: Of the kernel, in grey levels.
    """
    return np.asarray(logsumexp(-distances / (2 * width**2), axis=1) - np.log(distances.shape[1]))


def difference(scores: Scores, inside: Flags) -> Scores:
    """Each generator's score less the mean of others that did not see the picture.

    Calibration as in GAN-Leaks and in Watson et al. 2022 (2111.08440).

    Args:
        scores: float64 (generators, pictures).
        inside: Which generator saw which picture, bool (generators, pictures); each was seen by half of them.
    """
    return np.stack([one - _others(scores, inside, number)[1].mean(0) for number, one in enumerate(scores)])


def ratios(scores: Scores, inside: Flags) -> Scores:
    """LiRA's log-likelihood ratio under each generator, the others being the shadows; arguments as `difference`."""
    found = []
    for number, one in enumerate(scores):
        seen, unseen = _others(scores, inside, number)
        side = np.zeros((2 * len(seen), scores.shape[1]), dtype=np.bool_)
        side[: len(seen)] = True
        found.append(likelihood_ratios(one, np.concatenate([seen, unseen]), side))
    return np.stack(found)


def _others(scores: Scores, inside: Flags, number: int) -> tuple[Scores, Scores]:
    """Scores of each picture under other generators that saw it and that did not, as many of each.

    Where half of all saw a picture, the others hold one less on the side of generator `number` itself. A mean of fewer
    scores is a noisier one, so that unequal sides would tell members from non-members without any memory (below
    chance, for LiRA): one of the larger side is left out.
    """
    others = np.delete(np.arange(len(scores)), number)
    # From the next one on, so that it is not always the same generator that is left out.
    others = np.roll(others, -number)
    each = len(scores) // 2 - 1
    sides = []
    for side in (inside[others], ~inside[others]):
        rows = others[np.argsort(~side, axis=0, kind="stable")[:each]]
        sides.append(np.take_along_axis(scores, rows, axis=0))
    return sides[0], sides[1]


def figures(scores: Scores, inside: Flags, *, rounds: int, seed: int) -> dict[str, Any]:
    """AUC, and true positives at 1 % and 10 % false ones, over all generators; intervals resample patients.

    Scores are centred by each generator's median, which does not ask who is a member. A patient drawn again brings its
    scores under all generators. A rate that rests on fewer than ten non-members is not run.

    Args:
        scores: float64 (generators, patients).
        inside: bool (generators, patients).
        rounds: Bootstrap rounds.
        seed: Of the bootstrap.
    """
    centred = scores - np.median(scores, axis=1, keepdims=True)
    random = np.random.default_rng(seed)
    draws = [random.integers(0, scores.shape[1], scores.shape[1]) for _ in range(rounds)]
    found: dict[str, Any] = {"auc": _with_interval(lambda a, b: auc(a, b), centred, inside, draws)}
    for rate in (0.1, 0.01):
        found[f"tpr_at_{rate:g}"] = _with_interval(lambda a, b, rate=rate: rate_at(a, b, rate), centred, inside, draws)
    return found


def control(scores: Scores, inside: Flags, *, rounds: int, seed: int) -> dict[str, Any]:
    """AUC of members against members, in halves drawn at random: at chance, or the attack is broken."""
    random = np.random.default_rng([seed, 0xC7])
    centred = scores - np.median(scores, axis=1, keepdims=True)
    half = random.random(scores.shape).argsort(1).argsort(1) < scores.shape[1] // 2
    draws = [random.integers(0, scores.shape[1], scores.shape[1]) for _ in range(rounds)]

    def members_only(columns: npt.NDArray[np.int64]) -> tuple[Scores, Scores]:
        mine, first, value = inside[:, columns], half[:, columns], centred[:, columns]
        return value[mine & first], value[mine & ~first]

    drawn = [auc(*sides).estimate for sides in map(members_only, draws) if min(len(side) for side in sides)]
    point = auc(*members_only(np.arange(scores.shape[1])))
    low, high = np.quantile(np.array(drawn, dtype=np.float64), (0.025, 0.975))
    return {"estimate": point.estimate, "low": float(low), "high": float(high), "n": point.n}


def _with_interval(measure: Any, scores: Scores, inside: Flags, draws: list[npt.NDArray[np.int64]]) -> dict[str, Any]:
    point = measure(scores[inside], scores[~inside])
    if point.estimate is None:
        return {"state": point.state, "reason": point.reason}
    drawn = []
    for columns in draws:
        mine, value = inside[:, columns], scores[:, columns]
        estimate = measure(value[mine], value[~mine]).estimate
        drawn.append(estimate)
    low, high = np.quantile(np.array(drawn, dtype=np.float64), (0.025, 0.975))
    return {"estimate": point.estimate, "low": float(low), "high": float(high), "n": point.n}
