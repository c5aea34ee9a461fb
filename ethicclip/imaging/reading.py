"""Reads images that may be hostile, broken or unusual into one form: 8-bit RGB, upright.

Assumed of a file: nothing. A decompression bomb, a truncated stream, 16-bit grey, CMYK, a palette,
an alpha channel and an EXIF rotation are each either brought to the one form or refused by name.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ethicclip.errors import BadInputError
from ethicclip.imaging.containers import read_encoded
from ethicclip.imaging.dicom import looks_like_dicom, read_dicom

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 100_000_000
"""Above the largest fundus cameras (about 50 megapixels); a larger picture is refused unread."""

MIN_SIDE = 16
"""Below this there is no eye to speak of."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")


def list_images(folder: Path, *, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[Path]:
    """All image files below `folder`, sorted, hidden files and folders left out.

    Args:
        folder: Where to look.
        suffixes: Lower-case endings that count as images.

    Raises:
        BadInputError: The folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise BadInputError(f"the folder {folder} does not exist", next_step="Check the path.")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        raise BadInputError(
            f"the folder {folder} holds no image ({', '.join(sorted(suffixes))})", next_step="Check the path."
        )
    return found


def read_image(source: Path | bytes, *, name: str = "", max_side: int | None = None) -> Pixels:
    """Decode one image to uint8 RGB of shape (height, width, 3), upright.

    Args:
        source: A file, a path that leads into an archive (`ethicclip.imaging.containers`), or the encoded bytes.
            A DICOM photograph is read where pydicom is installed (`ethicclip.imaging.dicom`).
        name: What to call it in an error message; the path by default.
        max_side: Shrink (never enlarge) so that the longer side is at most this many pixels.
            JPEG files are then decoded at a reduced scale, which is several times faster.

    Raises:
        BadInputError: The picture cannot be used; the message says which and why.
    """
    label = name or (str(source) if isinstance(source, Path) else f"an image of {len(source)} bytes")
    try:
        data = read_encoded(source) if isinstance(source, Path) else source
    except OSError as error:
        raise BadInputError(f"{label} cannot be read: {error.strerror}") from None
    if looks_like_dicom(data):
        pixels = Image.fromarray(read_dicom(data, label=label, max_pixels=MAX_PIXELS))
        if min(pixels.size) < MIN_SIDE:
            raise BadInputError(f"{label} has {pixels.width} x {pixels.height} pixels; {MIN_SIDE} a side are needed")
        return _shrunk(pixels, max_side)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise BadInputError(f"{label} has {width} x {height} pixels, over the limit of {MAX_PIXELS}")
                if min(width, height) < MIN_SIDE:
                    raise BadInputError(f"{label} has {width} x {height} pixels; at least {MIN_SIDE} a side are needed")
                if max_side is not None:
                    image.draft("RGB", (max_side, max_side))
                image.load()
                pixels = _to_rgb(ImageOps.exif_transpose(image))
    except BadInputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadInputError(f"{label} is a decompression bomb: over {MAX_PIXELS} pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError) as error:
        raise BadInputError(f"{label} is not a readable image: {error or type(error).__name__}") from None
    return _shrunk(pixels, max_side)


def _shrunk(pixels: Image.Image, max_side: int | None) -> Pixels:
    if max_side is not None and max(pixels.size) > max_side:
        scale = max_side / max(pixels.size)
        size = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
        pixels = pixels.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(pixels, dtype=np.uint8).copy()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        values = np.asarray(image, dtype=np.float64)
        # A 16-bit camera rarely fills its range; a fixed shift keeps two pictures comparable.
        top = 65535.0 if values.max(initial=0.0) > 255 else 255.0
        grey = np.clip(values * (255.0 / top), 0, 255).round().astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, rgba).convert("RGB")
    return image.convert("RGB")


def refuse_unreadable(problems: Sequence[str], *, of: int, what: str) -> None:
    """Raise one `BadInputError` listing every unreadable file, or return when there is none."""
    if not problems:
        return
    shown = list(problems[:20])
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    raise BadInputError(
        f"{len(problems)} of {of} images of {what} cannot be read",
        details=shown,
        next_step="Remove or replace these files; nothing was left out in silence.",
    )
