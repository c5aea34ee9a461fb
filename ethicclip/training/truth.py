"""Ground-truth masks as coarse maps: in which cells of the model's input each structure or lesion lies.

A caption says that there are microaneurysms; a map says where. Phantoms know both, and a tower that must also say where
learns small lesions from a fraction of the pairs (docs/decisions/0050-dense-supervision.md). The maps belong to
training only: nothing of them is in the saved model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.clip.preprocessing import Square
from ethicclip.terms import STRUCTURES

GRID = 28
"""Cells a side."""

Truth = npt.NDArray[np.uint8]
"""Where what is: uint8 (GRID, GRID, len(STRUCTURES)), 255 in a cell that shows a structure, 0 elsewhere."""

_PER_CELL = 8


def masks_of(source: Any, index: int, pair: Any) -> Mapping[str, npt.NDArray[np.bool_]] | None:
    """The masks of a pair that `source.read(index)` gave; None from a source, or of a pair, that has none."""
    ask = getattr(source, "masks_of", None)
    return None if ask is None else ask(index, pair)


def truth_maps(masks: Mapping[str, npt.NDArray[np.bool_]], square: Square) -> Truth:
    """Maps of one pair.

    Args:
        masks: By name, bool of the picture's shape; names outside of `STRUCTURES` are left out.
        square: The part of the picture that becomes the model's input.
    """
    maps = np.zeros((GRID, GRID, len(STRUCTURES)), dtype=np.uint8)
    for column, name in enumerate(STRUCTURES):
        mask = masks.get(name)
        if mask is None or not mask.any():
            continue
        fine = square.cut(np.asarray(mask, dtype=np.uint8) * np.uint8(255), GRID * _PER_CELL)
        # A cell shows what any part of it shows: a microaneurysm is a pixel or two.
        maps[..., column] = fine.reshape(GRID, _PER_CELL, GRID, _PER_CELL).max(axis=(1, 3))
    return maps


def moved(maps: Truth, matrix: npt.NDArray[np.float64], size: int) -> Truth:
    """The maps under the same affine change as the picture.

    Args:
        maps: Of the unchanged picture.
        matrix: 2 x 3, from pixels of the picture to pixels of the changed one.
        size: Side of the picture.
    """
    shrink = np.array([[GRID / size, 0, (GRID / size - 1) / 2], [0, GRID / size, (GRID / size - 1) / 2], [0, 0, 1]])
    whole = np.vstack([matrix, [0, 0, 1]])
    small = (shrink @ whole @ np.linalg.inv(shrink))[:2]
    result = np.zeros_like(maps)
    present = np.flatnonzero(maps.any(axis=(0, 1)))
    for chunk in np.array_split(present, -(-len(present) // 4)) if len(present) else []:
        # OpenCV moves up to four channels at once.
        layers = cv2.warpAffine(np.ascontiguousarray(maps[..., chunk]), small, (GRID, GRID))
        result[..., chunk] = layers.reshape(GRID, GRID, -1)
    return result


def stacked(maps: Sequence[Truth | None]) -> tuple[Truth, npt.NDArray[np.bool_]] | None:
    """Maps of a batch, (b, GRID, GRID, structures), and which of its pairs have any; None when no pair has."""
    known = np.array([one is not None for one in maps])
    if not known.any():
        return None
    empty = np.zeros((GRID, GRID, len(STRUCTURES)), dtype=np.uint8)
    return np.stack([empty if one is None else one for one in maps]), known
