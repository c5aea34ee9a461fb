"""Votes of local features: which real pictures share keypoints with a query, over the whole collection at once.

Each keypoint of a query asks an inverted file (FAISS) for its nearest keypoints and votes for their pictures by how
much nearer they are than the last of the list (local naive Bayes nearest neighbour, McCann and Lowe 2012): a keypoint
that looks like everybody's votes for nobody. Lists are compressed and search is approximate; verification follows, and
the audit measures on planted copies what the two find together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.local import DIMENSIONS, NORM, LocalFeatures

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class VoteSettings:
    """How many keypoints ask, how many answers each gets, and how much of the index is looked at."""

    queries: int = 250
    neighbours: int = 8
    probes: int = 6
    max_lists: int = 2048
    training_per_list: int = 40
    seed: int = 0


class LocalIndex:
    """The keypoints of every real picture, both sides together.

    Args:
        pictures: Local features of each picture.
        settings: Trade of time against recall.
    """

    def __init__(self, pictures: Sequence[LocalFeatures], settings: VoteSettings) -> None:
        self._settings = settings
        self._count = len(pictures)
        counts = np.array([len(one) for one in pictures], dtype=np.int64)
        self._owner = np.repeat(np.arange(self._count), counts)
        total = int(counts.sum())
        self._index = None
        if total == 0:
            return
        lists = int(np.clip(2 * np.sqrt(total), 1, settings.max_lists))
        lists = max(1, min(lists, total // 40))
        quantizer = faiss.IndexFlatL2(DIMENSIONS)
        index = faiss.IndexIVFScalarQuantizer(
            quantizer, DIMENSIONS, lists, faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_L2, False
        )
        index.cp.seed = settings.seed + 1
        index.cp.niter = 6
        index.cp.max_points_per_centroid = settings.training_per_list
        index.cp.min_points_per_centroid = 1
        sample = np.random.default_rng(settings.seed).permutation(total)[: lists * settings.training_per_list]
        everything = np.concatenate([one.descriptors for one in pictures])
        index.train(everything[np.sort(sample)].astype(np.float32))
        for start in range(0, total, 1 << 16):
            index.add(everything[start : start + (1 << 16)].astype(np.float32))
        index.nprobe = min(settings.probes, lists)
        self._index = index

    def votes(self, queries: Sequence[LocalFeatures]) -> Doubles:
        """Votes of each query for each picture, float64 of shape (queries, pictures).

        A vote is scaled so that a query identical to one picture, and unlike any other, gets about 1 from it.
        """
        result = np.zeros((len(queries), self._count))
        if self._index is None:
            return result
        taken = [one.descriptors[: self._settings.queries] for one in queries]
        owners = np.repeat(np.arange(len(queries)), [len(one) for one in taken])
        if not len(owners):
            return result
        squared, found = self._index.search(np.concatenate(taken).astype(np.float32), self._settings.neighbours)
        pictures = np.where(found >= 0, self._owner[np.maximum(found, 0)], -1)
        squared = np.where(found >= 0, squared, np.inf)
        background = np.where(np.isfinite(squared), squared, 0.0).max(axis=1, keepdims=True)
        gain = np.clip((background - squared) / NORM**2, 0.0, None)
        # Only a keypoint's best match in a picture counts; the list is sorted by distance.
        for column in range(self._settings.neighbours):
            earlier = (pictures[:, :column] == pictures[:, column : column + 1]).any(axis=1)
            valid = (pictures[:, column] >= 0) & ~earlier
            np.add.at(result, (owners[valid], pictures[valid, column]), gain[valid, column])
        sizes = np.array([max(1, len(one)) for one in taken])
        return np.asarray(result / sizes[:, None])
