"""Settings of `generate` and of simulated populations; light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from ethicclip.settings import Settings
from ethicclip.terms import Condition


class FindingsRecipe(Settings):
    """Findings to fix; what is left out is drawn from the priors. Ranges are (low, high), both ends included.

    Examples:
        `--set findings.dr_grade=3`, `--set 'findings.conditions=[glaucoma, cataract]'`,
        `--set 'findings.age=[60, 80]'`.
    """

    conditions: tuple[Condition, ...] | None = Field(
        default=None, description="Exactly these conditions; [normal] for none."
    )
    dr_grade: int | None = Field(default=None, ge=0, le=4, description="ICDR grade of diabetic retinopathy.")
    eye: Literal["left", "right"] | None = None
    age: tuple[int, int] | None = None
    pigmentation: tuple[float, float] | None = Field(default=None, description="0 fair to 1 dark fundus.")
    cup_ratio: tuple[float, float] | None = Field(default=None, description="Vertical cup-to-disc ratio.")
    camera: str | None = Field(default=None, description="Name of a camera of `ethicclip.generation.cameras`.")
    field_deg: tuple[float, float] | None = Field(
        default=None, description="Field of view in degrees, within 25 to 60."
    )
    quality: Literal["good", "any"] = "any"

    @field_validator("age", "pigmentation", "cup_ratio", "field_deg")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError(f"the range {value} has its low end above its high end")
        return value

    @model_validator(mode="after")
    def _within_domain(self) -> FindingsRecipe:
        limits = {"age": (1, 100), "pigmentation": (0, 1), "cup_ratio": (0, 0.98), "field_deg": (25, 60)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not (low <= value[0] and value[1] <= high):
                raise ValueError(f"{name} {value} is not within {low} to {high}")
        if self.conditions is not None:
            if not self.conditions:
                raise ValueError("conditions is empty; write [normal] for a healthy eye")
            if Condition.NORMAL in self.conditions and len(self.conditions) > 1:
                raise ValueError("normal cannot stand beside another condition")
            diabetic = Condition.DIABETIC_RETINOPATHY in self.conditions
            if self.dr_grade is not None and diabetic != (self.dr_grade > 0):
                raise ValueError(f"dr_grade {self.dr_grade} does not go with the conditions given")
            if Condition.DIABETIC_MACULAR_OEDEMA in self.conditions and not diabetic:
                raise ValueError("diabetic_macular_oedema needs diabetic_retinopathy beside it")
        return self


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
    sampling: Literal["balanced", "prevalence"] = "balanced"
    findings: FindingsRecipe = FindingsRecipe()

    @field_validator("languages")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a language is named twice")
        return value


class SimulateSettings(Settings):
    """A simulated population: invented people with two eyes each."""

    patients: int = Field(ge=1, le=1_000_000)
    size: int = Field(default=224, ge=128, le=1024)
    seed: int = Field(default=0, ge=0, lt=2**63)
    repeat_share: float = Field(default=0.0, ge=0, le=1, description="Share of eyes photographed a second time.")
    quality: int = Field(default=92, ge=50, le=100)
