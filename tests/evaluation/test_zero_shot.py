"""Prompts become class vectors as published, and pictures are read once, in order, or refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ethicclip.errors import BadInputError
from ethicclip.evaluation.zero_shot import ClassPrompts, class_embeddings, class_prompts, encode_files, zero_shot_logits
from ethicclip.terms import Vocabulary
from tests.evaluation.worlds import ColourModel, paint


class Angles(ColourModel):
    """A text is its angle in degrees, and three times too long."""

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        angles = np.deg2rad([float(text) for text in texts])
        return (3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


ANGLES = ClassPrompts(classes=(), texts=(("0", "90"), ("180",)))


def test_both_published_ways_to_join_prompts() -> None:
    half = np.sqrt(0.5)
    benchmark = class_embeddings(Angles(), ANGLES, ensemble="clip_benchmark")
    assert np.allclose(benchmark, [[half, half], [-1, 0]], atol=1e-6)
    flair = class_embeddings(Angles(), ANGLES, ensemble="flair")
    assert np.allclose(flair, [[0.5, 0.5], [-1, 0]], atol=1e-6)
    # FLAIR's mean of vectors is the mean of the prompts' logits.
    picture = np.array([[0.6, 0.8]], dtype=np.float32)
    each = zero_shot_logits(picture, np.array([[1.0, 0.0], [0.0, 1.0]]), logit_scale=10.0)
    assert zero_shot_logits(picture, flair, logit_scale=10.0)[0, 0] == pytest.approx(each.mean())


def test_kinds_of_prompts() -> None:
    classes = list(Vocabulary().resolve(["normal", "glaucoma"]).values())
    knowledge = class_prompts(classes, kind="knowledge", language="en").texts
    names = class_prompts(classes, kind="name", language="zh").texts
    both = class_prompts(classes, kind="both", language="en").texts
    assert any("cup-to-disc" in text for text in knowledge[1])
    assert names[1][0] == "青光眼。"
    assert len(both[1]) == len(set(both[1])) > len(knowledge[1])


def test_classes_asked_by_the_same_prompts_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_text("one: [A retina.]\ntwo: [A retina.]\n", encoding="utf-8")
    classes = list(Vocabulary.read(file).resolve(["one", "two"]).values())
    with pytest.raises(BadInputError, match="'one' and 'two' have the same prompts"):
        class_prompts(classes, kind="knowledge", language="en")


def test_a_model_that_did_not_train_is_refused() -> None:
    with pytest.raises(BadInputError, match="not finite for 1 of 2"):
        zero_shot_logits(np.array([[np.nan, 1], [1, 1]], dtype=np.float32), np.eye(2), logit_scale=1.0)


def test_files_are_embedded_in_order_and_looked_at_once(tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.png" for index in range(5)]
    for index, file in enumerate(files):
        paint(file, ("normal", "cataract")[index % 2], seed=index)
    seen: list[int] = []
    found = encode_files(
        ColourModel(), files, what="eyes", batch_size=2, max_side=32, look=lambda p: seen.append(p.shape[0])
    )
    assert found.argmax(axis=1).tolist() == [0, 1, 0, 1, 0]
    assert seen == [32] * 5


def test_every_unreadable_file_is_listed(tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.png" for index in range(4)]
    for file in files:
        paint(file, "normal")
    files[1].write_bytes(b"not an image")
    files[3].write_bytes(files[3].read_bytes()[:200])
    with pytest.raises(BadInputError, match="2 of 4 images of eyes") as caught:
        encode_files(ColourModel(), files, what="eyes", batch_size=2, max_side=64)
    assert "1.png" in caught.value.details[0]
    assert "3.png" in caught.value.details[1]
