"""Training the last projection alone: the tower before it is a fixed function, computed once a picture.

A frozen tower runs in evaluation mode: its batch normalisation (where it has some) uses stored statistics, which are
constants, so that a picture's features depend on that picture only and nothing of it stays behind in the tower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ethicclip.clip import ClipModel
from ethicclip.errors import UsageError

Features = Callable[[torch.Tensor], torch.Tensor]
"""From the tower's input, (n, 3, side, side), to what its last projection reads, (n, width)."""


def before_and_after(model: ClipModel) -> tuple[Features, Features]:
    """The image tower up to its last projection, and that projection.

    The first runs without gradients and in evaluation mode; the second is what is trained.

    Raises:
        UsageError: A tower that is neither timm's nor open_clip's own transformer.
    """
    visual: Any = getattr(model.model, "visual", None)
    trunk, head = getattr(visual, "trunk", None), getattr(visual, "head", None)
    if trunk is not None and head is not None:

        def pooled(pixels: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(trunk(pixels))

        def projected(features: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(head(features))

    elif isinstance(getattr(visual, "proj", None), torch.nn.Parameter):
        weight = visual.proj

        def pooled(pixels: torch.Tensor) -> torch.Tensor:
            visual.proj = None
            try:
                return torch.as_tensor(visual(pixels))
            finally:
                visual.proj = weight

        def projected(features: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(features @ weight)

    else:
        raise UsageError(
            f"the model {model.name!r} has no last projection that is known", next_step="Use privacy.trained=image."
        )

    def frozen(pixels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            visual.eval()
            return pooled(pixels)

    return frozen, projected


class KeptFeatures:
    """Features and labels of pairs, computed when first asked for and kept: pictures are not changed from step to step.

    Runs of a sweep may share one, where sources and start model are the same: pairs are known by their number alone.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[torch.Tensor, frozenset[str]]] = {}

    def missing(self, pairs: Sequence[int]) -> list[int]:
        """Those of `pairs` that are not known yet, each once."""
        return [pair for pair in dict.fromkeys(pairs) if pair not in self._known]

    def learn(self, pairs: Sequence[int], features: torch.Tensor, labels: Sequence[frozenset[str]]) -> None:
        """Keep the features (n, width) and labels of `pairs`."""
        for pair, row, tokens in zip(pairs, features, labels, strict=True):
            self._known[pair] = (row.clone(), tokens)

    def of(self, pairs: Sequence[int]) -> tuple[torch.Tensor, list[frozenset[str]]]:
        """Features (n, width) and labels of known pairs."""
        found = [self._known[pair] for pair in pairs]
        return torch.stack([row for row, _ in found]), [labels for _, labels in found]
