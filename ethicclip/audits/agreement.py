"""Dense agreement: laid on one another by a proposed map, do two pictures show the same between the keypoints too?

The finer of the two is brought into the frame of the coarser, both are reduced to the scale of vessels, and their
correlation is taken as a whole and in windows of a quarter of the field. The windows find a copy that fills only a part
of the picture. What it adds to the score is calibrated with the rest on pairs of other patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.plane import SIDE, Plane

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_FINE, _COARSE = 0.7, 4.0
"""Standard deviations of the band's two Gaussians, pixels of the plane."""
_PRIOR_PIXELS = 500.0
_WEIGHT = 100.0
_WINDOW = 33
_LEAST_PIXELS = 150


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two pictures agree under a map.

    Attributes:
        correlation: Over all of the field that both show, -1 to 1.
        local: Mean over windows of how far the correlation there is above chance, 0 to 1.
        pixels: Pixels of the plane that both show.
    """

    correlation: float
    local: float
    pixels: int


NO_AGREEMENT = Agreement(correlation=0.0, local=0.0, pixels=0)


def agreement(first: Plane, second: Plane, affine: Doubles) -> Agreement:
    """Lay `first` on `second`.

    Args:
        first: uint8 (SIDE, SIDE), see `description.plane`.
        second: The same of the other picture.
        affine: Maps (x, y, 1) of the first to the second in radii of the field, shape (2, 3).
    """
    determinant = float(np.linalg.det(affine[:, :2]))
    if not 1e-3 < determinant < 1e3:
        return NO_AGREEMENT
    if determinant < 1:
        # The first is an enlarged part of the second: bring it down, so that neither shows what the other cannot.
        moved, target = first, second
        matrix = _inverse(affine)
        shrink = determinant**-0.5
    else:
        moved, target = second, first
        matrix, shrink = affine, determinant**0.5
    # warpAffine asks where each target pixel comes from: from target's radii to the moved picture's.
    half = SIDE / 2
    shift = half - 0.5
    linear = matrix[:, :2]
    pixels = np.column_stack([linear, linear @ np.array([-shift, -shift]) + matrix[:, 2] * half + shift])
    mask_moved = (moved > 0).astype(np.float32)
    plane = moved.astype(np.float32)
    if shrink > 1.2:
        plane = _blurred(plane, mask_moved, 0.5 * shrink)
    how = cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(plane, pixels, (SIDE, SIDE), flags=cv2.INTER_LINEAR | how)
    covered = cv2.warpAffine(mask_moved, pixels, (SIDE, SIDE), flags=cv2.INTER_NEAREST | how)
    mask = ((covered > 0) & (target > 0)).astype(np.float32)
    count = int(mask.sum())
    if count < _LEAST_PIXELS:
        return NO_AGREEMENT
    a, b = _band(laid.astype(np.float32), mask), _band(target.astype(np.float32), mask)
    return Agreement(correlation=_correlation(a, b, mask), local=_local(a, b, mask), pixels=count)


def dense_evidence(found: Agreement) -> float:
    """What the agreement adds to a pair's score, in the units of the geometry's significance.

    The correlation is drawn towards zero where few pixels are shared; what pictures of different eyes commonly reach
    (a correlation of 0.2, a tenth of the windows) adds nothing.
    """
    drawn = found.correlation * found.pixels / (found.pixels + _PRIOR_PIXELS)
    return _WEIGHT * (max(0.0, drawn - 0.2) + max(0.0, found.local - 0.1))


def _inverse(affine: Doubles) -> Doubles:
    linear = np.linalg.inv(affine[:, :2])
    return np.column_stack([linear, -linear @ affine[:, 2]])


def _blurred(plane: Floats, mask: Floats, sigma: float) -> Floats:
    weight = cv2.GaussianBlur(mask, (0, 0), sigma)
    return np.asarray(cv2.GaussianBlur(plane * mask, (0, 0), sigma) / np.maximum(weight, 1e-3), dtype=np.float32)


def _band(plane: Floats, mask: Floats) -> Floats:
    return np.asarray((_blurred(plane, mask, _FINE) - _blurred(plane, mask, _COARSE)) * mask, dtype=np.float32)


def _correlation(a: Floats, b: Floats, mask: Floats) -> float:
    count = float(mask.sum())
    centred_a, centred_b = (a - a.sum() / count) * mask, (b - b.sum() / count) * mask
    power = float((centred_a**2).sum()) * float((centred_b**2).sum())
    return float((centred_a * centred_b).sum() / np.sqrt(power)) if power > 1e-6 else 0.0


def _local(a: Floats, b: Floats, mask: Floats) -> float:
    def total(plane: Floats) -> Floats:
        sums = cv2.boxFilter(plane, -1, (_WINDOW, _WINDOW), normalize=False, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(sums[::4, ::4], dtype=np.float32)

    count = total(mask)
    power = total(a * a) * total(b * b)
    valid = count > 0.25 * _WINDOW**2
    if not valid.any():
        return 0.0
    local = total(a * b)[valid] / np.sqrt(np.maximum(power[valid], 1e-3))
    return float(np.clip((local - 0.3) / 0.7, 0.0, 1.0).mean())
