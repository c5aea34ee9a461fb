"""Looks for copies of given photographs among given pictures, however turned, mirrored, cropped, recoloured or saved.

Each pair of pictures is compared by the highest normalised cross-correlation of their vessels (the green channel less
its local mean) over mirror, rotation, scale and shift.
"""

from __future__ import annotations

import base64
import functools
import io
import re

import cv2
import numpy as np
import pypdf
from PIL import Image

SIDE = 96
TURNS = range(-24, 25, 6)
SCALES = (0.7, 0.8, 0.9, 1.0, 1.12, 1.25)


def pictures_of(html: str) -> list[np.ndarray]:
    """Every bitmap that a page embeds."""
    found = re.findall(r"data:image/(?:jpeg|png|webp|gif|bmp);base64,([A-Za-z0-9+/=]+)", html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data in found]


def pictures_of_pdf(data: bytes) -> list[np.ndarray]:
    """Every bitmap that a PDF embeds."""
    reader = pypdf.PdfReader(io.BytesIO(data))
    return [np.asarray(image.image.convert("RGB")) for page in reader.pages for image in page.images]


def text_of_pdf(data: bytes) -> str:
    """All text of a PDF, its metadata and its XMP packet; zero-width spaces left out."""
    reader = pypdf.PdfReader(io.BytesIO(data))
    parts = [page.extract_text() for page in reader.pages]
    parts += [str(value) for value in (reader.metadata or {}).values()]
    parts.append(reader.trailer["/Root"]["/Metadata"].get_data().decode())
    return "\n".join(parts).replace("\u200b", "")


def tiles(picture: np.ndarray, side: int) -> list[np.ndarray]:
    """The square parts of a contact sheet, and the picture itself."""
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    found = [picture[r * side : (r + 1) * side, c * side : (c + 1) * side] for r in range(rows) for c in range(columns)]
    return [picture, *found]


def likeness(picture: np.ndarray, photograph: np.ndarray) -> float:
    """From -1 to 1; above about 0.75 only for a copy."""
    reference, inside = _vessels(photograph, 0, 1.0, False)
    best = -1.0
    spectrum = np.conj(np.fft.rfft2(reference, (2 * SIDE, 2 * SIDE)))
    square = np.conj(np.fft.rfft2(reference**2, (2 * SIDE, 2 * SIDE)))
    mask = np.conj(np.fft.rfft2(inside, (2 * SIDE, 2 * SIDE)))
    for mirror in (False, True):
        for turn in TURNS:
            for scale in SCALES:
                moved, there = _vessels(picture, turn, scale, mirror)
                both = np.fft.irfft2(np.fft.rfft2(there, (2 * SIDE, 2 * SIDE)) * mask)
                one = np.fft.irfft2(np.fft.rfft2(moved**2, (2 * SIDE, 2 * SIDE)) * mask)
                two = np.fft.irfft2(np.fft.rfft2(there, (2 * SIDE, 2 * SIDE)) * square)
                cross = np.fft.irfft2(np.fft.rfft2(moved, (2 * SIDE, 2 * SIDE)) * spectrum)
                enough = both > 0.45 * inside.sum()
                if enough.any():
                    found = cross[enough] / np.sqrt(np.maximum(one[enough] * two[enough], 1e-6))
                    best = max(best, float(found.max()))
    return best


def _vessels(picture: np.ndarray, turn: float, scale: float, mirror: bool) -> tuple[np.ndarray, np.ndarray]:
    return _moved(picture.tobytes(), picture.shape, turn, scale, mirror)


@functools.lru_cache(maxsize=20_000)
def _moved(
    data: bytes, shape: tuple[int, ...], turn: float, scale: float, mirror: bool
) -> tuple[np.ndarray, np.ndarray]:
    image = np.frombuffer(data, np.uint8).reshape(shape)
    image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    image = image[:, ::-1].copy() if mirror else image
    motion = cv2.getRotationMatrix2D(((SIDE - 1) / 2, (SIDE - 1) / 2), turn, scale)
    image = cv2.warpAffine(image, motion, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    inside = cv2.erode((image.max(axis=2) > 18).astype(np.uint8), np.ones((7, 7), np.uint8)).astype(np.float64)
    green = image[..., 1].astype(np.float64)
    weight = cv2.GaussianBlur(inside, (0, 0), 5) + 1e-3
    vessels = (green - cv2.GaussianBlur(green * inside, (0, 0), 5) / weight) * inside
    spread = np.sqrt((vessels**2).sum() / max(inside.sum(), 1)) + 1e-6
    return np.clip(vessels / spread, -3, 3) * inside, inside
