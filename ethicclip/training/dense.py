"""Dense supervision: while it learns from captions, the image tower also learns where structures and lesions lie.

A 1 x 1 convolution on the tower's own feature maps tells, for each cell and structure, whether it is there. Its weights
are thrown away after training; what it taught the tower stays.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, binary_cross_entropy_with_logits, interpolate

from ethicclip.terms import STRUCTURES

_FINEST, _COARSEST = 8, 32
"""Strides of the feature maps that are supervised: finer ones see too little, and cost most."""

_PRESENT = 0.25
"""A cell counts as showing a structure from this coverage; moved maps are interpolated."""

_PRESENT_WEIGHT = 3.0
"""Of the cells that show something, against the many that do not."""

_RARE = -3.0
"""First bias of every output: most cells show nothing."""


class DenseHeads(torch.nn.Module):
    """One linear map a supervised feature map.

    Args:
        visual: open_clip's image tower, with a timm trunk that knows its feature maps; see `supports_dense`.
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        found = _feature_maps(visual)
        self.indices = [index for index, _ in found]
        self.heads = torch.nn.ModuleList(
            torch.nn.Conv2d(channels, len(STRUCTURES), kernel_size=1) for _, channels in found
        )
        for head in self.heads:
            torch.nn.init.zeros_(head.weight)  # type: ignore[arg-type]
            torch.nn.init.constant_(head.bias, _RARE)  # type: ignore[arg-type]

    def forward(self, visual: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The image embedding (b, d), and logits (b, structures, h, w) for each supervised feature map."""
        out = visual.forward_intermediates(pixels, indices=self.indices)
        maps = out["image_intermediates"]
        return out["image_features"], [head(one) for head, one in zip(self.heads, maps, strict=True)]


def supports_dense(visual: Any) -> bool:
    """Whether the tower has feature maps to supervise."""
    return bool(_feature_maps(visual))


def _feature_maps(visual: Any) -> list[tuple[int, int]]:
    """Number and channels of the deepest feature map of each supervised stride."""
    info = getattr(getattr(visual, "trunk", None), "feature_info", None)
    if info is None or not hasattr(visual.trunk, "forward_intermediates"):
        return []
    deepest: dict[int, tuple[int, int]] = {}
    for index, one in enumerate(info):
        if _FINEST <= one["reduction"] <= _COARSEST:
            deepest[one["reduction"]] = (index, one["num_chs"])
    return list(deepest.values())


def dense_loss(logits: list[Tensor], truth: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy over cells, structures and feature maps.

    Args:
        logits: From `DenseHeads`.
        truth: float32 (b, structures, GRID, GRID) from 0 to 1.
        known: bool (b,): pairs that have maps; the others do not count.

    Returns:
        A scalar; 0 when no pair has maps.
    """
    if not bool(known.any()):
        return torch.zeros((), device=truth.device)
    total = torch.zeros((), device=truth.device)
    weight = torch.tensor(_PRESENT_WEIGHT, device=truth.device)
    for one in logits:
        height, width = one.shape[-2:]
        coarser = height <= truth.shape[-2] and width <= truth.shape[-1]
        shown = adaptive_max_pool2d(truth, (height, width)) if coarser else interpolate(truth, size=(height, width))
        target = (shown > _PRESENT).float()
        loss = binary_cross_entropy_with_logits(one.float()[known], target[known], pos_weight=weight)
        total = total + loss / len(logits)
    return total
