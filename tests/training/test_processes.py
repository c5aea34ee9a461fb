"""Several processes are one run: `torchrun` with the same command gives the curve of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ethicclip.errors import UsageError
from ethicclip.generation import GenerateSettings, PhantomStream
from ethicclip.processes import ALONE, Processes
from ethicclip.training import TrainSettings, train
from ethicclip.training.logs import read_log
from ethicclip.training.order import EpochOrder, MixedOrder
from ethicclip.training.sharing import SharedOrder

COMMAND = (
    "-m torch.distributed.run --standalone --nproc-per-node 2 -m ethicclip train phantom:18,size=128 "
    "--model nano --epochs 2 --batch-size 6 --set precision=fp32 --set device=cpu --set average=0.9 --set chunk=2"
)


def test_shares_are_the_batch():
    order = EpochOrder(24, 8, seed=1)
    shares = [SharedOrder(order, 8, Processes(rank=rank, count=4)) for rank in range(4)]
    assert [index for share in shares for index in share.batch(5)] == order.batch(5)
    assert shares[2].views(5) == [1, 1]
    mixed = MixedOrder([6, 18], [0.5, 0.5], 8, seed=1)
    halves = [SharedOrder(mixed, 8, Processes(rank=rank, count=2)) for rank in range(2)]
    assert halves[0].views(4) + halves[1].views(4) == mixed.views(4)
    with pytest.raises(UsageError, match="cannot be shared evenly by 3"):
        SharedOrder(order, 8, Processes(rank=0, count=3))
    assert ALONE.first


def test_torchrun_gives_the_curve_of_one_process(tmp_path):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ETHICCLIP_HOME": str(tmp_path / "keys")}
    arguments = [*COMMAND.split(), "--out", str(tmp_path / "two"), "--ledger", str(tmp_path / "l.duckdb"), "--json"]
    done = subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    printed = json.loads(done.stdout[done.stdout.index("{") :])  # the first process prints, the other does not
    assert printed["run"]["processes"] == 2
    settings = TrainSettings(model="nano", epochs=2, batch_size=6, precision="fp32", device="cpu", average=0.9)
    train(settings, [PhantomStream(GenerateSettings(count=18, size=128))], tmp_path / "one")
    one, two = ([row.loss for row in read_log(tmp_path / name / "log.csv")] for name in ("one", "two"))
    assert len(two) == 6
    assert two == pytest.approx(one, rel=1e-3)
    import duckdb

    with duckdb.connect(str(tmp_path / "l.duckdb"), read_only=True) as ledger:
        assert ledger.sql("select count(*) from runs where verb = 'train'").fetchall() == [(1,)]
