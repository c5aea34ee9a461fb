"""Ground-truth masks of a rendered scene: what the findings put where, before lens, light and sensor.

The masks are those of the geometry, cut off where the photograph's field ends: what haze, blur or a cataract hides is
marked all the same. They promise nothing on what a reader could see.
"""

from __future__ import annotations

import numpy as np

from ethicclip.generation.findings import Photograph
from ethicclip.generation.rendering.scene import Scene
from ethicclip.pairs.masks import Mask
from ethicclip.terms import STRUCTURES

LAYERS = ("field", *STRUCTURES)
"""Every name a mask can have, in their order; kinds of lesion that an eye does not have are left out."""

_COVERED = 0.4
"""Coverage from which a pixel belongs to a structure."""
_BLOOD = 0.2
"""The same for vessels, whose planes hold optical depth: a thin vessel's column is never deep."""


def lit_field(photograph: Photograph, size: int) -> Mask:
    """The part of a square picture that the camera lights: a circle, cut at top and bottom by some sensors."""
    steps = (np.arange(size) - (size - 1) / 2) / (photograph.radius * size / 2)
    across, down = steps[None, :], steps[:, None] / photograph.stretch
    return np.asarray((np.hypot(across, down) < 1) & (np.abs(down) < photograph.cut), dtype=np.bool_)


def true_masks(scene: Scene, photograph: Photograph) -> dict[str, Mask]:
    """Masks by name, bool (size, size), in the order of `LAYERS`."""
    field = lit_field(photograph, scene.view.size)
    found = {"field": field}
    for name in LAYERS[1:]:
        cover = scene.masks.get(name)
        if cover is not None:
            found[name] = np.asarray((cover > (_BLOOD if name in ("artery", "vein") else _COVERED)) & field)
    return found
