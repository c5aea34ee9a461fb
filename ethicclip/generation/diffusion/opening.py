"""Opens a generator: a folder of our own making, or any diffusers pipeline that the user names. Pickles are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ethicclip.errors import BadInputError
from ethicclip.files import read_json, sha256_bytes
from ethicclip.generation.diffusion.drawing import DiffusionSource, FittedSource
from ethicclip.generation.diffusion.folder import MANIFEST, SCHEMA, check_files
from ethicclip.generation.diffusion.foreign import foreign_source
from ethicclip.generation.diffusion.hub import INDEX, located, name_of
from ethicclip.generation.diffusion.latent import Autoencoder
from ethicclip.generation.diffusion.loading import first_line, quiet, refuse_pickles
from ethicclip.generation.diffusion.settings import DiffusionSettings
from ethicclip.provenance.artifacts import listing_of_folder

_LIBRARIES = frozenset({"diffusers", "transformers"})
_NETWORKS = ("unet", "transformer", "vae", "vqvae")
"""Parts of a pipeline that diffusers itself defines."""
_VARIANT = re.compile(r"\.(fp16|bf16|non_ema)")
"""Further copies of the same weights, which are not loaded."""


def open_generator(settings: DiffusionSettings) -> DiffusionSource:
    """Open what `settings.generator` names; only what is named `hub:` can need a network.

    Raises:
        BadInputError: No pipeline, pickled or broken weights, code of its own, or channels that are no colours.
    """
    device = choose_device(settings.device)
    folder, name = located(settings.generator), name_of(settings.generator)
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
        lineage = manifest.get("autoencoder")
        autoencoder = None
        if lineage is not None:
            autoencoder = Autoencoder(pipeline.vqvae, name=lineage["name"], digest=lineage["sha256"]).to(device)
        return FittedSource(
            pipeline.unet,
            pipeline.scheduler,
            autoencoder,
            name=name,
            digest=sha256_bytes((folder / MANIFEST).read_bytes()),
            device=device,
        )
    digest = listing_of_folder(folder)[0]
    return foreign_source(_load(folder, device), str(index["_class_name"]), name, digest, settings, device)


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
    path = folder / INDEX
    if not path.is_file():
        raise BadInputError(
            f"{folder} is not the folder of a diffusers pipeline: it has no {INDEX}",
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
        refuse_pickles(folder / part)
    return index


def _load(folder: Path, device: torch.device) -> Any:
    """Load a pipeline with tensors only, without network and without a word on the screen."""
    from diffusers import DiffusionPipeline  # noqa: PLC0415 - it takes seconds to load

    try:
        with quiet():
            pipeline = DiffusionPipeline.from_pretrained(
                str(folder),
                use_safetensors=True,
                local_files_only=True,
                torch_dtype=torch.float32 if device.type == "cpu" else None,
            )
    except Exception as error:  # noqa: BLE001 - a foreign folder can break in any library it touches
        raise BadInputError(
            f"the pipeline {folder} cannot be loaded: {first_line(error)}",
            next_step="The weights or a configuration are broken or do not belong together: copy the folder anew.",
        ) from None
    for part in _NETWORKS:
        _refuse_incomplete(folder / part, getattr(pipeline, part, None))
    channels = getattr(getattr(pipeline, "unet", None), "config", {}).get("in_channels")
    latent = any(getattr(pipeline, part, None) is not None for part in ("vae", "vqvae"))
    if not latent and channels is not None and channels != 3:
        raise BadInputError(
            f"the pipeline {folder} draws pictures of {channels} channels, not of the 3 of a colour photograph",
            next_step="Use a pipeline for RGB pictures.",
        )
    return pipeline


def _refuse_incomplete(folder: Path, network: Any) -> None:
    """Refuse weights that lack tensors: diffusers fills the gap with random ones, and the pictures look like noise.

    Tensors are counted, not named: diffusers renames those of older releases one by one.

    Raises:
        BadInputError: There are fewer than the network has.
    """
    files = [one for one in folder.glob("diffusion_pytorch_model*.safetensors") if not _VARIANT.search(one.name)]
    if network is None or not files:
        return
    found = 0
    for file in files:
        with safe_open(file, "pt") as tensors:
            found += len(tensors.keys())
    wanted = len(network.state_dict())
    if found < wanted:
        raise BadInputError(
            f"the weights of {folder} are incomplete: {found} tensors of the {wanted} that the network has",
            next_step="Copy the folder anew.",
        )
