"""Settings of `generate` and of simulated populations; light to import."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ethicclip.generation.recipes import FindingsRecipe
from ethicclip.settings import Settings
from ethicclip.terms import Condition

Axis = Literal["age", "pigmentation", "camera"]


class Component(Settings):
    """One part of a mixture of recipes: how often it is drawn, and what its eyes have."""

    weight: float = Field(gt=0)
    findings: FindingsRecipe


class FittedTo(Settings):
    """What a recipe was fitted to, where patients had a say in it; stands in every set drawn from the recipe.

    Attributes:
        whose: The scope of its epsilon.
        epsilon, delta: Of adding or removing one unit.
        unit: Whose presence is hidden.
        statement_sha256: Hash of the recipe's privacy statement.
    """

    whose: str
    epsilon: float = Field(gt=0)
    delta: float = Field(gt=0, lt=1)
    unit: Literal["patient", "pair"]
    statement_sha256: str = Field(pattern="^[0-9a-f]{64}$")


class GenerateSettings(Settings):
    """What a pair set is made of. The number of workers is not among it: it changes no byte."""

    count: int = Field(ge=1, le=100_000_000, description="Number of pairs.")
    engine: Literal["phantom"] = "phantom"
    size: int = Field(default=224, ge=128, le=1024, description="Side of a picture in pixels.")
    seed: int = Field(default=0, ge=0, lt=2**63)
    languages: tuple[Literal["en", "zh"], ...] = Field(default=("en", "zh"), min_length=1)
    phrasings: int = Field(default=3, ge=1, le=8, description="Captions per language.")
    format: Literal["jpg", "png", "webp"] = "jpg"
    quality: int = Field(default=95, ge=50, le=100, description="JPEG or WebP quality of the stored file.")
    shard_size: int = Field(default=1000, ge=1, le=100_000)
    photographs: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Photographs of each eye, one pair each and one after the other: an eye is drawn once, and another "
        "light, lens and sensor is cheap.",
    )
    masks: bool = Field(default=True, description="Store ground-truth masks beside each picture.")
    sampling: Literal["balanced", "prevalence"] | dict[Condition, float] = Field(
        default="balanced", description="How often each condition leads: one of two tables, or shares of your own."
    )
    balance: tuple[Axis, ...] = Field(
        default=(), description="Subgroup axes drawn evenly and without regard to disease: age, pigmentation, camera."
    )
    findings: FindingsRecipe = FindingsRecipe()
    mixture: tuple[Component, ...] = Field(
        default=(),
        max_length=1000,
        description="Recipes to draw from by weight, instead of `sampling` and `findings`.",
    )
    fitted: FittedTo | None = Field(default=None, description="Of a recipe that patients had a say in: its statement.")

    def resolved(self) -> dict[str, Any]:
        """All values as JSON types; without a mixture as they always were, so that old digests stay valid."""
        found = super().resolved()
        return {name: value for name, value in found.items() if name not in ("mixture", "fitted") or value}

    @model_validator(mode="after")
    def _one_recipe(self) -> Self:
        if self.mixture and self.findings != FindingsRecipe():
            raise ValueError("findings and mixture cannot both be given: a mixture holds findings of its own")
        return self

    @field_validator("languages", "balance")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"a word is named twice in {list(value)}")
        return value

    @field_validator("sampling")
    @classmethod
    def _shares(cls, value: str | dict[Condition, float]) -> str | dict[Condition, float]:
        if isinstance(value, dict):
            if any(not share >= 0 for share in value.values()) or not sum(value.values()) > 0:
                raise ValueError("shares are numbers from 0 on, and one of them is above 0")
            if Condition.DIABETIC_MACULAR_OEDEMA in value:
                raise ValueError("macular oedema comes with diabetic_retinopathy: give that a share")
        return value


class SimulateSettings(Settings):
    """A simulated population: invented people with two eyes each."""

    patients: int = Field(ge=1, le=1_000_000)
    size: int = Field(default=224, ge=128, le=1024)
    seed: int = Field(default=0, ge=0, lt=2**63)
    repeat_share: float = Field(default=0.0, ge=0, le=1, description="Share of eyes photographed a second time.")
    quality: int = Field(default=92, ge=50, le=100)
