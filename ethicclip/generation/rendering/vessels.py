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


@dataclass(frozen=True)
class _Root:
    """Where the stem of one kind and half leaves the cup, relative to the disc's centre (y away from the middle)."""

    nasal_um: float
    start_um: float
    leaving_um: float
    fork: float
    """Height of the fork into temporal and nasal stems, in half heights of the disc."""


def _entry(random: np.random.Generator, eye: Eye) -> float:
    """Where one kind enters the eye, in micrometres nasally of the disc's centre: the further the larger the cup.

    Its upper and lower stems meet there, and artery and vein enter side by side.
    """
    half = eye.anatomy.disc_width_um / 2
    edge = half * (0.10 + 0.52 * eye.nerve.cup_ratio**1.6)
    return float(edge * random.uniform(0.75, 1.15) + random.normal(0, 100))


def _root(random: np.random.Generator, entry_um: float) -> _Root:
    """Draw the upper or lower root of a kind that enters at `entry_um`."""
    nasal = entry_um + random.normal(0, 45)
    return _Root(
        nasal_um=nasal,
        start_um=random.uniform(-70, 60),
        leaving_um=nasal * random.uniform(0.3, 1.0) + random.normal(0, 170),
        fork=random.uniform(0.0, 1.2),
    )


def _trunk(
    random: np.random.Generator, eye: Eye, root: _Root, *, superior: bool, temporal: bool, artery: bool
) -> Points:
    """Control points of one main stem: up with its sister to the fork, then along the arcade or to the nasal side."""
    anatomy = eye.anatomy
    disc_x, disc_y = anatomy.disc_centre_um
    side = -1.0 if superior else 1.0
    height = anatomy.arcade_height_um * random.normal(1.0, 0.10) * (1.0 if artery else 1.06)

    def from_disc(x: float, y: float) -> tuple[float, float]:
        return disc_x + x, disc_y + side * y

    def from_fovea(x: float, y: float) -> tuple[float, float]:
        return x, side * y

    half = anatomy.disc_height_um / 2
    # Past the fork the stems part by about as much as they have risen.
    apart = (-0.45 if temporal else 0.42) * half * random.uniform(0.6, 1.3)
    leaving = root.leaving_um + apart * max(0.0, 1.1 - root.fork)
    start = [
        from_disc(root.nasal_um, root.start_um),
        from_disc((root.nasal_um + root.leaving_um) / 2 + apart * max(0.0, 0.55 - root.fork), 0.55 * half),
        from_disc(leaving, 1.1 * half),
    ]
    if temporal:
        wide = random.uniform(0.85, 1.2)
        return np.array(
            [
                *start,
                from_disc(leaving - random.uniform(250, 950), random.normal(1900, 170)),
                from_fovea(random.normal(2300, 380), height * random.uniform(0.80, 0.97) + side * disc_y * 0.3),
                from_fovea(random.normal(100, 450), height * random.normal(1.04, 0.06)),
                from_fovea(random.normal(-2900, 400), height * random.normal(1.04, 0.13) * wide),
                from_fovea(random.normal(-6500, 500), height * random.normal(0.86, 0.24) * wide),
                from_fovea(random.normal(-10800, 400), height * random.normal(0.7, 0.4) * wide),
            ]
        )
    lean = random.uniform(0.5, 1.5)
    flat = lean**0.3
    return np.array(
        [
            *start,
            from_disc(random.normal(1000, 220) / flat, random.normal(1850, 190) * lean),
            from_disc(random.normal(2500, 350) / flat, random.normal(3100, 350) * lean),
            from_disc(random.normal(4500, 450) / flat, random.normal(4400, 500) * lean),
            from_disc(random.normal(7500, 550) / flat, random.normal(5800, 650) * lean),
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
        entry = _entry(random, eye)
        central = anatomy.artery_um * (1 - 0.42 * changes.arteriolar_narrowing) if artery else anatomy.vein_um
        for superior in (True, False):
            upper, lower = daughters(np.array([central]), np.array([random.uniform(0.8, 1.0)]), np.array([2.6]))
            stem = float((upper if random.random() < 0.5 else lower)[0])
            root = _root(random, entry)
            for temporal in (True, False):
                diameter = stem * (random.uniform(1.12, 1.42) if temporal else random.uniform(0.75, 1.08))
                where = Quadrant(
                    f"{'superior' if superior else 'inferior'}_{'temporal' if temporal else 'nasal'}",
                )
                amount = anatomy.tortuosity
                if not artery and where in changes.occluded:
                    diameter *= 1.3
                    amount = 1.4 * amount + 0.9
                control = _trunk(random, eye, root, superior=superior, temporal=temporal, artery=artery)
                path = _waver(random, _smooth_path(control, STEP_UM), amount)
                inside = np.hypot(path[:, 0] - disc[0] / 2, path[:, 1]) < DOMAIN_RADIUS_UM
                path = path[: int(np.argmin(inside)) if not inside.all() else len(path)]
                buds += grow_trunk(random, growth, path, diameter, artery=artery)
        # Small vessels straight from the disc: to the macula, and to the nasal side.
        for towards in (
            *random.uniform(math.pi - 0.75, math.pi + 0.75, int(random.integers(1, 4))),
            *random.uniform(-0.8, 0.8, int(random.integers(1, 3))),
        ):
            reach = random.uniform(0.55, 0.85) * anatomy.disc_width_um / 2
            start = disc + reach * np.array([math.cos(towards), math.sin(towards)])
            buds.append((start[0], start[1], towards, random.uniform(28, 58), artery))
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
