"""Grows the retinal vessel trees: arcades that curve round the macula, side branches by Murray's law.

Constants and their sources (all lengths in micrometres): d1 = d0 / (1 + a^g)^(1/g), d2 = a d1 with g = 2.1 +- .05
above 50 um and 2.0 below (facts used by RetinaSim); a bifurcation every 18 to 30 diameters; about 78 degrees between
daughters (Luo 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ethicclip.generation.findings import Eye, Quadrant

Points = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]

_STEP_UM = 90.0
_SMALLEST_UM = 15.0
_DOMAIN_RADIUS_UM = 11_500.0
_BRANCHING_ANGLE = math.radians(78)


@dataclass(frozen=True, kw_only=True)
class VesselTree:
    """All vessel pieces of an eye, in the right-eye frame.

    Attributes:
        start_um, end_um: (n, 2), the two ends of each straight piece.
        diameter_um: (n,), outer diameter.
        artery: (n,), True for arterial blood.
        trunk: (n,), True on the arcades' main stems.
        bifurcations: (m, 4): diameters of mother, first and second daughter, and the exponent used.
    """

    start_um: Points
    end_um: Points
    diameter_um: Values
    artery: npt.NDArray[np.bool_]
    trunk: npt.NDArray[np.bool_]
    bifurcations: Values


def daughters(mother_um: Values, ratio: Values, exponent: Values) -> tuple[Values, Values]:
    """Diameters of two daughters by Murray's law, the second being `ratio` of the first."""
    first = mother_um / (1 + ratio**exponent) ** (1 / exponent)
    return first, ratio * first


def _exponent(random: np.random.Generator, diameter_um: Values) -> Values:
    return np.where(diameter_um > 50, random.normal(2.1, 0.05, diameter_um.shape), 2.0)


def _smooth_path(control: Points, step_um: float) -> Points:
    """Points about `step_um` apart along a Catmull-Rom curve through the control points."""
    padded = np.concatenate([2 * control[:1] - control[1:2], control, 2 * control[-1:] - control[-2:-1]])
    t = np.linspace(0, 1, 24, endpoint=False)[:, None, None]
    a, b, c, d = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    dense = curve.transpose(1, 0, 2).reshape(-1, 2)
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(dense, axis=0).T))])
    wanted = np.arange(0, lengths[-1], step_um)
    return np.stack([np.interp(wanted, lengths, dense[:, 0]), np.interp(wanted, lengths, dense[:, 1])], axis=1)


def _waver(random: np.random.Generator, path: Points, amount: float) -> Points:
    """Bend a path sideways by a few sine waves; none at its root."""
    distance = np.arange(len(path)) * _STEP_UM
    offset = np.zeros(len(path))
    for wavelength in random.uniform(1100, 4500, 4):
        offset += 0.022 * wavelength * random.normal() * np.sin(
            2 * np.pi * distance / wavelength + random.uniform(0, 2 * np.pi)
        )
    offset *= amount * np.clip((distance - 600) / 1500, 0, 1)
    tangent = np.gradient(path, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normal /= np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-9)[:, None]
    return path + normal * offset[:, None]


def _arcade(random: np.random.Generator, eye: Eye, *, superior: bool, temporal: bool, artery: bool) -> Points:
    """Control points of one main stem, from the cup outwards."""
    disc = np.array(eye.anatomy.disc_centre_um)
    side = -1.0 if superior else 1.0
    height = eye.anatomy.arcade_height_um * random.normal(1.0, 0.06) * (1.0 if artery else 1.05)
    shift = 110 if artery else -60
    root = disc + [shift + random.normal(60, 60), side * random.uniform(40, 160)]
    if temporal:
        control = [
            root,
            disc + [random.normal(-60, 110), side * random.normal(850, 60)],
            disc + [random.normal(-800, 200), side * random.normal(1950, 170)],
            [random.normal(1900, 250), side * (height * 0.9 + random.normal(0, 160)) + disc[1] * 0.3],
            [random.normal(-500, 300), side * (height + random.normal(0, 160))],
            [random.normal(-3600, 300), side * (height * random.normal(0.92, 0.1))],
            [random.normal(-7000, 400), side * (height * random.normal(0.62, 0.22))],
            [random.normal(-10800, 400), side * (height * random.normal(0.4, 0.35))],
        ]
    else:
        lean = random.uniform(0.55, 1.25)
        control = [
            root,
            disc + [random.normal(260, 90), side * random.normal(820, 70)],
            disc + [random.normal(1050, 170) / lean**0.3, side * random.normal(1850, 170) * lean],
            disc + [random.normal(2500, 300) / lean**0.3, side * random.normal(3100, 300) * lean],
            disc + [random.normal(4500, 400) / lean**0.3, side * random.normal(4400, 450) * lean],
            disc + [random.normal(7500, 500) / lean**0.3, side * random.normal(5800, 600) * lean],
        ]
    return np.array([np.asarray(point, dtype=np.float64) for point in control])


