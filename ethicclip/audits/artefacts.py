"""Camera artefacts: keypoints that belong to the sensor and not to an eye.

Lens dust, reflections, frame notches and text stay at one place of the sensor while patients change. A keypoint whose
look-alikes sit at the same place, in the same direction, under other patients is therefore dropped from every
picture. The sides take no part in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
_BLOCK = 400_000
"""Distances held at once."""


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
            for groups in _cells(sensor, angles, offset):
                hits[groups] |= _recurring(descriptors[groups], owner[groups], other_patients)
    return tuple(hits[starts[i] : starts[i + 1]] for i in range(len(pictures)))


def _cells(sensor: npt.NDArray[np.float32], angles: npt.NDArray[np.float32], offset: float) -> Iterator[Indices]:
    """Keypoints that share a cell, int64 (cells, keypoints): cells of one size together, a bounded number of them."""
    columns = np.floor(sensor / _CELL + offset).astype(np.int64)
    turn = np.floor(angles / (2 * np.pi) * _DIRECTIONS + offset).astype(np.int64) % _DIRECTIONS
    key = (columns[:, 0] * 4096 + columns[:, 1]) * _DIRECTIONS + turn
    order = np.argsort(key, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(key[order])) + 1])
    sizes = np.diff(starts, append=len(order))
    for size in np.unique(sizes[sizes > 2]).tolist():
        first = starts[sizes == size]
        step = max(1, _BLOCK // (size * min(size, _LARGEST_CELL)))
        for begin in range(0, len(first), step):
            yield order[first[begin : begin + step, None] + np.arange(size)[None, :]]


def _recurring(descriptors: npt.NDArray[np.uint8], owner: Indices, other_patients: int) -> Flags:
    """Which keypoints look like those of so many other patients in their cell, bool (cells, keypoints)."""
    size = owner.shape[1]
    # Only the comparison partners are thinned; every keypoint is still judged.
    partners = np.linspace(0, size - 1, min(size, _LARGEST_CELL)).astype(np.int64)
    first = descriptors.astype(np.float32)
    second, theirs = first[:, partners], owner[:, partners]
    squared = -2 * (first @ second.transpose(0, 2, 1))
    squared += np.einsum("cij,cij->ci", first, first)[:, :, None]
    squared += np.einsum("cij,cij->ci", second, second)[:, None, :]
    alike = (squared < (_ALIKE * NORM) ** 2) & (owner[:, :, None] != theirs[:, None, :])
    result = np.zeros(owner.shape, dtype=np.bool_)
    for cell, row in np.argwhere(alike.sum(axis=2) >= other_patients):
        result[cell, row] = len(np.unique(theirs[cell][alike[cell, row]])) >= other_patients
    return result
