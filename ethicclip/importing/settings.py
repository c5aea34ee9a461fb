"""Settings of the three imports; light to import."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ethicclip.settings import Settings

Language = Literal["en", "zh"]

SYNFUNDUS_LICENCE = "CC-BY-NC-SA-4.0"
"""Under which SynFundus-1M is published; it also asks that models trained on it stay within research."""


class ImportSettings(Settings):
    """What all imports share.

    Attributes:
        licence: SPDX name or a sentence; it follows into whatever is trained on the pairs.
        max_side: Shrink pictures whose longer side is more pixels than this; None keeps their size.
        format: Of pictures that are encoded anew: real ones always, synthetic ones that were shrunk or come in another
            format than JPEG, PNG or WebP.
        quality: JPEG or WebP quality of these.
        broken: What to do with a picture that is missing or cannot be read: stop, or leave it out and count it.
        shard_size: Pairs a shard.
    """

    licence: str = Field(min_length=2, max_length=300)
    max_side: Annotated[int, Field(ge=32, le=8192)] | None = None
    format: Literal["jpg", "png", "webp"] = "jpg"
    quality: int = Field(default=95, ge=50, le=100)
    broken: Literal["refuse", "skip"] = "refuse"
    shard_size: int = Field(default=1000, ge=1, le=100_000)

    @model_validator(mode="before")
    @classmethod
    def _has_licence(cls, values: Any) -> Any:
        if cls.model_fields["licence"].is_required() and isinstance(values, dict) and not values.get("licence"):
            raise ValueError("the licence of the pictures is missing: name it, as in --licence CC-BY-4.0")
        return values

    @field_validator("licence")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isprintable() or not value.strip():
            raise ValueError("a licence is one printable line, such as CC-BY-4.0")
        return value.strip()


class SynFundusSettings(ImportSettings):
    """Settings of `import synfundus`.

    Attributes:
        readable: Which pictures to take: "any", those flagged as a "fundus", or those with "all" readability flags
            set; a flag that the annotation lacks counts as set.
        eye_codes: What the codes of the eye column mean. That 0 is right and 1 is left is how public code reads the
            annotation; the maker does not say.
    """

    licence: str = Field(default=SYNFUNDUS_LICENCE, min_length=2, max_length=300)
    readable: Literal["any", "fundus", "all"] = "fundus"
    eye_codes: dict[str, Literal["left", "right"]] = Field(default={"0": "right", "1": "left"})


class FolderSettings(ImportSettings):
    """Settings of `import folder`.

    Attributes:
        origin: Whose eyes they are; what nobody vouches for counts as real.
        caption_language: Language of the column ``caption`` and of text files beside pictures.
    """

    origin: Literal["synthetic", "real", "mixed"] = "real"
    caption_language: Language = "en"


class CohortSettings(ImportSettings):
    """Settings of `import cohort`.

    Attributes:
        label_column: Column with the diagnosis, or None for the columns that are named after conditions only.
        languages: In which to write captions.
    """

    label_column: str | None = "label"
    languages: tuple[Language, ...] = Field(default=("en", "zh"), min_length=1)
