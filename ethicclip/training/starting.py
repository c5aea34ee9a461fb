"""A start from which contrastive learning gets going: both towers' first outputs centred and of unit spread.

Towers with fresh weights map all pictures to almost the same vector, all texts too; cosines then differ in the third
decimal, and a run can spend hundreds of steps at the loss of chance. Shifting and scaling the two projections on the
first batch, as data-dependent initialisation does (Krähenbühl et al. 2016, 1511.06856), ends that. The architecture
stays what open_clip knows: only the values of the projections' weights and biases change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

Embed = Callable[[Callable[[torch.Tensor], torch.Tensor], torch.Tensor], torch.Tensor]
"""Applies a tower to its input: (tower, input) to features."""


@torch.no_grad()
def centre_projections(
    model: Any,
    pixels: torch.Tensor,
    tokens: torch.Tensor,
    *,
    embed: Embed = lambda tower, inputs: tower(inputs),
    fresh: Sequence[str] = ("image", "text"),
) -> bool:
    """Make the mean embedding of a batch zero and its mean square length one, in both towers.

    Args:
        model: open_clip's towers with fresh weights.
        pixels: The image tower's input for a batch.
        tokens: The text tower's.
        embed: Where the batch is embedded in parts, or by several processes.
        fresh: The towers to do it to; one that was trained before is left alone.

    Returns:
        Whether it was done: both projections must be linear layers with a bias, as in our own configs.
    """
    image = getattr(getattr(model.visual, "head", None), "proj", None)
    text = getattr(getattr(model, "text", None), "text_projection", None)
    layers: tuple[Any, Any] = (image, text)
    if not all(isinstance(layer, torch.nn.Linear) and layer.bias is not None for layer in layers):
        return False
    model.eval()
    jobs = {"image": (model.encode_image, pixels), "text": (model.encode_text, tokens)}
    for layer, side in zip(layers, jobs, strict=True):
        if side not in fresh:
            continue
        features = embed(*jobs[side])
        mean = features.float().mean(0)
        spread = (features.float() - mean).pow(2).sum(1).mean().sqrt().clamp(min=1e-6)
        layer.weight.div_(spread)
        layer.bias.sub_(mean).div_(spread)
    return True
