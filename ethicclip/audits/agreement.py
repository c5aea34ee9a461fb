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
_BLOCKS = 9
"""Side of a window in blocks of four pixels: a quarter of the field."""
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
    determinant = float(affine[0, 0] * affine[1, 1] - affine[0, 1] * affine[1, 0])
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
    mask = np.asarray(covered * (target > 0), dtype=np.float32)
    count = cv2.countNonZero(mask)
    if count < _LEAST_PIXELS:
        return NO_AGREEMENT
    a, b = _bands(laid * mask, target * mask, mask)
    return Agreement(correlation=_correlation(a, b, count), local=_local(a, b, mask), pixels=count)


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


def _bands(first: Floats, second: Floats, mask: Floats) -> list[Floats]:
    """The band of vessels of two planes, 0 outside of the mask they share (and are 0 outside of already)."""
    near, far = (mask / np.maximum(blurred(mask), np.float32(1e-3)) for blurred in (_fine, _coarse))
    return [np.asarray(_fine(one) * near - _coarse(one) * far, dtype=np.float32) for one in (first, second)]


def _fine(plane: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), _FINE), dtype=np.float32)


def _coarse(plane: Floats) -> Floats:
    # So smooth that half the size is enough.
    half = cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(half, (0, 0), _COARSE / 2)
    return np.asarray(cv2.resize(wide, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _correlation(a: Floats, b: Floats, count: int) -> float:
    """Of two planes over the `count` pixels outside of which they are 0."""
    mean_a, mean_b = float(a.sum()) / count, float(b.sum()) / count
    one, other = a.ravel(), b.ravel()
    power_a, power_b = (float(one @ one) - count * mean_a**2), (float(other @ other) - count * mean_b**2)
    power = power_a * power_b
    return (float(one @ other) - count * mean_a * mean_b) / power**0.5 if power > 1e-6 else 0.0


def _local(a: Floats, b: Floats, mask: Floats) -> float:
    # Windows are sums of blocks of 4 x 4 pixels, one every block.
    power_a, power_b, both, count = (_windows(plane) for plane in (a * a, b * b, a * b, mask))
    valid = count > 0.25 * _BLOCKS**2
    if not valid.any():
        return 0.0
    local = both[valid] / np.sqrt(np.maximum(power_a[valid] * power_b[valid], 1e-5))
    return float(np.clip((local - 0.3) / 0.7, 0.0, 1.0).mean())


def _windows(plane: Floats) -> Floats:
    blocks = cv2.resize(plane, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    sums = cv2.boxFilter(blocks, -1, (_BLOCKS, _BLOCKS), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(sums, dtype=np.float32)
