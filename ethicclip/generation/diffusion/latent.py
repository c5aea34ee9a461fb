"""Latent space: pictures through an autoencoder that the user brings; it stays as it came and is never trained here.

An autoencoder is learnt from pictures of its own and can hold them: where those were patients', so is what it decodes,
and no epsilon of a fit in its space covers them. Its hash goes along with the generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import read_json
from ethicclip.generation.diffusion.loading import first_line, quiet, refuse_pickles
from ethicclip.generation.diffusion.pictures import Shelf
from ethicclip.generation.diffusion.settings import FitSettings
from ethicclip.generation.learning import Known
from ethicclip.progress import Progress
from ethicclip.provenance.artifacts import listing_of_folder

_AT_ONCE = 4
"""Pictures encoded or decoded together: the autoencoder, not the network, is what memory runs out in."""


class Autoencoder:
    """A diffusers AutoencoderKL behind two calls.

    Latents are the mean of the posterior times the autoencoder's `scaling_factor`, which stock `LDMPipeline` undoes.

    Args:
        model: As loaded.
        name: What records call it.
        digest: sha256 (hex) of its folder's listing.
    """

    def __init__(self, model: Any, *, name: str, digest: str) -> None:
        self.model, self.name, self.digest = model.eval().requires_grad_(False), name, digest
        self.channels = int(model.config.latent_channels)
        self.factor = int(2 ** (len(model.config.block_out_channels) - 1))

    def to(self, device: torch.device) -> Autoencoder:
        """On this device."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def encoded(self, pictures: Tensor) -> Tensor:
        """Latents (n, channels, side / factor, side / factor) of pictures of -1 to 1, (n, 3, side, side)."""
        parts = [self.model.encode(part).latent_dist.mode() for part in torch.split(pictures, _AT_ONCE)]
        return torch.cat(parts) * float(self.model.config.scaling_factor)

    @torch.no_grad()
    def decoded(self, latents: Tensor) -> Tensor:
        """The inverse of `encoded`, as far as it has one."""
        scaled = latents / float(self.model.config.scaling_factor)
        return torch.cat([self.model.decode(part).sample for part in torch.split(scaled, _AT_ONCE)])

    def lineage(self) -> dict[str, str]:
        """What the generator's manifest says of it."""
        return {"name": self.name, "sha256": self.digest}


def open_autoencoder(folder: Path, device: torch.device) -> Autoencoder:
    """Open the folder of a diffusers AutoencoderKL.

    Raises:
        BadInputError: No AutoencoderKL, pickled, broken or incomplete weights, or channels that are no colours.
    """
    from diffusers import AutoencoderKL  # noqa: PLC0415 - it takes seconds to load

    path = folder / "config.json"
    config = read_json(path) if path.is_file() else None
    if not isinstance(config, dict) or config.get("_class_name") != "AutoencoderKL":
        raise BadInputError(
            f"{folder} is not the folder of a diffusers AutoencoderKL",
            next_step="Give the folder that AutoencoderKL.save_pretrained wrote; of a pipeline, its vae/.",
        )
    refuse_pickles(folder)
    channels = [config.get(name, 3) for name in ("in_channels", "out_channels")]
    if channels != [3, 3]:
        raise BadInputError(
            f"the autoencoder {folder} takes {channels[0]} channels and gives {channels[1]}, not the 3 of a colour "
            "photograph",
            next_step="Use an autoencoder for RGB pictures.",
        )
    try:
        with quiet():
            model, said = AutoencoderKL.from_pretrained(
                str(folder), use_safetensors=True, local_files_only=True, output_loading_info=True
            )
    except Exception as error:  # noqa: BLE001 - a foreign folder can break in any library it touches
        raise BadInputError(
            f"the autoencoder {folder} cannot be loaded: {first_line(error)}",
            next_step="The weights or the configuration are broken or do not belong together: copy the folder anew.",
        ) from None
    wrong = [*said["missing_keys"], *said["unexpected_keys"], *(str(one) for one in said["mismatched_keys"])]
    if wrong:
        raise BadInputError(
            f"the weights of the autoencoder {folder} are not those of its configuration",
            details=[str(one) for one in wrong[:5]],
            next_step="Copy the folder anew.",
        )
    return Autoencoder(model, name=folder.name, digest=listing_of_folder(folder)[0]).to(device)


def latent_side(settings: FitSettings, autoencoder: Autoencoder) -> int:
    """Side of the squares that the network learns.

    Raises:
        UsageError: The autoencoder and the network cannot halve the size so often.
    """
    grain: int = autoencoder.factor * 2 ** (len(settings.multipliers) - 1)
    if settings.size % grain:
        low = settings.size // grain * grain
        raise UsageError(
            f"a side of {settings.size} pixels cannot be halved as often as the autoencoder (by {autoencoder.factor}) "
            f"and the network's {len(settings.multipliers)} levels want",
            next_step=f"Use --size {' or '.join(str(one) for one in (low, low + grain) if one)}, or fewer levels, as "
            "in --set 'multipliers=[1, 2]'.",
        )
    return settings.size // autoencoder.factor


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentShelf:
    """Latents ready to learn from.

    Attributes:
        latents: float32 (1 or 2, n, channels, side, side): as they are, and of the mirrored pictures.
        known: What is known of each picture.
    """

    latents: Tensor
    known: Sequence[Known]

    def tensors(self, rows: Sequence[int], flips: Sequence[bool]) -> tuple[Tensor, Tensor]:
        """See `Shelf.tensors`."""
        batch = torch.stack([self.latents[int(flip), row] for row, flip in zip(rows, flips, strict=True)])
        return batch, Shelf.conditions(self.known, rows, flips)


def encoded_shelf(
    shelf: Shelf, autoencoder: Autoencoder, device: torch.device, *, flip: bool, progress: Progress
) -> LatentShelf:
    """Every picture of a shelf through the autoencoder, once."""
    views = (False, True) if flip else (False,)
    count = len(shelf.known)
    parts: list[Tensor] = []
    with progress.task("encoding pictures", total=count * len(views), unit="images") as bar:
        for mirrored in views:
            for first in range(0, count, _AT_ONCE):
                rows = range(first, min(first + _AT_ONCE, count))
                pictures, _ = shelf.tensors(rows, [mirrored] * len(rows))
                parts.append(autoencoder.encoded(pictures.to(device)).float().cpu())
                bar.advance(len(rows))
    latents = torch.cat(parts)
    return LatentShelf(latents=latents.view(len(views), count, *latents.shape[1:]), known=shelf.known)
