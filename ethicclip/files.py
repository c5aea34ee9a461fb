"""Atomic writes and content hashes: a reader sees the old file, the new file, never a part of one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError, StorageError

PARTIAL_SUFFIX = ".partial"
_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: the same value gives the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_bytes(data: bytes) -> str:
    """The sha256 of `data`, in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The sha256 of a file's content, in hex, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it into place.

    Raises:
        StorageError: The disk is full or the place refuses writing. Nothing stays under `path`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            descriptor = os.open(partial, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON with sorted keys, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file; a missing or broken one becomes a `BadInputError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}", next_step="Check the path.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} is not JSON: {error}", next_step="Restore the file or make it anew.") from None


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn "disk full", "no permission" and their kin, while writing to `path`, into `StorageError`."""
    reasons = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EACCES: "permission denied",
        errno.EROFS: "the file system is read-only",
        errno.EFBIG: "the file system cannot hold a file of this size",
        errno.ENOTDIR: "a part of the path is a file, not a folder",
    }
    try:
        yield
    except OSError as error:
        if error.errno not in reasons:
            raise
        raise StorageError(
            f"{path} cannot be written: {reasons[error.errno]}",
            next_step="Free space or choose another place, then run the same command again: finished work is kept.",
        ) from error


def require_empty_or_absent(path: Path) -> None:
    """Refuse an output folder that already holds something.

    Raises:
        BadInputError: `path` is a file, or a folder with entries.
    """
    if path.is_dir():
        entries = sorted(entry.name for entry in path.iterdir() if not entry.name.endswith(PARTIAL_SUFFIX))
        if entries:
            raise BadInputError(
                f"the output folder {path} already holds {len(entries)} entries, {entries[0]!r} among them",
                next_step="Choose a new folder, or empty this one yourself.",
            )
    elif path.exists():
        raise BadInputError(f"the output path {path} is a file", next_step="Choose a folder that does not exist yet.")
