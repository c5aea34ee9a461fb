"""Mixing sets by weight, choosing weights by public pairs, curves for TensorBoard, and what a run cost."""

from __future__ import annotations

import builtins
from collections import Counter
from pathlib import Path

import pytest
from toy import ToySource

from ethicclip.cli.sources import split_weights
from ethicclip.errors import UsageError
from ethicclip.training import TrainSettings, train
from ethicclip.training import validating as validating_module
from ethicclip.training.board import Board
from ethicclip.training.cost import EnergyMeter, energy_words
from ethicclip.training.order import MixedOrder
from ethicclip.training.steps import Trainer
from ethicclip.training.validating import read_validation

BASE = TrainSettings(model="nano", epochs=2, batch_size=8, learning_rate=3e-3, checkpoint_steps=2)
LARGE = ToySource(count=24, digest="large")
SMALL = ToySource(count=8, first=900, digest="small", licence="CC-BY-NC-SA-4.0")


def test_a_mixture_keeps_its_weights_and_its_permutations():
    order = MixedOrder([24, 8], [0.25, 0.75], batch_size=8, seed=3)
    assert order.shares == [8, 24]
    drawn = [index for step in range(12) for index in order.batch(step)]
    turns = [turn for step in range(12) for turn in order.views(step)]
    large = [index for index in drawn if index < 24]
    assert sorted(large) == list(range(24))  # three epochs of eight: each once
    small = Counter(index for index in drawn if index >= 24)
    assert small == dict.fromkeys(range(24, 32), 9)
    # Within a turn every pair of the small set comes once, in an order of its own.
    by_turn = [[i for i, t in zip(drawn, turns, strict=True) if i >= 24 and t == turn] for turn in range(9)]
    assert all(sorted(one) == list(range(24, 32)) for one in by_turn)
    assert len({tuple(one) for one in by_turn}) > 1
    again = MixedOrder([24, 8], [1, 3], batch_size=8, seed=3)
    assert again.batch(7) == order.batch(7)  # a function of the step, and of proportions only


def test_a_mixed_run_resumes_and_carries_every_licence(tmp_path, monkeypatch):
    honest = Trainer.step

    def step(self, batch):
        if batch.step == 5:
            raise MemoryError
        return honest(self, batch)

    train(BASE, [LARGE, SMALL], tmp_path / "whole", weights=[0.5, 0.5])
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        with pytest.raises(MemoryError):
            train(BASE, [LARGE, SMALL], tmp_path / "run", weights=[0.5, 0.5])
    with pytest.raises(Exception, match=r"weight 0\.5, now 24 pairs with digest large and weight 0\.9"):
        train(BASE, [LARGE, SMALL], tmp_path / "run", weights=[0.9, 0.5], resume=True)
    result = train(BASE, [LARGE, SMALL], tmp_path / "run", weights=[0.5, 0.5], resume=True)
    assert result.resumed_from == 4
    name = "open_clip_model.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [source["weight"] for source in result.run["data"]] == [0.5, 0.5]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "Apache-2.0; CC-BY-NC-SA-4.0" in card
    assert "8 (weight 0.5)" in card
    with pytest.raises(UsageError, match="one positive number for each"):
        train(BASE, [LARGE, SMALL], tmp_path / "other", weights=[1.0])


def test_weights_on_the_command_line():
    assert split_weights(["a", "phantom:9,size=64"]) == (["a", "phantom:9,size=64"], None)
    assert split_weights(["a@0.7", "phantom:9,size=64@3"]) == (["a", "phantom:9,size=64"], [0.7, 3.0])
    with pytest.raises(UsageError, match="'b' has no weight"):
        split_weights(["a@1", "b"])
    with pytest.raises(UsageError, match="not all positive"):
        split_weights(["a@1", "b@0"])


