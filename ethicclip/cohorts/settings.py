"""Settings of the split; imports nothing heavy."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from ethicclip.settings import Settings

NEAR_DUPLICATE_THRESHOLD = 0.52
"""In 2,893 real photographs the nearest two different eyes scored .46, the least repeat that was found .59."""

_PART_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class SplitSettings(Settings):
    """How to divide a cohort.

    Attributes:
        parts: Share of the patients and images by part name, each over 0, together at most 1. What is left is
            left out, and said so.
        seed: Of the random order in which patients are dealt.
        near_duplicate_threshold: Pictures that correlate at least this well once laid over each other count as one
            eye, so that their patients stay together; 1 or more joins byte-equal copies only.
        stratify: A column, such as ``label``, whose values are to be spread over the parts by their shares too.
    """

    parts: dict[str, float] = Field(default_factory=lambda: {"reference": 0.4, "control": 0.4, "test": 0.2})
    seed: int = Field(default=0, ge=0)
    near_duplicate_threshold: float = Field(default=NEAR_DUPLICATE_THRESHOLD, gt=0.0, le=2.0)
    stratify: str | None = None

    @field_validator("parts")
    @classmethod
    def _usable_parts(cls, parts: dict[str, float]) -> dict[str, float]:
        if not parts:
            raise ValueError("at least one part is needed")
        for name, share in parts.items():
            if not _PART_NAME.fullmatch(name):
                raise ValueError(f"the part name {name!r} is not a plain word ([a-z][a-z0-9_-]*)")
            if not share > 0:
                raise ValueError(f"the share of {name} is {share}; it must be over 0")
        if (total := sum(parts.values())) > 1 + 1e-9:
            raise ValueError(f"the shares sum to {total:g}, over 1")
        return parts
