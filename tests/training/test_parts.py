"""Objectives, schedule, order, captions and augmentation against answers worked out by hand."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from ethicclip import clip
from ethicclip.errors import UsageError
from ethicclip.training import TrainSettings
from ethicclip.training.augmentation import draw_change
from ethicclip.training.captions import captions_of, draw_caption, label_tokens, named_captions
from ethicclip.training.objectives import contrastive_loss, label_similarity
from ethicclip.training.optimisation import build_optimizer, learning_rate_at
from ethicclip.training.order import EpochOrder
from ethicclip.training.starting import centre_projections

A, B = frozenset({"normal"}), frozenset({"glaucoma"})
NONE: frozenset[str] = frozenset()


def test_similarity_by_hand():
    both = frozenset({"glaucoma", "cataract"})
    expected = [[1, 0, 0, 0], [0, 1, 0.5, 0], [0, 0.5, 1, 0], [0, 0, 0, 1]]
    assert label_similarity([A, B, both, NONE]).tolist() == expected
    assert label_similarity([NONE, NONE]).tolist() == [[1, 0], [0, 1]]


def loss(similarity, *, objective="soft_clip", soft_weight=1.0, within_weight=0.0, scale=1.0, bias=None):
    image = torch.eye(2)
    return float(
        contrastive_loss(
            image,
            torch.eye(2),
            torch.tensor(scale),
            bias,
            torch.tensor(similarity),
            objective=objective,
            soft_weight=soft_weight,
            within_weight=within_weight,
        )
    )


def test_losses_by_hand():
    e = math.e
    right, wrong = -math.log(e / (e + 1)), -math.log(1 / (e + 1))
    identity, same = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]
    assert loss(identity, objective="clip") == pytest.approx(right)
    assert loss(same, objective="clip") == pytest.approx(right)
    assert loss(identity) == pytest.approx(right)
    # a target of two halves has entropy log 2, one of 3/4 and 1/4 has 0.5623
    assert loss(same) == pytest.approx((right + wrong) / 2 - math.log(2))
    assert loss(same, soft_weight=0.5) == pytest.approx(0.75 * right + 0.25 * wrong - 0.5623, abs=1e-4)
    # two that are each other's only partner: nothing else to choose, so the contrast within is zero
    assert loss(same, within_weight=1.0) == pytest.approx(loss(same))
    assert loss(identity, within_weight=1.0) == pytest.approx(right)
    # sigmoid: on the diagonal log(1 + e^-1), off it log(1 + e^0)
    assert loss(identity, objective="siglip") == pytest.approx(math.log(1 + 1 / e) + math.log(2))


def test_learning_rate_rises_then_falls():
    rates = [learning_rate_at(step, total=10, peak=1.0, warmup=0.2) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[1:]))
    assert rates[-1] > 0


def test_only_matrices_decay():
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    decayed, plain = build_optimizer(layer, weight_decay=0.1).param_groups
    assert [tuple(weight.shape) for weight in decayed["params"]] == [(2, 3)]
    assert (decayed["weight_decay"], plain["weight_decay"], len(plain["params"])) == (0.1, 0.0, 3)


def test_every_epoch_takes_every_pair_once_and_depends_on_the_step_alone():
    order = EpochOrder(12, 4, seed=5)
    first = [index for step in range(3) for index in order.batch(step)]
    assert sorted(first) == list(range(12))
    assert [order.epoch(step) for step in (0, 2, 3)] == [0, 0, 1]
    assert EpochOrder(12, 4, seed=5).batch(7) == order.batch(7)
    assert order.batch(0) != order.batch(3)
    assert EpochOrder(3, 64, seed=0).batch_size == 3


RECORD = {
    "labels": ["diabetic_retinopathy"],
    "grade": 3,
    "captions": {"en": ["one", "two"], "zh": ["一"]},
}


def test_captions_by_language_with_fallback():
    assert captions_of(RECORD, "x", ("en", "zh")) == {"en": ("one", "two"), "zh": ("一",)}
    assert captions_of({"captions": {"en": ["one"]}}, "x", ("zh",)) == {"en": ("x",)}
    assert captions_of({}, "x", ("en",)) == {"en": ("x",)}


def test_named_captions_say_the_diagnosis_and_the_grade():
    english = named_captions(RECORD, ("en",))["en"]
    assert any("diabetic retinopathy" in text.lower() for text in english)
    assert any("severe" in text.lower() for text in english)
    assert named_captions({"labels": ["something new"]}, ("en",)) == {}
    assert named_captions({}, ("en",)) == {}


def test_drawn_captions_cover_languages_and_phrasings_evenly():
    generator = np.random.default_rng(0)
    phrasings = captions_of(RECORD, "x", ("en", "zh"))
    drawn = [draw_caption(phrasings, {"en": ("name",)}, 0.25, generator) for _ in range(4000)]
    share = {text: drawn.count(text) / 4000 for text in set(drawn)}
    assert share["name"] == pytest.approx(0.25, abs=0.03)
    assert share["一"] == pytest.approx(0.375, abs=0.03)
    assert share["one"] == pytest.approx(share["two"], abs=0.03)


def test_grades_are_labels_of_their_own():
    assert label_tokens(RECORD) == {"diabetic_retinopathy", "grade_3"}
    assert label_tokens({"labels": ["normal"], "grade": 0}) == {"normal"}
    assert label_tokens({}) == frozenset()


def test_augmentation_is_small_and_deterministic():
    picture = np.full((64, 64, 3), 128, np.uint8)
    picture[20:44, 20:44] = (200, 100, 60)
    one = draw_change(64, np.random.default_rng(1)).pixels(picture)
    assert np.array_equal(one, draw_change(64, np.random.default_rng(1)).pixels(picture))
    assert not np.array_equal(one, picture)
    assert (one[0, 0] == 128).all()
    assert abs(int(one[32, 32, 0]) - 200) < 40


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 1}, {"languages": []}, {"objective": "triplet"}, {"epsilon": 3}]
)
def test_settings_out_of_range_are_usage_errors(wrong):
    with pytest.raises(UsageError):
        TrainSettings.build(wrong)


def test_settings_load_without_torch():
    code = (
        "import sys; from ethicclip.training import TrainSettings; TrainSettings().digest();"
        "assert not {'torch', 'cv2', 'matplotlib', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_decoding_processes_load_without_torch():
    code = (
        "import sys, ethicclip.training.loading; assert 'torch' not in sys.modules and 'open_clip' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fresh_towers_are_centred_on_the_first_batch_where_they_can_be():
    model = clip.create("nano")
    pixels = torch.rand(8, 3, 64, 64)
    tokens = model.tokenizer([f"caption number {number}" for number in range(8)])
    assert centre_projections(model.model, pixels, tokens)
    with torch.inference_mode():
        for features in (model.model.encode_image(pixels), model.model.encode_text(tokens)):
            assert features.mean(0).abs().max() < 1e-3
            assert features.pow(2).sum(1).mean() == pytest.approx(1, abs=1e-3)
    plain = clip.create("ViT-B-32")
    before = {name: weight.clone() for name, weight in plain.model.named_parameters() if "proj" in name}
    assert not centre_projections(plain.model, torch.rand(2, 3, 224, 224), plain.tokenizer(["a", "b"]))
    assert all(torch.equal(before[name], weight) for name, weight in plain.model.named_parameters() if name in before)
