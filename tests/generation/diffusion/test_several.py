"""Several processes are one fit: `torchrun` with the same command ends with the weights of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import cv2
import pytest
import torch
from safetensors.torch import load_file

from ethicclip.errors import UsageError
from ethicclip.generation.diffusion import fit
from ethicclip.processes import Processes

from .small import SMALL, learning, picture, settings

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def test_torchrun_ends_with_the_weights_of_one_process(tmp_path):
    """Two processes by gloo, phantoms and cohort: one writes, prints and records; the loss and the weights agree."""
    from ethicclip.generation.learning import open_learning_set

    cohort = tmp_path / "cohort"
    cohort.mkdir()
    rows = ["file,patient_id,eye,label"]
    for number in range(6):
        cv2.imwrite(str(cohort / f"{number}.png"), picture(number)[..., ::-1])
        rows.append(f"{number}.png,p{number},left,glaucoma")
    (cohort / "cohort.csv").write_text("\n".join(rows) + "\n")
    given = {name: value for name, value in SMALL.items() if name not in ("steps", "multipliers")}
    command = [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ethicclip", "fit-generator"),
        *(str(cohort), "--out", str(tmp_path / "two"), "--ledger", str(tmp_path / "l.duckdb"), "--json"),
        *("--steps", "4", "--set", "multipliers=[1, 2]", "--set", "device=cpu"),
        *(word for name, value in given.items() for word in ("--set", f"{name}={value}")),
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ETHICCLIP_HOME": str(tmp_path / "keys")}
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    printed = json.loads(done.stdout[done.stdout.index("{") :])  # the first process prints, the other does not
    assert printed["steps"] == 6
    assert json.loads((tmp_path / "two" / "ethicclip_generator.json").read_text())["processes"] == 2
    fit(settings(device="cpu"), open_learning_set(cohort), tmp_path / "one")
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in ("one", "two"))
    fresh = tmp_path / "fresh"
    fit(settings(device="cpu", steps=0, pretrain_steps=1, learning_rate=1e-9), open_learning_set(cohort), fresh)
    begun = load_file(fresh / WEIGHTS)
    moved = max(float((one[name] - begun[name]).abs().max()) for name in one)
    apart = max(float((one[name] - two[name]).abs().max()) for name in one)
    assert apart < 0.02 * moved, (apart, moved)
    import duckdb

    with duckdb.connect(str(tmp_path / "l.duckdb"), read_only=True) as ledger:
        assert ledger.sql("select count(*) from runs where verb = 'fit-generator'").fetchall() == [(1,)]


def test_a_share_is_the_gradient_of_its_part():
    """Two shares' gradients, added, are the whole batch's: what the sum over processes makes of them."""
    from ethicclip.generation.diffusion.pictures import phantom_shelf
    from ethicclip.generation.diffusion.trainer import Trainer
    from ethicclip.progress import SILENT

    kept: list[list[torch.Tensor]] = []

    class Noting(Processes):
        def sum_gradients(self, weights):
            kept.append([weight.grad.clone() for weight in weights])

    shelf = phantom_shelf(2, 32, 0, progress=SILENT)
    losses = []
    for share in (slice(0, 4), slice(0, 2), slice(2, 4)):
        losses.append(Trainer(settings(), torch.device("cpu"), None, 32, share, Noting()).advance(shelf))
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-5)
    for whole, first, second in zip(*kept, strict=True):
        assert torch.allclose(whole, first + second, rtol=1e-3, atol=1e-6)


def test_what_several_processes_refuse(tmp_path, monkeypatch):
    from contextlib import contextmanager

    from ethicclip.generation.diffusion import fitting

    @contextmanager
    def three(device):
        yield Processes(rank=0, count=3)

    monkeypatch.setattr(fitting, "joined", three)
    with pytest.raises(UsageError, match="4 pictures cannot be shared evenly by 3"):
        fit(settings(), learning(), tmp_path / "gen")
    with pytest.raises(UsageError, match="one process"):
        fit(settings(privacy={"epsilon": 8.0}, batch_size=3, steps=1), learning(), tmp_path / "gen")
    assert not (tmp_path / "gen").exists()
