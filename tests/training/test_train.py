"""Whole runs on a toy set: they learn, resume to the bit, and refuse what they must."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import LABELS, TornSource, ToySource, eye

from ethicclip import clip, files
from ethicclip.checkpoints import list_checkpoints, read_checkpoint
from ethicclip.errors import BadInputError, StorageError
from ethicclip.training import TrainSettings, plan, train
from ethicclip.training import loop as loop_module
from ethicclip.training.logs import read_log
from ethicclip.training.steps import Trainer

QUICK = TrainSettings(model="nano", epochs=3, batch_size=12, checkpoint_steps=4, learning_rate=3e-3)


def losses(run: Path) -> list[float]:
    return [row.loss for row in read_log(run / "log.csv")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """An uninterrupted run of `QUICK`."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole") / "run"
    train(QUICK, [ToySource()], out)
    return out


def test_a_run_learns_to_tell_classes_apart_from_words(tmp_path):
    settings = QUICK.model_copy(update={"epochs": 20})
    result = train(settings, [ToySource(count=60)], tmp_path / "run")
    curve = losses(tmp_path / "run")
    assert np.mean(curve[-10:]) < np.mean(curve[:5]) - 0.3
    model = clip.load(tmp_path / "run")
    held_out = model.encode_images([eye(label, 5000 + k) for label in LABELS for k in range(10)])
    words = model.encode_texts(["A normal fundus.", "Haemorrhages. Diabetic retinopathy.", "Glaucoma, a large cup."])
    right = (held_out @ words.T).argmax(1) == np.repeat(np.arange(3), 10)
    assert right.mean() > 0.8
    assert result.steps == 100
    assert result.run["finished"]