class _Growth:
    """Collects pieces while the tree grows."""

    def __init__(self) -> None:
        self.pieces: list[tuple[Points, Points, Values, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]] = []
        self.bifurcations: list[Values] = []

    def add(
        self, start: Points, end: Points, diameter: Values, artery: npt.NDArray[np.bool_], *, trunk: bool
    ) -> None:
        self.pieces.append((start, end, diameter, artery, np.full(len(start), trunk)))

    def split(self, random: np.random.Generator, mother: Values, ratio: Values) -> tuple[Values, Values]:
        exponent = _exponent(random, mother)
        first, second = daughters(mother, ratio, exponent)
        self.bifurcations.append(np.stack([mother, first, second, exponent], axis=1))
        return first, second


def _grow_trunk(
    random: np.random.Generator, growth: _Growth, path: Points, diameter_um: float, *, artery: bool
) -> list[tuple[float, float, float, float, bool]]:
    """Lay one main stem; return the buds of its side branches: x, y, heading, diameter, artery."""
    buds = []
    diameters = np.empty(len(path) - 1)
    headings = np.arctan2(*np.diff(path, axis=0).T[::-1])
    here, current = 0, diameter_um
    next_split = random.uniform(1000, 2100)
    side = 1 if random.random() < 0.5 else -1
    while here < len(diameters):
        stop = min(len(diameters), max(here + 1, round(next_split / _STEP_UM)))
        diameters[here:stop] = current
        here = stop
        if here >= len(diameters) or current < 28:
            diameters[here:] = current
            break
        first, second = growth.split(random, np.array([current]), np.array([random.uniform(0.35, 0.85)]))
        share = float(first[0] ** 2 / (first[0] ** 2 + second[0] ** 2))
        angle = random.normal(_BRANCHING_ANGLE, 0.16) * share
        buds.append(
            (path[here, 0], path[here, 1], headings[here] + side * angle, float(second[0]), artery),
        )
        current = float(first[0])
        side = -side if random.random() < 0.75 else side
        next_split = here * _STEP_UM + random.uniform(18, 30) * current
    growth.add(path[:-1], path[1:], diameters, np.full(len(diameters), artery), trunk=True)
    return buds


def _grow_branches(
    random: np.random.Generator, growth: _Growth, eye: Eye, buds: list[tuple[float, float, float, float, bool]]
) -> None:
    """Grow all side branches, one generation of bifurcations at a time."""
    disc = np.array(eye.anatomy.disc_centre_um)
    avascular = eye.anatomy.fovea_radius_um * 1.5
    table = np.array(buds, dtype=np.float64)
    place, heading, diameter, artery = table[:, :2], table[:, 2], table[:, 3], table[:, 4] > 0
    upper = place[:, 1] < 0
    wander = 0.085 * (0.5 + eye.anatomy.tortuosity)
    while len(place):
        steps = np.maximum(5, np.rint(random.uniform(18, 30, len(place)) * diameter / _STEP_UM)).astype(np.int64)
        # Towards the macula those that bud inwards, outwards the others.
        ray = place / np.maximum(np.hypot(place[:, 0], place[:, 1]), 1.0)[:, None]
        inward = (np.cos(heading) * ray[:, 0] + np.sin(heading) * ray[:, 1] < 0.1) & (place[:, 0] < disc[0] - 700)
        goal = random.normal(0, 600, place.shape)
        drift = np.zeros(len(place))
        alive = np.ones(len(place), dtype=np.bool_)
        for step in range(int(steps.max())):
            active = alive & (step < steps)
            if not active.any():
                break
            to_goal = goal - place
            from_disc = place - disc
            away = from_disc / np.maximum(np.hypot(*from_disc.T), 1.0)[:, None]
            away += 0.9 * place / np.maximum(np.hypot(*place.T), 1.0)[:, None]
            wanted = np.where(inward, np.arctan2(to_goal[:, 1], to_goal[:, 0]), np.arctan2(away[:, 1], away[:, 0]))
            error = np.angle(np.exp(1j * (wanted - heading)))
            drift = 0.72 * drift + wander * random.standard_normal(len(place))
            heading = heading + 0.045 * error + drift
            moved = place + _STEP_UM * np.stack([np.cos(heading), np.sin(heading)], axis=1)
            radius = np.hypot(moved[:, 0], moved[:, 1])
            crossed_raphe = (np.where(upper, -1.0, 1.0) * moved[:, 1] < -220) & (moved[:, 0] < disc[0] - 600)
            dying = (radius < avascular) | crossed_raphe
            dying |= np.hypot(moved[:, 0] - disc[0] / 2, moved[:, 1]) > _DOMAIN_RADIUS_UM
            laid = active & ~dying
            growth.add(place[laid], moved[laid], diameter[laid], artery[laid], trunk=False)
            place = np.where(active[:, None], moved, place)
            alive &= ~(dying & active)
        keep = alive & (diameter > _SMALLEST_UM * 1.35)
        place, heading, diameter, artery, upper = (item[keep] for item in (place, heading, diameter, artery, upper))
        if not len(place):
            return
        small = diameter <= 50
        ratio = np.where(small, 0.8, random.uniform(0.6, 1.0, len(place)))
        first, second = growth.split(random, diameter, ratio)
        total = random.normal(_BRANCHING_ANGLE, 0.16, len(place)) * random.choice([-1.0, 1.0], len(place))
        share = second**2 / (first**2 + second**2)
        place = np.concatenate([place, place])
        heading = np.concatenate([heading + total * share, heading - total * (1 - share)])
        diameter = np.concatenate([first, second])
        artery, upper = np.concatenate([artery, artery]), np.concatenate([upper, upper])
        thick = diameter > _SMALLEST_UM
        place, heading, diameter, artery, upper = (item[thick] for item in (place, heading, diameter, artery, upper))


