"""Captions say what the findings say, in many ways."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ethicclip.generation import GenerateSettings, PhantomEngine
from ethicclip.generation.captions import _Writer, diagnoses_of, grammar, healthy_signs, signs_of, write_captions
from ethicclip.generation.findings import Lesion, Media
from ethicclip.generation.recipes import FindingsRecipe
from ethicclip.generation.streams import Stream, stream

from .test_grading import HEALTHY, lesion

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
    assert len(distinct) > 0.98 * total


@pytest.mark.parametrize(("language", "share"), [("en", 0.99), ("zh", 0.985)])
def test_pictures_hardly_ever_share_their_caption(language: str, share: float) -> None:
    """Of 10,000 findings 9,883 had a caption of their own in English and 9,834 in Chinese; here of 1,500."""
    engine = PhantomEngine(GenerateSettings(count=1500))
    first = {
        write_captions(*engine.case(index), language, stream(0, 0, index, Stream.CAPTION), count=1)[0]
        for index in range(1500)
    }
    assert len(first) > share * 1500


def lesions(count: int, *, x: float = -1000.0, y: float = -1000.0) -> tuple[Lesion, ...]:
    return (lesion("microaneurysm", x, y),) * count


@pytest.mark.parametrize(
    ("found", "english", "chinese"),
    [
        (lesions(1), r"^(a single|one|an isolated|a solitary) .*microaneurysm\b(?!s)", r"1处|个别|孤立"),
        (lesions(3), r"^(a few|some|occasional|sparse|three) .*microaneurysms", r"少量|个别|偶见|数个|3处"),
        (lesions(12), r"^(several|multiple|scattered|a number of|about 12) ", r"散在|多处|多个|约12处"),
        (lesions(31), r"^(numerous|many|widespread|abundant|more than 30) ", r"大量|广泛|密集|较多|弥漫"),
        (lesions(30), r"^(numerous|many|widespread|abundant|more than 20) ", r"大量|广泛|密集|较多|弥漫"),
    ],
)
def test_numbers_are_true(found: tuple[Lesion, ...], english: str, chinese: str) -> None:
    eye, photograph = replace(HEALTHY, lesions=found), PhantomEngine(GenerateSettings(count=1)).case(0)[1]
    ((name, slots),) = signs_of(eye)
    assert name == "microaneurysm"
    for language, wanted in (("en", english), ("zh", chinese)):
        for draw in range(30):
            writer = _Writer(eye, photograph, language, stream(5, draw))
            phrase = next(text for text in grammar(language)["signs"][name] if "{amount}" in text)
            assert re.search(wanted, writer.fill(phrase, slots)), writer.fill(phrase, slots)


@pytest.mark.parametrize(
    ("places", "place"),
    [
        ([(-1000, -1000), (1000, 1000)], "macula"),
        ([(-4000, -4000)] * 3 + [(4000, 4000)], "quadrant"),
        ([(-4000, -4000)] * 2, "none"),
        ([(-4000, -4000), (-4000, 4000), (6000, -4000), (6000, 4000)] * 2, "all"),
        ([(-4000, -4000), (-4000, 4000), (6000, -4000), (6000, 4000)], "none"),
    ],
)
def test_a_place_is_named_where_lesions_lie_together(places: list[tuple[float, float]], place: str) -> None:
    eye = replace(HEALTHY, lesions=tuple(lesion("microaneurysm", x, y) for x, y in places))
    assert signs_of(eye)[0][1]["place"] == place


def test_words_on_quality_and_health_do_not_contradict_the_findings() -> None:
    photograph = replace(PhantomEngine(GenerateSettings(count=1)).case(0)[1], blur=2.0, haze=0.0, shadow=0.0,
                         crescent=0.0, glare=0.0, colour=(0.6, 0.3, 0.2))  # fmt: skip
    dense, torn = replace(HEALTHY, media=Media(nuclear=0.8)), replace(photograph, blur=20.0)
    assert _Writer(HEALTHY, photograph, "en", stream(1)).quality() == "good"
    assert _Writer(dense, photograph, "en", stream(1)).quality() == "media"
    assert _Writer(dense, torn, "en", stream(1)).quality() == "unreadable"
    drusen = replace(HEALTHY, lesions=(lesion("drusen", 300, 0, 40, "ageing"),))
    assert [name for name, _ in healthy_signs(drusen)] == ["normal_disc", "normal_vessels"]
    shining = replace(HEALTHY, anatomy=replace(HEALTHY.anatomy, foveal_reflex=0.8))
    assert "foveal_reflex" in [name for name, _ in healthy_signs(shining)]
    assert "foveal_reflex" not in [name for name, _ in healthy_signs(HEALTHY)]


def engine_labels(eye: object) -> list[str]:
    from ethicclip.generation import grading

    return [item.value for item in grading.conditions(eye)]  # type: ignore[arg-type]


def test_the_right_eye_is_named() -> None:
    sides = {
        ("left", "en"): r"\b[Ll]eft\b|\bOS\b|\bLE\b",
        ("right", "en"): r"\b[Rr]ight\b|\bOD\b|\bRE\b",
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
    assert set(grammar("en")) == set(grammar("zh"))
    for part, entries in grammar("en").items():
        if isinstance(entries, dict):
            assert set(entries) == set(grammar("zh")[part]), part
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
