"""Small changes of a preprocessed picture under which every caption stays true.

No flip: captions name the eye, and a mirrored right eye is a left one. No blur and no haze: they are findings.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.clip.preprocessing import NEUTRAL
from ethicclip.imaging import Pixels

_ROTATION_DEG = 12.0
_SCALE = 0.10
_SHIFT = 0.04
_CONTRAST = 0.20
_BRIGHTNESS = 10.0


@dataclass(frozen=True, kw_only=True)
class Change:
    """One draw: where every point goes, and which value every value becomes.

    Attributes:
        matrix: 2 x 3, affine, in pixels.
        table: uint8 (256,).
        fill: Value of what comes in from outside.
    """

    matrix: npt.NDArray[np.float64]
    table: npt.NDArray[np.uint8]
    fill: int

    def pixels(self, pixels: Pixels) -> Pixels:
        """The changed picture, of the same shape."""
        size = pixels.shape[0]
        moved = cv2.warpAffine(
            pixels,
            self.matrix,
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(self.fill, self.fill, self.fill),
        )
        return np.asarray(cv2.LUT(moved, self.table), dtype=np.uint8)


def draw_change(size: int, generator: np.random.Generator, *, fill: int = NEUTRAL) -> Change:
    """Rotate, scale, shift and change contrast and brightness a little.

    Args:
        size: Side of the picture, as `FundusPreprocess.pixels` gives it.
        generator: The same state gives the same change.
        fill: Value of what comes in from outside.
    """
    angle, scale, shift_x, shift_y, contrast, brightness = generator.uniform(-1, 1, size=6)
    centre = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), angle * _ROTATION_DEG, 1 + scale * _SCALE)
    matrix[:, 2] += (shift_x * _SHIFT * size, shift_y * _SHIFT * size)
    levels = np.arange(256, dtype=np.float64)
    curve = (levels - fill) * (1 + contrast * _CONTRAST) + fill + brightness * _BRIGHTNESS
    curve[fill] = fill  # the outside stays as it is in every picture
    return Change(matrix=np.asarray(matrix), table=np.clip(np.rint(curve), 0, 255).astype(np.uint8), fill=fill)
