"""Pixels: a thumbnail of the field of view, for exact and near-exact copies and as a check of everything else.

A plain distance between pictures is small whenever both are mostly black; here only the field counts, brightness and
contrast are taken out, and the *worst* tile decides, so that a likeness in most of the picture is not enough
(Carlini et al. 2023, section 4.2, the maximum over tiles).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.frame import working_frame
from ethicclip.imaging import FieldOfView, Pixels

Thumbnail = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

SIDE = 64
_TILE = 16
_GLOBAL_SIDE = 24
_LEAST_CONTRAST = 3.0
"""Grey levels: below this spread a field shows nothing that could belong to a patient."""


def thumbnail(image: Pixels, field: FieldOfView | None = None) -> Thumbnail:
    """The field of view of an RGB uint8 picture at `SIDE` pixels across, with its mask as a fourth plane (0 or 255)."""
    frame = working_frame(image, side=2 * SIDE, field=field)
    half = frame.radius if frame.found else max(frame.pixels.shape[:2]) / 2
    centre = frame.centre if frame.found else (frame.pixels.shape[1] / 2, frame.pixels.shape[0] / 2)
    factor = SIDE / (2 * half)
    matrix = np.array(
        [[factor, 0, SIDE / 2 - 0.5 - factor * centre[0]], [0, factor, SIDE / 2 - 0.5 - factor * centre[1]]]
    )
    # Soft enough that half a pixel between two finds of the same circle does not count as a difference.
    blurred = cv2.GaussianBlur(frame.pixels, (0, 0), 1.2 / factor)
    small = cv2.warpAffine(blurred, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    mask = cv2.warpAffine(frame.mask.astype(np.uint8) * 255, matrix, (SIDE, SIDE), flags=cv2.INTER_NEAREST)
    return np.dstack([small, mask]).astype(np.uint8)


def mirrored(thumbnails: Thumbnail) -> Thumbnail:
    """Thumbnails (…, side, side, 4) flipped left to right."""
    return np.ascontiguousarray(thumbnails[..., ::-1, :])


def is_empty(one: Thumbnail) -> bool:
    """Whether the field shows nothing: uniform, or no field at all."""
    inside = one[..., 3] > 0
    return bool(inside.sum() < 0.05 * inside.size or one[..., 1][inside].std() < _LEAST_CONTRAST)


def global_descriptors(thumbnails: Thumbnail) -> Floats:
    """Centred, L2-normalised luminance of each thumbnail: uint8 (n, side, side, 4) to float32 (n, 576)."""
    result = np.zeros((len(thumbnails), _GLOBAL_SIDE**2), dtype=np.float32)
    for row, one in enumerate(thumbnails):
        mask = one[..., 3] > 0
        if not mask.any():
            continue
        grey = one[..., :3].astype(np.float32).mean(axis=2)
        plane = np.where(mask, grey - grey[mask].mean(), 0.0).astype(np.float32)
        small = cv2.resize(plane, (_GLOBAL_SIDE, _GLOBAL_SIDE), interpolation=cv2.INTER_AREA).ravel()
        length = float(np.linalg.norm(small))
        result[row] = small / length if length > 1e-6 else 0.0
    return result


def worst_tile(first: Thumbnail, second: Thumbnail) -> float:
    """The largest root-mean-square difference over tiles, in standard deviations of the picture; 0 for equal pictures.

    Both fields are brought to mean 0 and spread 1 in each channel first. 2.0 when they share too little field.
    """
    mask = (first[..., 3] > 0) & (second[..., 3] > 0)
    if mask.sum() < 0.1 * mask.size:
        return 2.0
    planes: list[Doubles] = []
    for one in (first, second):
        inside = one[..., :3][mask].astype(np.float64)
        spread = np.maximum(inside.std(axis=0), _LEAST_CONTRAST)
        planes.append((one[..., :3].astype(np.float64) - inside.mean(axis=0)) / spread)
    squared = ((planes[0] - planes[1]) ** 2).mean(axis=2)
    worst = 0.0
    for top in range(0, SIDE, _TILE):
        for left in range(0, SIDE, _TILE):
            tile = mask[top : top + _TILE, left : left + _TILE]
            if tile.sum() >= 0.25 * tile.size:
                worst = max(worst, float(squared[top : top + _TILE, left : left + _TILE][tile].mean()))
    return float(np.sqrt(worst))
