"""Each process' share of an order's batches."""

from __future__ import annotations

from ethicclip.processes import Processes
from ethicclip.training.order import Order


class SharedOrder:
    """This process' share of every batch of an order.

    Args:
        order: Of the whole run.
        batch_size: Pairs of a whole step.
        processes: Who shares.

    Raises:
        UsageError: The batch cannot be shared evenly.
    """

    def __init__(self, order: Order, batch_size: int, processes: Processes) -> None:
        self._order = order
        self._part = processes.share(batch_size, "pairs")

    def batch(self, step: int) -> list[int]:
        """The indices of this process' pairs of a step."""
        return self._order.batch(step)[self._part]

    def epoch(self, step: int) -> int:
        """As the whole order says."""
        return self._order.epoch(step)

    def views(self, step: int) -> list[int]:
        """See `MixedOrder.views`."""
        views = getattr(self._order, "views", None)
        everyone = [self.epoch(step)] * len(self._order.batch(step)) if views is None else views(step)
        return list(everyone[self._part])
