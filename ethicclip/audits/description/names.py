"""Names of descriptors as a user writes them: ``local``, ``copy``, ``pixel``, ``timm:MODEL@FILE``. Light to import."""

from __future__ import annotations

from dataclasses import dataclass

from ethicclip.errors import UsageError

PLAIN = ("local", "copy", "pixel")
LEARNED = ("open_clip", "timm", "torchscript")


@dataclass(frozen=True, kw_only=True)
class DescriptorName:
    """One descriptor.

    Attributes:
        family: One of `PLAIN` or `LEARNED`.
        model: Architecture or folder of ``open_clip`` and ``timm``, file of ``torchscript``; "" for plain ones.
        checkpoint: Weights file, "" where none was named.
    """

    family: str
    model: str = ""
    checkpoint: str = ""

    def __str__(self) -> str:
        if not self.model:
            return self.family
        return f"{self.family}:{self.model}" + (f"@{self.checkpoint}" if self.checkpoint else "")

    @property
    def learned(self) -> bool:
        """Whether it is a global descriptor that embeds pictures with a network."""
        return self.family not in ("local", "pixel")

    @property
    def public(self) -> str:
        """The name without the folders of its files, for papers that leave the building."""
        parts = [part.rstrip("/").rpartition("/")[2] for part in (self.model, self.checkpoint)]
        return self.family + (f":{parts[0]}" if parts[0] else "") + (f"@{parts[1]}" if parts[1] else "")


def parse_descriptors(text: str) -> tuple[DescriptorName, ...]:
    """Read a comma-separated list of descriptors.

    >>> [str(name) for name in parse_descriptors("local, copy")]
    ['local', 'copy']

    Raises:
        UsageError: Nothing, an unknown family, a missing model, or a name twice.
    """
    found = tuple(_one(part.strip()) for part in text.split(",") if part.strip())
    if not found or len(set(found)) != len(found):
        raise UsageError(
            f"--descriptor {text!r} names {'a descriptor twice' if found else 'no descriptor'}",
            next_step="Name each once, such as local,copy.",
        )
    return found


def _one(text: str) -> DescriptorName:
    family, separator, rest = text.partition(":")
    if family in PLAIN and not separator:
        return DescriptorName(family=family)
    if family in LEARNED and rest:
        if family == "torchscript":
            return DescriptorName(family=family, model=rest)
        model, _, checkpoint = rest.partition("@")
        if model:
            return DescriptorName(family=family, model=model, checkpoint=checkpoint)
    raise UsageError(
        f"{text!r} is not a descriptor",
        next_step="Choose among local, copy, pixel, open_clip:MODEL[@FILE], timm:MODEL[@FILE] and torchscript:FILE; "
        "join several with commas.",
    )
