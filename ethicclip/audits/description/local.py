"""Local features: keypoints of the vessel tree, which tell eyes apart where descriptors of whole pictures cannot.

The recipe is that of the project's measurements: green channel, local contrast, SIFT (Lowe 2004), square-root
normalisation (Arandjelovic and Zisserman 2012), kept as bytes. The features of the mirrored picture follow from
those of the picture itself by a permutation of the descriptor's bins, so that a flipped copy costs no second
description.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.frame import vessel_plane, working_frame
from ethicclip.imaging import FieldOfView, Pixels

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

DIMENSIONS = 128
NORM = 512.0
"""Length of every stored descriptor: square roots of shares, in steps of 1/512."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How local features are made; part of the audit's settings and of any cache's key."""

    side: int = 384
    keypoints: int = 600
    blur: float = 1.0
    clip_limit: float = 3.0
    contrast: float = 0.01
    edge: float = 15.0


@dataclass(frozen=True, kw_only=True)
class LocalFeatures:
    """The keypoints of one picture, strongest first.

    Attributes:
        places: (x, y), float32 of shape (n, 2), in units of the field's radius from its centre.
        sizes: Diameter of each keypoint, float32 (n,), in units of the field's radius.
        angles: Direction in radians, float32 (n,).
        descriptors: uint8 of shape (n, 128), of length `NORM` up to rounding.
        sensor: (x, y) in the picture that came in, as shares of its width and height, float32 (n, 2).
        area: Area of the field searched, in squared radii.
    """

    places: Floats
    sizes: Floats
    angles: Floats
    descriptors: Bytes
    sensor: Floats
    area: float

    def __len__(self) -> int:
        return len(self.places)

    def kept(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> LocalFeatures:
        """Only these keypoints."""
        return LocalFeatures(
            places=self.places[rows],
            sizes=self.sizes[rows],
            angles=self.angles[rows],
            descriptors=self.descriptors[rows],
            sensor=self.sensor[rows],
            area=self.area,
        )

    def mirrored(self) -> LocalFeatures:
        """The features of the horizontally mirrored picture."""
        places, sensor = self.places.copy(), self.sensor.copy()
        places[:, 0] *= -1
        sensor[:, 0] = 1 - sensor[:, 0]
        return LocalFeatures(
            places=places,
            sizes=self.sizes,
            angles=_wrapped(np.pi - self.angles),
            descriptors=self.descriptors[:, _MIRROR],
            sensor=sensor,
            area=self.area,
        )


def _mirror_order() -> npt.NDArray[np.int64]:
    """Where each of the 4 x 4 cells and 8 directions of a SIFT descriptor lands when the patch is mirrored.

    A patch is described along its own direction, so mirroring it flips the axis across that direction: cell
    (row, column) becomes (3 - row, column), and a gradient at angle t becomes one at -t.
    """
    order = np.arange(DIMENSIONS).reshape(4, 4, 8)
    return np.ascontiguousarray(order[::-1, :, (-np.arange(8)) % 8]).ravel().astype(np.int64)


_MIRROR = _mirror_order()


def _wrapped(angles: Floats) -> Floats:
    return np.asarray((angles + np.pi) % (2 * np.pi) - np.pi, dtype=np.float32)


def describe_picture(image: Pixels, recipe: Recipe, field: FieldOfView | None = None) -> LocalFeatures:
    """The local features of an RGB uint8 picture; none for a picture without structure."""
    frame = working_frame(image, side=recipe.side, field=field)
    plane = vessel_plane(frame, blur=recipe.blur, clip_limit=recipe.clip_limit)
    detector = cv2.SIFT_create(  # type: ignore[attr-defined]
        nfeatures=recipe.keypoints, contrastThreshold=recipe.contrast, edgeThreshold=recipe.edge
    )
    found, raw = detector.detectAndCompute(plane, frame.mask.astype(np.uint8))
    area = float(frame.mask.sum()) / frame.radius**2
    if raw is None or len(found) == 0:
        return _nothing(area)
    table = np.array(
        [(point.pt[0], point.pt[1], point.size, point.angle, point.response) for point in found], dtype=np.float64
    )
    # The order is fixed by value, never by the detector's threads.
    order = np.lexsort((table[:, 3], table[:, 1], table[:, 0], -table[:, 4]))[: recipe.keypoints]
    table, raw = table[order], raw[order]
    height, width = image.shape[:2]
    in_picture = table[:, :2] / frame.scale + np.array(frame.origin)
    return LocalFeatures(
        places=np.asarray((table[:, :2] - np.array(frame.centre)) / frame.radius, dtype=np.float32),
        sizes=np.asarray(table[:, 2] / frame.radius, dtype=np.float32),
        angles=_wrapped(np.deg2rad(table[:, 3]).astype(np.float32)),
        descriptors=_rooted(raw),
        sensor=np.asarray(in_picture / np.array([width, height]), dtype=np.float32),
        area=area,
    )


def _rooted(raw: npt.NDArray[np.float32]) -> Bytes:
    shares = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-6)
    return np.asarray(np.rint(np.sqrt(shares) * NORM).clip(0, 255), dtype=np.uint8)


def _nothing(area: float) -> LocalFeatures:
    empty = np.zeros(0, dtype=np.float32)
    return LocalFeatures(
        places=np.zeros((0, 2), dtype=np.float32),
        sizes=empty,
        angles=empty,
        descriptors=np.zeros((0, DIMENSIONS), dtype=np.uint8),
        sensor=np.zeros((0, 2), dtype=np.float32),
        area=area,
    )
