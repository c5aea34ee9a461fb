"""Geometric verification: do the vessels of two pictures lie on one another under one transformation?

Each matched keypoint carries place, size and direction, so a single match proposes a whole similarity
transformation and no random sampling is needed: every match is tried, the best is refined to an affine map, and what
agrees in place, direction and scale is counted. The result is the same for any number of workers.

The score is an *a contrario* significance (Desolneux, Moisan and Morel 2000; Moisan and Stival 2004): minus the
decimal logarithm of the number of hypotheses times the binomial probability that so many unrelated matches agree. Eyes
are not unrelated clutter, so it is a ranking, and its threshold is calibrated on pairs of other patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from ethicclip.audits.description.local import LocalFeatures

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """What counts as agreement.

    Attributes:
        queries: Most keypoints of the query that are matched, the strongest first.
        matches: Most matches looked at, the most distinctive first.
        ratio: A match is kept when its distance is at most this share of the runner-up's.
        place_coarse, place_fine: Distance in radii of the field, for the single-match proposal and for the fit.
        direction: Radians. log_scale: Natural logarithm of the ratio of sizes.
        cell: Side of the cells, in radii, that count as one place.
    """

    queries: int = 400
    matches: int = 200
    ratio: float = 0.97
    place_coarse: float = 0.08
    place_fine: float = 0.035
    direction: float = 0.4
    log_scale: float = 0.5
    cell: float = 0.03


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The evidence for one pair of pictures.

    Attributes:
        score: Significance (decimal logarithm units); continuous; 0 for no agreement.
        inliers: Distinct places that agree.
        matches: Distinct places that were matched.
        affine: Maps (x, y, 1) of the first picture to the second, in radii of the field from its centre; (2, 3).
        spread: Area of the ellipse through the agreeing places (two standard deviations), squared radii.
    """

    score: float
    inliers: int
    matches: int
    affine: Doubles
    spread: float


IDENTITY: Doubles = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_NEAREST = 6
_APART = 0.05
"""Radii of the field between a best match and its runner-up."""
_ROW_OF_CELLS = 1 << 20
"""More cells than there are in a row, so that one number names a cell."""

NOTHING = Verification(score=0.0, inliers=0, matches=0, affine=IDENTITY, spread=0.0)


def verify_pair(query: LocalFeatures, candidate: LocalFeatures, tolerances: Tolerances) -> Verification:
    """Look for one transformation that lays `query` on `candidate` (mirror the query to ask for a flip)."""
    if len(query) < 3 or len(candidate) < 3:
        return NOTHING
    rows, columns, closeness = match(query, candidate, tolerances)
    if len(rows) < 3:
        return NOTHING
    source = query.places[rows].astype(np.float64)
    target = candidate.places[columns].astype(np.float64)
    turn = _wrapped(candidate.angles[columns].astype(np.float64) - query.angles[rows])
    growth = np.log(candidate.sizes[columns].astype(np.float64) / query.sizes[rows])
    affine, agree = _best_map(source, target, turn, growth, tolerances)
    return _judge(source, target, agree, affine, closeness, candidate.area, tolerances)


def match(query: LocalFeatures, candidate: LocalFeatures, tolerances: Tolerances) -> tuple[Indices, Indices, Doubles]:
    """Distinctive matches, best first: rows of the query, rows of the candidate, and the ratio of distances."""
    first = query.descriptors[: tolerances.queries].astype(np.float32)
    second = candidate.descriptors.astype(np.float32)
    # Products of bytes sum below 2**24, so float32 is exact and the result does not depend on the library's threads.
    squared, nearby = faiss.knn(first, second, min(_NEAREST, len(second)))
    nearest = nearby[:, 0]
    best = squared[:, 0]
    # The runner-up must stand elsewhere: keypoints repeat at one place with several sizes and directions.
    places = candidate.places[nearby]
    apart = np.abs(places - places[:, :1]).max(axis=2) > _APART
    apart[:, -1] = True
    second_best = squared[np.arange(len(first)), apart.argmax(axis=1)]
    ratio = np.sqrt(np.maximum(best, 0.0) / np.maximum(second_best, 1.0)).astype(np.float64)
    good = ratio <= tolerances.ratio
    chosen = np.flatnonzero(good)
    order = chosen[np.lexsort((chosen, ratio[chosen]))]
    # One to one: the most distinctive query keeps the candidate's keypoint.
    _, keep = np.unique(nearest[order], return_index=True)
    order = order[np.sort(keep)][: tolerances.matches]
    return order.astype(np.int64), nearest[order].astype(np.int64), ratio[order]


