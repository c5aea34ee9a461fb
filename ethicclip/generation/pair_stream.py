"""A source of pairs that draws each picture when it is read: training without a disk full of them.

Pair `index` of a stream is byte for byte pair `index` of the set that `generate` writes with the same settings, so a
run on the stream and a run on the set are the same run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ethicclip.files import canonical_json, sha256_bytes
from ethicclip.generation.generating import refuse_impossible
from ethicclip.generation.phantom import GENERATOR, LICENCE, PhantomEngine
from ethicclip.generation.settings import GenerateSettings
from ethicclip.imaging import Pixels, read_image
from ethicclip.pairs.masks import Mask
from ethicclip.pairs.pair import Pair
from ethicclip.provenance.artifacts import Origin


class PhantomStream:
    """`settings.count` phantom pairs, drawn when asked for; a `PairSource`, picklable.

    Example:
        >>> from ethicclip.generation import GenerateSettings, PhantomStream
        >>> PhantomStream(GenerateSettings(count=1_000_000)).read(999_999).key  # doctest: +SKIP
        '000999999'
    """

    origin = Origin.SYNTHETIC
    licence = LICENCE

    def __init__(self, settings: GenerateSettings) -> None:
        """Take the settings, but for whether masks are stored: nothing is, and whoever reads a pair has its masks.

        Raises:
            UsageError: The fixed findings contradict each other.
        """
        self.settings = settings.model_copy(update={"masks": False})
        self._engine = PhantomEngine(self.settings.model_copy(update={"masks": True}))
        refuse_impossible(self.settings)

    @property
    def digest(self) -> str:
        """A sha256 (hex) over settings and generator: all that a pair depends on."""
        return sha256_bytes(canonical_json({"generator": GENERATOR, "settings": self.settings.resolved()}))

    @property
    def description(self) -> dict[str, Any]:
        """What was streamed, for records; JSON types."""
        return {
            "kind": "stream",
            "generator": GENERATOR,
            "settings": self.settings.resolved(),
            "settings_sha256": self.settings.digest(),
        }

    def __len__(self) -> int:
        return self.settings.count

    def read(self, index: int) -> Pair:
        """Draw pair number `index`, from 0.

        Raises:
            IndexError: No such pair.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of a stream of {len(self)}")
        return self._engine.pair(index)

    def masks_of(self, index: int, pair: Pair) -> Mapping[str, Mask] | None:
        """Ground truth of a pair that `read` gave."""
        return pair.masks

    def image(self, index: int) -> Pixels:
        """Image number `index` as it comes out of its file format: uint8 RGB (size, size, 3)."""
        return read_image(self.read(index).image)
