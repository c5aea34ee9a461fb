"""How a stranger's picture enters a shard: read in full, so that a bomb or a torn file is found now and not later.

A synthetic picture keeps its bytes, with whatever mark its maker put in. A real one is always encoded anew: cameras
and clinics write names and dates into metadata and behind the end of pictures, and nothing of that may enter a set.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ethicclip.errors import BadInputError
from ethicclip.imaging import Pixels, read_image
from ethicclip.imaging.containers import read_encoded
from ethicclip.imaging.dicom import looks_like_dicom

MAX_FILE_BYTES = 512 << 20
"""Above any photograph; a larger file is refused unread."""

_FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
_ENCODERS = {suffix: name for name, suffix in _FORMATS.items()}


@dataclass(frozen=True, kw_only=True)
class PictureRules:
    """How pictures are brought in; `keep_bytes` where they are allowed to stay as they are."""

    keep_bytes: bool
    max_side: int | None
    suffix: str
    quality: int

    def bring_in(self, path: Path) -> tuple[bytes, str]:
        """The encoded picture and its suffix.

        Raises:
            BadInputError: The file is missing, too large, or not a picture that can be read.
        """
        try:
            if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
                raise BadInputError(f"{path} is a file of over {MAX_FILE_BYTES >> 20} MiB")
            data = read_encoded(path)
        except OSError as error:
            raise BadInputError(f"{path} cannot be read: {error.strerror}") from None
        pixels = read_image(data, name=str(path), max_side=self.max_side)
        suffix = self._kept(data)
        return (data, suffix) if suffix else (self._encoded(pixels), self.suffix)

    def _kept(self, data: bytes) -> str:
        """The suffix under which the bytes can stay, or "" when they cannot."""
        if not self.keep_bytes or looks_like_dicom(data):
            return ""
        with Image.open(io.BytesIO(data)) as image:
            if self.max_side is not None and max(image.size) > self.max_side:
                return ""
            return _FORMATS.get(image.format or "", "")

    def _encoded(self, pixels: Pixels) -> bytes:
        buffer = io.BytesIO()
        options = {} if self.suffix == "png" else {"quality": self.quality}
        Image.fromarray(pixels).save(buffer, format=_ENCODERS[self.suffix], **options)
        return buffer.getvalue()
