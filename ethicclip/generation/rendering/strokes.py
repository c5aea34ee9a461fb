"""Paints a vessel tree: soft-edged columns of blood with a central light reflex."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ethicclip.generation.findings import Eye
from ethicclip.generation.rendering.background import Reflectance, tint
from ethicclip.generation.rendering.disc import DiscGeometry
from ethicclip.generation.rendering.vessels import VesselTree
from ethicclip.generation.rendering.view import Canvas, Plane, View

# Nested widths and the share of the column's depth they reach: a round cross-section in three steps.
_PROFILE = ((1.0, 0.6), (0.76, 0.86), (0.45, 1.0))


@dataclass(frozen=True, kw_only=True)
class VesselCover:
    """Optical depth of arterial and venous blood, 0 to 1 a pixel."""

    artery: Plane
    vein: Plane


def _draw(tree: VesselTree, view: View, reflex: Canvas, *, artery: bool) -> Canvas:
    """Columns of blood of one kind; their light reflexes go onto the canvas that both kinds share."""
    chosen = tree.artery == artery
    start, end, diameter = tree.start_um[chosen], tree.end_um[chosen], tree.diameter_um[chosen]
    column = Canvas(view)
    # A thin column holds less blood and its wall is clear.
    depth = diameter / (diameter + 48.0)
    wide = diameter / column.um_per_px > 3.0
    column.strokes(start, end, diameter * _PROFILE[0][0], depth * np.where(wide, _PROFILE[0][1], 0.9))
    for share, level in _PROFILE[1:]:
        column.strokes(start[wide], end[wide], diameter[wide] * share, depth[wide] * level)
    big = diameter > 55
    brightness = np.clip((diameter[big] - 40) / 60, 0, 1) * (1.0 if artery else 0.4)
    reflex.strokes(start[big], end[big], diameter[big] * 0.26, brightness)
    return column


def paint_vessels(
    image: Reflectance, eye: Eye, tree: VesselTree, random: np.random.Generator, view: View, shape: DiscGeometry
) -> VesselCover:
    """Paint veins, then arteries over them."""
    reflex = Canvas(view)
    vein = view.blur(_draw(tree, view, reflex, artery=False).coverage(), 6)
    artery = view.blur(_draw(tree, view, reflex, artery=True).coverage(), 6)
    # Fresh swelling veils the vessels.
    veil = 1 - np.float32(0.55 * eye.nerve.swelling) * shape.disc
    strength = np.float32(random.uniform(0.65, 1.12)) * veil
    copper = eye.vasculature.copper_wiring
    vein_seen = vein * (1 - np.float32(0.6) * artery)
    vein_depth, artery_depth = vein_seen * strength, artery * strength
    tint(image, vein_depth, (0.0, -0.84, -0.42))
    tint(image, artery_depth, (0.0, -0.62 + 0.18 * copper, -0.36 + 0.1 * copper))
    # Red light passes a column of blood and comes back from what is behind: the dark choroid or the white disc.
    image[0] -= (np.float32(0.38) * vein_depth + np.float32(0.12) * artery_depth) * (1 - np.float32(0.7) * shape.disc)
    gloss = max(0.0, eye.anatomy.nerve_fibre_sheen - 0.5) * random.uniform(0.0, 1.2)
    if gloss > 0.05:
        # The mirroring surface bends over every large vessel: bright lines beside it, here and there.
        beside = view.blur(vein + artery, 90) * (1 - np.clip(2.5 * (vein + artery), 0, 1))
        tint(image, beside * np.clip(view.noise(random, 800), 0, 1.5) * np.float32(gloss), (0.10, 0.45, 0.52))
    shine = random.uniform(0.05, 0.26)
    tint(image, reflex.coverage() * np.float32(1.5 * shine + 0.45 * copper), (0.4, 0.8, 0.55))
    return VesselCover(artery=artery, vein=vein)
