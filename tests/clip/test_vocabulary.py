"""The compact vocabulary: any text is encodable, captions fit, and transformers reads the same tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ethicclip import clip
from ethicclip.clip.merges import count_words, learn_merges
from ethicclip.clip.model import ClipModel, build, tokenizer_for
from ethicclip.clip.vocabulary import CompactTokenizer, shipped_merges
from ethicclip.errors import BadInputError

TEXTS = [
    "A fundus photograph of glaucoma, right eye.",
    "左眼散在多处微动脉瘤，符合糖尿病视网膜病变（轻度NPDR）。",
    "Something that no vocabulary of eyes has heard of: Zürich, 🙂, ∞!",
    "",
    "word " * 300,
]


@pytest.fixture(scope="module")
def tokenizer() -> CompactTokenizer:
    return CompactTokenizer(shipped_merges("fundus-1"), 80)


def test_merges_of_a_small_world_by_hand():
    # "a b" stands in "abc" (3) and "abd" (2): 5 times; then "ab c" 3 times, "ab d" 2 times; "x y" not twice.
    words = {"abc": 3, "abd": 2, "xy": 1}
    assert learn_merges(words, 10) == [("a", "b"), ("ab", "c</w>"), ("ab", "d</w>")]
    assert learn_merges(words, 2) == [("a", "b"), ("ab", "c</w>")]
    assert learn_merges(words, 2, base=[("b", "c</w>")]) == [("b", "c</w>"), ("a", "bc</w>")]
    assert learn_merges({"aaaaaaaa": 9}, 10, most_bytes=4) == [
        ("a", "a"),
        ("aa", "aa"),
        ("a", "a</w>"),
        ("aa", "aa</w>"),
    ]


def test_a_token_is_whole_characters_or_lies_within_one():
    words = count_words(["眼底眼底眼底。眼病眼病，底病"] * 3)
    for left, right in learn_merges(words, 100):
        letters = open_clip.tokenizer.bytes_to_unicode()
        values = {letter: byte for byte, letter in letters.items()}
        token = bytes(values[letter] for letter in (left + right).removesuffix("</w>"))
        whole = token.decode(errors="replace").count("�") == 0
        assert whole or len(token) < 4


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_is_encoded_and_comes_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert all(0 <= number < tokenizer.vocab_size - 2 for number in ids)
    cleaned = open_clip.tokenizer._clean_lower(text)
    assert "".join(tokenizer.decode(ids).split()) == "".join(cleaned.split())


def test_captions_of_both_languages_are_short(tokenizer):
    old = open_clip.SimpleTokenizer()
    chinese = "右眼中心凹反光（+），血管走行、管径大致正常，眼底大致正常。成像清楚。"
    assert len(tokenizer.encode(chinese)) < 0.5 * len(old.encode(chinese))
    ids = tokenizer(TEXTS)
    assert ids.shape == (5, 80)
    assert ids.max() == tokenizer.vocab_size - 1  # the end mark is the largest: the text tower looks for it


def test_the_same_in_the_folder_and_after_loading(tmp_path):
    model = clip.create("nano", seed=1)
    clip.save(model, tmp_path)
    loaded = clip.load(tmp_path)
    assert torch.equal(loaded.tokenizer(TEXTS), model.tokenizer(TEXTS))
    assert np.array_equal(loaded.encode_texts(TEXTS), model.encode_texts(TEXTS))


def test_plain_open_clip_finds_the_same_tokenizer_and_embeddings(tmp_path):
    model = clip.create("nano", seed=1)
    clip.save(model, tmp_path)
    theirs, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    ids, ours = tokenizer(TEXTS), model.tokenizer(TEXTS)
    end = model.tokenizer.vocab_size - 1
    for one, other in zip(ids.tolist(), ours.tolist(), strict=True):
        upto = other.index(end) + 1
        assert one[:upto] == other[:upto]
        assert set(one[upto:]) <= {end}
    with torch.inference_mode():
        expected = theirs.eval().encode_text(ids, normalize=True).numpy()
    assert model.encode_texts(TEXTS) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("damage", ["unknown", "foreign", "short"])
def test_a_broken_vocabulary_is_named(tmp_path, damage):
    clip.save(clip.create("nano"), tmp_path)
    path = tmp_path / "tokenizer.json"
    if damage == "unknown":
        path.unlink()
        config = json.loads((tmp_path / "open_clip_config.json").read_text())
        config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "ethicclip/of-another-time"
        (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    elif damage == "foreign":
        path.write_text(json.dumps({"model": {"type": "WordPiece"}}))
    else:
        stored = json.loads(path.read_text())
        stored["model"]["merges"] = stored["model"]["merges"][:-1]
        path.write_text(json.dumps(stored))
    with pytest.raises(BadInputError, match=r"tokenizer\.json|vocabulary"):
        clip.load(tmp_path)


def test_models_from_before_keep_their_tokenizer(tmp_path: Path):
    config = clip.create("nano").config
    del config["text_cfg"]["hf_tokenizer_name"]
    config["text_cfg"]["vocab_size"] = 49408
    towers, tokenizer = build(config, name="old"), tokenizer_for(config)
    assert not isinstance(tokenizer, CompactTokenizer)
    preprocess = clip.FundusPreprocess(size=64)
    model = ClipModel(model=towers, tokenizer=tokenizer, preprocess=preprocess, config=config)
    clip.save(model, tmp_path)
    assert not (tmp_path / "tokenizer.json").exists()
    expected = open_clip.SimpleTokenizer(context_length=32)(TEXTS[:2])
    assert torch.equal(clip.load(tmp_path).tokenizer(TEXTS[:2]), expected)
