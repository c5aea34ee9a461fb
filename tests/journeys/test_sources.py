"""From foreign data and from streams to a model: what was used, and under which licence, arrives in every record."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image

from .conftest import World, call

QUICK = ("--model", "nano", "--epochs", "1", "--batch-size", "8")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures and a table as SynFundus-1M is published."""
    root = tmp_path_factory.mktemp("foreign")
    flags = ("amd", "aon", "crp", "dm", "dme", "em", "gc", "htr", "pm", "rvo")
    rows = ["file_name,dr_grade,eye_side,is_fundus," + ",".join(f"is_{name}" for name in flags)]
    for number in range(10):
        pixels = np.random.default_rng(number).integers(30, 220, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
        rows.append(f"{number}.png,0,1,1," + ",".join(str(int(name == "gc" and number % 2)) for name in flags))
    (root / "annotation.csv").write_text("\n".join(rows) + "\n")
    return root


def events(ledger: Path, kind: str) -> list[dict[str, object]]:
    with duckdb.connect(str(ledger), read_only=True) as connection:
        rows = connection.execute("SELECT payload FROM events WHERE kind = ? ORDER BY seq", [kind]).fetchall()
    return [json.loads(row[0]) for row in rows]


def test_licences_follow_from_import_and_stream_into_the_model(foreign: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.duckdb"
    arguments = ("import", "synfundus", foreign / "annotation.csv", foreign, "--out", tmp_path / "syn")
    answer = call(*arguments, "--ledger", ledger, "--json")
    assert answer.code == 0, answer.err
    assert answer.json()["count"] == 10
    assert answer.json()["licence"] == "CC-BY-NC-SA-4.0"
    stream = "phantom:14,size=128,seed=9,findings.conditions=[normal, glaucoma]"
    answer = call("train", tmp_path / "syn", stream, "--out", tmp_path / "run", *QUICK, "--ledger", ledger)
    assert answer.code == 2  # normal cannot stand beside another condition
    stream = "phantom:14,size=128,seed=9,findings.conditions=[glaucoma, cataract]"
    answer = call("train", tmp_path / "syn", stream, "--out", tmp_path / "run", *QUICK, "--ledger", ledger, "--json")
    assert answer.code == 0, answer.err
    data = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert [(source["pairs"], source["licence"]) for source in data] == [(10, "CC-BY-NC-SA-4.0"), (14, "CC0-1.0")]
    described = data[1]["description"]
    assert described["generator"].startswith("phantom/")
    assert described["settings"]["findings"]["conditions"] == ["glaucoma", "cataract"]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "The licences of the data are carried over to the weights: CC-BY-NC-SA-4.0; CC0-1.0." in card
    assert described["settings_sha256"][:16] in card
    licences, streams = events(ledger, "licences"), events(ledger, "stream")
    assert licences[-1]["carried_to_the_weights"] == ["CC-BY-NC-SA-4.0", "CC0-1.0"]
    assert streams == [{**described, "licence": "CC0-1.0", "pairs": 14}]
    lineage = call("lineage", tmp_path / "run", "--ledger", ledger)
    for word in ("pair_stream phantom:14,size=128,seed=9", "syn/manifest.json", "by import", "annotations"):
        assert word in lineage.out
    assert call("verify", ledger).code == 0


def test_a_stream_trains_what_the_set_trains_and_resumes_to_the_same_curve(world: World, tmp_path: Path) -> None:
    settings = tmp_path / "journey.yaml"
    settings.write_text("generate: {size: 128, seed: 0, masks: true}\ntrain: {checkpoint_steps: 2}\n")
    common = (*QUICK, "--config", settings)
    assert world.call("train", world.root / "pairs", "--out", tmp_path / "set", *common).code == 0
    answer = world.call("train", "phantom:40", "--out", tmp_path / "stream", *common, "--workers", 1)
    assert answer.code == 0, answer.err

    def curve(name: str) -> list[str]:
        return [line.rsplit(",", 1)[0] for line in (tmp_path / name / "log.csv").read_text().splitlines()]

    assert curve("stream") == curve("set")
    weights = "open_clip_model.safetensors"
    assert (tmp_path / "stream" / weights).read_bytes() == (tmp_path / "set" / weights).read_bytes()

    from ethicclip.training.steps import Trainer

    with pytest.MonkeyPatch.context() as patched:
        honest = Trainer.step

        def step(self: Trainer, batch: object) -> object:
            if batch.step == 3:  # type: ignore[attr-defined]
                raise KeyboardInterrupt
            return honest(self, batch)  # type: ignore[arg-type]

        patched.setattr(Trainer, "step", step)
        assert world.call("train", "phantom:40", "--out", tmp_path / "cut", *common).code == 130
    other = world.call("train", "phantom:40,seed=1", "--out", tmp_path / "cut", *common, "--resume")
    assert other.code == 3
    assert "digest" in other.err
    assert world.call("train", "phantom:40", "--out", tmp_path / "cut", *common, "--resume").code == 0
    assert curve("cut") == curve("set")


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["phantom:"], "begin with a count"),
        (["phantom:many"], "begin with a count"),
        (["phantom:0"], "count"),
        (["phantom:10,size=12"], "size"),
        (["phantom:10,sise=128"], "sise"),
        (["phantom:10,size"], "a.b=value"),
        (["phantom:10,findings.age=[30"], "not YAML"),
        (["phantom:10", "phantom:20"], "same eyes"),
        (["phantom:10,seed=1", "phantom:10,seed=1"], "same eyes"),
        (["phantom:10,findings.conditions=[normal],findings.cup_ratio=0.95"], "no eye"),
    ],
)
def test_a_stream_that_cannot_be_meant_is_2(sources: list[str], said: str, tmp_path: Path) -> None:
    answer = call("train", *sources, "--out", tmp_path / "run", "--ledger", tmp_path / "l.duckdb")
    assert answer.code == 2, answer.err
    assert said in answer.err
    assert not list(tmp_path.iterdir())


