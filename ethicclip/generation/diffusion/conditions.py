"""What a picture is asked for, as numbers and as words: conditions, grade and eye in one vector of zeros and ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ethicclip.generation.learning import Known
from ethicclip.generation.recipes import FindingsRecipe
from ethicclip.generation.sampling import draw_plan
from ethicclip.terms import Condition, label_captions, label_names
from ethicclip.terms.conditions import Language

Floats = npt.NDArray[np.float32]

NAMES = (
    *(condition.value for condition in Condition),
    *(f"grade_{grade}" for grade in (1, 2, 3, 4)),
    "left",
    "right",
)
"""Places of the vector; all zeros says nothing, which is what guidance compares with."""

_OTHER = {"left": "right", "right": "left", None: None}


def vector(known: Known) -> Floats:
    """float32 (`NAMES`,) of zeros and ones."""
    said = {condition.value for condition in known.conditions}
    if known.grade:
        said.add(f"grade_{known.grade}")
    if known.eye is not None:
        said.add(known.eye)
    return np.array([name in said for name in NAMES], dtype=np.float32)


def mirrored(known: Known) -> Known:
    """The same eye on the other side: what a mirrored picture shows."""
    return replace(known, eye=_OTHER[known.eye])


def drawn(random: np.random.Generator, sampling: str | dict[Condition, float]) -> Known:
    """Conditions to ask for, as the phantom's plans draw them."""
    plan = draw_plan(random, sampling, FindingsRecipe())
    return Known(conditions=plan.conditions, grade=plan.dr_grade, eye=plan.laterality.value)


def captions(known: Known, languages: Sequence[Language]) -> dict[str, list[str]]:
    """Captions by language that say the conditions and the eye, and nothing that was not asked for."""
    if not known.conditions:
        plain: dict[str, list[str]] = {"en": ["A colour fundus photograph."], "zh": ["彩色眼底照片。"]}
        return {language: plain[language] for language in languages}
    return {
        language: list(label_captions(label_names(known.conditions, known.grade, language), known.eye, language))
        for language in languages
    }


def record(known: Known) -> dict[str, Any]:
    """The part of a pair's record that says what was asked for."""
    return {
        "labels": [condition.value for condition in known.conditions],
        "grade": known.grade,
        "eye": known.eye,
        "findings": {"asked_for": [name for name, on in zip(NAMES, vector(known), strict=True) if on]},
    }
