"""Names the transformation between a synthetic image and the reference picture that it matches."""

from __future__ import annotations

import numpy as np

from ethicclip.audits.comparison import Pair

_SIZE = 0.06
_TURN_DEGREES = 2.0
_STRETCH = 1.08


def name_transformation(pair: Pair) -> str:
    """In words: flip, rotation in degrees, scale, shift, stretch; "unknown" without geometry.

    The map leads from the (mirrored) synthetic field of view to the reference's, so a scale under 1 means that the
    synthetic image shows a part of the reference enlarged, as a crop does.
    """
    parts = ["flip"] if pair.flipped else []
    if pair.verification.inliers < 3:
        return "+".join(parts) or ("same framing" if pair.tile < 0.35 else "unknown")
    linear, shift = pair.verification.affine[:, :2], pair.verification.affine[:, 2]
    large, small = np.linalg.svd(linear, compute_uv=False)
    turn = float(np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])))
    scale = float(np.sqrt(large * small))
    if abs(turn) >= _TURN_DEGREES:
        parts.append(f"rotation {turn:.0f}°")
    if abs(scale - 1) >= _SIZE:
        parts.append(f"{'crop, scale' if scale < 1 else 'scale'} {scale:.2f}")
    if large / max(small, 1e-9) >= _STRETCH:
        parts.append(f"stretch {large / small:.2f}")
    if float(np.hypot(*shift)) >= 0.1:
        parts.append(f"shift {float(np.hypot(*shift)):.2f} radii")
    return "+".join(parts) or "same framing"
