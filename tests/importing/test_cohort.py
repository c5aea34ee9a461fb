"""A cohort as pairs: words from labels, patients in the index, nobody called synthetic who is not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ethicclip.errors import BadInputError, UsageError
from ethicclip.generation import simulate_cohort
from ethicclip.importing import CohortSettings, import_cohort
from ethicclip.pairs import PairSet

CLINIC = CohortSettings(licence="clinic only")


@pytest.fixture
def cohort(images: Path) -> Path:
    (images / "cohort.csv").write_text(
        "file,patient_id,eye,label,dr_grade,glaucoma,keywords\n"
        "0.png,7,left,normal,0,0,jane\n"
        "1.png,007,right,dr,3,0,x\n"
        "2.png,8,,glaucoma,0,1,x\n"
        "3.png,8,left,multiple,2,1,x\n"
        "4.png,9,left,other,,suspect,x\n"
        "5.png,9,right,dr,0,0,x\n"
        "6.png,9,right,normal,0,suspect,x\n"
    )
    return images


def test_labels_become_words_and_patients_stay_themselves(cohort: Path, tmp_path: Path) -> None:
    result = import_cohort(cohort, tmp_path / "pairs", CLINIC, workers=1)
    pairs = PairSet.open(tmp_path / "pairs", verify=True)
    assert [pairs.caption(index) for index in range(len(pairs))] == [
        "Colour fundus photograph of the left eye: normal fundus.",
        "Colour fundus photograph of the right eye: severe non-proliferative diabetic retinopathy.",
        "Fundus photograph showing glaucoma.",
        "Colour fundus photograph of the left eye: moderate non-proliferative diabetic retinopathy and glaucoma.",
        "Colour fundus photograph of the right eye: diabetic retinopathy.",
        "Colour fundus photograph of the right eye: normal fundus.",
    ]
    assert [pairs.patient_id(index) for index in range(6)] == ["7", "007", "8", "8", "9", "9"]
    first = pairs.read(0)
    assert first.record["captions"]["zh"] == [
        "左眼彩色眼底照片，诊断：正常眼底。", "左眼正常眼底。", "眼底照片示正常眼底。",
    ]  # fmt: skip
    # Columns that nobody asked for stay out of the set: they may say more of a patient than a caption should.
    assert "jane" not in str(first.record)
    assert pairs.read(4).record["grade"] is None  # label dr and grade 0 contradict each other
    assert result.left_out == {"the label names no condition": 1}
    assert (pairs.origin, pairs.licence) == ("real", "clinic only")
    assert stat.S_IMODE((tmp_path / "pairs").stat().st_mode) == 0o700
    for path in (tmp_path / "pairs").rglob("*"):
        assert not path.is_file() or b"DigitalSourceType" not in path.read_bytes()


def test_a_simulated_population_stays_synthetic_and_marked(tmp_path: Path) -> None:
    simulate_cohort(tmp_path / "people", patients=2, size=128)
    import_cohort(tmp_path / "people", tmp_path / "pairs", CohortSettings(licence="CC0-1.0"))
    pairs = PairSet.open(tmp_path / "pairs")
    assert pairs.origin == "synthetic"
    assert b"DigitalSourceType" in pairs.read(0).image


def test_labels_that_are_not_known_are_named(cohort: Path, tmp_path: Path) -> None:
    text = (cohort / "cohort.csv").read_text()
    (cohort / "cohort.csv").write_text(text.replace("left,normal", "left,glaukoma"))
    with pytest.raises(BadInputError, match="did you mean 'glaucoma'"):
        import_cohort(cohort, tmp_path / "pairs", CLINIC)
    with pytest.raises(UsageError, match="no column 'diagnosis'"):
        import_cohort(cohort, tmp_path / "pairs", CohortSettings(licence="clinic only", label_column="diagnosis"))
    (cohort / "cohort.csv").write_text("file,patient_id\n0.png,1\n")
    with pytest.raises(UsageError, match="no column 'label'"):
        import_cohort(cohort, tmp_path / "pairs", CLINIC)
    with pytest.raises(BadInputError, match="named after a condition"):
        import_cohort(cohort, tmp_path / "pairs", CohortSettings(licence="clinic only", label_column=None))
