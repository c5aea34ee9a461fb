"""Votes of local features: which real pictures share keypoints with a query, over the whole collection at once.

Each keypoint of a query asks an inverted file (FAISS) for its nearest keypoints and votes for their pictures by how
much nearer they are than the last of the list (local naive Bayes nearest neighbour, McCann and Lowe 2012): a keypoint
that looks like everybody's votes for nobody. Votes count together only where they agree on the rotation (weak
geometric consistency, Jegou, Douze and Schmid 2008). Lists are compressed and search is approximate; verification
follows, and the audit measures on planted copies what the two find together.

Nothing here grows with queries times pictures: a query holds its own few thousand votes and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.local import NORM, LocalFeatures

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_TURNS = 12
"""Sectors of rotation; a vote counts in its own sector and in the nearer neighbour."""
_GRAIN, _STEP = 1024.0, 3.0
"""Axes are whole numbers of 1/1024, so that projections are exact sums; one unit of a code is three of a descriptor."""
_BARRED_SPARE = 4
"""Neighbours fetched beyond those wanted where some pictures are barred: a query's own come first."""


@dataclass(frozen=True, kw_only=True)
class VoteSettings:
    """How many keypoints ask, how many answers each gets, and how much of the index is looked at.

    `dimensions` principal axes of the descriptors are indexed; 64 hold 95 % of their variance.
    """

    queries: int = 300
    neighbours: int = 8
    dimensions: int = 64
    probes: int = 4
    max_lists: int = 4096
    training_per_list: int = 40
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """The pictures one query voted for, most votes first.

    Attributes:
        pictures: int64 (n,).
        votes: float64 (n,); a query identical to one picture, and unlike any other, gives it about 1.
    """

    pictures: Indices
    votes: Doubles


