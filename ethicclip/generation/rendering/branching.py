"""Lays vessel pieces by Murray's law: main stems with their buds, then side branches, generation by generation.

Places are complex numbers here (x + iy, micrometres): a turn is a product, and one array operation moves all tips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from ethicclip.generation.findings import Eye

Points = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]
Places = npt.NDArray[np.complex128]
Flags = npt.NDArray[np.bool_]

Bud = tuple[float, float, float, float, bool]
"""Root of a side branch: x, y, heading in radians, diameter, whether arterial."""

STEP_UM = 100.0
DOMAIN_RADIUS_UM = 11_500.0
"""Vessels end this far from the middle between disc and fovea: outside every field up to 60 degrees."""

_SMALLEST_UM = 20.0
_BRANCHING_ANGLE = math.radians(78)


def daughters(mother_um: Values, ratio: Values, exponent: Values) -> tuple[Values, Values]:
    """Diameters of two daughters by Murray's law, the second being `ratio` of the first."""
    first = mother_um / (1 + ratio**exponent) ** (1 / exponent)
    return first, ratio * first


def _exponent(random: np.random.Generator, diameter_um: Values) -> Values:
    return np.where(diameter_um > 50, random.normal(2.1, 0.05, diameter_um.shape), 2.0)


@dataclass(frozen=True)
class Piece:
    """A batch of straight vessel pieces: ends (n, 2), diameters (n,), whether arterial (n,)."""

    start_um: Points
    end_um: Points
    diameter_um: Values
    artery: Flags
    trunk: bool


