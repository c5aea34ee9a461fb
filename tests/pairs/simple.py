"""A small maker of pairs, importable by worker processes."""

from __future__ import annotations

import io
import time

import numpy as np
from PIL import Image

from ethicclip.pairs import Description, Origin, Pair


def jpeg(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def make(number: int) -> Pair:
    record = {"labels": ["normal"] if number % 3 else ["glaucoma"], "findings": {"number": number}, "seed": 0}
    return Pair(key=f"eye-{number:06d}", image=jpeg(number), suffix="jpg", caption=f"Eye {number}, 眼.", record=record)


def make_slowly(number: int) -> Pair:
    time.sleep(0.02)
    return make(number)


def description(digest: str = "0" * 64) -> Description:
    return Description(
        name="simple", origin=Origin.SYNTHETIC, licence="CC0-1.0", generator={}, settings_digest=digest, marking="none"
    )
