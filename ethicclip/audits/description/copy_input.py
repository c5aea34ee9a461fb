"""What the `copy` network looks at: the field of view as two planes of contrast, without colour and brightness.

The fine plane holds vessels and lesions, the coarse one disc, fovea and shading; both come from the green channel, are
brought to one spread inside the field, and are 0 outside it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.frame import working_frame
from ethicclip.imaging import Pixels

Planes = npt.NDArray[np.int8]

SIDE = 112
STEPS = 42.0
"""Steps of the stored bytes in one standard deviation; three fit in."""

_FINE, _COARSE = 0.05, 0.02
"""Blurs as shares of the side: what the fine plane leaves out, and how soft the coarse one is."""


def copy_planes(image: Pixels) -> Planes:
    """The network's input for an RGB uint8 picture: int8 (2, `SIDE`, `SIDE`)."""
    frame = working_frame(image, side=SIDE)
    height, width = frame.pixels.shape[:2]
    centre = frame.centre if frame.found else ((width - 1) / 2, (height - 1) / 2)
    shift = np.array([[1.0, 0.0, (SIDE - 1) / 2 - centre[0]], [0.0, 1.0, (SIDE - 1) / 2 - centre[1]]])
    green = np.asarray(cv2.warpAffine(frame.pixels[..., 1], shift, (SIDE, SIDE)), dtype=np.float32)
    mask = frame.mask.astype(np.float32)
    weight = np.asarray(cv2.warpAffine(mask, shift, (SIDE, SIDE), flags=cv2.INTER_NEAREST), dtype=np.float32)
    inside = weight > 0
    fine = green - _local_mean(green, weight, _FINE * SIDE)
    coarse = _local_mean(green, weight, _COARSE * SIDE)
    return np.stack([_even(plane, inside) for plane in (fine, coarse)])


def _local_mean(
    plane: npt.NDArray[np.float32], weight: npt.NDArray[np.float32], sigma: float
) -> npt.NDArray[np.float32]:
    share = cv2.GaussianBlur(weight, (0, 0), sigma)
    return np.asarray(cv2.GaussianBlur(plane * weight, (0, 0), sigma) / np.maximum(share, 1e-3), dtype=np.float32)


def _even(plane: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> Planes:
    if not inside.any():
        return np.zeros(plane.shape, dtype=np.int8)
    values = plane[inside]
    # Below half a grey level of spread there is only quantisation, which must not be amplified.
    scaled = (plane - values.mean()) * (STEPS / max(float(values.std()), 0.5))
    return np.where(inside, np.clip(np.rint(scaled), -127, 127), 0).astype(np.int8)
