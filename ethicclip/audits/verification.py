"""Geometric verification: do the vessels of two pictures lie on one another under one transformation?

Each matched keypoint carries place, size and direction, so a single match proposes a whole similarity
transformation and no random sampling is needed: every match is tried, the best is refined to an affine map, and what
agrees in place, direction and scale is counted. The result is the same for any number of workers.

The score is an *a contrario* significance (Desolneux, Moisan and Morel 2000; Moisan and Stival 2004): minus the
decimal logarithm of the number of hypotheses times the binomial probability that so many unrelated matches agree. Eyes
are not unrelated clutter, so it is a ranking, and its threshold is calibrated on pairs of other patients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from ethicclip.audits.description.local import LocalFeatures

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Complexes = npt.NDArray[np.complex128]


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
_NONE = np.zeros((0, 0), dtype=np.float32)
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
    source, target = _complex(query.places[rows]), _complex(candidate.places[columns])
    turn = _wrapped(candidate.angles[columns].astype(np.float64) - query.angles[rows])
    growth = np.log(candidate.sizes[columns].astype(np.float64) / query.sizes[rows])
    found, agree = _best_map(source, target, turn, growth, tolerances)
    return _judge(source, target, agree, found, closeness, candidate.area, tolerances)


def match(query: LocalFeatures, candidate: LocalFeatures, tolerances: Tolerances) -> tuple[Indices, Indices, Doubles]:
    """Distinctive matches, best first: rows of the query, rows of the candidate, and the ratio of distances."""
    first = query.descriptors[: tolerances.queries].astype(np.float32)
    second = candidate.descriptors.astype(np.float32)
    # Products of bytes sum below 2**24, so float32 is exact and the result does not depend on the library's threads.
    squared = np.asarray(cv2.gemm(first, second, -2.0, _NONE, 0.0, flags=cv2.GEMM_2_T), dtype=np.float32)
    squared += np.einsum("nd,nd->n", second, second)
    squared += np.einsum("nd,nd->n", first, first)[:, None]
    nearest = squared.argmin(axis=1)
    best = np.take_along_axis(squared, nearest[:, None], axis=1)[:, 0]
    # The runner-up must stand elsewhere: keypoints repeat at one place with several sizes and directions.
    beside = np.abs(np.subtract.outer(candidate.places[nearest, 0], candidate.places[:, 0])) <= _APART
    beside &= np.abs(np.subtract.outer(candidate.places[nearest, 1], candidate.places[:, 1])) <= _APART
    squared[beside] = np.inf
    second_best = squared.min(axis=1)
    second_best[np.isinf(second_best)] = 1.0
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


@dataclass(frozen=True)
class _Map:
    """z to ``turn * z + shear * conj(z) + shift``: every affine map of the plane, places as complex numbers."""

    turn: complex
    shear: complex
    shift: complex

    @property
    def determinant(self) -> float:
        """Growth of areas."""
        return abs(self.turn) ** 2 - abs(self.shear) ** 2

    @property
    def stretch(self) -> float:
        """Ratio of the singular values."""
        long, short = abs(self.turn) + abs(self.shear), abs(abs(self.turn) - abs(self.shear))
        return long / max(short, 1e-12)

    def matrix(self) -> Doubles:
        """The same for (x, y, 1), shape (2, 3)."""
        p, q, s = self.turn, self.shear, self.shift
        return np.array([[p.real + q.real, q.imag - p.imag, s.real], [p.imag + q.imag, p.real - q.real, s.imag]])


_STAY = _Map(1 + 0j, 0j, 0j)


def _complex(places: npt.NDArray[np.floating]) -> Complexes:
    return np.asarray(places[:, 0].astype(np.float64) + 1j * places[:, 1].astype(np.float64))


def _best_map(
    source: Complexes, target: Complexes, turn: Doubles, growth: Doubles, tolerances: Tolerances
) -> tuple[_Map, Flags]:
    """The affine map with the most agreeing matches, and which they are."""
    # Single precision: every match against every other is most of the work, and the tolerance is coarse.
    here, there = source.astype(np.complex64), target.astype(np.complex64)
    heading = np.exp(1j * turn).astype(np.complex64)
    size = growth.astype(np.float32)
    factor = np.exp(size) * heading
    shift = there - factor * here
    error = factor[:, None] * here[None, :]
    error += shift[:, None]
    error -= there[None, :]
    reach = np.float32(tolerances.place_coarse) * np.maximum(np.float32(1.0), np.exp(size))
    near = error.real**2 + error.imag**2 < (reach**2)[:, None]
    # Few are near; only they are looked at again.
    rows, columns = np.nonzero(near)
    along = heading[rows].real * heading[columns].real + heading[rows].imag * heading[columns].imag
    agree = (along > np.cos(tolerances.direction)) & (np.abs(size[columns] - size[rows]) < tolerances.log_scale)
    rows, columns = rows[agree], columns[agree]
    counts = np.bincount(rows, minlength=len(here))
    best_map, best_agree = _STAY, np.zeros(len(here), dtype=np.bool_)
    tried = np.lexsort((np.arange(len(counts)), -counts))[:2]
    for row in tried:
        if counts[row] < 3 or counts[row] <= 0.5 * counts[tried[0]]:
            continue
        start = np.zeros(len(here), dtype=np.bool_)
        start[columns[rows == row]] = True
        found, inside = _refined(source, target, heading, growth, start, tolerances)
        if np.count_nonzero(inside) > np.count_nonzero(best_agree):
            best_map, best_agree = found, inside
    return best_map, best_agree


def _refined(
    source: Complexes,
    target: Complexes,
    heading: npt.NDArray[np.complex64],
    growth: Doubles,
    agree: Flags,
    tolerances: Tolerances,
) -> tuple[_Map, Flags]:
    found, inside, nothing = _STAY, agree, np.zeros(len(source), dtype=np.bool_)
    for step in range(4):
        rows = np.flatnonzero(inside)
        if len(rows) < 2:
            return found, nothing
        full = step > 0 and len(rows) >= 8
        found = _affine(source[rows], target[rows]) if full else _similarity(source[rows], target[rows])
        determinant = found.determinant
        if not 0.02 < determinant < 50 or found.stretch > 2.5:
            return found, nothing
        scale, ahead = determinant**0.5, found.turn / abs(found.turn)
        error = found.turn * source + found.shear * np.conj(source) + (found.shift - target)
        reach = tolerances.place_fine * max(1.0, scale) * (2.0 if step == 0 else 1.0)
        before = inside
        inside = (
            (error.real**2 + error.imag**2 < reach**2)
            & (heading.real * ahead.real + heading.imag * ahead.imag > math.cos(tolerances.direction))
            & (np.abs(growth - math.log(scale)) < tolerances.log_scale)
        )
        if step > 1 and np.array_equal(inside, before):
            break
    return found, inside


def _similarity(here: Complexes, there: Complexes) -> _Map:
    middle, aim = complex(here.mean()), complex(there.mean())
    centred = here - middle
    power = float(np.vdot(centred, centred).real)
    turn = complex(np.vdot(centred, there - aim)) / power if power > 0 else 1 + 0j
    return _Map(turn, 0j, aim - turn * middle)


def _affine(here: Complexes, there: Complexes) -> _Map:
    middle, aim = complex(here.mean()), complex(there.mean())
    z, w = here - middle, there - aim
    # Normal equations of w = turn z + shear conj(z), whose matrix is [[power, conj(skew)], [skew, power]].
    power, skew = float(np.vdot(z, z).real), complex(np.dot(z, z))
    first, second = complex(np.vdot(z, w)), complex(np.dot(z, w))
    determinant = power**2 - abs(skew) ** 2
    if determinant <= 1e-9 * power**2:
        # All on one line.
        return _similarity(here, there)
    turn = (power * first - skew.conjugate() * second) / determinant
    shear = (power * second - skew * first) / determinant
    return _Map(turn, shear, aim - turn * middle - shear * middle.conjugate())


def fit_similarity(source: Doubles, target: Doubles) -> Doubles:
    """Least-squares rotation, scale and shift from `source` to `target` (Umeyama 1991, planar), shape (2, 3)."""
    return _similarity(_complex(source), _complex(target)).matrix()


def fit_affine(source: Doubles, target: Doubles) -> Doubles:
    """Least-squares affine map from `source` to `target`, shape (2, 3)."""
    return _affine(_complex(source), _complex(target)).matrix()


def _judge(
    source: Complexes,
    target: Complexes,
    agree: Flags,
    found: _Map,
    closeness: Doubles,
    area: float,
    tolerances: Tolerances,
) -> Verification:
    cells = [_cells(points, tolerances.cell) for points in (source, target)]
    places = len(_distinct(cells, np.arange(len(source))))
    inside = _distinct(cells, np.flatnonzero(agree))
    affine = found.matrix()
    inliers = len(inside)
    if inliers < 3:
        return Verification(score=0.0, inliers=inliers, matches=places, affine=affine, spread=0.0)
    scale = found.determinant**0.5
    reach = tolerances.place_fine * max(1.0, scale)
    chance = min(
        0.5,
        np.pi * reach**2 / max(area, 0.05) * (tolerances.direction / np.pi) * min(1.0, tolerances.log_scale / 1.2),
    )
    score = significance(inliers, places, chance)
    # Closer descriptors weigh a little more, which also leaves no two pairs with the same score.
    score *= 1.0 + 0.25 * float(np.mean(1.0 - closeness[inside]))
    apart = source[inside] - source[inside].mean()
    power, skew = float(np.vdot(apart, apart).real), abs(np.dot(apart, apart))
    # Half of it is the root of the determinant of the scatter matrix.
    spread = 4 * np.pi * 0.5 * max(0.0, power**2 - skew**2) ** 0.5 / (inliers - 1)
    return Verification(score=max(0.0, score), inliers=inliers, matches=places, affine=affine, spread=spread)


def _cells(points: Complexes, side: float) -> Indices:
    """A number for the square cell that each point lies in."""
    column, row = np.floor(points.real / side), np.floor(points.imag / side)
    return np.asarray((column * _ROW_OF_CELLS + row).astype(np.int64))


def _distinct(cells: Sequence[Indices], rows: Indices) -> Indices:
    """One match for each cell of the source and each of the target."""
    for one in cells:
        _, first = np.unique(one[rows], return_index=True)
        first.sort()
        rows = rows[first]
    return rows


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
