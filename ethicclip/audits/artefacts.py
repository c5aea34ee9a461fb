"""Camera artefacts: keypoints that belong to the sensor and not to an eye.

Lens dust, reflections, frame notches and text stay at one place of the sensor while patients change. A keypoint whose
look-alikes sit at the same place, in the same direction, under other patients is therefore dropped from every
picture. The sides take no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.local import NORM, LocalFeatures

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

_CELL = 0.011
"""Side of a sensor cell as a share of the picture: about four pixels of the working frame."""
_DIRECTIONS = 12
_ALIKE = 0.4
"""Descriptor distance, as a share of a descriptor's length, under which two keypoints look alike."""
_LARGEST_CELL = 600


def artefact_keypoints(
    pictures: Sequence[LocalFeatures], patients: Indices, *, other_patients: int = 2
) -> tuple[Flags, ...]:
    """Which keypoints of each picture recur at the same place of the sensor under other patients.

    Args:
        pictures: Local features of all real pictures, both sides together.
        patients: Patient of each picture, int64 (n,).
        other_patients: How many other patients must show the same.

    Returns:
        One bool array a picture, True where the keypoint is an artefact.
    """
    counts = np.array([len(one) for one in pictures], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)])
    total = int(starts[-1])
    hits = np.zeros(total, dtype=np.bool_)
    if total:
        owner = np.repeat(patients, counts)
        sensor = np.concatenate([one.sensor for one in pictures])
        angles = np.concatenate([one.angles for one in pictures])
        descriptors = np.concatenate([one.descriptors for one in pictures])
        # Two grids, half a cell apart, so that no neighbour is lost at a border.
        for offset in (0.0, 0.5):
            for group in _cells(sensor, angles, offset):
                hits[group] |= _recurring(descriptors[group], owner[group], other_patients)
    return tuple(hits[starts[i] : starts[i + 1]] for i in range(len(pictures)))


def _cells(sensor: npt.NDArray[np.float32], angles: npt.NDArray[np.float32], offset: float) -> list[Indices]:
    columns = np.floor(sensor / _CELL + offset).astype(np.int64)
    turn = np.floor(angles / (2 * np.pi) * _DIRECTIONS + offset).astype(np.int64) % _DIRECTIONS
    key = (columns[:, 0] * 4096 + columns[:, 1]) * _DIRECTIONS + turn
    order = np.argsort(key, kind="stable")
    borders = np.flatnonzero(np.diff(key[order])) + 1
    return [group for group in np.split(order, borders) if len(group) > 2]


def _recurring(descriptors: npt.NDArray[np.uint8], owner: Indices, other_patients: int) -> Flags:
    if len(owner) > _LARGEST_CELL:
        # Only the comparison partners are thinned; every keypoint is still judged.
        partners = np.linspace(0, len(owner) - 1, _LARGEST_CELL).astype(np.int64)
    else:
        partners = np.arange(len(owner))
    first, second = descriptors.astype(np.float32), descriptors[partners].astype(np.float32)
    squared = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :] - 2 * first @ second.T
    alike = (squared < (_ALIKE * NORM) ** 2) & (owner[:, None] != owner[partners][None, :])
    result = np.zeros(len(owner), dtype=np.bool_)
    for row in np.flatnonzero(alike.sum(axis=1) >= other_patients):
        result[row] = len(np.unique(owner[partners][alike[row]])) >= other_patients
    return result
