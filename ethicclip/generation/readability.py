"""Four flags that say which part of a picture a reader could use, in the sense of SynFundus-1M's annotation."""

from __future__ import annotations

import math

from ethicclip.generation.findings import UM_PER_DEGREE, Eye, Photograph

_INSIDE = 0.9
"""A structure counts as seen when its centre lies within this share of the field's radius."""


def _in_field(x_um: float, y_um: float, photograph: Photograph) -> bool:
    turn = math.radians(photograph.rotation_deg)
    dx, dy = x_um - photograph.centre_x_um, y_um - photograph.centre_y_um
    radius_um = photograph.field_deg * UM_PER_DEGREE / 2
    across = (dx * math.sin(turn) + dy * math.cos(turn)) / radius_um
    return math.hypot(dx, dy) / radius_um <= _INSIDE and abs(across) <= _INSIDE * photograph.cut


def readability(eye: Eye, photograph: Photograph) -> dict[str, bool]:
    """Whether it is a fundus, and whether macula, optic disc and retinal region can be read.

    Derived from the findings: a region is readable when the picture is (`Photograph.readable`) and the centre of
    fovea or disc lies in the field; for the retinal region the lens must let light through as well.
    """
    clear = photograph.readable and eye.media.density < 0.85
    disc_x, disc_y = eye.anatomy.disc_centre_um
    return {
        "fundus": True,
        "macula": clear and _in_field(0.0, 0.0, photograph),
        "optic_disc": clear and _in_field(disc_x, disc_y, photograph),
        "retinal_region": clear,
    }
