"""What `audit-model` can be told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ethicclip.settings import Settings


class ModelAuditSettings(Settings):
    """Settings of a model audit.

    Attributes:
        shadows: Shadow models for LiRA, an even number of at least 4; 0 leaves LiRA out.
        confidence: Of intervals (two-sided) and of the printed epsilon bound (one-sided).
        gate_confidence: One-sided, of the epsilon bound that a stated epsilon must not fall under.
        pool: Captions that a pair's own caption competes with, drawn from both sets alike.
        seed: Of pool, halves, folds and shadow halves.
    """

    shadows: Annotated[int, Field(ge=0, multiple_of=2)] = 0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    gate_confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.999
    pool: Annotated[int, Field(ge=2)] = 512
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
