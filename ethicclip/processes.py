"""Several processes that train one model: each sees a share of every batch, the loss is that of the whole.

`torchrun` starts them and says in the environment who is who. Alone, nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ethicclip.errors import UsageError

_PATIENCE = timedelta(hours=2)
"""How long the others wait while the first process validates or writes."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: Number of this one, from 0; the first one writes.
        count: How many there are.
        local_rank: Number on this machine: its GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes files and records."""
        return self.rank == 0

    def rows(self, own: torch.Tensor) -> torch.Tensor:
        """The rows of all processes in their order; gradients flow to this one's own."""
        if self.count == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(parts, own.detach().contiguous())
        parts[self.rank] = own
        return torch.cat(parts)

    def items(self, own: Sequence[Any]) -> list[Any]:
        """The items of all processes in their order."""
        if self.count == 1:
            return list(own)
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, list(own))
        return [item for part in parts for item in part]

    def total(self, value: float, device: torch.device) -> float:
        """The sum of a number over all processes."""
        if self.count == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=device)
        dist.all_reduce(tensor)
        return float(tensor)

    def sum_gradients(self, weights: Sequence[torch.nn.Parameter]) -> None:
        """Make each weight's gradient the sum over all processes; one that nobody has stays away."""
        if self.count == 1 or not weights:
            return
        device = weights[0].device
        present = torch.tensor([float(weight.grad is not None) for weight in weights], device=device)
        dist.all_reduce(present)
        used = [weight for weight, some in zip(weights, present.tolist(), strict=True) if some]
        flat = torch.cat(
            [(torch.zeros_like(weight) if weight.grad is None else weight.grad).reshape(-1) for weight in used]
        )
        dist.all_reduce(flat)
        at = 0
        for weight in used:
            # Fused AdamW walks raw memory: a gradient must lie as its weight does, channels last or not.
            weight.grad = torch.empty_like(weight).copy_(flat[at : at + weight.numel()].view_as(weight))
            at += weight.numel()

    def share(self, batch_size: int, what: str) -> slice:
        """This process' part of every batch.

        Raises:
            UsageError: The batch cannot be shared evenly.
        """
        if batch_size % self.count:
            raise UsageError(
                f"a batch of {batch_size} {what} cannot be shared evenly by {self.count} processes",
                next_step="Choose a batch size that is a multiple of their number.",
            )
        each = batch_size // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            dist.barrier()


ALONE = Processes()


def launched() -> tuple[int, int]:
    """Rank and number of processes that `torchrun` says in the environment; (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the other processes of `torchrun`, on GPUs by NCCL and otherwise by gloo; alone where there are none.

    Args:
        device: "cuda" or "cpu".
    """
    rank, count = launched()
    if count == 1:
        yield ALONE
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(rank=rank, count=count, local_rank=local)
    finally:
        dist.destroy_process_group()