def test_run_folder_is_complete(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        "README.md",
        "checkpoints",
        "ethicclip_model.json",
        "log.csv",
        "loss.svg",
        "open_clip_config.json",
        "open_clip_model.safetensors",
        "run.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    run = json.loads((finished / "run.json").read_text())
    assert run["finished"]
    assert run["data"] == [{"digest": "toy-1", "licence": "Apache-2.0", "origin": "synthetic", "pairs": 48}]
    assert run["steps"] == len(losses(finished)) == 12
    card = (finished / "README.md").read_text()
    assert "No differential privacy was used; no epsilon is claimed." in card
    assert "license: Apache-2.0" in card


def test_same_run_same_weights_whatever_the_workers_and_the_cache(finished, tmp_path):
    train(QUICK, [ToySource()], tmp_path / "other", workers=2, cache_bytes=0)
    for name in ("open_clip_model.safetensors", "README.md"):
        assert (tmp_path / "other" / name).read_bytes() == (finished / name).read_bytes()
    assert losses(tmp_path / "other") == losses(finished)


def test_two_sources_are_one_set(finished, tmp_path):
    halves = [ToySource(count=24, digest="a"), ToySource(count=24, first=24, digest="b")]
    train(QUICK, halves, tmp_path / "run")
    assert losses(tmp_path / "run") == losses(finished)


KILLED = """
import sys, time, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from toy import ToySource
from ethicclip.training import TrainSettings, train

class Slow(ToySource):
    def read(self, i):
        time.sleep(0.01)
        return super().read(i)

train(TrainSettings.build({settings!r}), [Slow()], Path({out!r}), cache_bytes=0)
"""


def test_killed_and_resumed_equals_uninterrupted(finished, tmp_path):
    out = tmp_path / "run"
    code = KILLED.format(tests=str(Path(__file__).parent), settings=QUICK.model_dump(mode="json"), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while len(read_log(out / "log.csv")) < 6:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait(timeout=30)
    assert not json.loads((out / "run.json").read_text())["finished"]
    with pytest.raises(BadInputError, match="unfinished"):
        train(QUICK, [ToySource()], out)
    result = train(QUICK, [ToySource()], out, resume=True)
    assert result.resumed_from >= 4
    assert losses(out) == losses(finished)
    name = "open_clip_model.safetensors"
    assert (out / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_writes_a_checkpoint_first(finished, tmp_path, monkeypatch, number):
    honest = Trainer.step

    def step(self, batch):
        if batch.step == 5:
            os.kill(os.getpid(), number)
        return honest(self, batch)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        with pytest.raises(KeyboardInterrupt):
            train(QUICK, [ToySource()], tmp_path / "run")
    assert signal.getsignal(number) is before
    assert train(QUICK, [ToySource()], tmp_path / "run", resume=True).resumed_from == 6
    assert losses(tmp_path / "run") == losses(finished)


def test_finished_run_and_foreign_folder_are_not_overwritten(finished, tmp_path):
    for resume in (False, True):
        with pytest.raises(BadInputError, match="finished"):
            train(QUICK, [ToySource()], finished, resume=resume)
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(BadInputError, match=r"thesis\.tex"):
        train(QUICK, [ToySource()], tmp_path, resume=True)


def interrupted(out: Path, monkeypatch: pytest.MonkeyPatch, *, after: int, error: BaseException) -> None:
    """A run of `QUICK` that `error` ends in step `after` + 1."""
    honest = Trainer.step

    def step(self, batch):
        if batch.step == after:
            raise error
        return honest(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        with pytest.raises(type(error)):
            train(QUICK, [ToySource()], out)


def test_resume_with_other_settings_or_data_names_the_difference(tmp_path, monkeypatch):
    out = tmp_path / "run"
    interrupted(out, monkeypatch, after=5, error=MemoryError())
    with pytest.raises(BadInputError, match=r"learning_rate: the run has 0\.003, now 0\.1"):
        train(QUICK.model_copy(update={"learning_rate": 0.1}), [ToySource()], out, resume=True)
    with pytest.raises(BadInputError, match="digest toy-1, now 48 pairs with digest toy-2"):
        train(QUICK, [ToySource(digest="toy-2")], out, resume=True)
    with pytest.raises(BadInputError, match="the run has 1, now 2"):
        train(QUICK, [ToySource(), ToySource()], out, resume=True)


def test_resume_before_the_first_checkpoint_begins_anew(finished, tmp_path, monkeypatch):
    out = tmp_path / "run"
    interrupted(out, monkeypatch, after=2, error=MemoryError())
    assert train(QUICK, [ToySource()], out, resume=True).resumed_from == 0
    assert losses(out) == losses(finished)


def test_broken_checkpoint_is_named(tmp_path, monkeypatch):
    out = tmp_path / "run"
    interrupted(out, monkeypatch, after=9, error=MemoryError())
    kept = list_checkpoints(out / "checkpoints")
    assert [path.name for path in kept] == ["step_000004.safetensors", "step_000008.safetensors"]
    kept[-1].write_bytes(kept[-1].read_bytes()[:1000])
    with pytest.raises(BadInputError, match=r"step_000008\.safetensors cannot be read"):
        train(QUICK, [ToySource()], out, resume=True)
    kept[-1].unlink()
    assert train(QUICK, [ToySource()], out, resume=True).resumed_from == 4


def test_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    honest = loop_module.Loader.batches

    def poisoned(self, first, last):
        for batch in honest(self, first, last):
            yield batch
            if batch.step == 5:
                raise_nan.append(True)

    raise_nan: list[bool] = []
    from ethicclip.training import steps

    real_loss = steps.contrastive_loss

    def loss(*args, **named):
        value = real_loss(*args, **named)
        return value * float("nan") if raise_nan else value

    monkeypatch.setattr(loop_module.Loader, "batches", poisoned)
    monkeypatch.setattr(steps, "contrastive_loss", loss)
    out = tmp_path / "run"
    with pytest.raises(BadInputError, match=r"step 7 \(epoch 1\).*not finite"):
        train(QUICK, [ToySource()], out)
    kept = read_checkpoint(list_checkpoints(out / "checkpoints")[-1])
    assert kept.step == 4
    assert all(torch.isfinite(tensor).all() for tensor in kept.tensors.values() if tensor.is_floating_point())
    assert len(losses(out)) == 6
    assert not (out / "open_clip_model.safetensors").exists()


def test_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    out = tmp_path / "run"
    honest = Path.write_bytes

    def full(path, data):
        if "step_000008" in path.name:
            honest(path, data[:100])
            raise OSError(errno.ENOSPC, "no space left")
        return honest(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="disk is full"):
            train(QUICK, [ToySource()], out)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step_000004.safetensors"]
    assert train(QUICK, [ToySource()], out, resume=True).resumed_from == 4
    assert files.read_json(out / "run.json")["finished"]


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_pair_is_named(tmp_path, workers):
    with pytest.raises(BadInputError, match="pair 000007"):
        train(QUICK, [TornSource()], tmp_path / "run", workers=workers)


def test_too_few_pairs(tmp_path):
    for sources in ([], [ToySource(count=1)]):
        with pytest.raises(BadInputError, match="at least 2"):
            train(QUICK, sources, tmp_path / "run")
        with pytest.raises(BadInputError, match="at least 2"):
            plan(QUICK, sources)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("objective", ["clip", "siglip"])
def test_other_objectives_run(tmp_path, objective):
    settings = QUICK.model_copy(update={"objective": objective, "epochs": 1, "augment": False, "languages": ("zh",)})
    result = train(settings, [ToySource(count=24)], tmp_path / "run")
    assert np.isfinite(result.final_loss)


def test_bf16_runs(tmp_path):
    settings = QUICK.model_copy(update={"precision": "bf16", "epochs": 1})
    assert train(settings, [ToySource(count=24)], tmp_path / "run").run["precision"] == "bfloat16"


def test_plan_counts_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned = plan(QUICK, [ToySource()])
    assert (planned.pairs, planned.steps, planned.batch_size) == (48, 12, 12)
    assert planned.samples_per_s > 0
    assert planned.to_json()["disk_bytes"] > 4 * planned.parameters
    assert not list(tmp_path.iterdir())
