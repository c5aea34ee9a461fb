"""Every way to fail has its exit code, says what, where and what to do, and loses nothing."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import World, call


def small_eye(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(30, 200, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def table(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cohort.csv").write_text(text, encoding="utf-8")
    return folder


def cohort_of(folder: Path, patients: list[str], label: str = "normal") -> Path:
    rows = []
    for number, patient in enumerate(patients):
        small_eye(folder / f"{number}.png", number + 1000 * len(patients))
        rows.append(f"{number}.png,{patient},{label}")
    return table(folder, "file,patient_id,label\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", "--out", "x"], "count"),
        (["generate", "--count", "0", "--out", "x"], "count"),
        (["generate", "--count", "five", "--out", "x"], "count"),
        (["generate", "--count", "5", "--out", "x", "--size", "17"], "size"),
        (["generate", "--count", "5", "--out", "x", "--engine", "magic"], "engine"),
        (["generate", "--count", "5", "--out", "x", "--set", "colour=red"], "colour"),
        (["generate", "--count", "5", "--out", "x", "--languages", "en,tlh"], "languages"),
        (["nonsense"], "nonsense"),
        (["train", "x"], "--out"),
        (["train", "x", "--out", "y", "--epsilon", "-3"], "epsilon"),
        (["train", "x", "--out", "y", "--unit", "pair"], "epsilon"),
        (["train", "x", "--out", "y", "--budget", "b.json"], "--epsilon"),
        (["train", "x", "--out", "y", "--canary-seed", "1"], "--canaries"),
        (["privacy", "plan"], "units"),
        (["privacy", "plan", "--units", "100", "--batch-size", "128"], "over 0 and at most at 1"),
        (["privacy", "budget", "b.json", "--epsilon", "3"], "--population"),
        (["split", "x", "--out", "y", "--parts", "reference"], "reference"),
    ],
)
def test_usage_is_2(arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(*arguments)
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not list(tmp_path.iterdir())


def test_an_error_is_one_json_document_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call("split", "gone", "--out", "y", "--json")
    assert answer.code == 3
    document = answer.json()
    assert document["exit_code"] == 3
    assert "gone" in document["error"]["what"]
    assert document["error"]["next_step"]


def bad_cohorts(root: Path) -> dict[str, tuple[Path, str]]:
    truncated = root / "truncated"
    cohort_of(truncated, ["a", "b", "c"])
    data = (truncated / "1.png").read_bytes()
    (truncated / "1.png").write_bytes(data[: len(data) // 2])
    bomb = root / "bomb"
    cohort_of(bomb, ["a", "b"])
    Image.new("1", (20_000, 20_000)).save(bomb / "0.png")
    empty = root / "empty"
    empty.mkdir()
    return {
        "missing": (root / "missing", "missing"),
        "empty": (empty, "empty"),
        "truncated": (truncated, "1.png"),
        "bomb": (bomb, "0.png"),
        "no file column": (table(root / "nocolumn", "picture,patient_id\na.png,1\n"), "file"),
        "missing image": (table(root / "nofile", "file,patient_id\na.png,1\n"), "a.png"),
        "no rows": (table(root / "norows", "file,patient_id\n"), "norows"),
    }


@pytest.mark.parametrize(
    "name", ["missing", "empty", "truncated", "bomb", "no file column", "missing image", "no rows"]
)
def test_a_cohort_that_cannot_be_used_is_3(name: str, tmp_path: Path, world: World) -> None:
    cohort, said = bad_cohorts(tmp_path)[name]
    answer = world.call("audit-leakage", world.root / "pairs", "--reference", cohort, "--out", tmp_path / "audit")
    assert answer.code == 3, answer.err
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "audit" / "verdict.json").exists()


def test_a_patient_on_both_sides_is_3_without_naming_the_patient(tmp_path: Path, world: World) -> None:
    reference = cohort_of(tmp_path / "reference", ["secret-17", "b", "c"])
    control = cohort_of(tmp_path / "control", ["d", "secret-17", "e", "f"])
    answer = world.call(
        "audit-leakage", world.root / "pairs", "--reference", reference, "--control", control, "--out", tmp_path / "a"
    )
    assert answer.code == 3
    assert "patient" in answer.err
    assert "secret-17" not in answer.err


def test_an_unknown_label_is_3_and_named(tmp_path: Path, world: World, trained: Path) -> None:
    cohort = cohort_of(tmp_path / "cohort", ["a", "b", "c"], label="wobbly eye")
    answer = world.call("evaluate", trained, "--cohort", cohort, "--out", tmp_path / "evaluation")
    assert answer.code == 3
    assert "wobbly eye" in answer.err
    answer = world.call(
        "evaluate", trained, "--cohort", cohort, "--label-column", "lable", "--out", tmp_path / "evaluation"
    )
    assert answer.code == 3
    assert "label" in answer.err
    assert not (tmp_path / "evaluation").exists()


@pytest.fixture(scope="module")
def trained(world: World) -> Path:
    """A run of a few steps: enough to be a model."""
    out = world.root / "run"
    answer = world.call("train", world.root / "pairs", "--out", out, "--epochs", 1, "--batch-size", 16)
    assert answer.code == 0, answer.err
    return out


def test_an_output_that_holds_something_else_is_3_and_untouched(tmp_path: Path, world: World, trained: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    pairs, reference = world.root / "pairs", world.root / "split" / "reference"
    for arguments in (
        ["generate", "--count", 3, "--out", out],
        ["split", world.root / "population", "--out", out],
        ["audit-leakage", pairs, "--reference", reference, "--out", out],
        ["train", pairs, "--out", out],
        ["evaluate", trained, "--cohort", reference, "--out", out],
        ["report", "--out", out],
        ["demo", "--out", out],
    ):
        answer = world.call(*arguments)
        assert answer.code == 3, (arguments, answer.err)
        assert "thesis.txt" in answer.err or "not a demo" in answer.err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    assert (out / "thesis.txt").read_text() == "years of work"


def test_a_tar_that_leads_outside_is_3(tmp_path: Path, world: World) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    with tarfile.open(folder / "x.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../../evil.jpg"), io.BytesIO())
    answer = world.call("train", folder, "--out", tmp_path / "run")
    assert answer.code == 3
    assert "evil.jpg" in answer.err


def test_a_corrupt_shard_is_named(tmp_path: Path, world: World) -> None:
    assert world.call("generate", "--count", 4, "--out", tmp_path / "pairs", "--size", 128).code == 0
    shard = tmp_path / "pairs" / "shards" / "000000.tar"
    data = bytearray(shard.read_bytes())
    data[900] ^= 0xFF
    shard.write_bytes(data)
    answer = world.call("train", tmp_path / "pairs", "--out", tmp_path / "run", "--epochs", 1)
    assert answer.code == 12
    assert "000000.tar" in answer.err


def test_a_full_disk_is_3_and_keeps_what_is_finished(tmp_path: Path, world: World) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    script = (
        "import errno, pathlib, sys\n"
        "from ethicclip.pairs import shards\n"
        "original = shards.ShardWriter.add\n"
        "def add(self, name, data):\n"
        "    if '0000004' in name: raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "    return original(self, name, data)\n"
        "shards.ShardWriter.add = add\n"
        "from ethicclip.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    arguments = ["generate", "--count", "6", "--size", "128", "--set", "shard_size=2", "--out", str(tmp_path / "pairs")]
    ledger = ["--ledger", str(tmp_path / "ledger.duckdb")]
    broken = subprocess.run([sys.executable, "-c", script, *arguments, *ledger], capture_output=True, text=True)
    assert broken.returncode == 3, broken.stderr
    assert "disk is full" in broken.stderr
    assert call(*arguments, *ledger).code == 0


def test_a_ledger_held_by_another_process_is_75(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "ledger.duckdb"
    assert call("generate", "--count", 1, "--size", 128, "--out", tmp_path / "one", "--ledger", ledger).code == 0
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import duckdb,time; c=duckdb.connect({str(ledger)!r}); print('held',flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        answer = call("generate", "--count", 1, "--size", 128, "--out", tmp_path / "two", "--ledger", ledger)
    finally:
        holder.kill()
        holder.wait()
    assert answer.code == 75
    assert str(holder.pid) in answer.err


def test_a_file_that_is_no_ledger_is_3(tmp_path: Path) -> None:
    other = tmp_path / "letter.txt"
    other.write_text("Dear reader")
    for arguments in (
        ["runs", "--ledger", other],
        ["verify", other],
        ["report", "--out", tmp_path / "r", "--ledger", other],
    ):
        answer = call(*arguments)
        assert answer.code == 3, (arguments, answer.err)
    assert other.read_text() == "Dear reader"


@pytest.mark.parametrize("verb", ["generate", "train"])
def test_ctrl_c_is_130_and_leaves_no_partial_output(verb: str, tmp_path: Path, world: World) -> None:
    out = tmp_path / "out"
    arguments = {
        "generate": ["generate", "--count", "4000", "--size", "128", "--out", str(out), "--workers", "2"],
        "train": ["train", str(world.root / "pairs"), "--out", str(out), "--epochs", "4000", "--batch-size", "8"],
    }[verb]
    process = subprocess.Popen(
        [sys.executable, "-m", "ethicclip", *arguments, "--ledger", str(tmp_path / "ledger.duckdb")],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=dict(os.environ),
        # A shell that starts the tests in the background has them ignore Ctrl-C, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (out / "log.csv").exists() and not list(out.glob("shards/*")):
        time.sleep(0.05)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert not (out / "manifest.json").exists()
    assert not list(out.rglob("*.partial"))
    runs = call("runs", "--ledger", tmp_path / "ledger.duckdb", "--json").json()["runs"]
    assert runs[-1]["status"] == "interrupted"


def test_a_name_from_a_file_cannot_steer_the_terminal(tmp_path: Path, world: World) -> None:
    folder = tmp_path / "cohort"
    small_eye(folder / "fine.png")
    (folder / "\x1b[2Jevil.png").write_bytes(b"not an image")
    answer = world.call("audit-leakage", world.root / "pairs", "--reference", folder, "--out", tmp_path / "audit")
    assert answer.code == 3
    assert "\x1b" not in answer.err
    assert "evil.png" in answer.err


def test_a_pickle_checkpoint_is_refused(tmp_path: Path, world: World, trained: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("open_clip_config.json", "ethicclip_model.json"):
        shutil.copy(trained / name, folder / name)
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    answer = world.call("evaluate", folder, "--cohort", world.root / "population", "--out", tmp_path / "e")
    assert answer.code == 3
    assert "safetensors" in answer.err


def test_the_ledger_of_a_failed_run_says_so(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.duckdb"
    cohort = cohort_of(tmp_path / "cohort", ["a"])
    assert call("split", cohort, "--out", tmp_path / "split", "--ledger", ledger).code == 3
    runs = json.loads(call("runs", "--ledger", ledger, "--json").out)["runs"]
    assert [(run["verb"], run["status"], run["exit_code"]) for run in runs] == [("split", "failed", 3)]
