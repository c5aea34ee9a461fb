"""Contrastive objectives: CLIP, CLIP with soft targets, SigLIP.

Formulas: CLIP, Radford et al. 2021 (2103.00020), section 2.3; soft targets from label overlap as in UniCL (Yang et al.
2022, 2204.03610), mixed with the identity; contrast within one modality, Khosla et al. 2020 (2004.11362); SigLIP, Zhai
et al. 2023 (2303.15343), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ethicclip.training.settings import Objective

MAX_LOGIT_SCALE = 100.0


def label_similarity(labels: Sequence[frozenset[str]]) -> Tensor:
    """How alike the findings of pairs are: float32 (b, b), the Jaccard index of their label sets, 1 on the diagonal.

    A pair without labels is like itself only.
    """
    names = sorted(set().union(*labels))
    column = {name: index for index, name in enumerate(names)}
    sets = torch.zeros(len(labels), max(1, len(names)))
    for row, tokens in enumerate(labels):
        for token in tokens:
            sets[row, column[token]] = 1.0
    both = sets @ sets.T
    sizes = sets.sum(1)
    either = sizes[:, None] + sizes[None, :] - both
    similarity = both / either.clamp(min=1.0)
    similarity.fill_diagonal_(1.0)
    return similarity


def contrastive_loss(
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor,
    logit_bias: Tensor | None,
    similarity: Tensor,
    *,
    objective: Objective,
    soft_weight: float,
    within_weight: float,
) -> Tensor:
    """The loss of one batch.

    Args:
        image: Unit vectors of the pictures, float32 of shape (b, d).
        text: Unit vectors of the captions, float32 of shape (b, d); row i belongs to row i of `image`.
        logit_scale: Factor on the cosine similarities (already exponentiated).
        logit_bias: Of SigLIP, added to the logits; None otherwise.
        similarity: (b, b) from `label_similarity`.
        objective: Which loss.
        soft_weight: Of "soft_clip", see `TrainSettings`.
        within_weight: Of "soft_clip", see `TrainSettings`.

    Returns:
        A scalar.
    """
    logits = logit_scale * image @ text.T
    if objective == "siglip":
        if logit_bias is not None:
            logits = logits + logit_bias
        # Same findings: neither a match nor a mismatch can be claimed in between, so the target is soft.
        matched = logsigmoid(logits) * similarity
        unmatched = logsigmoid(-logits) * (1.0 - similarity)
        return -(matched + unmatched).sum() / len(image)
    target = torch.eye(len(image), device=logits.device)
    if objective == "soft_clip":
        # The similarity is symmetric, so one target serves both directions.
        target = (1.0 - soft_weight) * target + soft_weight * similarity / similarity.sum(1, keepdim=True)
    # Less the target's own entropy, which no model can reach below: a perfect one has loss 0 under every target.
    entropy = -torch.xlogy(target, target).sum(1).mean()
    by_image = -(target * logits.log_softmax(1)).sum(1).mean()
    by_text = -(target * logits.T.log_softmax(1)).sum(1).mean()
    across = (by_image + by_text) / 2 - entropy
    if objective == "clip" or within_weight == 0:
        return across
    scale = logit_scale.detach()
    within = within_modality(image, scale, similarity) + within_modality(text, scale, similarity)
    return across + within_weight * within / 2


def within_modality(features: Tensor, scale: Tensor, similarity: Tensor) -> Tensor:
    """Supervised contrast of one modality with itself: pairs with like labels shall be near each other.

    Without it a fresh text tower gives captions of one disease unlike vectors, which no picture can follow.
    """
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    target = similarity.masked_fill(itself, 0.0)
    total = target.sum(1)
    target = target / total.clamp(min=1e-6)[:, None]
    log_shares = (scale * features @ features.T).masked_fill(itself, -1e9).log_softmax(1)
    excess = (torch.xlogy(target, target) - target * log_shares).sum(1)
    partnered = total > 0
    return (excess * partnered).sum() / partnered.sum().clamp(min=1)