def test_the_best_weights_on_pairs_kept_aside_stay(tmp_path, monkeypatch):
    # The third of four validations is the best: its weights are the run's, also over a kill behind it.
    script = {2: 3.0, 4: 2.0, 6: 1.0, 8: 5.0}
    settings = BASE.model_copy(update={"validate_steps": 2})
    aside = ToySource(count=9, first=500, digest="aside")
    honest, kept = Trainer.step, {}

    class Scripted(validating_module.Validation):
        def after(self, step):
            monkeypatch.setattr(self._trainer, "measure", lambda batch: script[step])
            result = super().after(step)
            if step == 6:
                kept.update({n: t.clone() for n, t in self._trainer.model.model.state_dict().items()})
            return result

    def step(self, batch):
        if batch.step == 7 and not kept.get("resumed"):
            kept["resumed"] = True
            raise MemoryError
        return honest(self, batch)

    from ethicclip import clip
    from ethicclip.training import loop

    monkeypatch.setattr(loop, "Validation", Scripted)
    monkeypatch.setattr(Trainer, "step", step)
    out = tmp_path / "run"
    with pytest.raises(MemoryError):
        train(settings, [LARGE, SMALL], out, validation=aside)
    result = train(settings, [LARGE, SMALL], out, validation=aside, resume=True)
    assert result.resumed_from == 6
    assert read_validation(out / "validation.csv") == list(script.items())
    assert result.run["weights"] == {"kept": "best", "step": 6, "loss": 1.0, "validations": 4, "pairs": 8}
    assert result.run["validation"]["digest"] == "aside"
    loaded = clip.load(out).model.state_dict()
    assert all((loaded[name] == kept[name]).all() for name in loaded)
    assert not list((out / "checkpoints").iterdir())
    assert "step 6: the lowest loss of 4" in (out / "README.md").read_text()


def test_validation_is_a_loss_of_the_model_and_not_of_the_draw(tmp_path):
    result = train(BASE, [LARGE], tmp_path / "run", validation=ToySource(count=16, first=300, digest="aside"))
    rows = read_validation(tmp_path / "run" / "validation.csv")
    assert [step for step, _ in rows] == [3, 6]  # after each epoch
    assert rows[0][1] != rows[1][1]
    assert result.run["weights"]["loss"] == min(loss for _, loss in rows)


def test_private_pairs_and_training_pairs_choose_nothing(tmp_path):
    private = ToySource(count=8, digest="clinic", origin="real")
    with pytest.raises(UsageError, match="private eyes"):
        train(BASE, [LARGE], tmp_path / "run", validation=private)
    with pytest.raises(UsageError, match="among the training pairs"):
        train(BASE, [LARGE, SMALL], tmp_path / "run", validation=SMALL)
    assert not (tmp_path / "run").exists()


def test_curves_for_tensorboard(tmp_path, monkeypatch):
    train(BASE.model_copy(update={"epochs": 1}), [LARGE], tmp_path / "run", tensorboard=True)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]


def test_without_tensorboard_it_says_what_to_install(tmp_path, monkeypatch):
    honest = builtins.__import__

    def absent(name, *rest, **named):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return honest(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UsageError, match=r"ethicclip\[tensorboard\]"):
        Board(tmp_path / "board")


def counter(zone: Path, value: int) -> None:
    zone.mkdir(exist_ok=True)
    (zone / "energy_uj").write_text(f"{value}\n")
    (zone / "max_energy_range_uj").write_text("1000000000\n")


def test_energy_is_read_where_there_is_a_counter(tmp_path):
    counter(tmp_path / "intel-rapl:0", 999_000_000)
    counter(tmp_path / "intel-rapl:1", 5_000_000)
    counter(tmp_path / "intel-rapl:0:0", 1)  # a part of package 0
    meter = EnergyMeter(powercap=tmp_path)
    counter(tmp_path / "intel-rapl:0", 3_000_000)  # ran over its range: 4 J
    counter(tmp_path / "intel-rapl:1", 3_605_000_000)
    summary = meter.summary()
    assert summary["processor_joules"] == pytest.approx(3604.0)
    assert energy_words(summary) == "1.0 Wh (processor, all that ran there)"
    nothing = EnergyMeter(powercap=tmp_path / "absent").summary()
    assert nothing["processor_joules"] is None
    assert energy_words(nothing) == "energy not measurable: no readable RAPL counter"
