"""The words: every alias leads to one condition, every language is filled, unknown labels are explained."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethicclip.errors import BadInputError, ExitCode, UsageError
from ethicclip.terms import (
    SKIPPED_LABELS,
    Condition,
    UnknownLabelError,
    condition_for,
    dr_grade_name,
    dr_grade_prompts,
    findings,
    is_skipped,
    name,
    name_prompts,
    prompts,
)
from ethicclip.terms.conditions import (
    LANGUAGES,
    Entry,
    condition_spellings,
    dr_grade_for,
    label_key,
    terms,
)

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize(
    ("label", "condition"),
    [
        ("normal", Condition.NORMAL),
        ("no_dr", Condition.NORMAL),
        ("No DR", Condition.NORMAL),
        ("healthy", Condition.NORMAL),
        ("dr", Condition.DIABETIC_RETINOPATHY),
        ("diabetic_retinopathy", Condition.DIABETIC_RETINOPATHY),
        ("Diabetic-Retinopathy", Condition.DIABETIC_RETINOPATHY),
        ("diabetic retinopathy", Condition.DIABETIC_RETINOPATHY),
        ("AMD", Condition.AGE_RELATED_MACULAR_DEGENERATION),
        ("armd", Condition.AGE_RELATED_MACULAR_DEGENERATION),
        ("age-related macular degeneration", Condition.AGE_RELATED_MACULAR_DEGENERATION),
        ("myopia", Condition.PATHOLOGIC_MYOPIA),
        ("pathological myopia", Condition.PATHOLOGIC_MYOPIA),
        ("high myopia", Condition.PATHOLOGIC_MYOPIA),
        ("hypertensive", Condition.HYPERTENSIVE_RETINOPATHY),
        ("cataract", Condition.CATARACT),
        ("glaucoma", Condition.GLAUCOMA),
        ("DME", Condition.DIABETIC_MACULAR_OEDEMA),
        ("diabetic macular edema", Condition.DIABETIC_MACULAR_OEDEMA),
        ("rvo", Condition.RETINAL_VEIN_OCCLUSION),
        ("黄斑裂孔", Condition.MACULAR_HOLE),
        ("老年性黄斑变性", Condition.AGE_RELATED_MACULAR_DEGENERATION),
        (" 青光眼 ", Condition.GLAUCOMA),
    ],
)
def test_labels_of_real_tables_are_known(label: str, condition: Condition) -> None:
    assert condition_for(label) is condition


def test_no_spelling_means_two_conditions() -> None:
    seen: dict[str, Condition] = {}
    for condition, entry in terms().conditions.items():
        for spelling in (condition.value, *entry.names.values(), *entry.aliases):
            assert seen.setdefault(label_key(spelling), condition) is condition, spelling


def test_no_spelling_means_two_grades() -> None:
    seen: dict[str, int] = {}
    for grade, entry in terms().dr_grades.items():
        for spelling in (*entry.names.values(), *entry.aliases):
            assert seen.setdefault(label_key(spelling), grade) == grade, spelling


@given(st.sampled_from(sorted(condition_spellings())), st.sampled_from([" ", "_", "-", ""]), st.booleans())
def test_separators_and_case_do_not_matter(spelling: str, separator: str, upper: bool) -> None:
    written = separator.join(re.split(r"[ _-]+", spelling))
    assert condition_for(written.upper() if upper else written) == condition_spellings()[spelling]


@pytest.mark.parametrize("entry", [*terms().conditions.values(), *terms().dr_grades.values()])
def test_every_language_is_filled_and_written_in_it(entry: Entry) -> None:
    for language in LANGUAGES:
        assert entry.names[language]
        assert len(entry.prompts[language]) >= 2
        assert len(entry.prompts["en"]) == len(entry.prompts["zh"])
        for text in (*entry.prompts[language], *entry.findings[language], entry.names[language]):
            assert text == text.strip()
            assert bool(CHINESE.search(text)) == (language == "zh"), text
    assert all(text.endswith(".") and text[0].isupper() for text in entry.prompts["en"])
    assert all(text.endswith("。") and " " not in text for text in entry.prompts["zh"])


@pytest.mark.parametrize("condition", list(Condition))
def test_prompts_of_conditions(condition: Condition) -> None:
    for language in LANGUAGES:
        made = (*prompts(condition, language), *name_prompts(condition, language))
        assert len(set(made)) == len(made) or len(set(made)) == len(made) - 1  # the bare name may stand in both banks
        assert not any("{" in text for text in made)
        assert findings(condition, language)
    assert name(condition, "en") != name(condition, "zh")
    other = {text for c in Condition if c is not condition for text in prompts(c)}
    assert not other & set(prompts(condition))


def test_prompts_are_captions() -> None:
    assert "Colour fundus photograph of the left eye. Glaucoma with an enlarged cup-to-disc ratio." in prompts(
        Condition.GLAUCOMA
    )
    assert name_prompts(Condition.CATARACT)[:2] == ("Cataract.", "A fundus photograph of cataract.")
    assert "左眼彩色眼底照片。青光眼，杯盘比增大。" in prompts(Condition.GLAUCOMA, "zh")


@pytest.mark.parametrize(
    ("label", "grade"),
    [
        *[("0", 0), ("4", 4), ("2.0", 2), ("mild", 1), ("Moderate NPDR", 2), ("pdr", 4), ("no_dr", 0), ("重度", 3)],
        *[("5", None), ("-1", None), ("1.5", None), ("dr", None), ("", None)],
    ],
)
def test_grades(label: str, grade: int | None) -> None:
    assert dr_grade_for(label) == grade


def test_grade_words() -> None:
    assert dr_grade_name(4) == "proliferative diabetic retinopathy"
    assert dr_grade_name(1, "zh") == "轻度非增殖性糖尿病视网膜病变"
    assert any("venous beading" in text for text in dr_grade_prompts(3))
    with pytest.raises(UsageError, match="5 is not a grade"):
        dr_grade_prompts(5)


def test_unknown_label_says_what_is_near_and_how_to_add() -> None:
    with pytest.raises(UnknownLabelError) as caught:
        condition_for("glaucome")
    assert isinstance(caught.value, BadInputError)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    text = str(caught.value)
    assert "'glaucome': 1 row(s); did you mean 'glaucoma'" in text
    assert "diabetic_macular_oedema" in text
    assert "--prompts" in text


@pytest.mark.parametrize("label", sorted(SKIPPED_LABELS))
def test_skipped_labels_are_no_condition(label: str) -> None:
    assert is_skipped(label.upper())
    with pytest.raises(UnknownLabelError):
        condition_for(label)


def test_unknown_language() -> None:
    with pytest.raises(UsageError, match="'fr'"):
        prompts(Condition.GLAUCOMA, "fr")  # type: ignore[arg-type]
