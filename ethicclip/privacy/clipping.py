"""Clipped sums and their noise, in float32: the two lines on which a guarantee rests, kept apart from everything else.

It knows neither models nor data. A contribution that is not finite counts as zero, since stopping because of one would
tell that it was there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from ethicclip.errors import UsageError
from ethicclip.privacy.units import Entropy

_BELOW = 1.0 - 2.0**-18
"""Room for the rounding of a float32 norm, so that a clipped vector is never longer than C."""


def clip_factors(norms: torch.Tensor, max_norm: float) -> torch.Tensor:
    """min(1, C / norm) for each norm, and 0 where the norm is not finite.

    Args:
        norms: L2 norms of whole contributions, any shape.
        max_norm: C.
    """
    factors = max_norm * _BELOW / norms.float().clamp(min=max_norm * _BELOW)
    return torch.where(torch.isfinite(norms), factors, torch.zeros_like(factors))


class ClippedSum:
    """The sum of a step's clipped contributions, one tensor for each parameter.

    Args:
        parameters: What is trained; fixes shapes and device.
        max_norm: C, the largest L2 norm of a contribution over all parameters together.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], max_norm: float) -> None:
        if not max_norm > 0:
            raise UsageError(f"a clipping norm of {max_norm} is not positive", next_step="Use for example 1.0.")
        self.max_norm = max_norm
        self.total = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters]

    def add(self, gradients: Sequence[torch.Tensor | None]) -> float:
        """Clip one contribution to C as a whole and add it.

        Args:
            gradients: One for each parameter; None counts as zero.

        Returns:
            Its norm before clipping: private, for the restricted folder only.
        """
        parts = [gradient.float() for gradient in gradients if gradient is not None]
        if not parts:
            return 0.0
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in parts]))
        factor = float(clip_factors(norm, self.max_norm))
        if factor > 0:
            for total, gradient in zip(self.total, gradients, strict=True):
                if gradient is not None:
                    total.add_(gradient.float(), alpha=factor)
        return float(norm)

    def release(self, noise_std: float, entropy: Entropy = os.urandom) -> list[torch.Tensor]:
        """The sum plus independent Gaussian noise of standard deviation `noise_std` in every coordinate.

        The generator is seeded anew from the operating system for every release and never kept: no noise can be
        replayed, and a log that held a seed would undo the guarantee.
        """
        device = self.total[0].device
        generator = torch.Generator(device=device)
        generator.manual_seed(int.from_bytes(entropy(8), "little", signed=True))
        return [
            total + noise_std * torch.randn(total.shape, generator=generator, device=device, dtype=torch.float32)
            for total in self.total
        ]
