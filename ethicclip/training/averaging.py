"""An exponential moving average of the weights, which often sees better than the weights of the last step.

The decay rises from 0.1 to the one asked for as (1 + step) / (10 + step), so that short runs are not held back by their
first weights (the schedule of TensorFlow's ExponentialMovingAverage).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

PREFIX = "average/"
"""What names of averages begin with in a checkpoint."""


class Average:
    """The average of a model's weights and buffers.

    Args:
        model: Followed from its present weights on.
        decay: What of the average stays in a step, once the run is long enough.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self._mean = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        now = self._model.state_dict()
        names = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._mean[name] for name in names], [now[name] for name in names], 1 - decay)
        for name, value in now.items():
            if not value.is_floating_point():
                self._mean[name].copy_(value)

    def tensors(self) -> dict[str, torch.Tensor]:
        """For a checkpoint."""
        return {PREFIX + name: value for name, value in self._mean.items()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """The inverse of `tensors`; others among them are left out."""
        for name, value in self._mean.items():
            value.copy_(tensors[PREFIX + name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the averages while the block runs; afterwards with its own weights again."""
        own = {name: value.detach().clone() for name, value in self._model.state_dict().items()}
        self._model.load_state_dict(self._mean)
        try:
            yield
        finally:
            self._model.load_state_dict(own)
