"""`torch.compile` for the towers: fused kernels in place of one call an operation, after minutes of compiling.

Whether that pays depends on model, precision and machine, so it is off unless asked for; what was measured is in
decision 84.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from ethicclip.errors import UsageError

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")


def compiled(call: Callable[Inputs, Output], *, wanted: bool) -> Callable[Inputs, Output]:
    """The call compiled for the shapes that it meets, or as it is.

    Shapes are fixed: a run has few (the batch, its last chunk, a coarse size), and kernels for any shape are slower.
    """
    return torch.compile(call, dynamic=False) if wanted else call


def check_compiler() -> None:
    """Refuse to compile where it cannot work, before a run writes anything.

    Raises:
        UsageError: torch.compile finds no compiler of its own language or of C++.
    """
    try:
        torch.compile(torch.sin, dynamic=False)(torch.zeros(16))
    except Exception as error:  # each backend raises classes of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"torch.compile does not work on this machine: {reason}",
            next_step="Install a C++ compiler (on Debian: g++), or leave compile out.",
        ) from error
