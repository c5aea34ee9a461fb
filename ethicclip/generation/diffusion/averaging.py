"""The exponential average of a network's weights, which is what is kept and drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Average:
    """Averages after every step; the decay warms up as (1 + step) / (10 + step).

    Args:
        network: Whose weights.
        decay: Largest decay.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self._mean = {name: weight.detach().clone() for name, weight in network.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after step number `step` (from 1) in."""
        decay = min(self._decay, (1 + step) / (10 + step))
        weights = [weight.detach() for _, weight in self._network.named_parameters()]
        torch._foreach_lerp_(list(self._mean.values()), weights, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[Any]:
        """The network with averaged weights, in evaluation mode; the running weights come back afterwards."""
        held = {name: weight.detach().clone() for name, weight in self._network.named_parameters()}
        was_training = self._network.training
        self._fill(self._mean)
        self._network.eval()
        try:
            yield self._network
        finally:
            self._fill(held)
            self._network.train(was_training)

    def state(self) -> dict[str, Tensor]:
        """The averages by the weights' names."""
        return self._mean

    def load(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        for name, value in state.items():
            self._mean[name].copy_(value)

    @torch.no_grad()
    def _fill(self, values: dict[str, Tensor]) -> None:
        for name, weight in self._network.named_parameters():
            weight.copy_(values[name])
