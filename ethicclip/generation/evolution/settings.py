"""Settings of `fit-generator --engine evolution`; light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ethicclip.privacy import Unit
from ethicclip.settings import Settings

Tuning = Literal["not stated", "not on private data", "on private data, unaccounted", "on private data, in the budget"]


class EvolutionSettings(Settings):
    """How a recipe is evolved.

    Attributes:
        epsilon: Target, for adding or removing one unit.
        delta: Target; None takes min(1e-5, 1/(10 n)).
        unit: Whose presence is hidden.
        votes: Rounds of voting; the budget is spread over them.
        candidates: Recipes that stand for election in each round.
        renders: Phantoms drawn of each candidate; votes go by their mean embedding.
        size: Side of those phantoms in pixels.
        spread: First half-width of a change, as a share of each parameter's range; it halves from vote to vote down to
            `kernel`.
        kernel: Half-width that the finished recipe leaves to each parameter, as a share of its range.
        appearance: Weight of a small colour thumbnail beside the embedding of the built-in CLIP model, which sees
            structure and no colour.
        tuning: What the statement says of how the other settings were chosen.
        seed: Of candidates and changes; the noise has its own, which nobody knows.
    """

    engine: Literal["evolution"] = "evolution"
    epsilon: float = Field(gt=0)
    delta: float | None = Field(default=None, gt=0, lt=1)
    unit: Unit = Unit.PATIENT
    votes: int = Field(default=8, ge=1, le=100)
    candidates: int = Field(default=96, ge=16, le=4096)
    renders: int = Field(default=2, ge=1, le=16)
    size: int = Field(default=128, ge=128, le=512)
    spread: float = Field(default=0.3, gt=0, le=1)
    kernel: float = Field(default=0.05, gt=0, le=0.5)
    appearance: float = Field(default=1.0, ge=0)
    tuning: Tuning = "not stated"
    seed: int = Field(default=0, ge=0, lt=2**63)
