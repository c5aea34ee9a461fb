"""Retrieval by hand: equal captions are one candidate, ties go to the wrong, chance is what shuffling gives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ethicclip.errors import BadInputError
from ethicclip.evaluation import RetrievalSettings, retrieve
from ethicclip.evaluation.retrieval import _chance, retrieval_ranks
from ethicclip.imaging import Pixels
from ethicclip.importing import CohortSettings, import_cohort
from ethicclip.pairs import PairSet
from tests.evaluation.worlds import ColourModel, make_cohort, three_classes


def test_ranks_by_hand() -> None:
    texts = np.eye(3)
    owner = np.array([0, 0, 1, 2])
    images = np.array([[1.0, 0.5, 0.0], [0.2, 0.9, 0.1], [0.1, 0.6, 0.3], [0.4, 0.4, 0.4]])
    forward, backward = retrieval_ranks(images, texts, owner)
    # The fourth picture likes all three captions alike: the two wrong ones stand before.
    assert forward.tolist() == [1, 2, 1, 3]
    # Caption 0 finds a picture of its own first; caption 1 finds one of caption 0 first; caption 2 its own.
    assert backward.tolist() == [1, 1, 2, 1]


def test_a_constant_model_retrieves_nothing() -> None:
    forward, backward = retrieval_ranks(np.ones((6, 2)), np.ones((3, 2)), np.array([0, 0, 1, 1, 2, 2]))
    assert set(forward) == {3}
    assert set(backward) == {5}


def test_chance_is_what_shuffling_gives() -> None:
    rng = np.random.default_rng(0)
    owner = np.array([0] * 5 + [1] * 3 + [2, 3, 4, 5])
    expected = _chance(owner, 6, (1, 3))
    hits = {name: np.zeros(2) for name in expected}
    for _ in range(400):
        ranks = retrieval_ranks(rng.normal(size=(12, 40)), rng.normal(size=(6, 40)), owner)
        for name, found in zip(("image_to_text", "text_to_image"), ranks, strict=True):
            hits[name] += [(found <= 1).mean(), (found <= 3).mean()]
    for name, counts in hits.items():
        assert np.allclose(counts / 400, list(expected[name].values()), atol=0.03), name


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    make_cohort(root / "eyes", three_classes())
    import_cohort(root / "eyes", root / "pairs", CohortSettings(licence="test"))
    return root / "pairs"


def test_recall_of_painted_eyes_in_both_languages(pairs: Path, tmp_path: Path) -> None:
    result = retrieve(RetrievalSettings(bootstrap=200), ColourModel(), PairSet.open(pairs), tmp_path / "out")
    found = result.document
    # Six captions: three diagnoses of two sides. The model knows no side, so the other side ties and stands before.
    assert found["counts"] == {"pairs": 24, "of": 24, "captions": 6, "units": 12}
    assert found["unit"] == "patient"
    first, fifth = (found["recall"]["image_to_text"][k] for k in ("1", "5"))
    assert first["estimate"] == 0.0
    assert fifth["estimate"] == pytest.approx(23 / 24) or fifth["estimate"] == 1.0
    assert fifth["patients"] == 12
    assert json.loads((tmp_path / "out" / "retrieval.json").read_text(encoding="utf-8")) == found
    assert any("recall@5" in line for line in result.lines())
    chinese = retrieve(
        RetrievalSettings(bootstrap=200, language="zh"), ColourModel(), PairSet.open(pairs), tmp_path / "zh"
    ).document
    assert chinese["recall"]["image_to_text"]["5"]["estimate"] <= fifth["estimate"]


def test_a_gallery_is_drawn_and_said(pairs: Path, tmp_path: Path) -> None:
    settings = RetrievalSettings(bootstrap=200, gallery=10, seed=4)
    found = retrieve(settings, ColourModel(), PairSet.open(pairs), tmp_path / "out").document
    assert found["counts"]["pairs"] == 10
    assert "10 of 24 pairs" in found["caveats"][-1]
    again = retrieve(settings, ColourModel(), PairSet.open(pairs), tmp_path / "again").document
    assert again == found


def test_one_caption_is_refused(tmp_path: Path) -> None:
    make_cohort(tmp_path / "eyes", [{"label": "normal", "eye": "left"}] * 4)
    import_cohort(tmp_path / "eyes", tmp_path / "pairs", CohortSettings(licence="test"))
    with pytest.raises(BadInputError, match="share one caption"):
        retrieve(RetrievalSettings(), ColourModel(), PairSet.open(tmp_path / "pairs"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_that_reads_retrieves_better_than_chance(pairs: Path, tmp_path: Path) -> None:
    class Reader(ColourModel):
        def encode_images(self, images: Iterable[Pixels], *, batch_size: int = 64) -> npt.NDArray[np.float32]:
            return np.concatenate([super().encode_images(images), np.zeros((24, 1), np.float32)], axis=1)

        def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            # A fourth axis that no picture uses tells the sides apart, so that there is no tie.
            vectors = np.concatenate([super().encode_texts(texts), np.zeros((len(texts), 1), np.float32)], axis=1)
            vectors[:, 3] = ["left" in text.lower() for text in texts]
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    settings = RetrievalSettings(bootstrap=200, ranks=(2,))
    found = retrieve(settings, Reader(), PairSet.open(pairs), tmp_path / "out").document
    assert found["recall"]["image_to_text"]["2"]["low"] > found["chance"]["image_to_text"]["2"]


def test_a_broken_model_is_refused(pairs: Path, tmp_path: Path) -> None:
    class Broken(ColourModel):
        def encode_images(self, images: Iterable[Pixels], *, batch_size: int = 64) -> npt.NDArray[np.float32]:
            return super().encode_images(images) * np.float32("nan")

    with pytest.raises(BadInputError, match="not finite"):
        retrieve(RetrievalSettings(bootstrap=200), Broken(), PairSet.open(pairs), tmp_path / "out")
    assert not (tmp_path / "out").exists()
