"""What `verify` says to pair sets, models and single files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ethicclip.errors import BadInputError
from ethicclip.files import sha256_bytes, sha256_file
from ethicclip.provenance import artifact_of_file, lineage, verify
from ethicclip.provenance.drawing import Node, draw


@pytest.fixture
def house(tmp_path: Path, record) -> Path:
    """A ledger beside a pair set and a model folder."""
    pairs, run_folder = tmp_path / "pairs", tmp_path / "run"
    (pairs / "shards").mkdir(parents=True)
    shards = []
    for i in range(3):
        data = f"shard {i}".encode()
        (pairs / "shards" / f"{i:06d}.tar").write_bytes(data)
        shards.append({"file": f"shards/{i:06d}.tar", "sha256": sha256_bytes(data)})
    (pairs / "index.parquet").write_bytes(b"index")
    manifest = {
        "schema": "ethicclip/pairset/1",
        "shards": shards,
        "index": {"file": "index.parquet", "sha256": sha256_bytes(b"index")},
    }
    (pairs / "manifest.json").write_text(json.dumps(manifest))
    run_folder.mkdir()
    (run_folder / "model.safetensors").write_bytes(b"weights")
    (run_folder / "notes.txt").write_text("mine")
    with record(tmp_path / "l.duckdb") as run:
        run.generate(artifact_of_file(pairs / "manifest.json", kind="pair_set", origin="synthetic", alias="pairs"))
    with record(tmp_path / "l.duckdb", verb="train") as run:
        run.generate(artifact_of_file(run_folder / "model.safetensors", kind="model", alias="run/model.safetensors"))
    return tmp_path


def named(outcome) -> list[str]:
    return [finding.record for finding in outcome.findings]


def test_a_pair_set_is_checked_down_to_its_shards(house: Path) -> None:
    ledger = house / "l.duckdb"
    assert verify(house / "pairs", ledger=ledger).checked["files"] == 5
    assert verify(ledger).checked["artifact files"] == 6
    alone = verify(house / "pairs")
    assert alone.ok and any("no ledger" in note for note in alone.notes)
    shard = house / "pairs" / "shards" / "000001.tar"
    shard.write_bytes(b"shard X")
    expected = ["pair_set file pairs/shards/000001.tar"]
    assert named(verify(house / "pairs", ledger=ledger)) == expected == named(verify(ledger))
    assert named(verify(house / "pairs")) == expected
    shard.unlink()
    assert "is missing" in verify(ledger).findings[0].problem


def test_a_manifest_that_was_edited_to_fit_is_caught_by_the_ledger(house: Path) -> None:
    shard, manifest = house / "pairs" / "shards" / "000001.tar", house / "pairs" / "manifest.json"
    old = sha256_file(shard)
    shard.write_bytes(b"another")
    manifest.write_text(manifest.read_text().replace(old, sha256_file(shard)))
    assert verify(house / "pairs").ok, "without a ledger nothing vouches for the manifest, and a note says so"
    assert named(verify(house / "pairs", ledger=house / "l.duckdb")) == ["pair_set pairs/manifest.json"]


def test_a_manifest_cannot_point_elsewhere(house: Path) -> None:
    manifest = house / "pairs" / "manifest.json"
    values = json.loads(manifest.read_text())
    values["shards"][0]["file"] = "../../../etc/hostname"
    manifest.write_text(json.dumps(values))
    assert "outside" in verify(house / "pairs").findings[0].problem


def test_a_model_folder_and_a_file_in_it(house: Path) -> None:
    ledger = house / "l.duckdb"
    outcome = verify(house / "run", ledger=ledger)
    assert outcome.ok and any("notes.txt is in no record" in note for note in outcome.notes)
    weights = house / "run" / "model.safetensors"
    assert verify(weights, ledger=ledger).ok
    weights.write_bytes(b"other")
    assert named(verify(house / "run", ledger=ledger)) == ["model run/model.safetensors"]
    weights.unlink()
    assert "missing" in verify(house / "run", ledger=ledger).findings[0].problem


def test_what_was_handed_on_is_known_by_content(house: Path, tmp_path: Path) -> None:
    ledger, away = house / "l.duckdb", tmp_path / "away"
    shutil.copytree(house / "run", away / "model")
    shutil.copytree(house / "pairs", away / "set")
    outcome = verify(away / "model", ledger=ledger)
    assert outcome.ok and any("recorded as model run/model.safetensors" in note for note in outcome.notes)
    assert verify(away / "set", ledger=ledger).ok
    assert verify(away / "model" / "model.safetensors", ledger=ledger).ok
    (away / "set" / "shards" / "000002.tar").write_bytes(b"x")
    assert named(verify(away / "set", ledger=ledger)) == ["pair_set file set/shards/000002.tar"]
    (away / "model" / "model.safetensors").write_bytes(b"x")
    assert "no record of the ledger" in verify(away / "model", ledger=ledger).findings[0].problem
    assert "no record of the ledger" in verify(away / "model" / "notes.txt", ledger=ledger).findings[0].problem


def test_what_needs_a_ledger_says_so(house: Path) -> None:
    with pytest.raises(BadInputError, match="no ledger to ask"):
        verify(house / "run")
    with pytest.raises(BadInputError, match="nothing at"):
        verify(house / "absent", ledger=house / "l.duckdb")


def test_a_broken_ledger_vouches_for_nothing(house: Path, alter) -> None:
    alter(house / "l.duckdb", "UPDATE runs SET verb = 'x' WHERE row = 1")
    assert not verify(house / "run", ledger=house / "l.duckdb").ok


def test_lineage_is_drawn(house: Path) -> None:
    graph = lineage(house / "l.duckdb", "pairs")
    svg = graph.picture()
    assert svg == graph.picture() and svg.startswith("<svg") and "generate" in svg
    assert "://" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert draw([], [], standalone=True) == ""


def test_a_picture_of_hostile_names_is_harmless() -> None:
    nodes = [
        Node(id="a", head="<script>alert(1)</script>", rest='"><image href=x>', kind="run"),
        Node(id="b", head="safe\u202egnp.exe", rest="\u773c\u5e95" * 40, kind="artifact", origin="real"),
    ]
    svg = draw(nodes, [("a", "b"), ("b", "a"), ("a", "nowhere")], standalone=True)
    assert "<script" not in svg and "<image" not in svg and "\u202e" not in svg and "\\u202e" in svg
