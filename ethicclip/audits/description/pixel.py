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


def worst_tiles(one: Thumbnail, many: Thumbnail) -> Doubles:
    """The largest root-mean-square difference over tiles, in standard deviations of the picture; 0 for equal pictures.

    Both fields are brought to mean 0 and spread 1 in each channel first. 2.0 where they share too little field.

    Args:
        one: uint8 (side, side, 4).
        many: uint8 (n, side, side, 4).

    Returns:
        float64 (n,).
    """
    if not len(many):
        return np.zeros(0)
    mask = ((one[..., 3] > 0) & (many[..., 3] > 0)).reshape(len(many), -1).astype(np.float32)
    count = np.maximum(mask.sum(axis=1), 1.0)
    difference: Floats = np.zeros_like(mask)
    for channel in range(3):
        evened = []
        for pixels in (one[None, ..., channel], many[..., channel]):
            inside = pixels.reshape(len(pixels), -1) * mask
            inside -= (inside.sum(axis=1) / count)[:, None] * mask
            spread = np.sqrt(np.einsum("np,np->n", inside, inside) / count)
            inside /= np.maximum(spread, _LEAST_CONTRAST)[:, None]
            evened.append(inside)
        evened[0] -= evened[1]
        evened[0] *= evened[0]
        difference += evened[0]
    difference /= 3
    sizes, sums = _by_tile(mask), _by_tile(difference)
    worst = np.where(sizes >= 0.25 * _TILE**2, sums / np.maximum(sizes, 1), 0.0).max(axis=1)
    return np.where(count < 0.1 * SIDE**2, 2.0, np.sqrt(worst.astype(np.float64)))


def _by_tile(planes: Floats) -> Floats:
    """Sums over tiles: (n, SIDE * SIDE) to (n, tiles)."""
    rows = planes.reshape(-1, _TILE).sum(axis=1).reshape(len(planes), SIDE // _TILE, _TILE, SIDE // _TILE)
    return np.asarray(rows.sum(axis=2).reshape(len(planes), -1), dtype=np.float32)
