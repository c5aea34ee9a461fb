"""One step in chunks, with fewer activations, with averages, from given towers: the same step, or the one asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from toy import ToySource

from ethicclip import clip
from ethicclip.errors import BadInputError, UsageError
from ethicclip.training import TrainSettings, train
from ethicclip.training.averaging import Average
from ethicclip.training.loading import Batch, Loader
from ethicclip.training.loop import build_model, recipe_of
from ethicclip.training.order import EpochOrder
from ethicclip.training.steps import Trainer, _statistics_held

BASE = TrainSettings(model="nano", epochs=2, batch_size=12, learning_rate=3e-3, precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    model = build_model(BASE)
    with Loader([ToySource(count=24)], recipe_of(BASE, model), EpochOrder(24, 12, 0)) as loader:
        return list(loader.batches(0, 3))


def stepped(settings: TrainSettings, batches: list[Batch]) -> tuple[list[float], dict[str, torch.Tensor]]:
    trainer = Trainer(settings, build_model(settings), 10)
    trainer.begin(batches[0])
    losses = [trainer.step(batch)[0] for batch in batches]
    return losses, trainer.model.model.state_dict()


@pytest.mark.parametrize("objective", ["soft_clip", "siglip"])
def test_a_batch_in_chunks_is_the_same_step(batches, objective):
    settings = BASE.model_copy(update={"objective": objective})
    whole, weights = stepped(settings, batches)
    for size in (5, 1):  # 12 pairs as 5 + 5 + 2, and one by one
        losses, chunked = stepped(settings.model_copy(update={"chunk": size}), batches)
        assert losses == pytest.approx(whole, rel=2e-4)
        for name, value in weights.items():
            # AdamW's first steps make whole steps of the smallest gradients: weights are compared loosely.
            assert torch.allclose(chunked[name], value, atol=2e-3), name


def test_gradients_in_chunks_are_those_of_the_batch(batches):
    found = []
    for chunk in (None, 5):
        trainer = Trainer(BASE.model_copy(update={"chunk": chunk}), build_model(BASE), 10)
        trainer.learned.train()
        trainer._backward(batches[0])
        found.append({n: w.grad.clone() for n, w in trainer.learned.named_parameters() if w.grad is not None})
    assert found[0].keys() == found[1].keys()
    largest = max(float(gradient.abs().max()) for gradient in found[0].values())
    for name, gradient in found[0].items():
        assert float((gradient - found[1][name]).abs().max()) < 1e-5 * largest, name


def test_batch_norm_learns_its_statistics_once_a_step_in_chunks():
    layer = torch.nn.BatchNorm2d(3)
    model = torch.nn.Sequential(layer)
    inputs = torch.randn(8, 3, 4, 4) + 5
    with _statistics_held(model):
        held = model(inputs)
    assert torch.equal(layer.running_mean, torch.zeros(3))
    assert torch.equal(model(inputs), held)
    assert float(layer.running_mean.mean()) > 0.3


def test_recomputing_activations_changes_nothing(batches):
    whole, weights = stepped(BASE, batches)
    losses, again = stepped(BASE.model_copy(update={"recompute": True}), batches)
    assert losses == pytest.approx(whole, rel=1e-5)
    assert all(torch.allclose(again[name], value, atol=1e-4) for name, value in weights.items())


def test_averages_by_hand():
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 0.0)
    average = Average(layer, 0.5)
    torch.nn.init.constant_(layer.weight, 10.0)
    average.update(0)  # decay min(0.5, 1/10): 0 * 0.1 + 10 * 0.9
    assert float(average.tensors()["average/weight"]) == pytest.approx(9.0)
    torch.nn.init.constant_(layer.weight, 1.0)
    average.update(100)  # decay 0.5
    with average.applied():
        assert layer.weight.item() == pytest.approx(5.0)
    assert layer.weight.item() == 1.0


def test_averaged_weights_are_exported_and_resume(tmp_path, monkeypatch):
    settings = BASE.model_copy(update={"average": 0.9, "checkpoint_steps": 2})
    train(settings, [ToySource(count=24)], tmp_path / "whole")
    train(settings.model_copy(update={"average": None}), [ToySource(count=24)], tmp_path / "last")
    honest = Trainer.step

    def step(self, batch):
        if batch.step == 3:
            raise MemoryError
        return honest(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        with pytest.raises(MemoryError):
            train(settings, [ToySource(count=24)], tmp_path / "killed")
    assert train(settings, [ToySource(count=24)], tmp_path / "killed", resume=True).resumed_from == 2
    files = [tmp_path / name / "open_clip_model.safetensors" for name in ("whole", "killed", "last")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes() != files[2].read_bytes()
    curves = [[line.split(",")[2] for line in (f.parent / "log.csv").read_text().splitlines()] for f in files]
    assert curves[0] == curves[1] == curves[2]  # averaging looks on


def test_a_run_begins_with_another_runs_image_tower_and_leaves_it(tmp_path):
    train(BASE.model_copy(update={"epochs": 1}), [ToySource(count=24, licence="CC-BY-NC-SA-4.0")], tmp_path / "first")
    first = tmp_path / "first"
    settings = BASE.model_copy(
        update={"epochs": 1, "seed": 5, "pretrained": str(first), "pretrained_towers": "image", "frozen": "image"}
    )
    settings = TrainSettings.build(settings.model_dump(mode="json"))
    result = train(settings, [ToySource(count=24)], tmp_path / "second")
    before, after = clip.load(first).model.state_dict(), clip.load(tmp_path / "second").model.state_dict()
    for name, value in before.items():
        same = torch.equal(value, after[name])
        if name.startswith("visual."):
            assert same, name
        elif name == "text.token_embedding.weight":
            assert not same
    assert result.run["pretrained"]["licences"] == ["CC-BY-NC-SA-4.0"]
    card = (tmp_path / "second" / "README.md").read_text()
    assert "CC-BY-NC-SA-4.0" in card
    assert "image tower began with `first/open_clip_model.safetensors`" in card


def test_pretrained_weights_that_cannot_be_used_are_refused(tmp_path):
    def settings(**changes: object) -> TrainSettings:
        return TrainSettings.build({**BASE.model_dump(mode="json"), **changes})

    with pytest.raises(UsageError, match="frozen and not pretrained"):
        settings(frozen="image")
    with pytest.raises(UsageError, match="a private run has no chunk"):
        settings(chunk=2, privacy={"epsilon": 1.0})
    with pytest.raises(BadInputError, match="do not exist"):
        train(settings(pretrained=str(tmp_path / "nowhere")), [ToySource()], tmp_path / "run")
    torch.save({"weights": np.zeros(3)}, tmp_path / "pickle.pt")
    with pytest.raises(BadInputError, match="without running code"):
        train(settings(pretrained=str(tmp_path / "pickle.pt")), [ToySource()], tmp_path / "run")
    with pytest.raises(UsageError, match="no weights 'laion' for 'nano'"):
        train(settings(pretrained="open_clip:laion"), [ToySource()], tmp_path / "run")
    clip.save(clip.create("nano"), tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "ethicclip/another"
    (tmp_path / "saved" / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(BadInputError, match="vocabulary"):
        train(settings(pretrained=str(tmp_path / "saved")), [ToySource()], tmp_path / "run")
    assert not (tmp_path / "run").exists()
