"""AdamW with decay on matrices only, and a learning rate that rises, then falls as a cosine."""

from __future__ import annotations

import math

import torch


def build_optimizer(model: torch.nn.Module, *, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over all trainable weights; vectors, scalars, embeddings of position and the logit scale do not decay."""
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        keep = parameter.ndim < 2 or "positional_embedding" in name or "logit_" in name
        (plain if keep else decayed).append(parameter)
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=0.0,
        betas=(0.9, 0.98),  # the second as in CLIP: image-text gradients change quickly
        eps=1e-6,
        fused=True,  # on a CPU a tenth of the time; token embeddings are most of a small model's weights
    )


def learning_rate_at(step: int, *, total: int, peak: float, warmup: float) -> float:
    """The rate used by step 0 ... total - 1: linear up to `peak` over `warmup` of all steps, then a cosine to zero."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, total - rising)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
