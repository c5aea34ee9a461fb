"""Exact nearest neighbours of global descriptors, in bounded memory, on a GPU where there is one.

Nothing is subsampled and nothing approximated: a missed neighbour is a missed leak. FAISS multiplies blocks of
both sides in float32; whatever the rounding of that could hide among the k nearest is computed again in float64,
because ``|x|^2 + |y|^2 - 2xy`` loses duplicates to cancellation exactly where they matter. What rounding cannot hide
is left alone: the second look costs a few hundredths of the product.
"""

from __future__ import annotations

import faiss
import numpy as np
import numpy.typing as npt

from ethicclip.errors import UsageError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_SPARE = 4
"""Neighbours fetched beyond k, so that float32's rounding at the k-th place costs no true neighbour."""
_UNIT = float(np.finfo(np.float32).eps) / 2
_PAIRS = 128
"""Pairs computed again at a time: few enough to stay in the processor's cache."""


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
    # A query holds its own row and what was fetched for it from this block and the ones before.
    step = int(np.clip(memory_bytes // 2 // (width + 60 * fetched), 16, 1 << 16))
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
        exact = _second_look(part, database, best, best_rows, wanted)
        order = np.lexsort((best_rows, exact), axis=1)[:, :wanted]
        distances[start : start + step] = np.take_along_axis(exact, order, axis=1)
        rows[start : start + step] = np.take_along_axis(best_rows, order, axis=1)
    return distances, rows


def _second_look(part: Floats, database: Floats, squared: Floats, rows: Indices, wanted: int) -> Doubles:
    """Distances in float64, float64 (n, fetched), inf where rounding cannot have hidden one of the `wanted` nearest.

    The product of d terms in float32 is off by at most (d + 2) u (|x| + |y|)^2, u the unit of rounding (Higham 2002,
    section 3.1); what lies further than twice that beyond the last one wanted is not among the nearest.
    """
    reach = 1.001 * np.sqrt(np.einsum("nd,nd->n", part, part).astype(np.float64))
    last = np.partition(squared, wanted - 1, axis=1)[:, wanted - 1].astype(np.float64)
    largest = 2 * reach + np.sqrt(np.maximum(last, 0.0))
    slack = 2 * (part.shape[1] + 2) * _UNIT * (largest + reach) ** 2
    where, column = np.nonzero(squared <= (last + slack)[:, None])
    exact = np.full(squared.shape, np.inf)
    for start in range(0, len(where), _PAIRS):
        query, place = where[start : start + _PAIRS], column[start : start + _PAIRS]
        apart = part[query].astype(np.float64)
        apart -= database[rows[query, place]]
        exact[query, place] = np.sqrt(np.einsum("pd,pd->p", apart, apart))
    return exact


def _use_gpu(gpu: bool | None) -> bool:
    return bool(faiss.get_num_gpus() > 0) if gpu is None else gpu