def test_a_cohort_is_imported_restricted_and_committed(world: World, tmp_path: Path) -> None:
    cohort = world.root / "population"
    (tmp_path / "eyes").mkdir()
    table = (cohort / "cohort.csv").read_text().splitlines()
    # The same pictures without the flag that says that nobody is behind them: a cohort as a hospital has it.
    rows = [table[0], *(line.replace("images/", f"{cohort}/images/") for line in table[1:9])]
    (tmp_path / "eyes" / "cohort.csv").write_text("\n".join(rows) + "\n")
    ledger = tmp_path / "ledger.duckdb"
    arguments = ("import", "cohort", tmp_path / "eyes", "--out", tmp_path / "pairs", "--ledger", ledger)
    without = call(*arguments)
    assert without.code == 2
    assert "licence" in without.err
    answer = call(*arguments, "--licence", "clinic only")
    assert answer.code == 0, answer.err
    assert "origin real" in answer.out
    assert stat.S_IMODE((tmp_path / "pairs").stat().st_mode) == 0o700
    with duckdb.connect(str(ledger), read_only=True) as connection:
        artifacts = connection.execute("SELECT kind, id, origin, path FROM artifacts").fetchall()
    assert {(kind, artifact.partition(":")[0], origin, path) for kind, artifact, origin, path in artifacts} == {
        ("cohort", "hmac-sha256", "real", None), ("pair_set", "hmac-sha256", "real", None),
    }  # fmt: skip
    trained = call("train", tmp_path / "pairs", "--out", tmp_path / "run", *QUICK, "--ledger", ledger)
    assert trained.code == 0, trained.err
    card = (tmp_path / "run" / "README.md").read_text()
    assert "clinic only" in card
    assert "restricted" in card
    # The simulated population itself needs no licence said: it is phantoms.
    simulated = world.call("import", "cohort", cohort, "--out", tmp_path / "sim", "--json").json()
    assert (simulated["origin"], simulated["licence"]) == ("synthetic", "CC0-1.0")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["synfundus", "gone.csv", "."], 3, "gone.csv"),
        (["synfundus", "a.csv", "gone"], 3, "gone"),
        (["folder", "gone", "--licence", "CC0-1.0"], 3, "gone"),
        (["folder", ".", "--licence", "CC0-1.0", "--origin", "martian"], 2, "origin"),
        (["folder", "a.csv", "--licence", "CC0-1.0", "--origin", "synthetic"], 3, "inside"),
        (["folder", "a.csv"], 2, "licence"),
        (["cohort", "gone", "--licence", "x y"], 3, "gone"),
        (["dicom", "x"], 2, "dicom"),
    ],
)
def test_imports_that_cannot_be_done_have_their_codes(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("file,caption\n../../etc/passwd,x\n")
    answer = call("import", *arguments, "--out", "pairs")
    assert answer.code == code, answer.err
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "pairs" / "manifest.json").exists()