def _wrapped(angles: Doubles) -> Doubles:
    return np.asarray((angles + np.pi) % (2 * np.pi) - np.pi)


def _best_map(
    source: Doubles, target: Doubles, turn: Doubles, growth: Doubles, tolerances: Tolerances
) -> tuple[Doubles, Flags]:
    """The affine map with the most agreeing matches, and which they are."""
    # Single precision: every match against every other is most of the work, and the tolerance is coarse.
    here = (source[:, 0] + 1j * source[:, 1]).astype(np.complex64)
    there = (target[:, 0] + 1j * target[:, 1]).astype(np.complex64)
    growth = growth.astype(np.float32)
    factor = np.exp(growth + 1j * turn).astype(np.complex64)
    shift = there - factor * here
    error = factor[:, None] * here[None, :]
    error += shift[:, None]
    error -= there[None, :]
    reach = np.float32(tolerances.place_coarse) * np.maximum(np.float32(1.0), np.exp(growth))
    heading = np.exp(1j * turn).astype(np.complex64)
    agree = (
        (error.real**2 + error.imag**2 < (reach**2)[:, None])
        & (np.outer(heading.real, heading.real) + np.outer(heading.imag, heading.imag) > np.cos(tolerances.direction))
        & (np.abs(growth[None, :] - growth[:, None]) < tolerances.log_scale)
    )
    counts = agree.sum(axis=1)
    best_affine, best_agree = IDENTITY, np.zeros(len(here), dtype=np.bool_)
    tried = np.lexsort((np.arange(len(counts)), -counts))[:2]
    for row in tried:
        if counts[row] < 3 or counts[row] <= 0.5 * counts[tried[0]]:
            continue
        affine, inside = _refined(source, target, turn, growth, agree[row], tolerances)
        if inside.sum() > best_agree.sum():
            best_affine, best_agree = affine, inside
    return best_affine, best_agree


def _refined(
    source: Doubles, target: Doubles, turn: Doubles, growth: Doubles, agree: Flags, tolerances: Tolerances
) -> tuple[Doubles, Flags]:
    affine, inside = IDENTITY, agree
    for step in range(4):
        if inside.sum() < 2:
            return affine, np.zeros(len(source), dtype=np.bool_)
        full = step > 0 and inside.sum() >= 8
        affine = fit_affine(source[inside], target[inside]) if full else fit_similarity(source[inside], target[inside])
        linear = affine[:, :2]
        determinant = _determinant(linear)
        if not 0.02 < determinant < 50 or _stretch(linear) > 2.5:
            return affine, np.zeros(len(source), dtype=np.bool_)
        rotation, scale = float(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])), determinant**0.5
        error = source @ linear.T + affine[:, 2] - target
        reach = tolerances.place_fine * max(1.0, scale) * (2.0 if step == 0 else 1.0)
        inside = (
            (np.einsum("ij,ij->i", error, error) < reach**2)
            & (np.abs(_wrapped(turn - rotation)) < tolerances.direction)
            & (np.abs(growth - np.log(scale)) < tolerances.log_scale)
        )
    return affine, inside


def _determinant(matrix: Doubles) -> float:
    """Of a 2 x 2 matrix."""
    return float(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])


