"""Turns "out of memory" into advice: which numbers to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ethicclip.errors import StorageError

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_cpu")


@contextmanager
def memory_advice(side: int, *, fitting: bool = False) -> Iterator[None]:
    """Raise a `StorageError` with advice where the block runs out of memory.

    Args:
        side: Pixels a side.
        fitting: Whether a generator is fitted, which has more numbers to lower.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not any(word in text for word in _WORDS):
            raise
        advice = (
            "Lower --batch-size first, then --size, then --set channels=32; what was saved at the last checkpoint "
            "goes on with --resume."
            if fitting
            else "Use fewer --workers, a smaller generator, or --set device=cpu; finished shards are kept."
        )
        raise StorageError(f"memory ran out at {side} pixels a side", next_step=advice) from None
