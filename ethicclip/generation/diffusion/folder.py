"""The folder of a fitted generator: a diffusers pipeline, what it learnt from, and what stays in the house."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError, IntegrityError
from ethicclip.files import PARTIAL_SUFFIX, read_json, require_empty_or_absent, sha256_file, storage_errors, write_json

SCHEMA = "ethicclip/generator/1"
MANIFEST = "ethicclip_generator.json"
RESTRICTED = "restricted"
CHECKPOINTS = "checkpoints"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
_PARTS = ("model_index.json", "unet/config.json", WEIGHTS, "scheduler/scheduler_config.json")
_LATENT_PARTS = ("vqvae/config.json", "vqvae/diffusion_pytorch_model.safetensors")


def parts_of(manifest: dict[str, Any]) -> tuple[str, ...]:
    """What stock diffusers reads of a generator."""
    return _PARTS if manifest.get("autoencoder") is None else (*_PARTS, *_LATENT_PARTS)


def of_autoencoder(lineage: dict[str, Any]) -> str:
    """What papers say of the autoencoder that a generator runs through."""
    return (
        f"It draws through the autoencoder {lineage['name']} (sha256 {lineage['sha256']}), which was brought: what it "
        "learnt from is not known here. If it learnt patients' pictures it carries them, and no epsilon of the "
        "generator covers that."
    )


def claim(out: Path, identity: dict[str, Any], *, resume: bool) -> Path:
    """Make `out` this run's, note it there as unfinished, and give its restricted folder (mode 0700).

    Raises:
        BadInputError: The folder holds something else, a finished generator, one of other settings or data, or an
            unfinished one and `resume` is False.
    """
    path = out / MANIFEST
    if path.is_file():
        found = read_json(path)
        if not isinstance(found, dict) or found.get("finished"):
            raise BadInputError(f"{out} holds a finished generator", next_step="Choose a new folder.")
        if not resume:
            raise BadInputError(
                f"{out} holds an unfinished generator", next_step="Go on with --resume, or choose a new folder."
            )
        different = [name for name, value in identity.items() if found.get(name) != value]
        if different:
            raise BadInputError(
                f"the unfinished generator in {out} has other {', '.join(different)}",
                next_step="Resume with the settings and pictures it was begun with, or choose a new folder.",
            )
    else:
        require_empty_or_absent(out)
        write_json(path, {**identity, "finished": False})
    restricted = out / RESTRICTED
    with storage_errors(restricted):
        restricted.mkdir(parents=True, exist_ok=True)
        restricted.chmod(0o700)
        for left in restricted.rglob(f".*{PARTIAL_SUFFIX}"):
            left.unlink()
    return restricted


def finish(out: Path, document: dict[str, Any]) -> None:
    """Write the manifest of a finished generator, with the hash of every part."""
    files = {name: sha256_file(out / name) for name in parts_of(document)}
    write_json(out / MANIFEST, {**document, "files": files, "finished": True})


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Refuse parts that are not what was written.

    Raises:
        IntegrityError: Names them.
    """
    files = manifest.get("files")
    noted = files if isinstance(files, dict) else {}
    parts = parts_of(manifest)
    wrong = [name for name in parts if not (folder / name).is_file() or sha256_file(folder / name) != noted.get(name)]
    if wrong:
        raise IntegrityError(
            f"the generator {folder} is not as it was written",
            details=wrong,
            next_step="Restore these files, or fit the generator anew.",
        )
