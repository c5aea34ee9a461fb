"""Models on disk: open_clip's own two files, and ours for what open_clip does not know.

A folder holds `open_clip_config.json`, `open_clip_model.safetensors` and `ethicclip_model.json` (preprocessing); a
model with a compact vocabulary also `tokenizer.json` and `tokenizer_config.json`.
A pickle can run code when it is read, so pickled weights are refused; a `.pt` file that the user names is read by
`torch.load(weights_only=True)`, which builds tensors only.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from ethicclip import __version__
from ethicclip.clip.model import ClipModel, build, named_config, tokenizer_for
from ethicclip.clip.preprocessing import FundusPreprocess
from ethicclip.clip.vocabulary import CompactTokenizer
from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import read_json, write_bytes, write_json

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
DESCRIPTION_FILE = "ethicclip_model.json"
SCHEMA = "ethicclip/model/1"

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def save(model: ClipModel, folder: Path) -> tuple[Path, ...]:
    """Write the model into `folder`, each file atomically; plain open_clip loads the folder as it is.

    Returns:
        The paths written, the weights first.

    Raises:
        StorageError: The disk is full or the place refuses writing.
    """
    preprocess = model.preprocess
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.model.state_dict().items()}
    written: tuple[Path, ...] = (folder / WEIGHTS_FILE, folder / CONFIG_FILE, folder / DESCRIPTION_FILE)
    write_bytes(written[0], safetensors.torch.save(tensors, metadata={"format": "pt"}))
    write_json(
        written[1],
        {
            "model_cfg": model.config,
            "preprocess_cfg": {
                "size": preprocess.size,
                "mean": list(preprocess.mean),
                "std": list(preprocess.std),
                "interpolation": "bicubic",
                "resize_mode": "longest",
            },
        },
    )
    write_json(
        written[2],
        {
            "schema": SCHEMA,
            "ethicclip_version": __version__,
            "name": model.name,
            "preprocess": preprocess.to_json(),
            "note": "open_clip's own transform only resizes and normalises; this model wants the preprocessing above",
        },
    )
    if isinstance(model.tokenizer, CompactTokenizer):
        for name, content in model.tokenizer.files().items():
            write_bytes(folder / name, content)
            written = (*written, folder / name)
    return written


def load(run: Path, *, architecture: str | None = None) -> ClipModel:
    """Read a model.

    Args:
        run: A folder made by `save` or by open_clip, or one weights file (`.safetensors`, or `.pt` of tensors only).
        architecture: Needed for a weights file, which does not say what it is: a config or open_clip name.

    Returns:
        The model on the CPU in evaluation mode. A folder without our description (an open_clip checkpoint) gets
        preprocessing with its own mean and standard deviation and with its colours kept.

    Raises:
        BadInputError: The path is missing, holds pickles only, is broken, or its weights do not fit its config.
        UsageError: A weights file without `architecture`.
    """
    if run.is_dir():
        return _load_folder(run)
    if not run.is_file():
        raise BadInputError(
            f"the model {run} does not exist", next_step="Give the folder that `ethicclip train --out` wrote."
        )
    if architecture is None:
        raise UsageError(
            f"the weights file {run} does not say which architecture it is",
            next_step="Name the architecture, or give the folder that holds the file and its config.",
        )
    config = named_config(architecture)
    return _assemble(config, read_weights(run), stored={}, description=None, name=architecture, where=run, folder=None)


def _load_folder(folder: Path) -> ClipModel:
    config_file, weights_file = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    if not config_file.is_file():
        unfinished = (folder / "run.json").is_file() or (folder / "checkpoints").is_dir()
        raise BadInputError(
            f"the folder {folder} holds no {CONFIG_FILE}",
            next_step="Its training is not finished; run the same command again with --resume."
            if unfinished
            else "Give the folder that `ethicclip train --out` wrote, or an open_clip model folder.",
        )
    stored = read_json(config_file)
    if not isinstance(stored, dict) or not isinstance(stored.get("model_cfg"), dict):
        raise BadInputError(f"{config_file} has no mapping model_cfg", next_step="Restore the file or train again.")
    if not weights_file.is_file():
        others = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
        if not others:
            raise BadInputError(
                f"the folder {folder} holds no safetensors weights"
                + (f", only pickles ({', '.join(pickles)}), which can run code when read" if pickles else ""),
                next_step="Convert the weights to open_clip_model.safetensors with the tool that made them.",
            )
        weights_file = others[0]
    description_file = folder / DESCRIPTION_FILE
    description = read_json(description_file) if description_file.is_file() else None
    return _assemble(
        stored["model_cfg"],
        read_weights(weights_file),
        stored=stored.get("preprocess_cfg") or {},
        description=description,
        name=folder.name,
        where=weights_file,
        folder=folder,
    )


def _assemble(
    config: dict[str, Any],
    weights: dict[str, torch.Tensor],
    *,
    stored: dict[str, Any],
    description: Any,
    name: str,
    where: Path,
    folder: Path | None,
) -> ClipModel:
    try:
        model = build(config, name=name)
    except UsageError as error:
        raise BadInputError(error.what, next_step=error.next_step) from None
    expected = model.state_dict()
    wrong = [f"{key} is missing" for key in expected if key not in weights]
    wrong += [f"{key} is not part of the model" for key in weights if key not in expected]
    wrong += [
        f"{key} has shape {tuple(weights[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in weights and weights[key].shape != tensor.shape
    ]
    if wrong:
        raise BadInputError(
            f"the weights in {where} do not fit the model's config",
            details=[*wrong[:10], *([f"and {len(wrong) - 10} more"] if len(wrong) > 10 else [])],
            next_step="Use the config and the weights of one and the same model.",
        )
    model.load_state_dict(weights)
    preprocess = _preprocess(config, stored, description, where)
    label = description.get("name", name) if isinstance(description, dict) else name
    return ClipModel(
        model=model.eval(),
        tokenizer=tokenizer_for(config, folder),
        preprocess=preprocess,
        config=config,
        name=str(label),
    )


def _preprocess(config: dict[str, Any], stored: dict[str, Any], description: Any, where: Path) -> FundusPreprocess:
    if description is not None:
        if not isinstance(description, dict) or not isinstance(description.get("preprocess"), dict):
            raise BadInputError(
                f"{where.with_name(DESCRIPTION_FILE)} has no mapping preprocess", next_step="Restore the file."
            )
        return FundusPreprocess.from_json(description["preprocess"])
    size = stored.get("size", config.get("vision_cfg", {}).get("image_size", 224))
    plain = FundusPreprocess(size=int(size[0] if isinstance(size, list) else size), local_mean=False)
    # OpenAI's statistics are what open_clip assumes when a config gives none.
    mean = stored.get("mean") or (0.48145466, 0.4578275, 0.40821073)
    std = stored.get("std") or (0.26862954, 0.26130258, 0.27577711)
    return FundusPreprocess.from_json({**plain.to_json(), "mean": list(mean), "std": list(std)})


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a ``.safetensors`` file, or of a ``.pt`` file read without running code from it.

    Raises:
        BadInputError: The file is missing, broken, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            tensors: dict[str, torch.Tensor] = safetensors.torch.load_file(str(path))
            return tensors
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInputError(
            f"the weights {path} cannot be read without running code from the file: {first}",
            next_step="Use a safetensors file, or a .pt file that holds tensors only.",
        ) from None
    except OSError as error:
        raise BadInputError(f"the weights {path} cannot be read: {error.strerror}") from None
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise BadInputError(f"the weights {path} are not a mapping of names to tensors")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}
