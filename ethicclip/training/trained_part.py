"""Which weights a private run trains, and which models it refuses."""

from __future__ import annotations

from typing import Any, Literal

import torch

from ethicclip.clip import ClipModel
from ethicclip.errors import UsageError
from ethicclip.privacy import Mechanism
from ethicclip.privacy.per_unit import clippable_parameters
from ethicclip.training.settings import PrivateSettings

Part = Literal["towers", "image", "head"]


def choose_parameters(
    model: ClipModel, private: PrivateSettings, device: torch.device
) -> tuple[list[torch.nn.Parameter], list[str]]:
    """Set `requires_grad` on what the mechanism can train.

    Returns:
        The trained parameters, and what stays frozen, in words.

    Raises:
        UsageError: The model has a normalisation that mixes examples, or no part of that name.
    """
    refuse_batch_statistics(model, private.part)
    bank = private.mechanism is Mechanism.PROMPT_BANK
    candidates: list[tuple[str, torch.nn.Parameter]] = []
    for name, parameter in model.model.named_parameters():
        wanted = _belongs(name, private.part)
        parameter.requires_grad_(wanted)
        if wanted:
            candidates.append((name, parameter))
    if not candidates:
        raise UsageError(
            f"the model {model.name!r} has no last projection that is known", next_step="Use privacy.trained=image."
        )
    frozen = {
        "towers": ["logit scale", "token embeddings"],
        "image": ["logit scale", "text tower"],
        "head": ["logit scale", "text tower", "image tower before its last projection"],
    }[private.part]
    if bank:
        side = model.preprocess.size
        probe = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
        set_mode(model, private.part)
        towers: Any = model.model
        able = clippable_parameters([weight for _, weight in candidates], lambda: towers.encode_image(probe))
        for (name, parameter), possible in zip(candidates, able, strict=True):
            parameter.requires_grad_(possible)
            if not possible:
                frozen.append(name)
    return [parameter for _, parameter in candidates if parameter.requires_grad], frozen


def _belongs(name: str, part: Part) -> bool:
    """Whether a parameter is of the part that is trained; open_clip's own towers end in `proj`, timm's in `head.`."""
    if part == "head":
        return name == "visual.proj" or name.startswith("visual.head.")
    if part == "image":
        return name.startswith("visual.")
    return not name.startswith("logit_") and "token_embedding" not in name


def set_mode(model: ClipModel, part: Part) -> None:
    """Training mode, or for a head alone evaluation mode: everything else is then a fixed function."""
    model.model.train(part != "head")


def refuse_batch_statistics(model: ClipModel, part: Part) -> None:
    """Refuse batch normalisation that trains: it mixes examples, and its statistics leave the run without noise.

    With a head alone the frozen tower runs in evaluation mode, where batch normalisation is a fixed scaling by stored
    statistics; only a head that has some is refused.

    Raises:
        UsageError: Names the first such layer.
    """
    for name, module in model.model.named_modules():
        if part == "head" and not _belongs(name, part):
            continue
        statistics = getattr(module, "track_running_stats", False) and getattr(module, "running_mean", None) is not None
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) or statistics:
            raise UsageError(
                f"the model {model.name!r} has batch normalisation ({name}): it makes one example's gradient depend on "
                "the others, and its running statistics would leave the run without noise",
                next_step="Use a model with group or layer normalisation, such as tiny or ViT-B-32; or go on from a "
                "trained model (privacy.start) with its last projection alone (privacy.trained=head), where the "
                "normalisation is frozen. Layers are not swapped by themselves: a swapped layer is another model.",
            )
