"""Where pictures lie for the votes: structure by the built-in CLIP model, colour and light by a small thumbnail.

Both are fixed before any private picture is read; the model ships with the package and saw phantoms only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.imaging import Pixels

Floats = npt.NDArray[np.float32]
Embed = Callable[[Iterable[Pixels]], Floats]
"""From pictures to points, float32 (n, d); Euclidean distance is what votes go by."""

_THUMBNAIL = 8
_TYPICAL = 0.15
"""Typical difference of two photographs' thumbnails, per value of 0 to 1: brings both parts to one scale."""


def standard_embedding(appearance: float) -> Embed:
    """The embedding by `builtin`, with a thumbnail of weight `appearance` beside it.

    Raises:
        BadInputError: This installation has no built-in model.
    """
    from ethicclip import clip  # noqa: PLC0415 - it loads torch
    from ethicclip.clip.shipped import NAME, locate  # noqa: PLC0415

    model = clip.load(locate(Path(NAME)))

    def embed(pictures: Iterable[Pixels]) -> Floats:
        thumbnails: list[Floats] = []

        def noted() -> Iterable[Pixels]:
            for picture in pictures:
                thumbnails.append(_thumbnail(picture))
                yield picture

        structure = model.encode_images(noted())
        colour = np.stack(thumbnails) if thumbnails else np.zeros((0, 3 * _THUMBNAIL**2), dtype=np.float32)
        return np.concatenate([structure, np.float32(appearance) * colour], axis=1)

    return embed


def _thumbnail(picture: Pixels) -> Floats:
    """A picture's colours, coarsely, so that typical pictures are about 1 apart: float32 (192,)."""
    small = np.asarray(cv2.resize(picture, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA), dtype=np.float32)
    return (small.reshape(-1) / np.float32(255 * _TYPICAL * np.sqrt(small.size))).astype(np.float32)
