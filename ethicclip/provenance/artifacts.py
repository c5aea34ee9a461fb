"""What a run reads and writes, named by content: files and folders by sha256, real patients' data by commitment only.

A plain sha256 of a real image lets whoever has the image test whether it was used, and file names hold patient ids.
So real data enters a ledger as an HMAC-SHA256 under a key that stays outside it, beside an alias, without a path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import PARTIAL_SUFFIX, sha256_file

if TYPE_CHECKING:
    from ethicclip.provenance.keys import KeyStore

FOLDER_MEDIA = "inode/directory"

_MEDIA = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".safetensors": "application/vnd.safetensors",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".yaml": "application/yaml",
}
_HEX = frozenset("0123456789abcdef")


class Origin(StrEnum):
    """Where the eyes in an artifact come from."""

    SYNTHETIC = "synthetic"
    REAL = "real"
    MIXED = "mixed"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One thing a run used or generated.

    Args:
        kind: What it is in the project's words: cohort, pair_set, verdict, flagged, model, metrics, ...
        sha256: Content hash in hex; of a folder, the hash of its listing (`artifact_of_folder`).
        commitment: HMAC-SHA256 in hex in place of `sha256`; the only name that real data may have.
        origin: Where the eyes in it come from; `none` where it holds no eye.
        alias: A short name for people; never a path or a patient id.
        path: Where it lies; the ledger keeps it relative to its own folder when it lies below. None for real data.
        size_bytes: Its size; None for real data.
        media: Its media type; `FOLDER_MEDIA` for a folder.
        members: Commitments (HMAC-SHA256, hex) to the people in a cohort, so that `withdraw` finds what they reached.

    Raises:
        UsageError: Neither or both of hash and commitment; a malformed hash; real data with a plain hash or a path.
    """

    kind: str
    sha256: str | None = None
    commitment: str | None = None
    origin: Origin | str = Origin.NONE
    alias: str | None = None
    path: Path | str | None = None
    size_bytes: int | None = None
    media: str | None = None
    members: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what may not stand in a ledger."""
        name = f"artifact {self.kind!r} ({self.alias or 'no alias'})"
        if (self.sha256 is None) == (self.commitment is None):
            raise UsageError(f"{name} needs either a sha256 or a commitment, not both and not neither")
        digest = self.sha256 or self.commitment or ""
        if len(digest) != 64 or not _HEX.issuperset(digest):
            raise UsageError(f"{name} has {digest[:80]!r} for a hash, not 64 lower-case hex digits")
        if any(len(member) != 64 or not _HEX.issuperset(member) for member in self.members):
            raise UsageError(f"{name} has members that are not commitments of 64 hex digits")
        object.__setattr__(self, "origin", _origin(self.origin, name))
        if self.origin == Origin.REAL and (self.sha256 is not None or self.path is not None):
            raise UsageError(
                f"{name} is real patients' data and has a plain hash or a path",
                next_step="Record it with commit_cohort: a commitment and an alias, nothing else.",
            )

    @property
    def id(self) -> str:
        """The name that edges and queries use: ``sha256:HEX`` or ``hmac-sha256:HEX``."""
        return f"sha256:{self.sha256}" if self.sha256 is not None else f"hmac-sha256:{self.commitment}"


def artifact_of_file(
    path: Path,
    *,
    kind: str,
    origin: Origin | str = Origin.NONE,
    alias: str | None = None,
    media: str | None = None,
) -> Artifact:
    """Name a file by its content.

    Raises:
        BadInputError: `path` is not a readable file.
    """
    try:
        digest, size = sha256_file(path), path.stat().st_size
    except OSError as error:
        raise BadInputError(f"{path} cannot be recorded: {error.strerror}", next_step="Check the path.") from None
    found = media or _MEDIA.get(path.suffix.lower(), "application/octet-stream")
    return Artifact(kind=kind, sha256=digest, origin=origin, alias=alias, path=path, size_bytes=size, media=found)


def artifact_of_folder(
    path: Path, *, kind: str, origin: Origin | str = Origin.NONE, alias: str | None = None
) -> Artifact:
    """Name a folder by the hash of its listing: every file below it, unfinished temporary files left out.

    Raises:
        BadInputError: `path` is not a readable folder.
    """
    digest, size = listing_of_folder(path)
    return Artifact(
        kind=kind, sha256=digest, origin=origin, alias=alias, path=path, size_bytes=size, media=FOLDER_MEDIA
    )


def listing_of_folder(path: Path) -> tuple[str, int]:
    """The sha256 (hex) over the sorted lines ``RELATIVE_PATH TAB SHA256 LF`` of all files below, and their bytes."""
    if not path.is_dir():
        raise BadInputError(f"{path} is not a folder", next_step="Check the path.")
    lines: list[str] = []
    size = 0
    try:
        for file in path.rglob("*"):
            if file.is_file() and not file.name.endswith(PARTIAL_SUFFIX):
                lines.append(f"{file.relative_to(path).as_posix()}\t{sha256_file(file)}\n")
                size += file.stat().st_size
    except OSError as error:
        raise BadInputError(f"{path} cannot be recorded: {error}", next_step="Check the folder.") from None
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest(), size


def commit_cohort(
    hashes: Iterable[str],
    alias: str,
    keys: KeyStore,
    *,
    kind: str = "cohort",
    origin: Origin | str = Origin.REAL,
    patients: Iterable[str] = (),
) -> Artifact:
    """Name a collection of images by a commitment to the sorted sha256 of its files, whatever their order or names.

    Args:
        hashes: sha256 (hex) of each file.
        alias: What people call it; never a path.
        keys: Holds the commitment key; another key gives another, unlinkable commitment.
        kind: Kind of the artifact.
        origin: `synthetic` for a simulated population, which the report then says.
        patients: Whose images they are, where that is known; each enters as a commitment of its own.
    """
    members = sorted(hashes)
    return Artifact(
        kind=kind,
        commitment=keys.commit("cohort", "\n".join(members).encode()),
        origin=origin,
        alias=alias,
        members=commit_patients(patients, keys),
    )


def commit_patients(patients: Iterable[str], keys: KeyStore) -> tuple[str, ...]:
    """The distinct commitments to these patient ids, sorted, so that their order tells nothing."""
    return tuple(sorted(set(keys.commit_all("patient", (patient.encode() for patient in set(patients))))))


def _origin(value: Origin | str, name: str) -> Origin:
    try:
        return Origin(value)
    except ValueError:
        raise UsageError(f"{name} has origin {value!r}, not one of {', '.join(Origin)}") from None
