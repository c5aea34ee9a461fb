"""Cohorts that come as archives: WebDataset tars (CLIP_benchmark's layout among them) and MedMNIST's ``.npz``.

Their pictures stay where they are, under paths that lead into the archive (`ethicclip.imaging.containers`); what is
made here is the table. In a tar, ``KEY.jpg`` has its class in ``KEY.cls`` (a number, whose name is that line of
``classnames.txt``) or its columns in ``KEY.json``. In an ``.npz``, ``PART_images`` and ``PART_labels`` go together;
labels are numbers there, and the file does not say what they mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ethicclip.cohorts.cohort import shorten
from ethicclip.cohorts.tables import Columns
from ethicclip.errors import BadInputError
from ethicclip.imaging import IMAGE_SUFFIXES
from ethicclip.imaging.containers import npz_arrays, read_encoded, tar_members

CLASS_NAMES = "classnames.txt"
NPZ_PARTS = ("train", "val", "test")

_KNOWN = ("patient_id", "eye", "label", "dr_grade")
"""Columns that come first; other plain values of KEY.json are kept too."""

_NOT_COLUMNS = frozenset({"file", "split"})


def tars_of(path: Path) -> list[Path]:
    """The tars of a path: itself, those in a folder, or those in its sub-folders (splits), in order of name."""
    if path.suffix.lower() == ".tar" and path.is_file():
        return [path]
    if not path.is_dir():
        return []
    return sorted(path.glob("*.tar"), key=_in_numbers) or sorted(path.glob("*/*.tar"), key=_in_numbers)


def is_npz(path: Path) -> bool:
    """Whether a path is an ``.npz``, or a part inside one such as ``retinamnist.npz/test``."""
    return any(place.suffix.lower() == ".npz" and place.is_file() for place in (path, path.parent))


def read_tars(path: Path, tars: Sequence[Path]) -> Columns:
    """The table of WebDataset tars.

    Args:
        path: What the user named, for messages.
        tars: From `tars_of`.

    Returns:
        Columns file, split (the tar's folder below `path`, or ""), and what ``.cls`` and ``.json`` say.

    Raises:
        BadInputError: A broken tar, a class without a name, a record that is not a mapping, or no picture at all.
    """
    rows: list[dict[str, str]] = []
    problems: list[str] = []
    for tar in tars:
        split = "" if path in (tar, tar.parent) else tar.parent.name
        names = _class_names(tar, path)
        for key, members in _grouped(tar).items():
            pictures = sorted(suffix for suffix in members if f".{suffix}" in IMAGE_SUFFIXES)
            if not pictures:
                continue
            if len(pictures) > 1:
                problems.append(f"{tar.name}: {key} has {len(pictures)} pictures")
                continue
            row = {"file": str(tar.absolute() / members[pictures[0]]), "split": split}
            if "json" in members:
                row |= _record(tar, members["json"], problems)
            if "cls" in members and "label" not in row:
                row["label"] = _label(tar, members["cls"], names, problems)
            rows.append(row)
    if problems:
        raise BadInputError(
            f"{len(problems)} pictures of {path} cannot be taken",
            details=shorten(problems),
            next_step=f"A class is a number that counts the lines of {CLASS_NAMES} from 0, a record a JSON object.",
        )
    if not rows:
        raise BadInputError(
            f"the tars of {path} hold no picture",
            next_step=f"Members are KEY.jpg with KEY.cls; read are {', '.join(sorted(IMAGE_SUFFIXES))}.",
        )
    found = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in ("file", *_KNOWN, "split") if name in found]
    columns += [name for name in found if name not in columns]
    return {name: [row.get(name, "") for row in rows] for name in columns}


def read_npz(path: Path) -> Columns:
    """The table of a MedMNIST file, or of one part of it (``retinamnist.npz/test``).

    Raises:
        BadInputError: Another kind of ``.npz``, pictures that are not 8-bit, or several labels a picture.
    """
    archive, part = (path, None) if path.suffix.lower() == ".npz" else (path.parent, path.name)
    arrays = npz_arrays(archive)
    parts = [name for name in NPZ_PARTS if f"{name}_images" in arrays]
    if not parts or (part is not None and part not in parts):
        raise BadInputError(
            f"{archive} holds no {part or 'train'}_images; it holds {', '.join(sorted(arrays)) or 'nothing'}",
            next_step="Name a MedMNIST file, or a part of one such as retinamnist.npz/test.",
        )
    columns: Columns = {"file": [], "label": [], "split": []}
    for name in parts if part is None else [part]:
        images, labels = arrays[f"{name}_images"], arrays.get(f"{name}_labels")
        _check_images(archive, name, images)
        columns["file"] += [str(archive.absolute() / name / f"{row}.bmp") for row in range(len(images))]
        columns["label"] += _numbers(archive, name, labels, len(images))
        columns["split"] += [name] * len(images)
    return columns


def _check_images(archive: Path, part: str, images: Any) -> None:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise BadInputError(
            f"{part}_images of {archive} are {images.dtype} of shape {images.shape}, not 8-bit grey or RGB pictures",
            next_step="Only MedMNIST's two-dimensional sets hold photographs.",
        )


def _numbers(archive: Path, part: str, labels: Any, count: int) -> list[str]:
    if labels is None:
        return [""] * count
    if labels.shape not in ((count,), (count, 1)) or labels.dtype.kind not in "iu":
        raise BadInputError(
            f"{part}_labels of {archive} are {labels.dtype} of shape {labels.shape} for {count} pictures",
            next_step="One whole number a picture is read; sets with several labels a picture are not.",
        )
    return [str(int(label)) for label in labels.reshape(-1)]


def _grouped(tar: Path) -> dict[str, dict[str, str]]:
    """Key -> suffix -> member; members that share a name up to the first dot belong together."""
    found: dict[str, dict[str, str]] = {}
    for name in tar_members(tar):
        folder, _, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        found.setdefault(f"{folder}/{stem}" if folder else stem, {})[suffix.lower()] = name
    return found


def _class_names(tar: Path, path: Path) -> list[str] | None:
    """The lines of classnames.txt beside the tar, above it, or in the folder that was named."""
    for folder in (tar.parent, tar.parent.parent, path if path.is_dir() else path.parent):
        file = folder / CLASS_NAMES
        if file.is_file():
            try:
                return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            except (OSError, UnicodeDecodeError) as error:
                raise BadInputError(f"{file} cannot be read: {error}", next_step="One name a line, UTF-8.") from None
    return None


def _label(tar: Path, member: str, names: list[str] | None, problems: list[str]) -> str:
    text = read_encoded(tar / member).decode("utf-8", "replace").strip()
    if names is None:
        return text
    if not text.isascii() or not text.isdigit() or int(text) >= len(names):
        problems.append(f"{tar.name}: {member} says {text[:40]!r}, and {CLASS_NAMES} has {len(names)} names")
        return ""
    return names[int(text)]


def _record(tar: Path, member: str, problems: list[str]) -> dict[str, str]:
    try:
        record = json.loads(read_encoded(tar / member))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        record = None
    if not isinstance(record, dict):
        problems.append(f"{tar.name}: {member} is not a JSON object")
        return {}
    plain = {str(name): value for name, value in record.items() if isinstance(value, str | int | float | bool)}
    return {name: _text(value) for name, value in plain.items() if name not in _NOT_COLUMNS}


def _text(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value).strip()


def _in_numbers(tar: Path) -> tuple[str, int, str]:
    """2.tar before 10.tar."""
    stem = PurePosixPath(tar.name).stem
    return str(tar.parent), int(stem) if stem.isascii() and stem.isdigit() else -1, tar.name
