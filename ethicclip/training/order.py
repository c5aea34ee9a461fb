"""Which pairs a step takes: a function of (seed, step), so that a resumed run takes the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


class MixedOrder:
    """Several sets with weights: every epoch has as many pairs as all sets together, each set its share of them.

    A set is gone through in permutations of its own, one after the other and over the ends of epochs: none of its pairs
    comes a third time before all have come twice. A small set with a large weight repeats, a large one with a small
    weight is seen in parts.

    Args:
        counts: Pairs of each set.
        weights: Of each set, positive; only their proportions count.
        batch_size: Pairs a step; fewer when there are fewer pairs.
        seed: Of the mixture and the permutations.
    """

    def __init__(self, counts: Sequence[int], weights: Sequence[float], batch_size: int, seed: int) -> None:
        self.count = sum(counts)
        self.batch_size = min(batch_size, self.count)
        self.steps_per_epoch = self.count // self.batch_size
        self._counts = list(counts)
        self._seed = seed
        self._firsts = [sum(counts[:number]) for number in range(len(counts))]
        self.shares = _shares(weights, self.steps_per_epoch * self.batch_size)
        self._known: tuple[int, list[tuple[int, int]]] | None = None

    def epoch(self, step: int) -> int:
        """The epoch (from 0) that step (from 0) belongs to."""
        return step // self.steps_per_epoch

    def batch(self, step: int) -> list[int]:
        """The indices of the pairs of a step, among all sets in a row."""
        return [index for index, _ in self._slots(step)]

    def views(self, step: int) -> list[int]:
        """How often each pair of the step has been seen before: what draws its caption and augmentation."""
        return [turn for _, turn in self._slots(step)]

    def _slots(self, step: int) -> list[tuple[int, int]]:
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._known is None or self._known[0] != epoch:
            self._known = (epoch, self._epoch(epoch))
        start = position * self.batch_size
        return self._known[1][start : start + self.batch_size]

    def _epoch(self, epoch: int) -> list[tuple[int, int]]:
        """Pair and turn of every place of an epoch."""
        streams = [self._draws(number, epoch * share, share) for number, share in enumerate(self.shares)]
        owners = np.repeat(np.arange(len(self.shares)), self.shares)
        order = generator_for(self._seed, epoch, "mixture").permutation(len(owners))
        return [next(streams[int(owner)]) for owner in owners[order]]

    def _draws(self, number: int, first: int, count: int) -> Iterator[tuple[int, int]]:
        """Draws first ... first + count - 1 of one set."""
        size = self._counts[number]
        turn, permutation = -1, np.empty(0, dtype=np.int64)
        for draw in range(first, first + count):
            if draw // size != turn:
                turn = draw // size
                permutation = generator_for(self._seed, "set", number, turn).permutation(size)
            yield self._firsts[number] + int(permutation[draw % size]), turn


def _shares(weights: Sequence[float], total: int) -> list[int]:
    """`total` shared by weight, by largest remainders; the earlier set has it where they are equal."""
    exact = [weight / sum(weights) * total for weight in weights]
    shares = [int(one) for one in exact]
    by_rest = sorted(range(len(exact)), key=lambda number: (shares[number] - exact[number], number))
    for number in by_rest[: total - sum(shares)]:
        shares[number] += 1
    return shares
