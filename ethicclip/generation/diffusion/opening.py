"""Opens a generator: a folder of our own making, or any diffusers pipeline that the user names. Pickles are refused."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ethicclip.errors import BadInputError
from ethicclip.files import read_json, sha256_bytes
from ethicclip.generation.diffusion.drawing import DiffusionSource, FittedSource
from ethicclip.generation.diffusion.folder import MANIFEST, SCHEMA, check_files
from ethicclip.generation.diffusion.foreign import foreign_source
from ethicclip.generation.diffusion.settings import DiffusionSettings
from ethicclip.provenance.artifacts import listing_of_folder

HUB = "hub:"
_PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
_LIBRARIES = frozenset({"diffusers", "transformers"})


def open_generator(settings: DiffusionSettings) -> DiffusionSource:
    """Open what `settings.generator` names.

    Raises:
        BadInputError: No pipeline, pickled or broken weights, code of its own, or channels that are no colours.
    """
    device = choose_device(settings.device)
    if settings.generator.startswith(HUB):
        return _open_hub(settings, device)
    folder = Path(settings.generator)
    index = _index_of(folder)
    if (folder / MANIFEST).is_file():
        manifest = read_json(folder / MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA or not manifest.get("finished"):
            raise BadInputError(
                f"{folder} holds a generator that is not finished",
                next_step="Go on with `ethicclip fit-generator ... --resume`.",
            )
        check_files(folder, manifest)
        pipeline = _load(folder, device)
        return FittedSource(
            pipeline.unet,
            pipeline.scheduler,
            name=folder.name,
            digest=sha256_bytes((folder / MANIFEST).read_bytes()),
            device=device,
        )
    digest = listing_of_folder(folder)[0]
    return foreign_source(_load(folder, device), str(index["_class_name"]), folder.name, digest, settings, device)


def choose_device(asked: str) -> torch.device:
    """Where to compute.

    Raises:
        BadInputError: A GPU is asked for and there is none.
    """
    if asked == "cuda" and not torch.cuda.is_available():
        raise BadInputError("device=cuda, and there is no GPU", next_step="Leave --set device out, or use cpu.")
    return torch.device("cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu")


def _index_of(folder: Path) -> dict[str, Any]:
    """The pipeline's index, after a look at what is in the folder."""
    path = folder / "model_index.json"
    if not path.is_file():
        raise BadInputError(
            f"{folder} is not the folder of a diffusers pipeline: it has no model_index.json",
            next_step="Give a folder that `fit-generator` or `save_pretrained` wrote, or hub:OWNER/NAME.",
        )
    index = read_json(path)
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise BadInputError(
            f"{path} names no pipeline of diffusers: a pipeline with code of its own is not run",
            next_step="Save the weights in one of diffusers' own pipelines.",
        )
    strange = [
        name
        for name, value in index.items()
        if isinstance(value, list) and value[0] is not None and value[0] not in _LIBRARIES
    ]
    if strange:
        raise BadInputError(
            f"{path} wants code that comes with it ({', '.join(strange)}), which is not run",
            next_step="Save the weights in one of diffusers' own pipelines.",
        )
    for part in (name for name, value in index.items() if isinstance(value, list) and value[0] is not None):
        files = list((folder / part).glob("*")) if (folder / part).is_dir() else []
        pickles = sorted(one.name for one in files if one.suffix in _PICKLES)
        if pickles and not any(one.suffix == ".safetensors" for one in files):
            raise BadInputError(
                f"the weights of {folder / part} are pickles ({', '.join(pickles[:3])}), which can run code when read",
                next_step="Save them with save_pretrained(..., safe_serialization=True) on a machine you trust.",
            )
    return index


def _load(folder: Path, device: torch.device, **more: Any) -> Any:
    """Load a pipeline with tensors only, without network and without a word on the screen."""
    from diffusers import DiffusionPipeline  # noqa: PLC0415 - it takes seconds to load

    name = more.pop("name", None)
    try:
        with _quiet():
            pipeline = DiffusionPipeline.from_pretrained(
                name or str(folder),
                use_safetensors=True,
                local_files_only=name is None,
                torch_dtype=torch.float32 if device.type == "cpu" else None,
                **more,
            )
    except Exception as error:  # noqa: BLE001 - a foreign folder can break in any library it touches
        first = (str(error).splitlines() or [""])[0][:300]
        raise BadInputError(
            f"the pipeline {name or folder} cannot be loaded: {type(error).__name__}: {first}",
            next_step="The weights or a configuration are broken or do not belong together: copy the folder anew.",
        ) from None
    channels = getattr(getattr(pipeline, "unet", None), "config", {}).get("in_channels")
    if getattr(pipeline, "vae", None) is None and channels is not None and channels != 3:
        raise BadInputError(
            f"the pipeline {name or folder} draws pictures of {channels} channels, not of the 3 of a colour photograph",
            next_step="Use a pipeline for RGB pictures.",
        )
    return pipeline


def _open_hub(settings: DiffusionSettings, device: torch.device) -> DiffusionSource:
    name = settings.generator.removeprefix(HUB)
    os.environ.pop("HF_HUB_OFFLINE", None)
    pipeline = _load(Path(name), device, name=name)
    digest = sha256_bytes(f"hub:{name}:{getattr(pipeline.config, '_commit_hash', '')}".encode())
    return foreign_source(pipeline, type(pipeline).__name__, name, digest, settings, device)


@contextmanager
def _quiet() -> Iterator[None]:
    """Progress bars and advice of diffusers belong on nobody's screen."""
    from diffusers.utils import logging as theirs  # noqa: PLC0415

    before = theirs.get_verbosity()
    theirs.set_verbosity(logging.CRITICAL)
    theirs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        theirs.set_verbosity(before)
        theirs.enable_progress_bar()
