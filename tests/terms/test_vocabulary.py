"""Columns of labels become classes; a prompts file adds and replaces them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ethicclip.errors import BadInputError
from ethicclip.terms import UnknownLabelError, Vocabulary

BUILT_IN = Vocabulary()


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prompts.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def ids(vocabulary: Vocabulary, labels: list[str]) -> dict[str, str]:
    return {label: concept.id for label, concept in vocabulary.resolve(labels).items()}


def test_aliases_of_one_condition_are_one_class() -> None:
    assert ids(BUILT_IN, ["dr", "Diabetic Retinopathy", "no_dr", "other", "multiple"]) == {
        "dr": "diabetic_retinopathy",
        "Diabetic Retinopathy": "diabetic_retinopathy",
        "no_dr": "normal",
    }


def test_grades_by_number_and_by_name() -> None:
    assert ids(BUILT_IN, ["0", "2", "4"]) == {"0": "0", "2": "2", "4": "4"}
    assert ids(BUILT_IN, ["No DR", "Mild", "Moderate"]) == {"No DR": "0", "Mild": "1", "Moderate": "2"}
    concept = BUILT_IN.resolve(["3", "0"])["3"]
    assert concept.grade == 3
    assert not concept.is_normal
    assert BUILT_IN.resolve(["3", "0"])["0"].is_normal


def test_a_grade_among_conditions_is_unknown() -> None:
    with pytest.raises(UnknownLabelError) as caught:
        BUILT_IN.resolve(["glaucoma", "2", "2", "squint"], where="column 'label'")
    assert caught.value.counts == {"2": 2, "squint": 1}
    assert "column 'label'" in str(caught.value)


def test_order_is_that_of_the_tables(tmp_path: Path) -> None:
    vocabulary = Vocabulary.read(written(tmp_path, "zeta: [Z.]\nalpha: [A.]\n"))
    concepts = vocabulary.resolve(["zeta", "cataract", "alpha", "normal", "cataract"]).values()
    assert [concept.id for concept in vocabulary.in_order(concepts)] == ["normal", "cataract", "alpha", "zeta"]


def test_own_class_and_replaced_prompts(tmp_path: Path) -> None:
    text = """
drusen: {prompts: [Soft drusen.], aliases: [soft drusen, 玻璃膜疣]}
Glaucoma: {prompts: {en: [Large cup.]}}
npdr: {prompts: [Non-proliferative.]}
"""
    vocabulary = Vocabulary.read(written(tmp_path, text))
    found = vocabulary.resolve(["Soft_Drusen", "glaucoma", "NPDR", "dr", "青光眼"])
    assert {label: concept.id for label, concept in found.items()} == {
        "Soft_Drusen": "drusen",
        "glaucoma": "glaucoma",
        "青光眼": "glaucoma",
        "NPDR": "npdr",
        "dr": "diabetic_retinopathy",
    }
    assert found["Soft_Drusen"].prompts("zh") == ("Soft drusen.",)
    assert found["青光眼"].prompts("en", "name") == ("Large cup.",)
    with pytest.raises(BadInputError, match="no 'zh' prompt for 'glaucoma'"):
        found["glaucoma"].prompts("zh")


def test_numbers_can_be_classes_of_ones_own(tmp_path: Path) -> None:
    vocabulary = Vocabulary.read(written(tmp_path, "0: [No glaucoma.]\n1: [Glaucoma.]\n"))
    found = vocabulary.resolve(["0", "1"])
    assert [concept.grade for concept in found.values()] == [None, None]
    with pytest.raises(UnknownLabelError, match="1 label"):
        vocabulary.resolve(["0", "1", "2"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no class"),
        ("- a\n", "holds no class"),
        ("a: [", "is not YAML"),
        ("a: {prompts: []}", "not a list of at least 1"),
        ("a: {aliases: [x]}", "not a list of at least 1"),
        ("a: {prompts: [x], weight: 2}", "unknown fields: weight"),
        ("a: {prompts: {fr: [x]}}", "prompts in fr"),
        ("a: {prompts: [{x: y}]}", "not text"),
        ("a: {prompts: [' ']}", "not text"),
        ("a: {prompts: [x], aliases: [c]}\nb: {prompts: [y], aliases: [C]}", "names both 'a' and 'b'"),
    ],
)
def test_a_broken_prompts_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        Vocabulary.read(written(tmp_path, text))


def test_a_missing_prompts_file(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be read"):
        Vocabulary.read(tmp_path / "none.yaml")
