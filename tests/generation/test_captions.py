"""Captions say what the findings say, in many ways."""

from __future__ import annotations

import re

import pytest

from ethicclip.generation import GenerateSettings, PhantomEngine
from ethicclip.generation.captions import diagnoses_of, grammar, signs_of, write_captions
from ethicclip.generation.recipes import FindingsRecipe
from ethicclip.generation.streams import stream

DISEASE = {
    "en": re.compile(
        r"diabetic|NPDR|PDR|glaucoma|cataract|degeneration|AMD|myopi|hypertens|occlusion|epiretinal|hole|atrophy of",
        re.I,
    ),
    "zh": re.compile(r"糖尿病|青光眼|白内障|黄斑变性|近视|高血压|阻塞|前膜|裂孔|水肿"),
}
NAMED = {
    "diabetic_retinopathy": {"en": r"diabetic retinopathy|NPDR|PDR", "zh": r"糖尿病|NPDR"},
    "diabetic_macular_oedema": {"en": r"macular o?edema", "zh": r"黄斑水肿"},
    "glaucoma": {"en": r"glaucom", "zh": r"青光眼"},
    "age_related_macular_degeneration": {"en": r"macular degeneration|AMD", "zh": r"黄斑变性"},
    "cataract": {"en": r"cataract", "zh": r"白内障"},
    "pathologic_myopia": {"en": r"myopi", "zh": r"近视"},
    "hypertensive_retinopathy": {"en": r"hypertensive", "zh": r"高血压"},
    "retinal_vein_occlusion": {"en": r"occlusion|RVO", "zh": r"阻塞"},
    "epiretinal_membrane": {"en": r"epiretinal", "zh": r"前膜"},
    "macular_hole": {"en": r"macular hole", "zh": r"裂孔"},
    "chorioretinal_atrophy": {"en": r"chorioretinal", "zh": r"脉络膜视网膜萎缩"},
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_captions_are_many_consistent_and_deterministic(language: str) -> None:
    engine = PhantomEngine(GenerateSettings(count=500, seed=3))
    distinct, total = set(), 0
    for index in range(500):
        eye, photograph = engine.case(index)
        texts = write_captions(eye, photograph, language, stream(9, index), count=3)
        assert texts == write_captions(eye, photograph, language, stream(9, index), count=3)
        labels = engine_labels(eye)
        for text in texts:
            assert text.strip()
            assert not re.search(r"[\[\]{}|]|\s\s|\.\.|。。|，。|, \.", text), text
            for label in labels:
                if label == "normal":
                    assert not DISEASE[language].search(text), text
                else:
                    assert re.search(NAMED[label][language], text, re.I), (label, text)
        distinct.update(texts)
        total += len(texts)
    assert total >= 1450
    assert len(distinct) > (1200 if language == "en" else 1100)


def engine_labels(eye: object) -> list[str]:
    from ethicclip.generation import grading

    return [item.value for item in grading.conditions(eye)]  # type: ignore[arg-type]


def test_the_right_eye_is_named() -> None:
    sides = {
        ("left", "en"): r"left eye|OS",
        ("right", "en"): r"right eye|OD",
        ("left", "zh"): r"左眼|OS",
        ("right", "zh"): r"右眼|OD",
    }
    engine = PhantomEngine(GenerateSettings(count=60, seed=4))
    named = 0
    for index in range(60):
        eye, photograph = engine.case(index)
        other = "left" if eye.laterality == "right" else "right"
        for language in ("en", "zh"):
            for text in write_captions(eye, photograph, language, stream(8, index), count=3):
                assert not re.search(sides[other, language], text), text
                named += bool(re.search(sides[eye.laterality.value, language], text))
    assert named > 200


def test_every_name_stands_in_both_grammars() -> None:
    for part in ("signs", "diagnoses", "amount", "quadrant", "quality", "eye", "side", "lens", "centre"):
        assert set(grammar("en")[part]) == set(grammar("zh")[part])
    engine = PhantomEngine(GenerateSettings(count=600, seed=5))
    seen: set[str] = set()
    for index in range(600):
        eye, _ = engine.case(index)
        seen.update(name for name, _ in signs_of(eye))
        assert set(diagnoses_of(eye)) <= set(grammar("en")["diagnoses"])
    assert seen <= set(grammar("en")["signs"])
    assert len(seen) > 40


def test_the_languages_asked_for_are_the_languages_given() -> None:
    engine = PhantomEngine(GenerateSettings.build({"count": 1, "size": 128, "languages": ["zh"], "phrasings": 2}))
    pair = engine.pair(0)
    assert list(pair.record["captions"]) == ["zh"]
    assert len(pair.record["captions"]["zh"]) == 2
    assert pair.caption == pair.record["captions"]["zh"][0]


def test_a_healthy_eye_is_called_healthy() -> None:
    findings = FindingsRecipe.build({"conditions": ["normal"]})
    engine = PhantomEngine(GenerateSettings(count=20, findings=findings))
    for index in range(20):
        eye, photograph = engine.case(index)
        for text in write_captions(eye, photograph, "en", stream(7, index), count=3):
            assert re.search(r"normal|healthy|no (visible|abnormality|apparent|evident)", text, re.I), text
