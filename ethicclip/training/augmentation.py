"""Small changes of a preprocessed picture under which every caption stays true.

No flip: captions name the eye, and a mirrored right eye is a left one. No blur and no haze: they are findings.
"""

from __future__ import annotations

import cv2
import numpy as np

from ethicclip.clip.preprocessing import NEUTRAL
from ethicclip.imaging import Pixels

_ROTATION_DEG = 12.0
_SCALE = 0.10
_SHIFT = 0.04
_CONTRAST = 0.20
_BRIGHTNESS = 10.0


def augmented(pixels: Pixels, generator: np.random.Generator, *, fill: int = NEUTRAL) -> Pixels:
    """Rotate, scale, shift and change contrast and brightness a little.

    Args:
        pixels: uint8 of shape (size, size, 3), as `FundusPreprocess.pixels` gives it.
        generator: The same state gives the same picture.
        fill: Value of what comes in from outside.

    Returns:
        A new uint8 picture of the same shape.
    """
    size = pixels.shape[0]
    angle, scale, shift_x, shift_y, contrast, brightness = generator.uniform(-1, 1, size=6)
    centre = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), angle * _ROTATION_DEG, 1 + scale * _SCALE)
    matrix[:, 2] += (shift_x * _SHIFT * size, shift_y * _SHIFT * size)
    moved = cv2.warpAffine(
        pixels,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill, fill, fill),
    )
    levels = np.arange(256, dtype=np.float64)
    curve = (levels - fill) * (1 + contrast * _CONTRAST) + fill + brightness * _BRIGHTNESS
    curve[fill] = fill  # the outside stays as it is in every picture
    table = np.clip(np.rint(curve), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(moved, table), dtype=np.uint8)