class Growth:
    """Collects pieces and bifurcations while the tree grows."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.bifurcations: list[Values] = []

    def add(self, start: Points, end: Points, diameter: Values, artery: Flags, *, trunk: bool) -> None:
        """Lay straight pieces."""
        self.pieces.append(Piece(start, end, diameter, artery, trunk))

    def split(self, random: np.random.Generator, mother: Values, ratio: Values) -> tuple[Values, Values]:
        """Diameters of the daughters of each mother, kept as bifurcations."""
        exponent = _exponent(random, mother)
        first, second = daughters(mother, ratio, exponent)
        self.bifurcations.append(np.stack([mother, first, second, exponent], axis=1))
        return first, second


def grow_trunk(
    random: np.random.Generator, growth: Growth, path: Points, diameter_um: float, *, artery: bool
) -> list[Bud]:
    """Lay one main stem; return the buds of its side branches: x, y, heading, diameter, artery."""
    buds = []
    diameters = np.empty(len(path) - 1)
    headings = np.arctan2(*np.diff(path, axis=0).T[::-1])
    here, current = 0, diameter_um
    # The first branch, near the disc, is often nearly as thick as the stem.
    next_split, major = random.uniform(900, 2600), random.random() < 0.75
    side = 1 if random.random() < 0.5 else -1
    while here < len(diameters):
        stop = min(len(diameters), max(here + 1, round(next_split / STEP_UM)))
        diameters[here:stop] = current
        here = stop
        if here >= len(diameters) or current < 28:
            diameters[here:] = current
            break
        first, second = growth.split(
            random, np.array([current]), np.array([random.uniform(*((0.62, 0.95) if major else (0.3, 0.75)))])
        )
        major = random.random() < 0.15
        share = float(first[0] ** 2 / (first[0] ** 2 + second[0] ** 2))
        angle = random.normal(_BRANCHING_ANGLE, 0.16) * share
        buds.append(
            (path[here, 0], path[here, 1], headings[here] + side * angle, float(second[0]), artery),
        )
        current = float(first[0])
        side = -side if random.random() < 0.75 else side
        next_split = here * STEP_UM + random.uniform(12, 26) * current
    growth.add(path[:-1], path[1:], diameters, np.full(len(diameters), artery), trunk=True)
    return buds


@dataclass(frozen=True)
class _Tips:
    """Growing ends of one generation of side branches."""

    place: Places
    heading: Places
    diameter: Values
    artery: Flags
    upper: Flags

    def keep(self, chosen: Flags) -> _Tips:
        return _Tips(*(getattr(self, item.name)[chosen] for item in fields(self)))

    def split(self, random: np.random.Generator, growth: Growth) -> _Tips:
        """Two daughters each, the thicker one turning less."""
        count = len(self.place)
        ratio = np.where(self.diameter <= 50, 0.8, random.uniform(0.45, 1.0, count))
        first, second = growth.split(random, self.diameter, ratio)
        total = random.normal(_BRANCHING_ANGLE, 0.16, count) * random.choice([-1.0, 1.0], count)
        share = second**2 / (first**2 + second**2)
        return _Tips(
            place=np.concatenate([self.place, self.place]),
            heading=np.concatenate(
                [self.heading * np.exp(1j * total * share), self.heading * np.exp(-1j * total * (1 - share))]
            ),
            diameter=np.concatenate([first, second]),
            artery=np.concatenate([self.artery, self.artery]),
            upper=np.concatenate([self.upper, self.upper]),
        )


def grow_branches(random: np.random.Generator, growth: Growth, eye: Eye, buds: list[Bud]) -> None:
    """Grow all side branches, one generation of bifurcations at a time."""
    table = np.array(buds, dtype=np.float64)
    tips = _Tips(
        table[:, 0] + 1j * table[:, 1], np.exp(1j * table[:, 2]), table[:, 3], table[:, 4] > 0, table[:, 1] < 0
    )
    while len(tips.place):
        tips = _grow_generation(random, growth, eye, tips)
        tips = tips.keep(tips.diameter > _SMALLEST_UM * 1.35)
        if len(tips.place):
            tips = tips.split(random, growth)
            tips = tips.keep(tips.diameter > _SMALLEST_UM)


def _grow_generation(random: np.random.Generator, growth: Growth, eye: Eye, tips: _Tips) -> _Tips:
    """Lay every tip's branch up to its next bifurcation; return those that are still growing there."""
    disc = complex(*eye.anatomy.disc_centre_um)
    avascular = eye.anatomy.fovea_radius_um * 1.5
    wander = 0.022 * (0.5 + 1.6 * eye.anatomy.tortuosity)
    place, heading, count = tips.place, tips.heading, len(tips.place)
    steps = np.maximum(5, np.rint(random.uniform(18, 30, count) * tips.diameter / STEP_UM)).astype(np.int64)
    # Towards the macula those that bud inwards, outwards the others.
    inward = ((heading * place.conj()).real < 0.1 * np.abs(place)) & (place.real < disc.real - 700)
    goal = random.normal(0, 600, count) + 1j * random.normal(0, 600, count)
    most = int(steps.max())
    drifts = wander * random.standard_normal((most, count))
    outside = np.where(tips.upper, -1.0, 1.0)
    # Branches turn towards where they go, the thin ones faster.
    pull = np.clip(2.2 / tips.diameter, 0.03, 0.075)
    drift, alive = np.zeros(count), np.ones(count, dtype=np.bool_)
    path, laid = [place], []
    for step in range(most):
        active = alive & (step < steps)
        from_disc = place - disc
        away = from_disc / (np.abs(from_disc) + 1.0) + 0.9 * place / (np.abs(place) + 1.0)
        error = np.angle(np.where(inward, goal - place, away) * heading.conj())
        drift = 0.88 * drift + drifts[step]
        heading = np.where(active, heading * np.exp(1j * (pull * error + drift)), heading)
        moved = place + STEP_UM * heading
        dying = (np.abs(moved) < avascular) | (np.abs(moved - disc.real / 2) > DOMAIN_RADIUS_UM)
        # No branch crosses the horizontal raphe temporal to the disc.
        dying |= (outside * moved.imag < -220) & (moved.real < disc.real - 600)
        laid.append(active & ~dying)
        place = np.where(active, moved, place)
        path.append(place)
        alive = alive & ~(dying & active)
    chosen = np.array(laid)
    column = np.broadcast_to(np.arange(count), chosen.shape)[chosen]
    points = np.array(path).view(np.float64).reshape(most + 1, count, 2)
    growth.add(points[:-1][chosen], points[1:][chosen], tips.diameter[column], tips.artery[column], trunk=False)
    return _Tips(place, heading, tips.diameter, tips.artery, tips.upper).keep(alive)