class LocalIndex:
    """The keypoints of every real picture, both sides together.

    Args:
        pictures: Local features of each picture.
        settings: Trade of time against recall.
    """

    def __init__(self, pictures: Sequence[LocalFeatures], settings: VoteSettings) -> None:
        self._settings = settings
        counts = np.array([len(one) for one in pictures], dtype=np.int64)
        total = int(counts.sum())
        self._owner = np.repeat(np.arange(len(pictures), dtype=np.int32), counts)
        self._angles = _joined([one.angles.astype(np.float16) for one in pictures])
        self._index = None
        if total == 0:
            return
        lists = int(np.clip(2 * np.sqrt(total), 1, settings.max_lists))
        lists = max(1, min(lists, total // 40))
        sample = _sample(pictures, counts, lists * settings.training_per_list, settings.seed)
        self._axes, self._middle = _principal(sample, settings.dimensions)
        width = self._axes.shape[1]
        quantizer = faiss.IndexFlatL2(width)
        index = faiss.IndexIVFScalarQuantizer(
            quantizer, width, lists, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_L2, False
        )
        index.cp.seed = settings.seed + 1
        index.cp.niter = 6
        index.cp.max_points_per_centroid = settings.training_per_list
        index.cp.min_points_per_centroid = 1
        index.train(self._codes(sample))
        for start in range(0, len(pictures), 256):
            block = _joined([one.descriptors for one in pictures[start : start + 256]])
            if len(block):
                index.add(self._codes(block))
        index.nprobe = min(settings.probes, lists)
        self._index = index

    def ballots(self, queries: Sequence[LocalFeatures], barred: Flags, *, voters: int | None = None) -> list[Ballot]:
        """The votes of each query.

        Args:
            queries: Local features of each query.
            barred: Pictures that a query must not vote for, bool (queries, pictures).
            voters: Keypoints of a query that vote; as the settings say by default.
        """
        nothing = Ballot(pictures=np.zeros(0, dtype=np.int64), votes=np.zeros(0))
        if self._index is None:
            return [nothing] * len(queries)
        taken = [one.kept(slice(0, voters or self._settings.queries)) for one in queries]
        starts = np.concatenate([[0], np.cumsum([len(one) for one in taken])])
        if not starts[-1]:
            return [nothing] * len(queries)
        wanted = self._settings.neighbours
        fetched = wanted + (_BARRED_SPARE if barred.any() else 0)
        squared, found = self._index.search(self._codes(_joined([one.descriptors for one in taken])), fetched)
        result = []
        for row, one in enumerate(taken):
            part = slice(starts[row], starts[row + 1])
            result.append(self._count(squared[part], found[part], one, barred[row]) if len(one) else nothing)
        return result

    def _codes(self, descriptors: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Whole numbers along the axes, float32 (n, dimensions) within -128 and 127."""
        along = descriptors.astype(np.float32) @ self._axes
        codes = np.rint((along - self._middle) / np.float32(_GRAIN * _STEP))
        return np.asarray(np.clip(codes, -128, 127), dtype=np.float32)

    def _count(self, squared: npt.NDArray[np.float32], found: Indices, query: LocalFeatures, barred: Flags) -> Ballot:
        wanted = self._settings.neighbours
        pictures = self._owner[np.maximum(found, 0)].astype(np.int64)
        open_ = (found >= 0) & ~barred[pictures]
        # The first `wanted` that may be voted for; the last of them is what is common to all eyes.
        open_ &= np.cumsum(open_, axis=1) <= wanted
        background = np.where(open_, squared, 0.0).max(axis=1, keepdims=True)
        gain = np.where(open_, background - squared, 0.0) * (_STEP / NORM) ** 2
        # Only a keypoint's best match in a picture counts; the list is sorted by distance.
        for column in range(1, gain.shape[1]):
            gain[
                (open_[:, :column] & (pictures[:, :column] == pictures[:, column : column + 1])).any(axis=1), column
            ] = 0
        keypoints, columns = np.nonzero(gain > 0)
        voted, weight = pictures[keypoints, columns], gain[keypoints, columns].astype(np.float64)
        turn = self._angles[found[keypoints, columns]].astype(np.float64) - query.angles[keypoints]
        sector = turn / (2 * np.pi) * _TURNS
        near = np.floor(sector)
        beside = near + np.where(sector - near < 0.5, -1, 1)
        keys = np.concatenate(
            [voted * _TURNS + near.astype(np.int64) % _TURNS, voted * _TURNS + beside.astype(np.int64) % _TURNS]
        )
        distinct, place = np.unique(keys, return_inverse=True)
        sums = np.bincount(place, weights=np.concatenate([weight, weight]), minlength=len(distinct))
        owners, first = np.unique(distinct // _TURNS, return_index=True)
        best = np.maximum.reduceat(sums, first) if len(first) else np.zeros(0)
        order = np.lexsort((owners, -best))
        return Ballot(pictures=owners[order], votes=best[order] / len(query))


def _joined(parts: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float16)


def _principal(
    sample: npt.NDArray[np.float32], dimensions: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The axes of most variance in steps of 1/1024, times 1024, float32 (128, dimensions), and the mean along them."""
    whole = sample.astype(np.float64)
    mean = whole.mean(axis=0)
    # Sums of products of bytes are exact, so the axes do not depend on how many threads add them up.
    _, vectors = np.linalg.eigh(whole.T @ whole / len(whole) - np.outer(mean, mean))
    axes = np.rint(vectors[:, ::-1][:, :dimensions] * _GRAIN)
    return axes.astype(np.float32), np.rint(mean @ axes).astype(np.float32)


def _sample(pictures: Sequence[LocalFeatures], counts: Indices, size: int, seed: int) -> npt.NDArray[np.float32]:
    """Random descriptors of all pictures for training, float32 (at most size, 128), gathered picture by picture."""
    total = int(counts.sum())
    chosen = np.sort(np.random.default_rng(seed).permutation(total)[:size])
    starts = np.concatenate([[0], np.cumsum(counts)])
    where = np.searchsorted(chosen, starts)
    parts = [
        one.descriptors[chosen[where[i] : where[i + 1]] - starts[i]]
        for i, one in enumerate(pictures)
        if where[i] < where[i + 1]
    ]
    return np.concatenate(parts).astype(np.float32)
