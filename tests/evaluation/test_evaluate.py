"""The whole verb on painted eyes: what is written, what is refused, and that repeating changes no byte."""

from __future__ import annotations

import csv
import importlib
import json
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ethicclip.cohorts import read_cohort
from ethicclip.errors import BadInputError, StorageError, UsageError
from ethicclip.evaluation import EvaluateResult, EvaluateSettings, evaluate
from ethicclip.imaging import Pixels
from ethicclip.terms import UnknownLabelError
from tests.evaluation.worlds import ColourModel, make_cohort, three_classes

FIGURES = {f"{name}.{suffix}" for name in ("scores", "confusion", "roc", "reliability") for suffix in ("svg", "png")}


def run(folder: Path, out: Path, **options: Any) -> EvaluateResult:
    settings = EvaluateSettings.build({"bootstrap": 200, "figures": False, **options})
    return evaluate(settings, ColourModel(), read_cohort(folder), out)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [*three_classes(), {"label": "other"}, {"label": "multiple"}, {"label": ""}]
    return make_cohort(tmp_path_factory.mktemp("eyes"), [{"colour": "normal", **row} for row in rows])


@pytest.fixture(scope="module")
def result(eyes: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateResult:
    return run(eyes, tmp_path_factory.mktemp("out") / "eval", subgroups=("eye",), figures=True)


def test_what_is_written(result: EvaluateResult) -> None:
    names = {path.name for path in result.out.iterdir()}
    figures = FIGURES | {"subgroups.svg", "subgroups.png"}
    assert names == figures | {"metrics.json", "run.json", "predictions.csv"}
    assert result.files[0].name == "metrics.json"
    assert json.loads((result.out / "metrics.json").read_text(encoding="utf-8")) == result.metrics
    assert list(result.out.parent.iterdir()) == [result.out]


def test_scores_of_painted_eyes(result: EvaluateResult) -> None:
    found = result.metrics
    assert found["schema"] == "ethicclip/metrics/1"
    assert found["classes"] == ["normal", "diabetic_retinopathy", "cataract"]
    # One of 24 eyes is painted in another class's colour.
    assert found["accuracy"]["estimate"] == pytest.approx(23 / 24)
    assert found["balanced_accuracy"]["estimate"] == pytest.approx((1 + 1 + 7 / 8) / 3)
    assert found["confusion"]["counts"] == [[8, 0, 0], [0, 8, 0], [1, 0, 7]]
    assert found["sensitivity"]["cataract"] == found["confusion"]["share"]["cataract"]["cataract"]
    assert found["auroc_one_vs_rest"]["diabetic_retinopathy"]["estimate"] == 1.0
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        estimate = found[name]
        assert 0 < estimate["low"] < estimate["estimate"] < estimate["high"] <= 1
        assert (estimate["n"], estimate["patients"]) == (24, 12)
    assert found["specificity"]["normal"]["estimate"] == pytest.approx(15 / 16)
    assert found["specificity"]["normal"]["n"] == 16
    # Disease against none: the eye painted as normal is the one that is not sent.
    assert found["referable"]["classes"] == ["diabetic_retinopathy", "cataract"]
    assert found["referable"]["own_decision"]["sensitivity"]["estimate"] == pytest.approx(15 / 16)
    assert found["referable"]["own_decision"]["specificity"]["estimate"] == 1.0
    assert found["referable"]["sensitivity_at"]["0.9"]["estimate"] == pytest.approx(15 / 16)
    assert found["referable"]["threshold_log_odds"]["0.9"] > 0
    assert found["counts"]["by_class"]["cataract"] == {"images": 8, "patients": 4}
    assert found["counts"]["cohort_images"] == 27
    assert found["skipped"] == {"multiple": 1, "other": 1}
    assert found["left_out"] == {"(empty)": 1}
    assert (found["unit"], found["patients_known"], found["simulated"]) == ("patient", True, False)
    assert "auroc" not in found
    assert "quadratic_kappa" not in found
    assert "classes of fewer than 5 patients" in found["caveats"][0]


def test_single_statistics_stand_beside_the_model(result: EvaluateResult) -> None:
    singles = result.metrics["single_statistics"]["by_statistic"]
    assert set(singles) == {"sharpness", "contrast", "darkness", "all three"}
    assert singles["darkness"]["direction"]["diabetic_retinopathy"] == "high"
    assert singles["darkness"]["auroc_one_vs_rest"]["diabetic_retinopathy"]["estimate"] > 0.9
    assert "labels" in result.metrics["single_statistics"]["note"]


def test_subgroups(result: EvaluateResult) -> None:
    table = result.metrics["subgroups"]["eye"]
    assert set(table) == {"left", "right"}
    gap = table["left"]["gap"]["accuracy"]
    assert gap["estimate"] == pytest.approx(-1 / 12)
    assert gap["low"] < gap["estimate"] < gap["high"]
    assert table["right"]["gap"]["accuracy"]["estimate"] == pytest.approx(1 / 12)


def test_predictions_name_real_files_and_are_restricted(result: EvaluateResult, eyes: Path) -> None:
    path = result.out / "predictions.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 24
    assert rows[8]["file"] == str(eyes / "eye008.png")
    assert (rows[8]["label"], rows[8]["class"], rows[8]["prediction"]) == ("cataract", "cataract", "normal")
    scores = [float(rows[8][f"score_{name}"]) for name in result.metrics["classes"]]
    assert sum(scores) == pytest.approx(1)
    assert scores[0] == max(scores)
    for name in ("metrics.json", "run.json"):
        text = (result.out / name).read_text(encoding="utf-8")
        assert "eye008" not in text
        assert str(eyes) not in text


def test_the_record_of_the_run(result: EvaluateResult) -> None:
    run_record = json.loads((result.out / "run.json").read_text(encoding="utf-8"))
    assert run_record["settings"]["bootstrap"] == 200
    assert run_record["settings_sha256"] == result.metrics["settings_sha256"]
    assert any("lens" in text.lower() for text in run_record["prompts"]["cataract"])
    assert len(run_record["images_sha256"]) == 64


def test_lines_and_json_for_people(result: EvaluateResult) -> None:
    text = "\n".join(result.lines())
    assert "24 images of 12 patients, 3 classes" in text
    assert "balanced accuracy: 0.958 [" in text
    assert "other 1" in text
    assert result.to_json()["out"] == str(result.out)
    json.dumps(result.to_json(), allow_nan=False)


def test_repeating_changes_no_byte(result: EvaluateResult, eyes: Path, tmp_path: Path) -> None:
    again = run(eyes, tmp_path / "again", subgroups=("eye",), figures=True)
    for path in result.out.iterdir():
        assert path.read_bytes() == (again.out / path.name).read_bytes(), path.name


def test_batches_change_no_score(result: EvaluateResult, eyes: Path, tmp_path: Path) -> None:
    again = run(eyes, tmp_path / "again", batch_size=3, subgroups=("eye",))
    assert again.metrics["auroc_one_vs_rest"] == result.metrics["auroc_one_vs_rest"]
    assert again.metrics["accuracy"] == result.metrics["accuracy"]


def test_two_classes_by_alias_have_a_top_level_auroc(eyes: Path, tmp_path: Path) -> None:
    found = run(eyes, tmp_path / "out", classes=("Diabetic-Retinopathy", "no_dr")).metrics
    assert found["classes"] == ["diabetic_retinopathy", "normal"]
    assert found["positive"] == "diabetic_retinopathy"
    assert found["auroc"]["estimate"] == 1.0
    assert found["auroc"]["low"] == pytest.approx(0.025 ** (1 / 4))
    assert found["left_out"] == {"(empty)": 1, "cataract": 8}
    assert found["operating_points"]["diabetic_retinopathy"]["0.9"]["sensitivity"]["estimate"] == 1.0


def test_grades_have_a_kappa_and_a_referable_score(tmp_path: Path) -> None:
    grades = ["0", "0", "2", "3"] * 3
    rows = [{"dr_grade": g, "colour": "normal" if g == "0" else "dr"} for g in grades]
    found = run(make_cohort(tmp_path / "eyes", rows), tmp_path / "out", label_column="dr_grade").metrics
    assert found["task"] == "dr_grades"
    assert found["classes"] == ["0", "2", "3"]
    # The model reads "diabetic" in the prompts of 2 and 3 alike: 3 goes to the first of equals or to its twin.
    assert found["quadratic_kappa"]["estimate"] > 0.5
    assert found["referable"]["auroc"]["estimate"] == 1.0
    assert found["referable"]["classes"] == ["2", "3"]
    assert found["class_names"]["3"] == "severe non-proliferative diabetic retinopathy"


def test_unknown_patients_are_said_to_be_unknown(tmp_path: Path) -> None:
    folder = make_cohort(tmp_path / "eyes", three_classes(6), patients=False)
    result = run(folder, tmp_path / "out")
    assert (result.metrics["unit"], result.metrics["patients_known"]) == ("image", False)
    assert result.metrics["accuracy"]["patients"] == 18
    assert any("could not be told apart" in caveat for caveat in result.metrics["caveats"])
    assert "images taken as patients" in result.lines()[0]


def test_absolute_paths_and_own_prompts(tmp_path: Path) -> None:
    folder = make_cohort(tmp_path / "eyes", three_classes(4), absolute=True)
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text("dr: {prompts: [Diabetic eye.]}\ncataract: [Lens.]\nnormal: [Fine.]\n", encoding="utf-8")
    out = tmp_path / "elsewhere" / "out"
    result = run(folder / "cohort.csv", out, prompts=str(prompts))
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["prompts"]["cataract"] == ["Lens."]
    assert result.metrics["accuracy"]["estimate"] == pytest.approx(11 / 12)


@pytest.mark.parametrize("each", [1, 2])
def test_one_patient_a_class_gives_no_certainty(tmp_path: Path, each: int) -> None:
    found = run(make_cohort(tmp_path / "eyes", three_classes(each)), tmp_path / "out").metrics
    estimate = found["balanced_accuracy"]
    assert (estimate["low"], estimate["high"]) == (0.0, 1.0)
    assert "1 patient(s)" in estimate["reason"]
    assert any("the intervals say little" in caveat for caveat in found["caveats"])


def test_all_eyes_of_one_patient(tmp_path: Path) -> None:
    rows = [{**row, "patient_id": "only"} for row in three_classes(2)]
    found = run(make_cohort(tmp_path / "eyes", rows), tmp_path / "out").metrics
    assert found["counts"]["patients"] == 1
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label_column": "diagnosis"}, BadInputError, "diagnosis"),
        ({"classes": ("normal", "squint")}, UnknownLabelError, "squint"),
        ({"classes": ("normal", "amd")}, BadInputError, "no row of column"),
        ({"subgroups": ("camera",)}, BadInputError, "camera"),
        ({"prompts": "none.yaml"}, BadInputError, "cannot be read"),
        ({"classes": ("normal",)}, UsageError, "at least two classes"),
        ({"bootstrap": 5}, UsageError, "greater than or equal to 100"),
    ],
)
def test_refusals_write_nothing(
    eyes: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        run(eyes, tmp_path / "out", **options)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_unknown_labels_and_unreadable_images_write_nothing(tmp_path: Path) -> None:
    folder = make_cohort(tmp_path / "eyes", [*three_classes(2), {"label": "squint", "colour": "dr"}])
    with pytest.raises(UnknownLabelError, match=r"1 label\(s\) in column 'label'"):
        run(folder, tmp_path / "out")
    (folder / "eye001.png").write_bytes(b"broken")
    with pytest.raises(BadInputError, match="1 of 6 images") as caught:
        run(folder, tmp_path / "out", classes=("normal", "dr", "cataract"))
    assert "eye001.png" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["eyes"]


def test_a_folder_in_use_is_refused_before_any_work(eyes: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(BadInputError, match="already holds"):
        run(eyes, tmp_path / "out")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises((BadInputError, StorageError)):
        run(eyes, tmp_path / "file" / "out")


def test_settings_load_nothing_heavy() -> None:
    heavy = {"torch", "cv2", "matplotlib", "scipy", "pandas", "open_clip"}
    code = "import sys, ethicclip.evaluation.settings, ethicclip.terms.vocabulary; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not heavy & set(loaded)


def test_the_front_door_gives_the_function_whatever_was_imported_before() -> None:
    importlib.import_module("ethicclip.evaluation.run")
    assert getattr(importlib.import_module("ethicclip.evaluation"), "evaluate") is evaluate  # noqa: B009
    assert callable(evaluate)


def test_a_linear_probe_on_request(eyes: Path, tmp_path: Path) -> None:
    result = run(eyes, tmp_path / "out", linear_probe=True)
    assert "not zero-shot" in result.metrics["linear_probe"]["note"]
    assert result.metrics["linear_probe"]["balanced_accuracy"]["estimate"] > 0.8
    assert any(line.startswith("linear probe") for line in result.lines())


def test_few_shots_have_lines_and_a_figure(eyes: Path, tmp_path: Path) -> None:
    result = run(eyes, tmp_path / "out", few_shot=(1, 2, 9), few_shot_draws=3, linear_probe=True, figures=True)
    shots = result.metrics["few_shot"]["shots"]
    assert shots["2"]["balanced_accuracy"]["estimate"] > 0.8
    assert "too few" in shots["9"]["reason"]
    assert sum(line.startswith("few-shot probe") for line in result.lines()) == 3
    assert {"probes.svg", "probes.png"} <= {path.name for path in result.files}


def test_an_empty_folder_with_what_a_killed_run_left_is_used(
    eyes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".metrics.json.1.partial").write_text("half", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "out")
    result = run(eyes, Path())
    assert [path.name for path in result.files] == ["metrics.json", "predictions.csv", "run.json"]
    assert all((tmp_path / "out" / path).is_file() for path in result.files)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupted_run_leaves_nothing(eyes: Path, tmp_path: Path) -> None:
    class Interrupted(ColourModel):
        def encode_images(self, images: Iterable[Pixels], *, batch_size: int = 64) -> npt.NDArray[np.float32]:
            next(iter(images))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(EvaluateSettings(bootstrap=200), Interrupted(), read_cohort(eyes), tmp_path / "out")
    assert not list(tmp_path.iterdir())
