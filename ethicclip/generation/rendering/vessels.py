"""Grows the retinal vessel trees: arcades that curve round the macula, side branches by Murray's law.

Constants and their sources (all lengths in micrometres): d1 = d0 / (1 + a^g)^(1/g), d2 = a d1 with g = 2.1 +- .05
above 50 um and 2.0 below (facts used by RetinaSim); a bifurcation every 18 to 30 diameters; about 78 degrees between
daughters (Luo 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ethicclip.generation.findings import Eye, Quadrant
from ethicclip.generation.rendering.branching import (
    DOMAIN_RADIUS_UM,
    STEP_UM,
    Bud,
    Flags,
    Growth,
    Points,
    Values,
    daughters,
    grow_branches,
    grow_trunk,
)


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
    artery: Flags
    trunk: Flags
    bifurcations: Values


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
    distance = np.arange(len(path)) * STEP_UM
    offset = np.zeros(len(path))
    for wavelength in random.uniform(1100, 4500, 4):
        offset += (
            0.022
            * wavelength
            * random.normal()
            * np.sin(2 * np.pi * distance / wavelength + random.uniform(0, 2 * np.pi))
        )
    offset *= amount * np.clip((distance - 600) / 1500, 0, 1)
    tangent = np.gradient(path, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normal /= np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-9)[:, None]
    return path + normal * offset[:, None]


def _arcade(random: np.random.Generator, eye: Eye, *, superior: bool, temporal: bool, artery: bool) -> Points:
    """Control points of one main stem, from the cup outwards."""
    disc_x, disc_y = eye.anatomy.disc_centre_um
    side = -1.0 if superior else 1.0
    height = eye.anatomy.arcade_height_um * random.normal(1.0, 0.06) * (1.0 if artery else 1.05)

    def from_disc(x: float, y: float) -> tuple[float, float]:
        return disc_x + x, disc_y + side * y

    def from_fovea(x: float, y: float) -> tuple[float, float]:
        return x, side * y

    root = from_disc((110 if artery else -60) + random.normal(60, 60), random.uniform(40, 160))
    if temporal:
        return np.array(
            [
                root,
                from_disc(random.normal(-60, 110), random.normal(850, 60)),
                from_disc(random.normal(-800, 200), random.normal(1950, 170)),
                from_fovea(random.normal(1900, 250), height * 0.9 + random.normal(0, 160) + side * disc_y * 0.3),
                from_fovea(random.normal(-500, 300), height + random.normal(0, 160)),
                from_fovea(random.normal(-3600, 300), height * random.normal(0.92, 0.1)),
                from_fovea(random.normal(-7000, 400), height * random.normal(0.62, 0.22)),
                from_fovea(random.normal(-10800, 400), height * random.normal(0.4, 0.35)),
            ]
        )
    lean = random.uniform(0.55, 1.25)
    flat = lean**0.3
    return np.array(
        [
            root,
            from_disc(random.normal(260, 90), random.normal(820, 70)),
            from_disc(random.normal(1050, 170) / flat, random.normal(1850, 170) * lean),
            from_disc(random.normal(2500, 300) / flat, random.normal(3100, 300) * lean),
            from_disc(random.normal(4500, 400) / flat, random.normal(4400, 450) * lean),
            from_disc(random.normal(7500, 500) / flat, random.normal(5800, 600) * lean),
        ]
    )


def grow(eye: Eye, random: np.random.Generator) -> VesselTree:
    """Grow the arterial and venous trees of an eye, with the changes of its `Vasculature`.

    Args:
        eye: Anatomy and vascular findings.
        random: The eye's stream for vessels; the tree depends on nothing else, least of all on the camera.
    """
    growth = Growth()
    buds: list[Bud] = []
    anatomy, changes = eye.anatomy, eye.vasculature
    disc = np.array(anatomy.disc_centre_um)
    for artery in (False, True):
        central = anatomy.artery_um * (1 - 0.42 * changes.arteriolar_narrowing) if artery else anatomy.vein_um
        for superior in (True, False):
            upper, lower = daughters(np.array([central]), np.array([random.uniform(0.8, 1.0)]), np.array([2.6]))
            stem = float((upper if random.random() < 0.5 else lower)[0])
            for temporal in (True, False):
                diameter = stem * (random.uniform(1.02, 1.16) if temporal else random.uniform(0.74, 0.92))
                where = Quadrant(
                    f"{'superior' if superior else 'inferior'}_{'temporal' if temporal else 'nasal'}",
                )
                amount = anatomy.tortuosity
                if not artery and where in changes.occluded:
                    diameter *= 1.3
                    amount = 1.4 * amount + 0.9
                control = _arcade(random, eye, superior=superior, temporal=temporal, artery=artery)
                path = _waver(random, _smooth_path(control, STEP_UM), amount)
                inside = np.hypot(path[:, 0] - disc[0] / 2, path[:, 1]) < DOMAIN_RADIUS_UM
                path = path[: int(np.argmin(inside)) if not inside.all() else len(path)]
                buds += grow_trunk(random, growth, path, diameter, artery=artery)
        # Small vessels straight from the disc: to the macula, and to the nasal side.
        for towards in (
            *random.uniform(math.pi - 0.75, math.pi + 0.75, int(random.integers(1, 4))),
            random.normal(0, 0.3),
        ):
            start = disc + 500 * np.array([math.cos(towards), math.sin(towards)])
            buds.append((start[0], start[1], towards, random.uniform(26, 44), artery))
    grow_branches(random, growth, eye, buds)
    tree = VesselTree(
        start_um=np.concatenate([piece.start_um for piece in growth.pieces]),
        end_um=np.concatenate([piece.end_um for piece in growth.pieces]),
        diameter_um=np.concatenate([piece.diameter_um for piece in growth.pieces]),
        artery=np.concatenate([piece.artery for piece in growth.pieces]),
        trunk=np.concatenate([np.full(len(piece.start_um), piece.trunk) for piece in growth.pieces]),
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
        uneven = 2 * np.pi * distance / 480.0 + 1.6 * np.sin(2 * np.pi * distance / 1730.0)
        far = np.hypot(middle[:, 0] - disc_x, middle[:, 1] - disc_y) > 1300
        diameter *= np.where(beaded & far, 1.0 + 0.34 * np.sin(uneven), 1.0)
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
    return replace(tree, diameter_um=diameter)
