"""Puts what a recipe fixes in the place of what was drawn; each value is drawn evenly within its range."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ethicclip.generation.findings import Anatomy, Eye, Lesion, LesionKind, Photograph
from ethicclip.generation.recipes import FindingsRecipe

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Part = TypeVar("_Part", bound="DataclassInstance")

_BLUR, _HAZE, _SHADOW, _DARK_RED = (9.5, 15.0), (0.45, 0.70), (0.68, 0.90), (0.20, 0.28)
"""Ranges in which `Photograph.defects` names the defect and the picture is still readable."""
_UNREADABLE_BLUR, _UNREADABLE_HAZE = (16.5, 22.0), (0.45, 0.80)

_TRIED = 3
"""Eyes of a plan without any lesion of a kind, after which the plan counts as one that has none."""


def _even(random: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(random.uniform(*bounds))


def _with(part: _Part, ranges: Mapping[str, tuple[float, float]], random: np.random.Generator) -> _Part:
    """A dataclass with some fields drawn anew; in the order of its fields, whatever the recipe's."""
    drawn: dict[str, float] = {}
    for item in fields(part):
        if item.name in ranges:
            low, high = ranges[item.name]
            whole = isinstance(getattr(part, item.name), int)
            drawn[item.name] = (
                int(random.integers(round(low), round(high) + 1)) if whole else _even(random, (low, high))
            )
    return replace(part, **drawn) if drawn else part


def fixed_anatomy(anatomy: Anatomy, recipe: FindingsRecipe, random: np.random.Generator) -> Anatomy:
    """Healthy variation as the recipe wants it."""
    return _with(anatomy, recipe.anatomy, random)


def fixed_findings(eye: Eye, recipe: FindingsRecipe, random: np.random.Generator) -> Eye:
    """Nerve head, vessels, media and myopic change as the recipe wants them."""
    nerve = _with(eye.nerve, recipe.nerve, random)
    if recipe.cup_ratio is not None:
        nerve = replace(nerve, cup_ratio=_even(random, recipe.cup_ratio))
    return replace(
        eye,
        nerve=nerve,
        vasculature=_with(eye.vasculature, recipe.vasculature, random),
        media=_with(eye.media, recipe.media, random),
        myopia=_with(eye.myopia, recipe.myopia, random),
    )


def fixed_lesions(
    lesions: tuple[Lesion, ...], recipe: FindingsRecipe, random: np.random.Generator, more: Iterable[tuple[Lesion, ...]]
) -> tuple[Lesion, ...] | None:
    """Lesions in the numbers and sizes the recipe wants.

    Args:
        lesions: As drawn.
        recipe: Which kinds to change.
        random: Which lesions stay, and their sizes.
        more: Lesions of further eyes of the same plan, to take from where there are too few.

    Returns:
        The lesions, or None when eyes of this plan do not have so many.
    """
    pool: list[Lesion] = []
    supply = iter(more)
    for kind in LesionKind:
        rule = recipe.lesions.get(kind)
        if rule is None:
            continue
        own = [item for item in lesions if item.kind is kind]
        if rule.count is not None:
            wanted = int(random.integers(rule.count[0], rule.count[1] + 1))
            own += [item for item in pool if item.kind is kind] if len(own) < wanted else []
            tried = 0
            while len(own) < wanted and (own or tried < _TRIED) and (fresh := next(supply, None)) is not None:
                pool += fresh
                tried += 1
                own += [item for item in fresh if item.kind is kind]
            if len(own) < wanted:
                return None
            own = [own[int(place)] for place in np.sort(random.permutation(len(own))[:wanted])]
        if rule.diameter_um is not None:
            own = [replace(item, diameter_um=_even(random, rule.diameter_um)) for item in own]
        lesions = tuple(item for item in lesions if item.kind is not kind) + tuple(own)
    return lesions


def fixed_photograph(
    photograph: Photograph, eye: Eye, recipe: FindingsRecipe, random: np.random.Generator
) -> Photograph:
    """Aim, defect and other fields of a photograph as the recipe wants them; `good` pictures come from the camera."""
    if recipe.centre is not None:
        part = {"macula": (0.0, 0.2), "between": (0.35, 0.65), "disc": (1.0, 1.0)}[recipe.centre]
        share, loose = _even(random, part), photograph.field_deg / 45 * 300
        disc_x, disc_y = eye.anatomy.disc_centre_um
        photograph = replace(
            photograph,
            centre_x_um=disc_x * share + float(random.normal(0, loose)),
            centre_y_um=disc_y * share + float(random.normal(0, loose)),
        )
    return _with(_with_defect(photograph, recipe.quality, random), recipe.photograph, random)


def _with_defect(photograph: Photograph, quality: str, random: np.random.Generator) -> Photograph:
    if quality == "defocus":
        return replace(photograph, blur=_even(random, _BLUR))
    if quality == "haze":
        return replace(photograph, haze=_even(random, _HAZE))
    if quality == "uneven_light":
        return replace(photograph, shadow=_even(random, _SHADOW))
    if quality == "unreadable":
        return replace(photograph, blur=_even(random, _UNREADABLE_BLUR), haze=_even(random, _UNREADABLE_HAZE))
    if quality == "dark":
        red, green, blue = photograph.colour
        scale = _even(random, _DARK_RED) / max(red, 1e-6)
        return replace(photograph, colour=(red * scale, green * scale, blue * scale))
    return photograph
