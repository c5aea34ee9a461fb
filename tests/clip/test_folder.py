"""Models on disk: ours in plain open_clip, open_clip's in ours, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch

from ethicclip import clip
from ethicclip.clip import ClipModel
from ethicclip.errors import BadInputError, UsageError

TEXTS = ["A normal fundus.", "青光眼。"]


@pytest.fixture(scope="module")
def model() -> ClipModel:
    return clip.create("nano", seed=3)


@pytest.fixture
def saved(model, tmp_path) -> Path:
    clip.save(model, tmp_path / "run")
    return tmp_path / "run"


def picture(side: int = 120, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_same_seed_same_weights_and_global_generator_untouched():
    state = torch.random.get_rng_state()
    first, second, other = clip.create("nano", seed=1), clip.create("nano", seed=1), clip.create("nano", seed=2)
    assert torch.equal(state, torch.random.get_rng_state())
    texts = [entry.encode_texts(TEXTS) for entry in (first, second, other)]
    assert np.array_equal(texts[0], texts[1])
    assert not np.array_equal(texts[0], texts[2])


def test_embeddings_are_unit_rows_in_order_whatever_the_batch(model):
    pictures = [picture(seed=seed) for seed in range(5)]
    together = model.encode_images(pictures)
    alone = np.concatenate([model.encode_images([one], batch_size=1) for one in pictures])
    tensors = model.encode_images(iter([torch.stack([model.preprocess(one) for one in pictures])]), batch_size=2)
    assert together.dtype == np.float32
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert together == pytest.approx(alone, abs=1e-5)
    assert together == pytest.approx(tensors, abs=1e-5)
    assert model.encode_images([]).shape == (0, 32)
    assert model.encode_texts([]).shape == (0, 32)


def test_wrong_tensor_is_refused(model):
    with pytest.raises(BadInputError, match="shape"):
        model.encode_images([torch.zeros(3, 65, 64)])


def test_round_trip(model, saved):
    loaded = clip.load(saved)
    assert loaded.name == "nano"
    assert loaded.preprocess == model.preprocess
    assert np.array_equal(loaded.encode_images([picture()]), model.encode_images([picture()]))


def test_same_model_same_bytes(model, saved, tmp_path):
    clip.save(model, tmp_path / "again")
    for path in saved.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_plain_open_clip_loads_our_folder_with_the_same_logits(model, saved):
    theirs, _, _ = open_clip.create_model_and_transforms(f"local-dir:{saved}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{saved}")
    theirs.eval()
    with torch.inference_mode():
        image, text, scale = theirs(model.preprocess(picture())[None], tokenizer(TEXTS))[:3]
        logits = (scale * image @ text.T).numpy()
    ours = model.logit_scale * model.encode_images([picture()]) @ model.encode_texts(TEXTS).T
    assert ours == pytest.approx(logits, abs=1e-4)


def test_open_clip_folder_is_loaded_with_its_own_normalisation(tmp_path):
    config = clip.create("nano").config
    theirs = open_clip.CustomTextCLIP(**{key: value for key, value in config.items() if key != "custom_text"})
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "open_clip_model.safetensors")
    stored = {"model_cfg": config, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(stored))
    ours = clip.load(tmp_path)
    assert ours.preprocess.mean == (0.1, 0.2, 0.3)
    assert not ours.preprocess.local_mean
    theirs.eval()
    with torch.inference_mode():
        expected = theirs.encode_image(ours.preprocess(picture())[None], normalize=True).numpy()
    assert ours.encode_images([picture()]) == pytest.approx(expected, abs=1e-5)


def test_sigmoid_start_is_saved(tmp_path):
    model = clip.create("nano", sigmoid=True)
    clip.save(model, tmp_path)
    assert clip.load(tmp_path).model.logit_bias.item() == pytest.approx(-10)


def test_only_pickles_are_refused(saved):
    weights = saved / "open_clip_model.safetensors"
    torch.save(safetensors.torch.load_file(weights), saved / "open_clip_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(BadInputError, match="only pickles"):
        clip.load(saved)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("ran.txt"),))


def test_named_pt_file_is_read_as_tensors_only(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(model.model.state_dict(), tmp_path / "good.pt")
    torch.save({"weights": Evil()}, tmp_path / "evil.pt")
    loaded = clip.load(tmp_path / "good.pt", architecture="nano")
    assert np.array_equal(loaded.encode_texts(TEXTS), model.encode_texts(TEXTS))
    with pytest.raises(BadInputError, match="without running code"):
        clip.load(tmp_path / "evil.pt", architecture="nano")
    assert not (tmp_path / "ran.txt").exists()
    with pytest.raises(UsageError, match="architecture"):
        clip.load(tmp_path / "good.pt")


def test_wrong_shapes_name_the_tensor(saved):
    config = json.loads((saved / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["width"] = 32
    (saved / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(BadInputError, match=r"text\..*shape"):
        clip.load(saved)


@pytest.mark.parametrize("name", ["open_clip_config.json", "open_clip_model.safetensors", "ethicclip_model.json"])
def test_broken_files_are_named(saved, name):
    path = saved / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInputError, match=name):
        clip.load(saved)


def test_missing_and_unfinished_folders(tmp_path):
    with pytest.raises(BadInputError, match="does not exist"):
        clip.load(tmp_path / "nowhere")
    with pytest.raises(BadInputError, match=r"open_clip_config\.json"):
        clip.load(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BadInputError, match="--resume"):
        clip.load(tmp_path)


def test_unknown_names_and_foreign_text_towers_are_usage_errors():
    with pytest.raises(UsageError, match="no model 'nothing'"):
        clip.create("nothing")
    with pytest.raises(UsageError, match="not supported"):
        clip.create("ViT-B-16-SigLIP")
    with pytest.raises(UsageError, match="not supported"):
        clip.create("coca_base")
