"""Compiled towers take the same steps to rounding; without a compiler nothing is begun."""

from functools import partial

import pytest
import torch
from toy import ToySource

from ethicclip.errors import UsageError
from ethicclip.training import TrainSettings, train
from ethicclip.training.compiling import compiled
from ethicclip.training.loading import Loader
from ethicclip.training.loop import build_model, recipe_of
from ethicclip.training.order import EpochOrder
from ethicclip.training.steps import Trainer

BASE = TrainSettings(model="nano", batch_size=12, precision="fp32", device="cpu")


def test_compiled_towers_take_the_same_steps(monkeypatch):
    # Graphs as for real; without the minutes of compiling kernels, which are torch's own and tested there.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    with Loader([ToySource(count=12)], recipe_of(BASE, build_model(BASE)), EpochOrder(12, 12, 0)) as loader:
        batch = next(iter(loader.batches(0, 1)))
    graphs = []
    losses = {}
    for wanted in (False, True):
        torch._dynamo.reset()
        settings = BASE.model_copy(update={"compile": wanted})
        trainer = Trainer(settings, build_model(settings), 10)
        losses[wanted] = [trainer.step(batch)[0], trainer.step(batch)[0], trainer.measure(batch)]
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
        torch._dynamo.utils.counters.clear()
    assert graphs[0] == 0
    assert graphs[1] >= 2  # both towers, and none of them again for measuring
    assert losses[True] == pytest.approx(losses[False], rel=2e-3)


def test_without_a_compiler_nothing_is_written(tmp_path, monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("no C++ compiler found")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UsageError, match=r"torch\.compile does not work on this machine: no C"):
        train(BASE.model_copy(update={"compile": True}), [ToySource()], tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert compiled(len, wanted=False) is len


def test_a_private_run_is_not_compiled():
    with pytest.raises(UsageError, match="a private run has no compile"):
        TrainSettings.build({"model": "nano", "compile": True, "privacy": {"epsilon": 3.0}})
