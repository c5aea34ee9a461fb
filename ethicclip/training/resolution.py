"""Coarse first: the early steps of a run see smaller pictures, which cost less, and the late ones the full size.

Convolutions take any size, and what is coarse (disc, vessels, large lesions) is learnt as well from fewer pixels; the
last part of the run learns what only the full size shows (progressive resizing; EfficientNetV2, 2104.00298, section 4).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import interpolate

from ethicclip.errors import UsageError

_MULTIPLE = 32
"""Sides are multiples of the coarsest stride, so that no border is cut off."""


def side_at(step: int, *, total: int, full: int, coarse: int | None, share: float) -> int:
    """Side in pixels of the pictures of a step: `coarse` in the first `share` of all steps, then `full`."""
    return full if coarse is None or step >= share * total else coarse


def check_coarse(coarse: int | None, full: int, visual: Any) -> None:
    """Refuse a coarse size that the tower cannot take.

    Raises:
        UsageError: It is not smaller than the full size, not a multiple of 32, or the tower has positions of one size.
    """
    if coarse is None:
        return
    if coarse >= full or coarse % _MULTIPLE:
        raise UsageError(
            f"coarse_size {coarse} with an input of {full} pixels: it has to be a smaller multiple of {_MULTIPLE}",
            next_step=f"Use {max(_MULTIPLE, full // 2 // _MULTIPLE * _MULTIPLE)}, or leave coarse_size out.",
        )
    trunk = getattr(visual, "trunk", visual)
    if any(name.rpartition(".")[2] in ("pos_embed", "positional_embedding") for name, _ in trunk.named_parameters()):
        raise UsageError(
            "coarse_size needs an image tower without positions of one size, and this one has position embeddings",
            next_step="Leave coarse_size out, or choose a convolutional model such as small.",
        )


def resized(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Pictures (b, 3, s, s) at (b, 3, side, side), each pixel the mean of what it covers."""
    return pixels if pixels.shape[-1] == side else interpolate(pixels, size=(side, side), mode="area")
