"""A small even plane of the field: what is laid on another picture's once a map between the two is proposed.

Keypoints say that two pictures share places; the plane says whether what lies between the places agrees as well, also
where noise, compression or a clouded lens leaves few keypoints. 128 pixels across the field still show
second-order vessels; the rim is left out, since its ring of light is the camera's.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.frame import Frame

Plane = npt.NDArray[np.uint8]

SIDE = 128
_INNER = 0.88
"""Radius of what is kept, in radii of the field."""


def small_plane(frame: Frame, even: npt.NDArray[np.uint8]) -> Plane:
    """The evened plane of a working frame at `SIDE` pixels across its field.

    Args:
        frame: The working frame.
        even: Its `vessel_plane`, uint8 (height, width).

    Returns:
        uint8 (SIDE, SIDE); 0 outside of the mask, at least 1 inside.
    """
    factor = SIDE / (2 * frame.radius)
    matrix = np.array(
        [
            [factor, 0, SIDE / 2 - 0.5 - factor * frame.centre[0]],
            [0, factor, SIDE / 2 - 0.5 - factor * frame.centre[1]],
        ]
    )
    blurred = cv2.GaussianBlur(even, (0, 0), max(0.4, 0.4 / factor))
    small = cv2.warpAffine(blurred, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    mask = cv2.warpAffine(frame.mask.astype(np.uint8), matrix, (SIDE, SIDE), flags=cv2.INTER_NEAREST) > 0
    if frame.found:
        mask &= _inner_disc()
    return np.where(mask, np.maximum(small, 1), 0).astype(np.uint8)


def _inner_disc() -> npt.NDArray[np.bool_]:
    axis = (np.arange(SIDE) + 0.5) / (SIDE / 2) - 1
    return np.asarray(axis[:, None] ** 2 + axis[None, :] ** 2 <= _INNER**2)
