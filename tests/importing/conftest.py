"""Small pictures and tables to import."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Draw = Callable[[str], Path]


def picture(number: int, *, side: int = 32, form: str = "PNG", exif: bytes = b"") -> bytes:
    """An encoded picture of noise."""
    pixels = np.random.default_rng(number).integers(30, 220, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **({"exif": exif} if exif else {}))
    return stream.getvalue()


def fingerprint(folder: Path) -> dict[str, str]:
    """Hash of every file below."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of eight PNG pictures, 0.png to 7.png."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder
