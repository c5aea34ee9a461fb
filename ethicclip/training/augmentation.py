"""Small changes of a preprocessed picture under which every caption stays true.

A drawn eye and a real one differ most in what a camera adds: how strongly each channel answers, grain, the last trace
of focus. Those are drawn anew for every picture in every epoch, so that nothing can be learnt from them
(docs/decisions/0073-channels-apart.md). No flip: captions name the eye, and a mirrored right eye is a left one. No blur
that anyone would call blur, and no haze: they are findings.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.clip.preprocessing import NEUTRAL
from ethicclip.imaging import Pixels

_ROTATION_DEG = 15.0
_SCALE = 0.12
_SHIFT = 0.04
_CONTRAST, _CHANNEL_CONTRAST = 0.35, 0.35
"""Spread of the logarithm of the factor on contrast: all channels together, and each by itself."""
_BRIGHTNESS, _CHANNEL_BRIGHTNESS = 8.0, 4.0
_SOFT_SHARE, _SOFT = 0.3, (0.3, 0.9)
"""Share of pictures that are softened, and by which standard deviation in pixels of a picture 256 wide."""
_GRAIN_SHARE, _GRAIN = 0.3, (1.0, 8.0)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One draw: where every point goes, and which value every value becomes.

    Attributes:
        matrix: 2 x 3, affine, in pixels.
        table: uint8 (256, 1, 3), a curve for each channel.
        soften: Standard deviation of a Gaussian in pixels; 0 leaves the picture as sharp as it is.
        grain: int16 (size, size, 1) to add inside the field, or None.
        fill: Value of what comes in from outside.
    """

    matrix: npt.NDArray[np.float64]
    table: npt.NDArray[np.uint8]
    soften: float
    grain: npt.NDArray[np.int16] | None
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
        changed = np.asarray(cv2.LUT(moved, self.table), dtype=np.uint8)
        if self.soften > 0:
            changed = np.asarray(cv2.GaussianBlur(changed, (0, 0), self.soften), dtype=np.uint8)
        if self.grain is not None:
            grainy = np.clip(changed + self.grain, 0, 255).astype(np.uint8)
            changed = np.where(changed == self.fill, changed, grainy)
        return changed


def draw_change(size: int, generator: np.random.Generator, *, fill: int = NEUTRAL) -> Change:
    """Rotate, scale, shift, and change what a camera adds.

    Args:
        size: Side of the picture, as `FundusPreprocess.pixels` gives it.
        generator: The same state gives the same change.
        fill: Value of what comes in from outside.
    """
    angle, scale, shift_x, shift_y, contrast, brightness = generator.uniform(-1, 1, size=6)
    centre = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), angle * _ROTATION_DEG, 1 + scale * _SCALE)
    matrix[:, 2] += (shift_x * _SHIFT * size, shift_y * _SHIFT * size)
    own_contrast, own_brightness = generator.uniform(-1, 1, size=(2, 3))
    factor = np.exp(contrast * _CONTRAST + own_contrast * _CHANNEL_CONTRAST)
    levels = np.arange(256, dtype=np.float64)[:, None]
    curve = (levels - fill) * factor + fill + brightness * _BRIGHTNESS + own_brightness * _CHANNEL_BRIGHTNESS
    curve[fill] = fill  # the outside stays as it is in every picture
    soft, grainy = generator.random(2)
    return Change(
        matrix=np.asarray(matrix),
        table=np.clip(np.rint(curve), 0, 255).astype(np.uint8)[:, None, :],
        soften=float(generator.uniform(*_SOFT)) * size / 256 if soft < _SOFT_SHARE else 0.0,
        grain=_grain(size, generator) if grainy < _GRAIN_SHARE else None,
        fill=fill,
    )


def _grain(size: int, generator: np.random.Generator) -> npt.NDArray[np.int16]:
    strength = np.float32(generator.uniform(*_GRAIN))
    noise = generator.standard_normal((size, size, 1), dtype=np.float32) * strength
    return np.asarray(np.rint(noise), dtype=np.int16)