def grow(eye: Eye, random: np.random.Generator) -> VesselTree:
    """Grow the arterial and venous trees of an eye, with the changes of its `Vasculature`.

    Args:
        eye: Anatomy and vascular findings.
        random: The eye's stream for vessels; the tree depends on nothing else, least of all on the camera.
    """
    growth = _Growth()
    buds: list[tuple[float, float, float, float, bool]] = []
    anatomy, changes = eye.anatomy, eye.vasculature
    disc = np.array(anatomy.disc_centre_um)
    for artery in (False, True):
        central = anatomy.artery_um * (1 - 0.42 * changes.arteriolar_narrowing) if artery else anatomy.vein_um
        for superior in (True, False):
            upper, lower = daughters(np.array([central]), np.array([random.uniform(0.8, 1.0)]), np.array([2.6]))
            stem = float((upper if random.random() < 0.5 else lower)[0])
            for temporal in (True, False):
                diameter = stem * (random.uniform(0.94, 1.04) if temporal else random.uniform(0.68, 0.86))
                where = Quadrant(
                    f"{'superior' if superior else 'inferior'}_{'temporal' if temporal else 'nasal'}",
                )
                amount = anatomy.tortuosity
                if not artery and where in changes.occluded:
                    diameter *= 1.3
                    amount = 1.4 * amount + 0.9
                control = _arcade(random, eye, superior=superior, temporal=temporal, artery=artery)
                path = _waver(random, _smooth_path(control, _STEP_UM), amount)
                inside = np.hypot(path[:, 0] - disc[0] / 2, path[:, 1]) < _DOMAIN_RADIUS_UM
                path = path[: int(np.argmin(inside)) if not inside.all() else len(path)]
                buds += _grow_trunk(random, growth, path, diameter, artery=artery)
        # Small vessels straight from the disc: to the macula, and to the nasal side.
        for towards in (*random.uniform(math.pi - 0.75, math.pi + 0.75, int(random.integers(1, 4))), random.normal(0, 0.3)):
            start = disc + 500 * np.array([math.cos(towards), math.sin(towards)])
            buds.append((start[0], start[1], towards, random.uniform(26, 44), artery))
    _grow_branches(random, growth, eye, buds)
    start, end, diameter_um, is_artery, is_trunk = (
        np.concatenate([piece[part] for piece in growth.pieces]) for part in range(5)
    )
    tree = VesselTree(
        start_um=start,
        end_um=end,
        diameter_um=diameter_um,
        artery=is_artery.astype(np.bool_),
        trunk=is_trunk.astype(np.bool_),
        bifurcations=np.concatenate(growth.bifurcations),
    )
    return _with_changes(tree, eye)


def _with_changes(tree: VesselTree, eye: Eye) -> VesselTree:
    """Venous beading and arteriovenous nicking, as changes of the drawn diameter."""
    changes = eye.vasculature
    diameter = tree.diameter_um.copy()
    middle = (tree.start_um + tree.end_um) / 2
    disc_x, disc_y = eye.anatomy.disc_centre_um
    if changes.venous_beading:
        names = np.where(middle[:, 1] < disc_y / 2, "superior_", "inferior_").astype("U20")
        names = np.char.add(names, np.where(middle[:, 0] > disc_x / 2, "nasal", "temporal"))
        beaded = np.isin(names, [item.value for item in changes.venous_beading]) & ~tree.artery & (diameter > 45)
        distance = np.cumsum(np.hypot(*(tree.end_um - tree.start_um).T))
        far = np.hypot(middle[:, 0] - disc_x, middle[:, 1] - disc_y) > 1300
        diameter *= np.where(beaded & far, 1.0 + 0.42 * np.sin(2 * np.pi * distance / 460.0), 1.0)
    if changes.nicking > 0:
        veins = np.flatnonzero(~tree.artery & (tree.diameter_um > 40))
        arteries = np.flatnonzero(tree.artery & (tree.diameter_um > 40))
        if len(veins) and len(arteries):
            gap = np.hypot(
                middle[veins, None, 0] - middle[None, arteries, 0], middle[veins, None, 1] - middle[None, arteries, 1]
            ).min(axis=1)
            far = np.hypot(middle[veins, 0] - disc_x, middle[veins, 1] - disc_y) > 1200
            pinch = np.exp(-((gap / 130.0) ** 2)) * far
            diameter[veins] *= 1 - 0.7 * changes.nicking * pinch
    return VesselTree(
        start_um=tree.start_um,
        end_um=tree.end_um,
        diameter_um=diameter,
        artery=tree.artery,
        trunk=tree.trunk,
        bifurcations=tree.bifurcations,
    )
