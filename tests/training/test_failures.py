"""What goes wrong under a run of the command line: a damaged shard, a disk that fills up at the worst moment."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from toy import ToySource

from ethicclip import files
from ethicclip.checkpoints import list_checkpoints
from ethicclip.cli.main import run
from ethicclip.errors import ExitCode, StorageError
from ethicclip.generation import GenerateSettings, generate
from ethicclip.training import TrainSettings, logs, train
from ethicclip.training.logs import read_log

QUICK = TrainSettings(model="nano", epochs=3, batch_size=12, checkpoint_steps=4, learning_rate=3e-3)


def test_a_damaged_shard_ends_the_run_and_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generate(GenerateSettings(count=6, size=128), Path("pairs"))
    shard = next(Path("pairs/shards").glob("*.tar"))
    content = bytearray(shard.read_bytes())
    start = content.find(b"\xff\xd8\xff")  # a picture's first bytes
    content[start : start + 4000] = bytes(4000)
    shard.write_bytes(bytes(content))
    command = ["train", "pairs", "--out", "run", "--model", "nano", "--epochs", "1", "--batch-size", "3"]
    monkeypatch.setenv("ETHICCLIP_HOME", str(tmp_path / "keys"))
    assert run(command) == ExitCode.INTEGRITY
    said = capsys.readouterr().err
    assert "shards/000000.tar is not the image that was written" in said
    assert "Traceback" not in said
    assert not Path("run/open_clip_model.safetensors").exists()


@pytest.mark.parametrize("place", ["log", "model"])
def test_a_full_disk_loses_no_finished_step_that_was_kept(tmp_path, monkeypatch, place):
    out = tmp_path / "run"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    honest_append, honest_write = logs.LossLog.append, Path.write_bytes

    def append(self, row):
        if row.step == 7:
            with files.storage_errors(out / "log.csv"):
                full()
        honest_append(self, row)

    def write(path, data):
        if "open_clip_model.safetensors" in path.name:
            honest_write(path, data[:50])
            full()
        return honest_write(path, data)

    with monkeypatch.context() as patch:
        if place == "log":
            patch.setattr(logs.LossLog, "append", append)
        else:
            patch.setattr(Path, "write_bytes", write)
        with pytest.raises(StorageError, match="disk is full") as caught:
            train(QUICK, [ToySource()], out)
    kept = [path.name for path in list_checkpoints(out / "checkpoints")]
    assert not (out / "open_clip_model.safetensors").exists()
    if place == "log":
        assert kept[-1] == "step_000004.safetensors"
        assert "goes on from step 4" in str(caught.value)
    else:
        assert kept[-1] == "step_000012.safetensors"  # the last step: no step is done again
    result = train(QUICK, [ToySource()], out, resume=True)
    assert result.resumed_from == (4 if place == "log" else 12)
    train(QUICK, [ToySource()], tmp_path / "whole")
    name = "open_clip_model.safetensors"
    assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [row.loss for row in read_log(out / "log.csv")] == [
        row.loss for row in read_log(tmp_path / "whole" / "log.csv")
    ]


@pytest.mark.parametrize(
    ("extra", "named"),
    [(["--validation", "v"], "--validation"), (["--tensorboard"], "--tensorboard"), (["b@2"], "weights of sets")],
)
def test_a_private_run_has_no_choice_of_weights_and_no_second_set_of_curves(tmp_path, capsys, extra, named):
    pairs = "a@1" if named == "weights of sets" else "a"
    command = ["train", pairs, *extra, "--out", str(tmp_path / "run"), "--epsilon", "1"]
    assert run(command) == ExitCode.USAGE
    assert f"a private run has no {named}" in capsys.readouterr().err
