"""Local features: keypoints of the vessel tree, which tell eyes apart where descriptors of whole pictures cannot.

The recipe is that of the project's measurements: green channel, local contrast, SIFT (Lowe 2004), square-root
normalisation (Arandjelovic and Zisserman 2012), kept as bytes. Half of the keypoints are the strongest, the other half
are chosen cell by cell, so that every part of a picture keeps some and a small crop of it can be found. A picture
without a dark surround is a crop of unknown size and is described at several working scales. The features of the
mirrored picture follow from those of the picture itself by a permutation of the descriptor's bins, so that a flipped
copy costs no second description.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.frame import Frame, vessel_plane, without_paint, working_frame
from ethicclip.audits.description.keypoints import (
    Gradients,
    Keypoints,
    described,
    located,
    scale_space,
    turned,
)
from ethicclip.audits.description.plane import Plane, small_plane
from ethicclip.imaging import FieldOfView, Pixels, field_of_view

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

DIMENSIONS = 128
NORM = 512.0
"""Length of every stored descriptor: square roots of shares, in steps of 1/512."""
_CELL = 0.25
"""Side of the cells that share out the keypoints, in radii of the field."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How local features are made; part of the audit's settings and of any cache's key.

    Attributes:
        side: Pixels across the field of view in the working frame.
        keypoints: Most keypoints of a picture at one working scale.
        spread: Share of them chosen cell by cell, not by strength alone.
        zooms: Working scales of a picture without a dark surround, as shares of `side`: how small a part of an eye it
            may show.
        blur: Standard deviation of the smoothing before detection, working pixels.
        clip_limit: Of the adaptive histogram equalisation.
        contrast, edge: Thresholds of the detector.
    """

    side: int = 192
    keypoints: int = 400
    spread: float = 0.5
    zooms: tuple[float, ...] = (1.0, 0.6, 0.36)
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


def describe_picture(image: Pixels, recipe: Recipe, field: FieldOfView | None = None) -> tuple[LocalFeatures, Plane]:
    """The local features of an RGB uint8 picture, none for a picture without structure, and its small plane."""
    field = field_of_view(image) if field is None else field
    zooms = (1.0,) if field.found else recipe.zooms
    unit = recipe.side / 2
    frames = [
        without_paint(working_frame(image, side=round(zoom * recipe.side), field=field), unit=unit) for zoom in zooms
    ]
    planes = [vessel_plane(frame, blur=recipe.blur, clip_limit=recipe.clip_limit, unit=unit) for frame in frames]
    height, width = image.shape[:2]
    views = [_keypoints(frame, plane, recipe, (width, height)) for frame, plane in zip(frames, planes, strict=True)]
    return _interleaved(views), small_plane(frames[0], planes[0])


def _keypoints(
    frame: Frame, plane: npt.NDArray[np.uint8], recipe: Recipe, picture_size: tuple[int, int]
) -> LocalFeatures:
    area = float(frame.mask.sum()) / frame.radius**2
    octaves = scale_space(plane)
    found = located(octaves, contrast=recipe.contrast, edge=recipe.edge)
    height, width = plane.shape
    column, row = np.rint(found.places).astype(np.int64).T
    found = found.rows(frame.mask[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)])
    if not len(found):
        return _nothing(area)
    centre = np.array(frame.centre)
    kept = found.rows(_selected(found, (found.places - centre) / frame.radius, recipe))
    gradients = Gradients(octaves)
    kept = turned(kept, gradients).rows(slice(0, recipe.keypoints))
    in_picture = kept.places / frame.scale + np.array(frame.origin)
    return LocalFeatures(
        places=np.asarray((kept.places - centre) / frame.radius, dtype=np.float32),
        sizes=np.asarray(kept.sizes / frame.radius, dtype=np.float32),
        angles=kept.angles.astype(np.float32),
        descriptors=_rooted(described(kept, gradients)),
        sensor=np.asarray(in_picture / np.array(picture_size), dtype=np.float32),
        area=area,
    )


def _selected(found: Keypoints, places: npt.NDArray[np.float64], recipe: Recipe) -> npt.NDArray[np.int64]:
    """Rows of the keypoints that are kept: the strongest of all first, then the next of each cell in turn."""
    # The order is fixed by value, never by threads.
    order = np.lexsort((found.sizes, places[:, 1], places[:, 0], -found.responses))
    strongest = round(recipe.keypoints * (1 - recipe.spread))
    cells = np.floor(places[order] / _CELL).astype(np.int64) @ np.array([1, 1024])
    by_cell = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.diff(cells[by_cell], prepend=cells[by_cell[0]] - 1))
    rank = np.empty(len(order), dtype=np.int64)
    rank[by_cell] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    rest = strongest + np.argsort(rank[strongest:], kind="stable")
    chosen = np.concatenate([np.arange(min(strongest, len(order))), rest[: recipe.keypoints - strongest]])
    return np.asarray(order[chosen], dtype=np.int64)


def _interleaved(views: Sequence[LocalFeatures]) -> LocalFeatures:
    """Several descriptions of one picture as one, the first of each before the second of any."""
    if len(views) == 1:
        return views[0]
    order = np.argsort(np.concatenate([np.arange(len(one)) for one in views]), kind="stable")
    return LocalFeatures(
        places=np.concatenate([one.places for one in views])[order],
        sizes=np.concatenate([one.sizes for one in views])[order],
        angles=np.concatenate([one.angles for one in views])[order],
        descriptors=np.concatenate([one.descriptors for one in views])[order],
        sensor=np.concatenate([one.sensor for one in views])[order],
        area=views[0].area,
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
