"""Pictures that lie inside an archive, under a path that leads into it: ``eyes/0.tar/s0000001.jpg``.

Such a path is absolute, unique and stays text in a table, so a picture in an archive is used as any other. Two
archives are read: plain tars (the members of WebDataset shards), and ``.npz`` files of images (MedMNIST), whose row 12
of ``test_images`` is ``x.npz/test/12.bmp``. Nothing is unpacked. Assumed of an archive: nothing. Compressed
tars are not opened, an ``.npz`` is never unpickled, and what it declares is checked against its size before memory is
taken.
"""

from __future__ import annotations

import functools
import io
import math
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy
from PIL import Image

from ethicclip.errors import BadInputError

MAX_ARRAY_BYTES = 8 << 30
"""Of all arrays of an ``.npz``; MedMNIST's largest at 224 px is under 15 GB and is better taken as images."""

MAX_MEMBER_BYTES = 512 << 20
"""Above any photograph; a larger member is refused unread."""

_SUFFIXES = frozenset({".tar", ".npz"})


@dataclass(frozen=True, kw_only=True)
class TarMember:
    """Where a member's bytes lie."""

    offset: int
    size: int


def container_of(path: Path) -> tuple[Path, str] | None:
    """The archive that a path leads into and the name inside it; None for any other path."""
    for parent in path.parents:
        if parent.suffix.lower() in _SUFFIXES and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def read_encoded(path: Path) -> bytes:
    """The bytes of a picture, in a file of its own or inside an archive.

    Raises:
        OSError: The file cannot be read.
        BadInputError: The archive is broken, or holds no such picture.
    """
    found = None if path.is_file() else container_of(path)
    if found is None:
        return path.read_bytes()
    archive, name = found
    if archive.suffix.lower() == ".npz":
        return _row_as_bmp(archive, name)
    member = tar_members(archive).get(name)
    if member is None:
        raise BadInputError(f"{archive} has no member {name!r}")
    if member.size > MAX_MEMBER_BYTES:
        raise BadInputError(f"member {name!r} of {archive} has over {MAX_MEMBER_BYTES >> 20} MiB")
    with archive.open("rb") as stream:
        stream.seek(member.offset)
        return stream.read(member.size)


def is_there(path: Path) -> bool:
    """Whether a path leads to a file, or to a picture that an archive says it holds.

    Raises:
        BadInputError: The archive is broken.
    """
    if path.is_file():
        return True
    found = container_of(path)
    if found is None:
        return False
    archive, name = found
    if archive.suffix.lower() == ".tar":
        return name in tar_members(archive)
    part, row = _row_of(name)
    arrays = npz_arrays(archive)
    return f"{part}_images" in arrays and 0 <= row < len(arrays[f"{part}_images"])


def tar_members(archive: Path) -> Mapping[str, TarMember]:
    """Every regular member of an uncompressed tar by name, in its order.

    Raises:
        BadInputError: It is no such tar, is cut off, or a name in it leads outside or stands twice.
    """
    return _tar_members(archive, *_version(archive))


def npz_arrays(archive: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Every array of an ``.npz``, read without unpickling.

    Raises:
        BadInputError: It is no such file, holds objects, or declares more than it is or than fits.
    """
    return _npz_arrays(archive, *_version(archive))


def _version(archive: Path) -> tuple[int, int]:
    # A file that changed is read anew.
    try:
        status = archive.stat()
    except OSError as error:
        raise BadInputError(f"{archive} cannot be read: {error.strerror}") from None
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=64)
def _tar_members(archive: Path, _changed: int, size: int) -> Mapping[str, TarMember]:
    found: dict[str, TarMember] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                parts = PurePosixPath(member.name).parts
                if member.name.startswith("/") or ".." in parts or "\\" in member.name:
                    raise BadInputError(
                        f"member {member.name!r} of {archive} leads outside", next_step="The archive may be hostile."
                    )
                name = PurePosixPath(member.name).as_posix()
                if name in found:
                    raise BadInputError(f"member {name!r} of {archive} stands twice", next_step="Make names unique.")
                if member.sparse is not None or member.offset_data + member.size > size:
                    raise BadInputError(f"{archive} is cut off at member {name!r}", next_step="Fetch it again.")
                found[name] = TarMember(offset=member.offset_data, size=member.size)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise BadInputError(
            f"{archive} is not an uncompressed tar: {error}", next_step="Decompress it, or fetch it again."
        ) from None
    return found


@functools.lru_cache(maxsize=1)
def _npz_arrays(archive: Path, _changed: int, _size: int) -> Mapping[str, npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            total = sum(entry.file_size for entry in entries)
            if total > MAX_ARRAY_BYTES:
                raise BadInputError(
                    f"{archive} unpacks to {total:,} bytes, over the limit of {MAX_ARRAY_BYTES:,}",
                    next_step="Use a smaller version, or a folder of images.",
                )
            found = {}
            for entry in entries:
                with packed.open(entry) as stream:
                    _check_header(archive, entry.filename, stream, entry.file_size)
                with packed.open(entry) as stream:
                    found[entry.filename.removesuffix(".npy")] = npy.read_array(stream, allow_pickle=False)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise BadInputError(f"{archive} is not an .npz file: {error}", next_step="Fetch it again.") from None
    except (ValueError, OSError, MemoryError, SyntaxError) as error:
        raise BadInputError(f"an array of {archive} cannot be read: {error}", next_step="Fetch it again.") from None
    return found


def _check_header(archive: Path, name: str, stream: Any, size_bytes: int) -> None:
    """What an array declares has to fit the bytes that are there, before memory is taken for it."""
    version = npy.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(stream)
    else:
        raise ValueError(f"{name} is of version {version}")
    if dtype.hasobject:
        raise BadInputError(
            f"the array {name!r} of {archive} holds Python objects, which can run code when read",
            next_step="Use the file as MedMNIST publishes it: images and labels are plain numbers there.",
        )
    if math.prod(shape) * dtype.itemsize + stream.tell() != size_bytes:
        raise ValueError(f"{name} declares shape {shape} of {dtype} in {size_bytes} bytes")


def _row_of(name: str) -> tuple[str, int]:
    part, _, file = name.partition("/")
    number = file.removesuffix(".bmp")
    return part, int(number) if number.isascii() and number.isdigit() else -1


def _row_as_bmp(archive: Path, name: str) -> bytes:
    """One image of an array as an uncompressed bitmap: the same bytes with every version of every library."""
    part, row = _row_of(name)
    images = npz_arrays(archive).get(f"{part}_images")
    if images is None or not 0 <= row < len(images):
        raise BadInputError(f"{archive} has no image {name!r}")
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(images[row])).save(buffer, "BMP")
    return buffer.getvalue()
