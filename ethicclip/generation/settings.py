"""Settings of `generate` and of simulated populations; light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from ethicclip.generation.recipes import FindingsRecipe
from ethicclip.settings import Settings
from ethicclip.terms import Condition

Axis = Literal["age", "pigmentation", "camera"]


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
