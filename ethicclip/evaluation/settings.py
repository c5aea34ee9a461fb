"""What `evaluate` and `compare` can be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ethicclip.settings import Settings

Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class ReadingSettings(Settings):
    """How pictures and texts are read, and how intervals are made.

    Attributes:
        language: Of the built-in prompts, or of the captions.
        bootstrap: Resamples of patients.
        confidence: Level of the intervals.
        batch_size: Images a forward pass.
        max_side: Longer side, in pixels, to which larger photographs are shrunk while reading.
        seed: Of all that is drawn: resamples, folds, shots, permutations.
    """

    language: Literal["en", "zh"] = "en"
    bootstrap: int = Field(default=2000, ge=100, le=100_000)
    confidence: Share = 0.95
    batch_size: int = Field(default=64, ge=1)
    max_side: int = Field(default=1024, ge=64)
    seed: int = Field(default=0, ge=0)


class ZeroShotSettings(ReadingSettings):
    """What is asked of labelled eyes.

    Attributes:
        label_column: The cohort's column with the truth.
        classes: Labels to score, in this order, aliases allowed; rows with others are left out and counted.
            None scores every known label of the column and refuses unknown ones.
        prompts: A prompts file (see `ethicclip.terms.vocabulary`).
        prompt_kind: "knowledge" (diagnosis and findings), "name" (diagnosis alone) or "both".
        ensemble: How the prompts of a class become one vector: "clip_benchmark" averages unit vectors and
            normalises the mean; "flair" leaves the mean as it is, which is the average of the logits.
        positive: The class that counts as positive when there are two; by default the one that is not normal.
        figures: Whether to draw them.
    """

    label_column: str = "label"
    classes: tuple[str, ...] | None = None
    prompts: Path | None = None
    prompt_kind: Literal["knowledge", "name", "both"] = "knowledge"
    ensemble: Literal["clip_benchmark", "flair"] = "clip_benchmark"
    positive: str | None = None
    figures: bool = True

    @field_validator("classes")
    @classmethod
    def _at_least_two(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if classes is not None and len(classes) < 2:
            raise ValueError("at least two classes are needed")
        return classes


class EvaluateSettings(ZeroShotSettings):
    """Settings of a zero-shot evaluation; every one of them changes what is measured or how.

    Attributes:
        specificities: Where sensitivities are read off.
        bins: Of the reliability curve.
        subgroups: Columns whose values are scored apart.
        single_statistics: Whether sharpness, contrast and darkness alone are scored beside the model.
        linear_probe: Whether to fit a linear classifier on the embeddings too, in patient-disjoint folds.
        few_shot: Patients a class from which further linear classifiers learn, such as [1, 4, 16].
        few_shot_draws: How often such patients are drawn.
    """

    specificities: tuple[Share, ...] = (0.8, 0.9, 0.95)
    bins: int = Field(default=10, ge=2, le=100)
    subgroups: tuple[str, ...] = ()
    single_statistics: bool = True
    linear_probe: bool = False
    few_shot: tuple[Count, ...] = ()
    few_shot_draws: int = Field(default=20, ge=2, le=1000)


class CompareSettings(ZeroShotSettings):
    """Settings of a comparison of two models on the same eyes.

    Attributes:
        neighbours: Nearest images whose overlap is counted.
        permutations: Of each reference to CKA and neighbour overlap.
        languages: Whether each model is also asked in the other language, where the prompts have one.
    """

    neighbours: int = Field(default=10, ge=1, le=1000)
    permutations: int = Field(default=200, ge=20, le=100_000)
    languages: bool = True


class RetrievalSettings(ReadingSettings):
    """Settings of image-text retrieval on a pair set.

    Attributes:
        ranks: k of recall@k.
        gallery: Pairs drawn at random from the set, all of a smaller one; recall falls as it grows.
    """

    ranks: tuple[Count, ...] = (1, 5, 10)
    gallery: int = Field(default=1000, ge=2)
