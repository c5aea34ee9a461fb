"""Towers that begin with weights from elsewhere: a run's folder, a weights file, or an open_clip tag named by the user.

Nothing is downloaded unless the user writes `open_clip:TAG`. What is known of the weights' own data goes along: their
licences and origins count as the new run's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip

from ethicclip import clip
from ethicclip.clip import ClipModel
from ethicclip.clip.folder import CONFIG_FILE, WEIGHTS_FILE, read_weights
from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import read_json, sha256_file
from ethicclip.training.settings import TrainSettings

TAG = "open_clip:"

# open_clip is untyped and re-exports without saying so.
_open_clip: Any = open_clip


def fill_towers(settings: TrainSettings, model: ClipModel) -> dict[str, Any] | None:
    """Put the pretrained weights into the model.

    Args:
        settings: `pretrained` and `pretrained_towers`.
        model: With fresh weights; changed in place.

    Returns:
        What is known of them (source, sha256, towers, licences, origins), for run.json; None where none are asked for.

    Raises:
        BadInputError: They cannot be read without running code from the file, or do not fit the model.
        UsageError: The tag is unknown.
    """
    if settings.pretrained is None:
        return None
    path, data = _locate(settings.pretrained, settings.model)
    found = read_weights(path)
    _check_vocabulary(path.parent, model, settings.given_towers)
    expected = model.model.state_dict()
    wanted = [name for name in expected if _side(name) in (*settings.given_towers, "both")]
    whole = len(settings.given_towers) == 2
    names = [name for name in wanted if whole or _side(name) != "both"]
    wrong = [f"{name} is missing" for name in names if name not in found]
    wrong += [
        f"{name} has shape {tuple(found[name].shape)}, not {tuple(expected[name].shape)}"
        for name in names
        if name in found and found[name].shape != expected[name].shape
    ]
    if wrong:
        raise BadInputError(
            f"the weights {settings.pretrained} do not fit the model {settings.model!r}",
            details=[*wrong[:5], *([f"and {len(wrong) - 5} more"] if len(wrong) > 5 else [])],
            next_step="Name the architecture they were made for with --model, or take one tower only with "
            "--set pretrained_towers=image.",
        )
    model.model.load_state_dict({**expected, **{name: found[name] for name in names}})
    return {
        "source": settings.pretrained if settings.pretrained.startswith(TAG) else path.parent.name + "/" + path.name,
        "sha256": sha256_file(path),
        "towers": list(settings.given_towers),
        "licences": None if data is None else sorted({source["licence"] for source in data}),
        "origins": None if data is None else sorted({source["origin"] for source in data}),
    }


def _locate(source: str, architecture: str) -> tuple[Path, list[dict[str, Any]] | None]:
    """The weights file, and the data it was trained on where that is written beside it."""
    if source.startswith(TAG):
        tag = source.removeprefix(TAG)
        config = _open_clip.get_pretrained_cfg(architecture, tag)
        if not config:
            tags = _open_clip.list_pretrained_tags_by_model(architecture)
            raise UsageError(
                f"open_clip has no weights {tag!r} for {architecture!r}",
                next_step=f"Its tags are {', '.join(tags)}." if tags else "It has none for this architecture.",
            )
        return Path(_open_clip.download_pretrained(config)), None
    path = Path(source)
    if not path.is_dir():
        if not path.is_file():
            raise BadInputError(f"the pretrained weights {source} do not exist", next_step="Check the path.")
        return path, None
    if not (path / WEIGHTS_FILE).is_file():
        clip.load(path)  # says what is wrong with the folder
    run = path / "run.json"
    return path / WEIGHTS_FILE, read_json(run)["data"] if run.is_file() else None


def _check_vocabulary(folder: Path, model: ClipModel, towers: tuple[str, ...]) -> None:
    """Token embeddings of one size may still belong to other tokens."""
    config = folder / CONFIG_FILE
    if "text" not in towers or not config.is_file():
        return
    theirs = read_json(config)["model_cfg"]["text_cfg"].get("hf_tokenizer_name")
    ours = model.config["text_cfg"].get("hf_tokenizer_name")
    if theirs != ours:
        raise BadInputError(
            f"the pretrained text tower reads the vocabulary {theirs or 'of CLIP'}, the model {ours or 'that of CLIP'}",
            next_step="Take the image tower only: --set pretrained_towers=image.",
        )


def _side(name: str) -> str:
    if name.startswith("logit_"):
        return "both"
    return "image" if name.startswith("visual.") else "text"
