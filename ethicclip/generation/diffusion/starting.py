"""Begins where another generator ended: one fitted to phantoms once serves many cohorts.

What the first one learnt stays in the weights. Where that was real eyes, the new generator's origin is real eyes too,
and a private fit is refused: its epsilon would say nothing of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file

from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import read_json, sha256_file
from ethicclip.generation.diffusion.folder import MANIFEST, SCHEMA, WEIGHTS, check_files
from ethicclip.generation.diffusion.settings import FitSettings
from ethicclip.pairs import Origin

SHAPE = ("size", "channels", "multipliers", "layers")
"""Settings that a network's weights fix."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A finished generator to begin with.

    Attributes:
        folder: Where it lies.
        name: What records call it.
        digest: sha256 (hex) of its manifest, which holds the hash of every part.
        origin: Whose eyes are in its weights.
        licence: Of what it learnt from.
        shape: Its values of `SHAPE`.
        autoencoder: sha256 of the autoencoder in whose space it works.
    """

    folder: Path
    name: str
    digest: str
    origin: Origin
    licence: str
    shape: dict[str, Any]
    autoencoder: str | None

    def lineage(self) -> dict[str, str]:
        """What the new generator's manifest says of it."""
        return {"name": self.name, "sha256": self.digest, "origin": str(self.origin), "licence": self.licence}

    def shaped(self, settings: FitSettings) -> FitSettings:
        """The settings with the shape of this network.

        Raises:
            UsageError: They ask for another one, or for privacy while real eyes are in the weights.
        """
        other = [
            f"{name} is {self.shape[name]} there, not {getattr(settings, name)}"
            for name in SHAPE
            if name in settings.model_fields_set and getattr(settings, name) != self.shape[name]
        ]
        if other:
            raise UsageError(
                f"the generator {self.folder} has another shape",
                details=other,
                next_step="Leave these out: a fit that starts from a generator has its shape.",
            )
        if settings.privacy is not None and self.origin is not Origin.SYNTHETIC:
            raise UsageError(
                f"the generator {self.folder} learnt from {self.origin} eyes, which the epsilon of this fit would not "
                "cover",
                next_step="Start a private fit from a generator of phantoms.",
            )
        return settings.model_copy(update=self.shape)

    def check_space(self, autoencoder: str | None) -> None:
        """Refuse a fit in another space than the one it works in.

        Args:
            autoencoder: sha256 of the fit's autoencoder, None for pixels.

        Raises:
            UsageError: They differ.
        """
        if autoencoder != self.autoencoder:
            raise UsageError(
                f"the generator {self.folder} and this fit work in different spaces",
                next_step="Name the autoencoder that it was fitted with (--set autoencoder=FOLDER); none for pixels.",
            )

    def load(self, network: Any) -> None:
        """Put its weights into a network of its shape.

        Raises:
            BadInputError: They are broken, or are not those of this shape.
        """
        try:
            network.load_state_dict(load_file(self.folder / WEIGHTS))
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise BadInputError(
                f"the weights of the generator {self.folder} cannot be used: {str(error).splitlines()[0]}",
                next_step="Copy the folder anew, or fit it anew.",
            ) from None


def of_start(lineage: dict[str, Any]) -> str:
    """What papers say of the generator that a fit began with."""
    return (
        f"It began with the weights of {lineage['name']} (sha256 {lineage['sha256']}; learnt from {lineage['origin']} "
        f"pictures, licence: {lineage['licence']})."
    )


def begin(settings: FitSettings) -> tuple[Start | None, FitSettings]:
    """The generator that the settings start from, and the settings with its shape.

    Raises:
        BadInputError, IntegrityError: See `open_start`.
        UsageError: See `Start.shaped`.
    """
    if settings.start is None:
        return None, settings
    start = open_start(Path(settings.start))
    return start, start.shaped(settings)


def open_start(folder: Path) -> Start:
    """Open a finished generator of `fit-generator` to begin with.

    Raises:
        BadInputError: It is none, or not finished.
        IntegrityError: A part of it is not as it was written.
    """
    path = folder / MANIFEST
    manifest = read_json(path) if path.is_file() else None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA or not manifest.get("finished"):
        raise BadInputError(
            f"{folder} is no finished generator to start from",
            next_step="Give the folder of one that `ethicclip fit-generator` finished; other pipelines have no place "
            "for conditions.",
        )
    check_files(folder, manifest)
    fitted = FitSettings.build({**{name: manifest["settings"][name] for name in SHAPE}, "space": "pixel"})
    through = manifest.get("autoencoder")
    return Start(
        folder=folder,
        name=folder.name,
        digest=sha256_file(path),
        origin=Origin(manifest["data"]["origin"]),
        licence=str(manifest.get("licence")),
        shape={name: getattr(fitted, name) for name in SHAPE},
        autoencoder=None if through is None else str(through["sha256"]),
    )
