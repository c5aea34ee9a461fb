"""Columns as hospitals keep them become classes, and what is not scored is counted."""

from __future__ import annotations

import pytest

from ethicclip.errors import BadInputError
from ethicclip.evaluation.labels import NO_LABEL, LabelledRows, label_rows
from ethicclip.terms import UnknownLabelError, Vocabulary


def made(labels: list[str], *, column: str = "label", **options: object) -> LabelledRows:
    return label_rows(labels, Vocabulary(), column=column, **options)  # type: ignore[arg-type]


def ids(rows: LabelledRows) -> list[str]:
    return [concept.id for concept in rows.classes]


def test_all_known_classes_in_the_order_of_the_tables() -> None:
    found = made(["myopia", "dr", "other", "", "normal", "multiple", "no_dr", "nan", "other"])
    assert ids(found) == ["normal", "diabetic_retinopathy", "pathologic_myopia"]
    assert found.rows == (0, 1, 4, 6)
    assert found.truth.tolist() == [2, 1, 0, 0]
    assert found.skipped == {"multiple": 1, "other": 2}
    assert found.left_out == {NO_LABEL: 2}
    assert found.positive is None
    assert not found.graded


def test_unknown_labels_are_an_error_that_lists_them() -> None:
    with pytest.raises(UnknownLabelError) as caught:
        made(["normal", "dr", "squint", "squint", "glaucom"])
    assert caught.value.counts == {"squint": 2, "glaucom": 1}
    assert "did you mean 'glaucoma'" in str(caught.value)


def test_chosen_classes_keep_their_order_and_leave_the_rest_out() -> None:
    labels = ["dr", "normal", "squint", "amd", "other", ""]
    found = made(labels, classes=("diabetic retinopathy", "healthy"))
    assert ids(found) == ["diabetic_retinopathy", "normal"]
    assert found.rows == (0, 1)
    assert found.left_out == {"squint": 1, "amd": 1, NO_LABEL: 1}
    assert found.skipped == {"other": 1}
    assert found.positive == 0


def test_free_text_is_pooled_and_never_listed_whole() -> None:
    notes = [f"seen by doctor {index}" for index in range(50)]
    found = made(["dr", "normal", "amd", "amd", *notes], classes=("dr", "normal"))
    assert len(found.left_out) == 21
    assert found.left_out["amd"] == 2
    assert found.left_out["(31 further labels)"] == 31
    with pytest.raises(UnknownLabelError, match="50 label") as caught:
        made(["dr", "normal", *notes])
    assert "and 30 more" in caught.value.details


def test_the_positive_class() -> None:
    assert made(["dr", "normal"]).positive == 1
    assert made(["dr", "glaucoma"], classes=("glaucoma", "dr")).positive == 1
    assert made(["dr", "glaucoma"], classes=("glaucoma", "dr"), positive="Glaucoma").positive == 0
    with pytest.raises(BadInputError, match="not one of"):
        made(["dr", "normal"], positive="amd")
    with pytest.raises(BadInputError, match="among 3 classes"):
        made(["dr", "normal", "amd"], positive="amd")


def test_grades() -> None:
    found = made(["0", "2.0", "4", "0", ""], column="dr_grade")
    assert ids(found) == ["0", "2", "4"]
    assert found.truth.tolist() == [0, 1, 2, 0]
    assert found.graded
    chosen = made(["0", "2", "4", "0"], column="dr_grade", classes=("0", "2"))
    assert ids(chosen) == ["0", "2"]
    assert chosen.positive == 1
    assert chosen.left_out == {"4": 1}
    assert made(["No DR", "mild", "Moderate"]).graded


def test_zero_and_one_in_a_column_named_after_a_condition_are_absent_and_present() -> None:
    found = made(["0", "1", "suspect", "0"], column="glaucoma")
    assert ids(found) == ["no_glaucoma", "glaucoma"]
    assert found.left_out == {"suspect": 1}
    assert found.positive == 1
    assert not found.graded
    assert "Normal fundus." in found.classes[0].prompts("en")
    # The same numbers under another heading are grades.
    assert made(["0", "1", "0"], column="level").graded
    assert made(["0", "1", "3"], column="dr").graded


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["normal", "normal"], {}, "only the class 'normal'"),
        (["", "other"], {}, "no known label"),
        (["normal", "dr"], {"classes": ("normal", "amd")}, "no row of column 'label' has the class.es. amd"),
        (["normal", "dr"], {"classes": ("normal", "squint")}, "the chosen classes"),
        (["normal", "no_dr"], {"classes": ("normal", "no_dr")}, "only the class 'normal'"),
    ],
)
def test_nothing_to_tell_apart(labels: list[str], options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        made(labels, **options)
