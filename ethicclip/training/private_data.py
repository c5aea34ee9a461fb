"""Privacy units of pair sources, and their pairs read by number, in chunks that a step chooses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ethicclip.privacy import Unit
from ethicclip.privacy.units import units_of
from ethicclip.training.loading import Batch, Loader

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource


def units_of_sources(sources: Sequence[PairSource], unit: Unit) -> list[list[int]]:
    """The pair numbers of each unit over all sources in a row.

    A patient id means the same patient in every source. A source that knows no patients counts as having none.

    Raises:
        BadInputError: Patients are to be protected and a pair has no patient id.
    """
    patients: list[str | None] = []
    for source in sources:
        ask = getattr(source, "patient_id", None)
        patients += [None if ask is None else ask(index) for index in range(len(source))]
    return units_of(patients, unit)


def capped(unit: Sequence[int], most: int, generator: np.random.Generator) -> list[int]:
    """The unit's pairs, `most` of them drawn at random where it has more: a function of this unit alone."""
    if len(unit) <= most:
        return list(unit)
    return sorted(int(pair) for pair in generator.choice(np.asarray(unit), size=most, replace=False))


class ChunkOrder:
    """Tells the loader which pairs the chunks of the present step have."""

    def __init__(self) -> None:
        self._planned: dict[int, list[int]] = {}
        self._first = 0
        self._step = 0

    def plan(self, chunks: Sequence[Sequence[int]], step: int) -> tuple[int, int]:
        """Set the chunks of `step`; the numbers under which the loader asks for them."""
        first = self._first
        self._first += len(chunks)
        self._planned = {first + number: list(chunk) for number, chunk in enumerate(chunks)}
        self._step = step
        return first, self._first

    def batch(self, step: int) -> list[int]:
        """The pairs of chunk number `step`."""
        return self._planned[step]

    def epoch(self, step: int) -> int:
        """Captions and augmentation are drawn anew in every step."""
        return self._step


class ChunkReader:
    """Reads the chunks of one step after the other.

    Args:
        loader: Built on `order`.
        order: See `ChunkOrder`.
    """

    def __init__(self, loader: Loader, order: ChunkOrder) -> None:
        self._loader = loader
        self._order = order
        self.step = 0

    def __call__(self, chunks: Sequence[Sequence[int]]) -> Iterator[Batch]:
        """One batch a chunk, in order."""
        return self._loader.batches(*self._order.plan(chunks, self.step))