def _stretch(linear: Doubles) -> float:
    """Ratio of the singular values of a 2 x 2 matrix."""
    square, product = float((linear**2).sum()), 2 * abs(_determinant(linear))
    root = max(0.0, square * square - product * product) ** 0.5
    return float(((square + root) / max(square - root, 1e-12)) ** 0.5)


def fit_similarity(source: Doubles, target: Doubles) -> Doubles:
    """Least-squares rotation, scale and shift from `source` to `target` (Umeyama 1991, planar), shape (2, 3)."""
    here, there = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    middle, aim = complex(here.sum()) / len(here), complex(there.sum()) / len(there)
    centred = here - middle
    power = float(np.vdot(centred, centred).real)
    factor = complex(np.vdot(centred, there - aim)) / power if power > 0 else 1 + 0j
    shift = aim - factor * middle
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def fit_affine(source: Doubles, target: Doubles) -> Doubles:
    """Least-squares affine map from `source` to `target`, shape (2, 3)."""
    design = np.column_stack([source, np.ones(len(source))])
    solution, *_ = np.linalg.lstsq(design, target, rcond=None)
    return np.asarray(solution.T)


def _judge(
    source: Doubles,
    target: Doubles,
    agree: Flags,
    affine: Doubles,
    closeness: Doubles,
    area: float,
    tolerances: Tolerances,
) -> Verification:
    places = _distinct(source, target, tolerances.cell, np.ones(len(source), dtype=np.bool_))
    inside = _distinct(source, target, tolerances.cell, agree)
    inliers = len(inside)
    if inliers < 3:
        return Verification(score=0.0, inliers=inliers, matches=len(places), affine=affine, spread=0.0)
    scale = _determinant(affine[:, :2]) ** 0.5
    reach = tolerances.place_fine * max(1.0, scale)
    chance = min(
        0.5,
        np.pi * reach**2 / max(area, 0.05) * (tolerances.direction / np.pi) * min(1.0, tolerances.log_scale / 1.2),
    )
    score = significance(inliers, len(places), chance)
    # Closer descriptors weigh a little more, which also leaves no two pairs with the same score.
    score *= 1.0 + 0.25 * float(np.mean(1.0 - closeness[inside]))
    covariance = np.cov(source[inside].T)
    spread = 4 * np.pi * float(np.sqrt(max(0.0, np.linalg.det(covariance))))
    return Verification(score=max(0.0, score), inliers=inliers, matches=len(places), affine=affine, spread=spread)


def _distinct(source: Doubles, target: Doubles, cell: float, among: Flags) -> Indices:
    """One match for each cell of the source and each of the target."""
    rows = np.flatnonzero(among)
    for points in (source, target):
        if not len(rows):
            break
        cells = np.floor(points[rows] / cell).astype(np.int64)
        _, first = np.unique(cells[:, 0] * _ROW_OF_CELLS + cells[:, 1], return_index=True)
        rows = rows[np.sort(first)]
    return rows.astype(np.int64)


def significance(inliers: int, matches: int, chance: float) -> float:
    """Minus log10 of the expected number of chance agreements: hypotheses times a binomial tail.

    One match proposes the map, so ``inliers - 1`` of ``matches - 1`` agree with it by chance with probability
    ``chance`` each; there are ``matches`` proposals.
    """
    trials, hits = matches - 1, inliers - 1
    if hits <= 0 or trials < hits:
        return 0.0
    counts = np.arange(hits, trials + 1, dtype=np.float64)
    logs = (
        gammaln(trials + 1)
        - gammaln(counts + 1)
        - gammaln(trials - counts + 1)
        + counts * np.log(chance)
        + (trials - counts) * np.log1p(-chance)
    )
    top = float(logs.max())
    tail = top + float(np.log(np.exp(logs - top).sum()))
    return float(-(np.log(matches) + tail) / np.log(10))
