"""Checkpoints: all tensors of a run in one safetensors file, its scalars as JSON in the file's header; no pickle.

One file, renamed into place once it is on disk: a checkpoint exists whole or not at all.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from ethicclip.errors import BadInputError
from ethicclip.files import canonical_json, write_bytes

_NAME = re.compile(r"step_(\d{6,})\.safetensors")
_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a run needs to go on as if it had not stopped.

    Attributes:
        step: Number of steps done.
        scalars: JSON values: digests and counters.
        tensors: `model/NAME` and `optimizer/STATE/NAME`.
    """

    step: int
    scalars: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `step_NNNNNN.safetensors`, then delete all but the last two.

    Raises:
        StorageError: The disk is full; the checkpoints before this one are untouched.
    """
    path = folder / f"step_{checkpoint.step:06d}.safetensors"
    header = {"ethicclip": canonical_json({**checkpoint.scalars, "step": checkpoint.step}).decode()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    write_bytes(path, safetensors.torch.save(tensors, metadata=header))
    for old in list_checkpoints(folder)[:-_KEPT]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint files of a run, oldest first."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        BadInputError: The file is broken or was not written by `write_checkpoint`.
    """
    try:
        with safetensors.safe_open(str(path), framework="pt") as opened:
            header = opened.metadata() or {}
            names = list(opened.keys())
            tensors = {name: opened.get_tensor(name) for name in names}
        scalars = json.loads(header["ethicclip"])
        step = int(scalars.pop("step"))
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise BadInputError(
            f"the checkpoint {path} cannot be read: {error}",
            next_step="Delete it: the run then resumes from the checkpoint before it, or from the start.",
        ) from None
    return Checkpoint(step=step, scalars=scalars, tensors=tensors)


def training_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The tensors of model and optimizer under stable names."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
    return tensors


def restore_training_state(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """The inverse of `training_state`.

    Raises:
        BadInputError: The tensors do not fit the model.
    """
    weights = {name.removeprefix("model/"): value for name, value in tensors.items() if name.startswith("model/")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise BadInputError(
            f"the checkpoint does not fit the model: {str(error).splitlines()[0]}",
            next_step="Start a new run in a new folder.",
        ) from None
    parameters = dict(model.named_parameters())
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, key, owner = name.split("/", 2)
            parameter = parameters[owner]
            # Fused AdamW walks raw memory: a moment must lie as its weight does, channels last or not.
            like = parameter if value.shape == parameter.shape else value.to(parameter.device)
            optimizer.state[parameter][key] = torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(
                value
            )
