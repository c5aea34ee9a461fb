"""What `evaluate` can be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ethicclip.settings import Settings

Share = Annotated[float, Field(gt=0, lt=1)]


class EvaluateSettings(Settings):
    """Settings of a zero-shot evaluation; every one of them changes what is measured or how.

    Attributes:
        label_column: The cohort's column with the truth.
        classes: Labels to score, in this order, aliases allowed; rows with others are left out and counted.
            None scores every known label of the column and refuses unknown ones.
        prompts: A prompts file (see `ethicclip.terms.vocabulary`).
        prompt_kind: "knowledge" (diagnosis and findings), "name" (diagnosis alone) or "both".
        ensemble: How the prompts of a class become one vector: "clip_benchmark" averages unit vectors and
            normalises the mean; "flair" leaves the mean as it is, which is the average of the logits.
        language: Of the built-in prompts.
        positive: The class that counts as positive when there are two; by default the one that is not normal.
        bootstrap: Resamples of patients.
        confidence: Level of the intervals.
        specificities: Where sensitivities are read off.
        bins: Of the reliability curve.
        subgroups: Columns whose values are scored apart.
        single_statistics: Whether sharpness, contrast and darkness alone are scored beside the model.
        linear_probe: Whether to fit a linear classifier on the embeddings too, in patient-disjoint folds.
        figures: Whether to draw them.
        batch_size: Images a forward pass.
        max_side: Longer side, in pixels, to which larger photographs are shrunk while reading.
        seed: Of the resampling and the folds of the single statistics.
    """

    label_column: str = "label"
    classes: tuple[str, ...] | None = None
    prompts: Path | None = None
    prompt_kind: Literal["knowledge", "name", "both"] = "knowledge"
    ensemble: Literal["clip_benchmark", "flair"] = "clip_benchmark"
    language: Literal["en", "zh"] = "en"
    positive: str | None = None
    bootstrap: int = Field(default=2000, ge=100, le=100_000)
    confidence: Share = 0.95
    specificities: tuple[Share, ...] = (0.8, 0.9, 0.95)
    bins: int = Field(default=10, ge=2, le=100)
    subgroups: tuple[str, ...] = ()
    single_statistics: bool = True
    linear_probe: bool = False
    figures: bool = True
    batch_size: int = Field(default=64, ge=1)
    max_side: int = Field(default=1024, ge=64)
    seed: int = Field(default=0, ge=0)

    @field_validator("classes")
    @classmethod
    def _at_least_two(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if classes is not None and len(classes) < 2:
            raise ValueError("at least two classes are needed")
        return classes
