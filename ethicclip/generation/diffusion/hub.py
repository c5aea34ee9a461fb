"""Where a generator lies: a folder, or `hub:OWNER/NAME[@REVISION]`, which is downloaded because the user wrote `hub:`.

Of a repository only the pipeline's index and the configurations, words and safetensors of its parts are fetched: no
pickle and no code. What is in the local cache is found without a network.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import read_json
from ethicclip.generation.diffusion.folder import MANIFEST
from ethicclip.generation.diffusion.loading import first_line

HUB = "hub:"
INDEX = "model_index.json"
_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")
_LEFT = ("*.fp16*", "*.bf16*", "*non_ema*")


def located(generator: str) -> Path:
    """The folder of a generator; one of the hub is fetched, once in a process.

    Raises:
        BadInputError: There is no such folder; the hub cannot be reached and the cache does not hold it, or the hub
            does not give it.
        UsageError: A name that is no OWNER/NAME.
    """
    if generator.startswith(HUB):
        return _fetched(generator.removeprefix(HUB))
    if not Path(generator).is_dir():
        raise BadInputError(
            f"{generator} is not the folder of a diffusers pipeline: it does not exist",
            next_step=f"If the hub's is meant, write --generator {HUB}{generator}: it is then downloaded."
            if re.fullmatch(r"[\w.-]+/[\w.-]+", generator)
            else "Give a folder that `fit-generator` or `save_pretrained` wrote, or hub:OWNER/NAME.",
        )
    return Path(generator)


def name_of(generator: str) -> str:
    """What records call it; a folder's name only, since papers carry no path."""
    return generator.removeprefix(HUB) if generator.startswith(HUB) else Path(generator).name


@lru_cache(maxsize=8)
def _fetched(name: str) -> Path:
    repository, _, revision = name.partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UsageError(f"hub:{name} names no generator of the hub", next_step="Write hub:OWNER/NAME[@REVISION].")
    folder = _snapshot(repository, revision or None, [INDEX])
    index = read_json(folder / INDEX) if (folder / INDEX).is_file() else None
    if not isinstance(index, dict):
        raise BadInputError(
            f"hub:{name} is no diffusers pipeline: it has no {INDEX}",
            next_step="Name a repository that a pipeline's save_pretrained was pushed to.",
        )
    parts = [one for one, value in index.items() if isinstance(value, list) and value[0] is not None]
    files = [INDEX, MANIFEST, *(f"{part}/{kind}" for part in parts for kind in _WANTED)]
    folder = _snapshot(repository, revision or None, files)
    if missing := [part for part in parts if not (folder / part).is_dir()]:
        raise _unreachable(repository, f"its {', '.join(missing)} is not in the local cache")
    return folder


def _snapshot(repository: str, revision: str | None, files: list[str]) -> Path:
    """What of these files the hub or else the local cache has."""
    import huggingface_hub  # noqa: PLC0415 - only where somebody names the hub
    from huggingface_hub import errors  # noqa: PLC0415

    download: Any = huggingface_hub.snapshot_download
    try:
        return Path(download(repository, revision=revision, allow_patterns=files, ignore_patterns=list(_LEFT)))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise BadInputError(
            f"the hub does not give {repository}: {first_line(error)}",
            next_step="Check name and revision; of a closed one, accept its terms and log in (`hf auth login`).",
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError) as error:
        raise _unreachable(repository, first_line(error)) from None
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"{repository} cannot be fetched from the hub: {first_line(error)}", next_step="Check the name; try again."
        ) from None


def _unreachable(repository: str, why: str) -> BadInputError:
    return BadInputError(
        f"{repository} is not in the local cache, and the hub cannot be reached",
        details=[why],
        next_step=f"Where there is a network, `hf download {repository}`; then give the folder here with --generator. "
        "HF_HUB_OFFLINE=1 forbids downloading: unset it if that is not meant.",
    )
