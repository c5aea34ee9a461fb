"""Names what a match is: the transformation, and whether the picture itself came back or only the eye."""

from __future__ import annotations

import numpy as np

from ethicclip.audits.comparison import Pair

_SIZE = 0.06
_TURN_DEGREES = 2.0
_STRETCH = 1.08

COPY = "copy"
CHANGED_COPY = "changed copy"
ANOTHER_PHOTOGRAPH = "changed copy, or another photograph of the eye"
_SAME_PICTURE = 0.95
"""Correlation between the vessels above which two pictures are one. Repeat photographs of the development eyes that are
different shots stay below it, and so do copies under heavy noise, compression or small crops, which is why the third
answer leaves both open."""
_NEAR_EXACT_TILE = 0.35
_VISIT_TURN_DEGREES, _VISIT_SCALE, _VISIT_STRETCH = 30.0, 1.25, 1.3
"""What a second visit may change: nobody's eye is mirrored, turned around or shown as a small part by it."""


def name_relation(pair: Pair) -> str:
    """Whether a match is the same picture, a changed copy of it, or possibly another photograph of the same eye."""
    if pair.tile < _NEAR_EXACT_TILE or pair.agreement.correlation >= _SAME_PICTURE:
        return COPY
    if pair.flipped or pair.verification.inliers < 3:
        return CHANGED_COPY
    turn, scale, stretch = _parts_of(pair)
    alike = abs(turn) <= _VISIT_TURN_DEGREES and max(scale, 1 / scale) <= _VISIT_SCALE and stretch <= _VISIT_STRETCH
    return ANOTHER_PHOTOGRAPH if alike else CHANGED_COPY


def name_transformation(pair: Pair) -> str:
    """In words: flip, rotation in degrees, scale, shift, stretch; "unknown" without geometry.

    The map leads from the (mirrored) synthetic field of view to the reference's, so a scale under 1 means that the
    synthetic image shows a part of the reference enlarged, as a crop does.
    """
    parts = ["flip"] if pair.flipped else []
    if pair.verification.inliers < 3:
        return "+".join(parts) or ("same framing" if pair.tile < 0.35 else "unknown")
    turn, scale, stretch = _parts_of(pair)
    shift = pair.verification.affine[:, 2]
    if abs(turn) >= _TURN_DEGREES:
        parts.append(f"rotation {turn:.0f}°")
    if abs(scale - 1) >= _SIZE:
        parts.append(f"{'crop, scale' if scale < 1 else 'scale'} {scale:.2f}")
    if stretch >= _STRETCH:
        parts.append(f"stretch {stretch:.2f}")
    if float(np.hypot(*shift)) >= 0.1:
        parts.append(f"shift {float(np.hypot(*shift)):.2f} radii")
    return "+".join(parts) or "same framing"


def _parts_of(pair: Pair) -> tuple[float, float, float]:
    """Rotation in degrees, scale and stretch of the pair's map."""
    linear = pair.verification.affine[:, :2]
    large, small = np.linalg.svd(linear, compute_uv=False)
    turn = float(np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])))
    return turn, float(np.sqrt(large * small)), float(large / max(small, 1e-9))
