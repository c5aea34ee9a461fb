"""Finds the pairs in anybody's WebDataset tars, and leaves none out in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.pairs.masks import MEMBER
from ethicclip.pairs.shards import Member, scan_shard

_FORMATS = {"jpg": "jpg", "jpeg": "jpg", "png": "png", "webp": "webp"}
_OTHER_IMAGES = frozenset({"bmp", "tif", "tiff", "gif", "jp2", "dcm", "ppm"})


def scan_pairs(root: Path, tar: Path) -> Iterator[dict[str, Any]]:
    """The index rows of the tar's pairs: members that share a name up to the first dot belong together.

    Raises:
        BadInputError: A key with several images, or an image of a format that is not read.
    """
    grouped: dict[str, dict[str, Member]] = {}
    for member in scan_shard(tar):
        folder, _, base = member.name.rpartition("/")
        stem, _, suffix = base.partition(".")
        members = grouped.setdefault(f"{folder}/{stem}" if folder else stem, {})
        kind = _FORMATS.get(suffix.lower(), suffix.lower())
        if kind in members:
            raise BadInputError(f"member {member.name!r} of {tar} stands twice", next_step="Make keys unique.")
        if kind in _OTHER_IMAGES:
            raise BadInputError(
                f"member {member.name!r} of {tar} is an image of a format that is not read",
                next_step=f"Convert it to {', '.join(sorted(set(_FORMATS.values())))}.",
            )
        members[kind] = member
    with tar.open("rb") as stream:
        for key, members in grouped.items():
            images = sorted(set(members) & set(_FORMATS.values()))
            if len(images) > 1:
                raise BadInputError(f"key {key!r} of {tar} has {len(images)} images", next_step="Keep one of them.")
            if images:
                yield _row(root, tar, key, members, images[0], _text(stream, members.get("txt")))


def _text(stream: Any, member: Member | None) -> str | None:
    if member is None:
        return None
    stream.seek(member.offset)
    return str(stream.read(member.size).decode("utf-8", "replace"))


def _row(
    root: Path, tar: Path, key: str, members: dict[str, Member], suffix: str, caption: str | None
) -> dict[str, Any]:
    nothing = Member(name="", offset=0, size=0)
    record, masks = members.get("json", nothing), members.get(MEMBER, nothing)
    return {
        "key": key,
        "shard": tar.relative_to(root).as_posix(),
        "offset": members[suffix].offset,
        "size": members[suffix].size,
        "suffix": suffix,
        "record_offset": record.offset,
        "record_size": record.size,
        "masks_offset": masks.offset,
        "masks_size": masks.size,
        "patient_id": None,
        "caption": caption,
        "labels": [],
        "findings": "{}",
        "sha256": None,
    }
