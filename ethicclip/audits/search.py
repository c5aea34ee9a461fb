"""Exact nearest neighbours of global descriptors, in bounded memory, on a GPU where there is one.

Nothing is subsampled and nothing approximated: a missed neighbour is a missed leak. FAISS multiplies blocks of
both sides in float32; what it returns, with some to spare, is computed again in float64, because
``|x|^2 + |y|^2 - 2xy`` loses duplicates to cancellation exactly where they matter.
"""

from __future__ import annotations

import faiss
import numpy as np
import numpy.typing as npt

from ethicclip.errors import UsageError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_SPARE = 8
"""Neighbours fetched beyond k, so that float32's rounding at the k-th place costs no true neighbour."""


def nearest(
    queries: Floats, database: Floats, k: int, *, memory_bytes: int = 1 << 29, gpu: bool | None = None
) -> tuple[Doubles, Indices]:
    """The k nearest rows of `database` to each row of `queries` by Euclidean distance, nearest first.

    Args:
        queries: float32, shape (n, d); may be memory-mapped.
        database: float32, shape (m, d); may be memory-mapped.
        k: Neighbours; at most m are returned.
        memory_bytes: Bound on the working memory beside inputs and result.
        gpu: Whether to use the first GPU; by default when FAISS sees one.

    Returns:
        Distances, float64 (n, min(k, m)), recomputed in float64, and rows, int64 of the same shape. Equal distances
        are ordered by row, so the result does not depend on the blocks or the device.

    Raises:
        UsageError: The widths differ, or k is not positive.
    """
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1] or k < 1:
        raise UsageError(f"cannot search {database.shape} for {k} neighbours of {queries.shape}")
    wanted = min(k, len(database))
    fetched = min(k + _SPARE, len(database))
    distances = np.empty((len(queries), wanted), dtype=np.float64)
    rows = np.empty((len(queries), wanted), dtype=np.int64)
    if wanted == 0:
        return distances, rows
    resources = faiss.StandardGpuResources() if _use_gpu(gpu) else None
    width = 4 * max(1, database.shape[1])
    block = max(1024, memory_bytes // 4 // width)
    # The float64 second look holds `fetched` rows a query; that, not the product, bounds the number of queries.
    step = int(np.clip(memory_bytes // 2 // (2 * width * fetched), 16, 1 << 16))
    for start in range(0, len(queries), step):
        part = np.ascontiguousarray(queries[start : start + step], dtype=np.float32)
        best_rows: Indices = np.empty((len(part), 0), dtype=np.int64)
        best: Floats = np.empty((len(part), 0), dtype=np.float32)
        for origin in range(0, len(database), block):
            piece = np.ascontiguousarray(database[origin : origin + block], dtype=np.float32)
            count = min(fetched, len(piece))
            if resources is None:
                found, where = faiss.knn(part, piece, count)
            else:
                found, where = faiss.knn_gpu(resources, part, piece, count)
            best = np.concatenate([best, found], axis=1)
            best_rows = np.concatenate([best_rows, where.astype(np.int64) + origin], axis=1)
            if best.shape[1] > fetched:
                keep = np.argsort(best, axis=1, kind="stable")[:, :fetched]
                best = np.take_along_axis(best, keep, axis=1)
                best_rows = np.take_along_axis(best_rows, keep, axis=1)
        exact = np.linalg.norm(
            part[:, None, :].astype(np.float64) - np.asarray(database[best_rows], dtype=np.float64), axis=2
        )
        order = np.lexsort((best_rows, exact), axis=1)[:, :wanted]
        distances[start : start + step] = np.take_along_axis(exact, order, axis=1)
        rows[start : start + step] = np.take_along_axis(best_rows, order, axis=1)
    return distances, rows


def _use_gpu(gpu: bool | None) -> bool:
    return bool(faiss.get_num_gpus() > 0) if gpu is None else gpu
