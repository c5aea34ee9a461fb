"""What a recipe fixes holds, labels still follow by rule, and what cannot be is said in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from ethicclip.errors import UsageError
from ethicclip.generation import GenerateSettings, PhantomEngine, grading
from ethicclip.generation.findings import (
    Anatomy,
    Eye,
    LesionKind,
    Media,
    MyopicChange,
    NerveHead,
    Photograph,
    Vasculature,
)
from ethicclip.generation.recipes import SECTIONS
from ethicclip.settings import resolve


def cases(recipe: dict[str, Any], count: int = 12, **more: Any) -> list[tuple[Eye, Photograph]]:
    engine = PhantomEngine(GenerateSettings.build({"count": count, "findings": recipe, **more}))
    return [engine.case(index) for index in range(count)]


def test_every_field_that_can_be_fixed_exists() -> None:
    parts = (Anatomy, NerveHead, Vasculature, Media, MyopicChange, Photograph)
    for (section, limits), part in zip(SECTIONS.items(), parts, strict=True):
        assert set(limits) <= {item.name for item in fields(part)}, section


@pytest.mark.parametrize("section", list(SECTIONS))
def test_fields_of_every_section_hold_within_their_range(section: str) -> None:
    limits = SECTIONS[section]
    # Thirds of the range, for fields that by themselves make no other diagnosis.
    free = {"anatomy": limits, "nerve": ["pallor", "crescent"], "vasculature": ["copper_wiring"],
            "media": [], "myopia": [], "photograph": limits}[section]  # fmt: skip
    ranges = {}
    for name in free:
        low, high = limits[name]
        ranges[name] = [low + (high - low) / 3, low + (high - low) / 2]
    if not ranges:
        ranges = {"nuclear": [0.5, 0.6]} if section == "media" else {"staphyloma": 0.5}
    for eye, photograph in cases({section: ranges}, 6):
        part = photograph if section == "photograph" else getattr(eye, section)
        for name, (low, high) in {n: r if isinstance(r, list) else [r, r] for n, r in ranges.items()}.items():
            value = getattr(part, name)
            assert low - 0.5 * isinstance(value, int) <= value <= high + 0.5 * isinstance(value, int), name


def test_findings_decide_on_labels_and_the_conditions_drawn_go_with_them() -> None:
    for eye, _ in cases({"cup_ratio": [0.88, 0.94]}):
        assert grading.has_glaucoma(eye)
    for eye, _ in cases({"cup_ratio": 0.3}):
        assert eye.nerve.cup_ratio == 0.3
        assert not grading.has_glaucoma(eye)
        assert not eye.nerve.notch
    for eye, _ in cases({"media": {"cortical": [0.5, 0.6]}}):
        assert "cataract" in grading.conditions(eye)
    for eye, _ in cases({"myopia": {"staphyloma": 0.7}}):
        assert "pathologic_myopia" in grading.conditions(eye)


def test_stages_types_and_notches() -> None:
    for stage in ("early", "intermediate", "atrophic", "neovascular"):
        assert {grading.amd_stage(eye) for eye, _ in cases({"amd_stage": stage}, 6)} == {stage}
    assert {len(eye.vasculature.occluded) for eye, _ in cases({"vein_occlusion": "central"}, 6)} == {4}
    assert {len(eye.vasculature.occluded) for eye, _ in cases({"vein_occlusion": "branch"}, 6)} == {1}
    assert {eye.nerve.notch for eye, _ in cases({"notch": "superior"}, 6)} == {"superior"}
    for eye, _ in cases({"conditions": ["glaucoma"], "notch": "none"}, 6):
        assert eye.nerve.notch == ""
        assert grading.has_glaucoma(eye)


@pytest.mark.parametrize("bounds", [[5, 10], [0, 0], [60, 60]])
def test_lesions_come_in_the_numbers_asked_for(bounds: list[int]) -> None:
    recipe = {"dr_grade": 2, "lesions": {"microaneurysm": bounds, "hard_exudate": {"diameter_um": [70, 80]}}}
    for eye, _ in cases(recipe, 6):
        assert bounds[0] <= len(eye.of(LesionKind.MICROANEURYSM)) <= bounds[1]
        assert all(70 <= item.diameter_um <= 80 for item in eye.of(LesionKind.HARD_EXUDATE))
        assert grading.dr_grade(eye) == 2


def test_a_kind_of_lesion_brings_the_disease_that_has_it() -> None:
    for eye, _ in cases({"lesions": {"irma": 2}}, 4):
        assert grading.dr_grade(eye) >= 3
        assert len(eye.of(LesionKind.IRMA)) == 2


@pytest.mark.parametrize("quality", ["defocus", "haze", "uneven_light", "dark"])
def test_a_defect_is_the_only_one_and_readable(quality: str) -> None:
    for _, photograph in cases({"quality": quality}):
        assert photograph.defects == (quality,)
        assert photograph.readable


def test_unreadable_and_good_pictures() -> None:
    assert not any(photograph.readable for _, photograph in cases({"quality": "unreadable"}))
    assert all(not photograph.defects for _, photograph in cases({"quality": "good"}))


@pytest.mark.parametrize(("centre", "low", "high"), [("macula", -0.35, 0.55), ("disc", 0.65, 1.35)])
def test_the_camera_aims_where_it_is_told(centre: str, low: float, high: float) -> None:
    for eye, photograph in cases({"centre": centre}):
        assert low < photograph.centre_x_um / eye.anatomy.disc_centre_um[0] < high


def test_fixing_one_finding_leaves_the_others_as_they_were() -> None:
    for (free, _), (fixed, _) in zip(cases({}), cases({"nerve": {"pallor": 0.1}, "age": [70, 71]}), strict=True):
        assert free.anatomy.disc_height_um == fixed.anatomy.disc_height_um
        assert free.laterality == fixed.laterality
        assert grading.conditions(free) == grading.conditions(fixed)
        assert fixed.nerve.pallor == 0.1


def test_shares_of_ones_own() -> None:
    found = Counter(grading.conditions(eye)[0] for eye, _ in cases({}, 120, sampling={"normal": 3, "macular_hole": 1}))
    assert 70 <= found["normal"] <= 110
    assert found["macular_hole"] + found["normal"] >= 110


def test_subgroup_axes_are_even_and_free_of_disease() -> None:
    drawn = cases({}, 600, seed=1, balance=["age", "pigmentation", "camera"])
    pigment = np.array([eye.anatomy.pigmentation for eye, _ in drawn])
    assert np.histogram(pigment, 4, (0, 1))[0].min() > 70
    ages = {
        first: np.mean([eye.age for eye, _ in drawn if grading.conditions(eye)[0] == first])
        for first in ("normal", "diabetic_retinopathy")
    }
    # Drawn by their priors, 52 and 57 with spreads of 15 and 10; evenly from 18 to 92, both are 55.
    assert all(abs(mean - 55) < 6 for mean in ages.values())
    cameras = Counter(photograph.camera for _, photograph in drawn)
    assert min(cameras.values()) > 30
    old = [eye.age for eye, _ in drawn if grading.amd_stage(eye)]
    assert min(old) >= 50


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("findings.nerve.cup_ratio=0.3", "name of its own"),
        ("findings.media.density=1", "choose of nuclear"),
        ("findings.media.nuclear=2", "not within 0 to 1"),
        ("findings.media.nuclear=[0.6, 0.2]", "low end above"),
        ("findings.media.nuclear=dense", "nuclear"),
        ("findings.lesions.freckle=3", "freckle"),
        ("findings.lesions.drusen=[3, -1]", "count"),
        ("findings.lesions.macular_hole=2", "at most one macular_hole"),
        ("findings.lesions.drusen.diameter_um=5", "not within 10"),
        ("findings.quality=awful", "quality"),
        ("findings.centre=ear", "centre"),
        ("findings.amd_stage=late", "amd_stage"),
        ("sampling={toothache: 1}", "toothache"),
        ("sampling={glaucoma: -1}", "shares"),
        ("sampling={glaucoma: 0}", "shares"),
        ("sampling={diabetic_macular_oedema: 1}", "comes with"),
        ("balance=[age, age]", "twice"),
        ("balance=[height]", "balance"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(override: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(GenerateSettings, verb="generate", overrides=["count=1", override])


@pytest.mark.parametrize(
    "recipe",
    [
        {"conditions": ["normal"], "media": {"nuclear": 0.6}},
        {"conditions": ["glaucoma"], "cup_ratio": 0.2},
        {"conditions": ["diabetic_retinopathy"], "dr_grade": 1, "lesions": {"hard_exudate": 4}},
        {"conditions": ["glaucoma"], "lesions": {"macular_hole": 1}},
    ],
)
def test_eyes_that_do_not_exist_are_refused_before_anything_is_written(recipe: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no eye") as caught:
        cases(recipe, 1)
    assert all(name in str(caught.value) for name in recipe)


@pytest.mark.parametrize(
    "recipe",
    [
        {"conditions": ["glaucoma"], "amd_stage": "early"},
        {"conditions": ["normal"], "notch": "inferior"},
        {"quality": "haze", "photograph": {"blur": 3}},
    ],
)
def test_wishes_that_exclude_each_other_are_refused_at_once(recipe: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="findings"):
        GenerateSettings.build({"count": 1, "findings": recipe})
