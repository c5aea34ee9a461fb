"""Shards: plain WebDataset tars, written with the same bytes every time and read as if they were hostile."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ethicclip.errors import BadInputError

_BLOCK_BYTES = tarfile.BLOCKSIZE
_NAME_LIMIT = 100


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file inside a shard: where its bytes begin and how many there are."""

    name: str
    offset: int
    size: int


class ShardWriter:
    """Appends members with fixed owner, mode and time, so that content alone decides the bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._offset = 0

    def add(self, name: str, data: bytes) -> Member:
        """Append one member and say where its data lies."""
        if len(name.encode()) > _NAME_LIMIT:
            raise BadInputError(f"the member name {name[:60]!r}… is longer than {_NAME_LIMIT} bytes")
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = len(data), 0o644, 0
        header = info.tobuf(tarfile.USTAR_FORMAT)
        padding = -len(data) % _BLOCK_BYTES
        member = Member(name=name, offset=self._offset + len(header), size=len(data))
        for part in (header, data, bytes(padding)):
            self._stream.write(part)
            self._offset += len(part)
        return member

    def finish(self) -> None:
        """Write the end mark, padded as tar does."""
        self._stream.write(bytes(2 * _BLOCK_BYTES))
        self._offset += 2 * _BLOCK_BYTES
        self._stream.write(bytes(-self._offset % tarfile.RECORDSIZE))


def scan_shard(path: Path) -> Iterator[Member]:
    """Walk a tar's members in order without extracting anything.

    Raises:
        BadInputError: Not a tar, cut short, or a member that is no plain file or whose name leads outside.
    """
    size = path.stat().st_size
    try:
        with tarfile.open(path, mode="r:") as archive:
            for info in archive:
                if info.isdir():
                    continue
                _refuse_odd_member(path, info)
                if info.offset_data + info.size > size:
                    raise BadInputError(
                        f"the shard {path} is cut short inside {info.name!r}", next_step="Copy or make it again."
                    )
                yield Member(name=info.name, offset=info.offset_data, size=info.size)
            _require_end_mark(path, archive.offset)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise BadInputError(
            f"the shard {path} is not a readable tar: {error}", next_step="Copy or make it again."
        ) from None


def _require_end_mark(path: Path, end: int) -> None:
    # A tar cut between two members reads without an error; only the end mark tells.
    with path.open("rb") as stream:
        stream.seek(max(0, end - _BLOCK_BYTES))
        mark = stream.read(2 * _BLOCK_BYTES)
    if len(mark) < _BLOCK_BYTES or any(mark[-_BLOCK_BYTES:]):
        raise BadInputError(f"the shard {path} is cut short: it has no end mark", next_step="Copy or make it again.")


def _refuse_odd_member(path: Path, info: tarfile.TarInfo) -> None:
    name = PurePosixPath(info.name)
    reason = ""
    if not info.isreg():
        reason = "is a link or a device, not a plain file"
    elif name.is_absolute() or ".." in name.parts or "\\" in info.name or "\0" in info.name:
        reason = "leads outside the shard"
    if reason:
        raise BadInputError(
            f"member {info.name!r} of {path} {reason}", next_step="Do not use this archive; ask where it comes from."
        )


def tar_bytes(members: dict[str, bytes]) -> bytes:
    """A whole shard in memory, for small sets and tests."""
    stream = io.BytesIO()
    writer = ShardWriter(stream)
    for name, data in members.items():
        writer.add(name, data)
    writer.finish()
    return stream.getvalue()
