"""The whole verb on painted eyes: paired differences, likeness, languages, what is written and what is refused."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ethicclip.cohorts import read_cohort
from ethicclip.errors import BadInputError
from ethicclip.evaluation import CompareResult, CompareSettings, compare
from ethicclip.imaging import Pixels
from ethicclip.terms import UnknownLabelError
from tests.evaluation.worlds import ColourModel, make_cohort, three_classes


@dataclass
class Bilingual(ColourModel):
    """Knows "cataract" in both languages and diabetes in English only; sees through a turned space of five axes."""

    name: str = "bilingual"

    def encode_images(self, images: Iterable[Pixels], *, batch_size: int = 64) -> npt.NDArray[np.float32]:
        return super().encode_images(images, batch_size=batch_size) @ self._turn()

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors = super().encode_texts(texts)
        for row, text in enumerate(texts):
            if "白内障" in text or "晶状体" in text:
                vectors[row] = (0, 1, 0)
        return vectors @ self._turn()

    @staticmethod
    def _turn() -> npt.NDArray[np.float32]:
        return np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0][:3].astype(np.float32)


@dataclass
class Blind(ColourModel):
    """Sees the same in every picture, and a little noise."""

    name: str = "blind"

    def encode_images(self, images: Iterable[Pixels], *, batch_size: int = 64) -> npt.NDArray[np.float32]:
        count = sum(1 for _ in images)
        return (np.array([1, 0.1, 0.1]) + np.random.default_rng(0).normal(0, 0.01, (count, 3))).astype(np.float32)


def run(folder: Path, out: Path, first: Any, second: Any, **options: Any) -> CompareResult:
    settings = CompareSettings.build(
        {"bootstrap": 200, "permutations": 50, "neighbours": 4, "figures": False, **options}
    )
    return compare(settings, first, second, read_cohort(folder), out)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [*three_classes(), {"label": "other"}, {"label": ""}]
    return make_cohort(tmp_path_factory.mktemp("eyes"), [{"colour": "normal", **row} for row in rows])


@pytest.fixture(scope="module")
def result(eyes: Path, tmp_path_factory: pytest.TempPathFactory) -> CompareResult:
    return run(eyes, tmp_path_factory.mktemp("out") / "cmp", Blind(), Bilingual(), figures=True)


def test_what_is_written(result: CompareResult) -> None:
    figures = ("differences", "languages_a", "languages_b", "likeness")
    expected = {f"{name}.{suffix}" for name in figures for suffix in ("svg", "png")}
    assert {path.name for path in result.out.iterdir()} == expected | {"comparison.json", "predictions.csv"}
    assert result.files[0].name == "comparison.json"
    assert json.loads(result.files[0].read_text(encoding="utf-8")) == result.document
    text = result.files[0].read_text(encoding="utf-8")
    assert "eye008" not in text


def test_differences_are_b_less_a(result: CompareResult) -> None:
    scores = result.document["scores"]
    # The blind model calls everything normal: 8 of 24 right; the other misses one.
    accuracy = scores["accuracy"]
    assert (accuracy["a"]["estimate"], accuracy["b"]["estimate"]) == pytest.approx((8 / 24, 23 / 24))
    assert accuracy["b_minus_a"]["estimate"] == pytest.approx(15 / 24)
    assert 0 < accuracy["b_minus_a"]["low"] < 15 / 24 < accuracy["b_minus_a"]["high"] <= 1
    assert scores["auroc_one_vs_rest"]["cataract"]["b"]["estimate"] > 0.9
    agreement = result.document["agreement"]
    assert agreement["only_a_right"]["estimate"] == 0
    assert agreement["only_b_right"]["estimate"] == pytest.approx(15 / 24)
    assert sum(
        agreement[k]["estimate"] for k in ("both_right", "only_a_right", "only_b_right", "both_wrong")
    ) == pytest.approx(1)


def test_likeness_has_references(result: CompareResult, eyes: Path, tmp_path: Path) -> None:
    blind = result.document["representations"]["cka"]
    assert blind["unrelated"]["p_value"] > 0.05
    # Turning the axes changes no likeness.
    turned = run(eyes, tmp_path / "out", ColourModel(), Bilingual()).document
    alike = turned["representations"]
    assert alike["cka"]["value"]["estimate"] == pytest.approx(1, abs=1e-5)
    assert alike["neighbour_overlap"]["value"]["estimate"] > 0.95
    assert alike["cka"]["unrelated"]["p_value"] == pytest.approx(1 / 51)
    assert turned["scores"]["accuracy"]["b_minus_a"]["estimate"] == 0
    assert turned["scores"]["accuracy"]["b_minus_a"]["low"] < 0 < turned["scores"]["accuracy"]["b_minus_a"]["high"]


def test_languages_of_each_model(result: CompareResult) -> None:
    found = result.document["languages"]["b"]
    # In Chinese it takes diabetic eyes for normal ones.
    assert found["scores"]["balanced_accuracy"]["zh"]["estimate"] == pytest.approx((1 + 0 + 7 / 8) / 3)
    assert found["scores"]["balanced_accuracy"]["zh_minus_en"]["estimate"] == pytest.approx(-1 / 3)
    assert found["cosine_of_class_vectors"]["cataract"] == pytest.approx(1, abs=1e-5)
    assert found["cosine_of_class_vectors"]["diabetic_retinopathy"] < 0.6
    assert found["agreement"]["only_en_right"]["estimate"] == pytest.approx(1 / 3)
    assert "a" in result.document["languages"]


def test_one_model_twice_compares_its_languages(eyes: Path, tmp_path: Path) -> None:
    model = Bilingual()
    found = run(eyes, tmp_path / "out", model, model).document
    assert set(found["languages"]) == {"a"}
    assert any("differ in words at most" in caveat for caveat in found["caveats"])


def test_prompts_in_one_language_are_a_reason(eyes: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text(
        "cataract: {prompts: {en: [Lens.]}}\ndr: {prompts: {en: [Diabetic.]}}\nnormal: {prompts: {en: [Fine.]}}\n",
        encoding="utf-8",
    )
    found = run(eyes, tmp_path / "out", ColourModel(), Bilingual(), prompts=str(prompts)).document
    assert "'zh'" in found["languages"]["a"]["reason"]
    assert found["scores"]["accuracy"]["a"]["estimate"] == pytest.approx(23 / 24)


def test_lines_and_restricted_predictions(result: CompareResult) -> None:
    text = "\n".join(result.lines())
    assert "24 images of 12 patients, 3 classes" in text
    assert "balanced accuracy: 0.333 [" in text
    assert "neighbour overlap" in text
    assert "languages of b, en against zh:" in text
    path = result.out / "predictions.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    assert (rows[8]["class"], rows[8]["prediction_a"], rows[8]["prediction_b"]) == ("cataract", "normal", "normal")
    assert sum(float(rows[0][f"score_b_{name}"]) for name in result.document["classes"]) == pytest.approx(1)


def test_repeating_changes_no_byte(result: CompareResult, eyes: Path, tmp_path: Path) -> None:
    again = run(eyes, tmp_path / "again", Blind(), Bilingual(), figures=True)
    for path in result.files:
        assert path.read_bytes() == (again.out / path.name).read_bytes(), path.name


def test_refusals_write_nothing(eyes: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownLabelError, match="squint"):
        run(eyes, tmp_path / "out", Blind(), Bilingual(), classes=("normal", "squint"))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "note.txt").write_text("mine")
    with pytest.raises(BadInputError, match="already holds"):
        run(eyes, tmp_path / "used", Blind(), Bilingual())
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_few_images_have_scores_and_no_likeness(tmp_path: Path) -> None:
    folder = make_cohort(tmp_path / "eyes", three_classes(2))
    found = run(folder, tmp_path / "out", ColourModel(), Bilingual()).document
    assert "too few" in found["representations"]["reason"]
    assert found["scores"]["accuracy"]["a"]["estimate"] == pytest.approx(5 / 6)
