"""Lays a synthetic image and a reference picture on one another: colours where only one has a vessel, black where both.

What is drawn is the transformation that the verification found, not a new search; a pair that was not verified is drawn
as it lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.audits.comparison import Pair
from ethicclip.audits.description.frame import Frame, working_frame
from ethicclip.audits.description.local import NORM, LocalFeatures
from ethicclip.imaging import Pixels

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_NEARBY = 0.04
"""Radii of the field within which a keypoint counts as lying on the other."""
_ALIKE = 0.65
"""Descriptor distance, as a share of a descriptor's length, under which two keypoints are drawn as one."""


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A pair in one frame, the synthetic image's.

    Attributes:
        synthetic: RGB uint8 (height, width, 3), mirrored when the match is.
        reference: RGB uint8 as it is, in its own frame.
        moved: The reference laid on the synthetic image, RGB uint8 of the synthetic image's shape.
        vessels: Both vessel maps: synthetic red, reference cyan, both black; RGB uint8 of the same shape.
        matches: (x, y) in the synthetic image and in the reference, float64 (n, 4), strongest first.
    """

    synthetic: Pixels
    reference: Pixels
    moved: Pixels
    vessels: Pixels
    matches: Doubles


def lay(
    synthetic: Pixels,
    reference: Pixels,
    pair: Pair,
    *,
    side: int,
    features: tuple[LocalFeatures, LocalFeatures] | None = None,
) -> Laid:
    """Align a pair by its verified transformation.

    Args:
        synthetic: RGB uint8, as read.
        reference: RGB uint8, as read.
        pair: What the comparison found.
        side: Of the working frame.
        features: Local features of both, for the matches.
    """
    ours, theirs = working_frame(synthetic, side=side), working_frame(reference, side=side)
    pixels, mask = ours.pixels, ours.mask
    centre = np.array(ours.centre)
    if pair.flipped:
        pixels, mask = np.ascontiguousarray(pixels[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
        centre[0] = pixels.shape[1] - 1 - centre[0]
    matrix = to_reference(pair.verification.affine, centre, ours.radius, theirs)
    back = cv2.invertAffineTransform(matrix)
    size = (pixels.shape[1], pixels.shape[0])
    moved = cv2.warpAffine(theirs.pixels, back, size).astype(np.uint8)
    inside = cv2.warpAffine(theirs.mask.astype(np.uint8) * 255, back, size) > 127
    dark, light = vessels_of(pixels, mask), vessels_of(moved, inside)
    white = np.float64(255)
    vessels = np.dstack([white * (1 - light), white * (1 - dark), white * (1 - dark)]).astype(np.uint8)
    matches = np.zeros((0, 4))
    if features is not None and pair.verification.inliers >= 3:
        matches = _matches(features[0], features[1], pair, centre, ours.radius, theirs)
    return Laid(synthetic=pixels, reference=theirs.pixels, moved=moved, vessels=vessels, matches=matches)


def to_reference(affine: Doubles, centre: Doubles, radius: float, reference: Frame) -> Doubles:
    """The map of pixels from the (mirrored) synthetic frame to the reference's, float64 (2, 3)."""
    into = np.array([[1 / radius, 0, -centre[0] / radius], [0, 1 / radius, -centre[1] / radius]])
    matrix: Doubles = reference.radius * (affine[:, :2] @ into)
    matrix[:, 2] += reference.radius * affine[:, 2] + np.array(reference.centre)
    return matrix


def vessels_of(image: Pixels, mask: Mask) -> Doubles:
    """How much of a vessel each pixel is, in [0, 1], float64 (height, width): thin and darker than both sides."""
    edge = cv2.erode(mask.astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=0)
    green = cv2.GaussianBlur(image[..., 1].astype(np.float32), (0, 0), 1.0)
    span = max(5, round(0.045 * max(image.shape[:2]))) | 1
    closed = cv2.morphologyEx(green, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (span, span)))
    depth = np.where(edge > 0, closed - green, 0.0).astype(np.float64)
    lit = depth[edge > 0]
    if not lit.size:
        return depth
    low, high = float(np.percentile(lit, 75)), float(np.percentile(lit, 97))
    return np.clip((depth - low) / max(high - low, 2.0), 0, 1)


def square(image: Pixels, side: int, *, ground: int = 0) -> Pixels:
    """An RGB uint8 picture in the middle of a square of `side` pixels."""
    height, width = image.shape[:2]
    longest = max(height, width)
    canvas = np.full((longest, longest, 3), ground, dtype=np.uint8)
    top, left = (longest - height) // 2, (longest - width) // 2
    canvas[top : top + height, left : left + width] = image
    method = cv2.INTER_AREA if longest > side else cv2.INTER_CUBIC
    return cv2.resize(canvas, (side, side), interpolation=method).astype(np.uint8)


def _matches(
    ours: LocalFeatures, theirs: LocalFeatures, pair: Pair, centre: Doubles, radius: float, reference: Frame
) -> Doubles:
    """Keypoints that lie on one another under the map and look alike, one a place, most alike first."""
    if not len(ours) or not len(theirs):
        return np.zeros((0, 4))
    turned = ours.mirrored() if pair.flipped else ours
    linear, shift = pair.verification.affine[:, :2], pair.verification.affine[:, 2]
    mapped = turned.places.astype(np.float64) @ linear.T + shift
    reach = _NEARBY * max(1.0, float(np.sqrt(abs(np.linalg.det(linear)))))
    apart = np.linalg.norm(mapped[:, None, :] - theirs.places[None, :, :], axis=2)
    first = turned.descriptors.astype(np.float32)
    second = theirs.descriptors.astype(np.float32)
    squared = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :] - 2 * first @ second.T
    squared[apart > reach] = np.inf
    best = squared.argmin(axis=1)
    worth = squared[np.arange(len(first)), best]
    rows = np.flatnonzero(worth < (_ALIKE * NORM) ** 2)
    rows = rows[np.argsort(worth[rows], kind="stable")]
    _, once = np.unique(np.round(turned.places[rows] / 0.05), axis=0, return_index=True)
    rows = rows[np.sort(once)]
    return np.column_stack(
        [
            centre + radius * turned.places[rows].astype(np.float64),
            np.array(reference.centre) + reference.radius * theirs.places[best[rows]].astype(np.float64),
        ]
    )
