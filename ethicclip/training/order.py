"""Which pairs a step takes: a function of (seed, step), so that a resumed run takes the same ones."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ethicclip.training.draws import generator_for


class Order(Protocol):
    """Says which pairs a step takes."""

    def batch(self, step: int) -> list[int]:
        """The indices of the pairs of a step."""

    def epoch(self, step: int) -> int:
        """The epoch whose captions and augmentation a step shows."""


class EpochOrder:
    """Every epoch is a new permutation of all pairs, cut into batches; what does not fill the last one waits an epoch.

    Args:
        count: Pairs in all sources.
        batch_size: Pairs a step; fewer when there are fewer pairs.
        seed: Of the permutations.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count = count
        self.batch_size = min(batch_size, count)
        self.steps_per_epoch = count // self.batch_size
        self._seed = seed
        self._known: tuple[int, npt.NDArray[np.int64]] | None = None

    def epoch(self, step: int) -> int:
        """The epoch (from 0) that step (from 0) belongs to."""
        return step // self.steps_per_epoch

    def batch(self, step: int) -> list[int]:
        """The indices of the pairs of a step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._known is None or self._known[0] != epoch:
            self._known = (epoch, self._permutation(epoch))
        start = position * self.batch_size
        return [int(index) for index in self._known[1][start : start + self.batch_size]]

    def _permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        return generator_for(self._seed, epoch, "order").permutation(self.count)
