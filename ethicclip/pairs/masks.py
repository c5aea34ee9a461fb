"""Ground-truth masks in a shard: one PNG a pair, `KEY.masks.png`, one bit a pixel, its layers one below the other.

Layers overlap (a cup lies in its disc, blood on a vessel), so one label map could not hold them; a file for each would
cost a tar header and padding each. WebDataset readers decode the member as any PNG; the names of the layers, from top
to bottom, stand in the pair's record: ``record["masks"]["layers"]``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from ethicclip.errors import BadInputError
from ethicclip.imaging.reading import MAX_PIXELS

MEMBER = "masks.png"

MASKS = (
    f"Member KEY.{MEMBER} of each shard: ground truth, one bit a pixel, layers of the picture's size one below the "
    'other; their names from top to bottom are ["masks"]["layers"] of KEY.json.'
)
"""What a manifest says of the masks."""

Mask = npt.NDArray[np.bool_]
"""Where a structure is: bool of shape (height, width)."""


def encode_masks(masks: Mapping[str, Mask]) -> bytes:
    """The PNG of masks of one shape, in the order of the mapping; the same masks give the same bytes."""
    tall = np.concatenate(list(masks.values()), axis=0)
    packed = Image.frombytes("1", (tall.shape[1], tall.shape[0]), np.packbits(tall, axis=1).tobytes())
    buffer = io.BytesIO()
    # Level 9 is 6 % smaller and takes eight times as long.
    packed.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def decode_masks(data: bytes, layers: Sequence[str], *, name: str = "masks") -> dict[str, Mask]:
    """Masks by name from the PNG.

    Args:
        data: The member's bytes.
        layers: Names from top to bottom.
        name: What to call it in an error message.

    Raises:
        BadInputError: Not a PNG, over the limit of pixels, or of a height that the layers do not divide.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or not layers or height % len(layers):
                raise BadInputError(
                    f"{name} is {width} x {height} pixels for {len(layers)} layers", next_step="Make the set again."
                )
            tall = np.asarray(image.convert("L")) > 127
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInputError(f"{name} is not a readable PNG: {error}", next_step="Make the set again.") from None
    return dict(zip(layers, tall.reshape(len(layers), -1, width), strict=True))
