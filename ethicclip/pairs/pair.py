"""One image with its words, and what anything that yields such pairs must offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ethicclip.imaging import Pixels
from ethicclip.pairs.masks import Mask
from ethicclip.provenance.artifacts import Origin

IMAGE_FORMATS = ("jpg", "png", "webp")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image-text pair as it lies in a shard.

    Attributes:
        key: Unique in its set; letters, digits, ``_`` and ``-``.
        image: The encoded image.
        suffix: Format of the image: jpg, png or webp.
        caption: English caption.
        record: Everything else, JSON types only: findings, labels, grade, eye, captions by language, seed, index,
            generator, patient_id (None for a synthetic eye), sha256 (of `image`; the writer fills it).
        masks: Ground truth by name, where the set has it; see `ethicclip.pairs.masks`.
    """

    key: str
    image: bytes = field(repr=False)
    suffix: str
    caption: str
    record: dict[str, Any]
    masks: Mapping[str, Mask] | None = field(default=None, repr=False, compare=False)


class PairSource(Protocol):
    """Random access to pairs: a pair set on disk, or a stream that draws them."""

    @property
    def origin(self) -> Origin:
        """Where the eyes come from."""

    @property
    def licence(self) -> str:
        """The licence that follows into whatever is trained on the pairs."""

    @property
    def digest(self) -> str:
        """A sha256 (hex) that names the content."""

    def __len__(self) -> int:
        """How many pairs."""

    def read(self, index: int) -> Pair:
        """Pair number `index`, from 0."""

    def image(self, index: int) -> Pixels:
        """Image number `index`, decoded: uint8 RGB (height, width, 3)."""
