"""Images to audit, with or without captions: a pair set, or any plain folder of pictures."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Protocol

from ethicclip.errors import BadInputError
from ethicclip.files import canonical_json, sha256_bytes, sha256_file
from ethicclip.imaging import Pixels, list_images, read_image
from ethicclip.pairs.reading import PairSet
from ethicclip.pairs.writing import STATE_NAME


class ImageSource(Protocol):
    """Random access to images by number."""

    @property
    def digest(self) -> str:
        """A sha256 (hex) that names the content."""

    def __len__(self) -> int:
        """How many images."""

    def name(self, index: int) -> str:
        """A file name, relative to the source."""

    def image(self, index: int, max_side: int | None = None) -> Pixels:
        """Image `index`, decoded: uint8 RGB (height, width, 3)."""

    def caption(self, index: int) -> str | None:
        """The caption, where there is one."""

    def sha256(self, index: int) -> str:
        """sha256 (hex) of the encoded image."""


class ImageFolder:
    """Every image below a folder, in the order of their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = list_images(path)

    @cached_property
    def digest(self) -> str:
        """A sha256 (hex) over names and contents."""
        return sha256_bytes(canonical_json([[self.name(i), self.sha256(i)] for i in range(len(self))]))

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """Path relative to the folder."""
        return self._files[index].relative_to(self.path).as_posix()

    def image(self, index: int, max_side: int | None = None) -> Pixels:
        """Image `index`, decoded: uint8 RGB (height, width, 3)."""
        return read_image(self._files[index], max_side=max_side)

    def caption(self, index: int) -> str | None:
        """The text file beside the image, where there is one."""
        beside = self._files[index].with_suffix(".txt")
        return beside.read_text(encoding="utf-8", errors="replace") if beside.is_file() else None

    def encoded(self, index: int) -> bytes:
        """The file as it is.

        Raises:
            BadInputError: It cannot be read.
        """
        try:
            return self._files[index].read_bytes()
        except OSError as error:
            raise BadInputError(f"{self._files[index]} cannot be read: {error.strerror}") from None

    def sha256(self, index: int) -> str:
        """sha256 (hex) of the file."""
        return sha256_file(self._files[index])


def open_images(path: Path) -> ImageSource:
    """Open a pair set, a folder of WebDataset tars, or a plain folder of images.

    Raises:
        BadInputError: `path` is none of these.
    """
    if not path.is_dir():
        raise BadInputError(f"{path} is not a folder", next_step="Name a pair set or a folder of images.")
    if (path / "manifest.json").exists() or (path / STATE_NAME).exists() or any(path.rglob("*.tar")):
        return PairSet.open(path)
    return ImageFolder(path)
