"""Coarse first: sides by step, refusals, and a run that resumes across the change."""

import pytest
import torch
from timm import create_model
from toy import ToySource

from ethicclip.errors import UsageError
from ethicclip.training import TrainSettings, plan, train
from ethicclip.training.logs import read_log
from ethicclip.training.resolution import check_coarse, resized, side_at
from ethicclip.training.steps import Trainer


def test_the_early_steps_are_coarse_and_the_last_ones_full():
    sides = [side_at(step, total=10, full=64, coarse=32, share=0.5) for step in range(10)]
    assert sides == [32] * 5 + [64] * 5
    assert side_at(0, total=10, full=64, coarse=None, share=0.5) == 64


def test_a_coarse_pixel_is_the_mean_of_what_it_covers():
    pixels = torch.rand(2, 3, 64, 64)
    coarse = resized(pixels, 32)
    assert coarse.shape == (2, 3, 32, 32)
    assert torch.allclose(coarse[0, 1, 3, 5], pixels[0, 1, 6:8, 10:12].mean())
    assert resized(pixels, 64) is pixels


@pytest.mark.parametrize("coarse", [64, 96, 40])
def test_sides_that_cannot_be_are_refused(coarse):
    with pytest.raises(UsageError, match=f"coarse_size {coarse}"):
        check_coarse(coarse, 64, torch.nn.Conv2d(3, 4, 3))


def test_a_tower_with_positions_is_refused():
    transformer = create_model("test_vit", num_classes=0)
    with pytest.raises(UsageError, match="position embeddings"):
        check_coarse(32, 160, transformer)
    check_coarse(32, 160, create_model("test_resnet", num_classes=0))


def test_what_is_refused_has_written_nothing(tmp_path):
    with pytest.raises(UsageError, match="coarse_size 40"):
        train(TrainSettings(model="nano", coarse_size=40), [ToySource()], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_private_run_says_that_it_has_no_coarse_steps():
    with pytest.raises(UsageError, match="a private run has no coarse_size"):
        TrainSettings.build({"model": "nano", "coarse_size": 32, "privacy": {"epsilon": 3.0}})


def test_a_plan_measures_early_and_late_steps(monkeypatch):
    seen = set()
    step = Trainer.step

    def watched(self, batch):
        seen.add(batch.step)
        return step(self, batch)

    monkeypatch.setattr(Trainer, "step", watched)
    made = plan(TrainSettings(model="nano", epochs=2, batch_size=12, coarse_size=32), [ToySource()])
    assert seen == {0, made.steps - 1}


def test_a_resume_continues_the_curve_across_the_change(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    settings = TrainSettings(model="nano", epochs=2, batch_size=12, checkpoint_steps=3, coarse_size=32)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(settings, [ToySource()], whole)
    step = Trainer.step

    def dies(self, batch):
        if batch.step == 5:
            raise RuntimeError("power cut")
        return step(self, batch)

    monkeypatch.setattr(Trainer, "step", dies)
    with pytest.raises(RuntimeError, match="power cut"):
        train(settings, [ToySource()], cut)
    monkeypatch.setattr(Trainer, "step", step)
    train(settings, [ToySource()], cut, resume=True)
    curves = [[row.loss for row in read_log(run / "log.csv")] for run in (whole, cut)]
    assert curves[0] == curves[1]
