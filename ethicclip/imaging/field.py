"""The field of view: the lit circle (or cut circle) of a fundus photograph inside its black surround."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.imaging.reading import Pixels

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class FieldOfView:
    """Where the eye is in a picture.

    Attributes:
        mask: Lit pixels, bool of shape (height, width).
        centre_x, centre_y, radius: The circle that fits the lit border, in pixels.
        found: False when there is no dark surround (a crop, or a uniform picture); the mask is then
            the whole picture and the circle its circumscribed one.
    """

    mask: Mask
    centre_x: float
    centre_y: float
    radius: float
    found: bool


def _ends(length: int) -> tuple[slice, slice]:
    return slice(length), slice(-length, None)


def field_of_view(image: Pixels) -> FieldOfView:
    """Find the field of view of an RGB uint8 picture.

    The surround is what is dark in all channels and connected to the border. The circle is the smallest
    that encloses the lit region, which also holds for fields cut at top and bottom.
    """
    height, width = image.shape[:2]
    brightest = np.asarray(cv2.max(cv2.max(image[..., 0], image[..., 1]), image[..., 2]), dtype=np.uint8)
    smooth = cv2.medianBlur(brightest, 5)
    # The surround of compressed photographs is not zero; the field is far brighter than its noise.
    bright = float(np.percentile(smooth[::4, ::4], 95))
    threshold = max(12.0, 0.12 * bright)
    # Heavy noise lifts a black surround well above that; the darkest corner then tells where it lies.
    side = max(2, min(height, width) // 24)
    corners = [smooth[rows, columns] for rows in _ends(side) for columns in _ends(side)]
    floor = min(float(np.median(corner)) for corner in corners)
    if 6 < floor < 0.3 * bright:
        threshold = max(threshold, floor + 0.2 * (bright - floor))
    lit = (smooth > threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lit, connectivity=4)
    whole = FieldOfView(
        mask=np.ones((height, width), dtype=np.bool_),
        centre_x=(width - 1) / 2,
        centre_y=(height - 1) / 2,
        radius=float(np.hypot(width, height) / 2),
        found=False,
    )
    if count < 2:
        return whole
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    area = int(stats[largest, cv2.CC_STAT_AREA])
    if area < 0.05 * height * width or area > 0.985 * height * width:
        return whole
    region = (labels == largest).astype(np.uint8)
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = max(contours, key=cv2.contourArea)
    filled = cv2.drawContours(np.zeros_like(region), [outline], -1, 1, thickness=cv2.FILLED)
    (centre_x, centre_y), radius = cv2.minEnclosingCircle(outline)
    return FieldOfView(
        mask=filled.astype(np.bool_),
        centre_x=float(centre_x),
        centre_y=float(centre_y),
        radius=float(radius),
        found=True,
    )
