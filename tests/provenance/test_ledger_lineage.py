from __future__ import annotations

import json
from pathlib import Path

import pytest

from ethicclip.errors import BadInputError
from ethicclip.provenance import Artifact, lineage


def test_the_chain_is_found_in_both_directions(ledger: Path) -> None:
    graph = lineage(ledger, "tiny")
    assert [run.verb for run in graph.runs.values()] == ["generate", "train"]
    assert [record.kind for record in graph.artifacts.values()] == ["pair_set", "model"]
    down = lineage(ledger, "phantoms")
    assert [run.verb for run in down.runs.values()] == ["generate", "audit-leakage", "train"]
    text = "\n".join(down.lines())
    assert "by generate" in text and "in audit-leakage" in text and "model tiny" in text
    assert json.loads(json.dumps(down.to_json()))["focus"] == down.focus.id


def test_an_artifact_answers_to_path_alias_and_hash(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    focus = lineage(ledger, "pairs").focus
    monkeypatch.chdir(ledger.parent)
    for name in ("phantoms", "./pairs", str(ledger.parent / "pairs"), focus.id, focus.id[:15], focus.id[7:15]):
        assert lineage(ledger, name).focus.id == focus.id


def test_a_folder_stands_for_its_main_artifact(ledger: Path) -> None:
    assert lineage(ledger, str(ledger.parent / "audit")).focus.kind == "verdict"


def test_an_unknown_or_ambiguous_name_says_what_there_is(tmp_path: Path, record) -> None:
    with record(tmp_path / "l.duckdb") as run:
        run.use(Artifact(kind="pair", sha256="abcd" + "0" * 60))
        run.use(Artifact(kind="pair", sha256="abcd" + "1" * 60))
    with pytest.raises(BadInputError, match="no artifacts"):
        lineage(tmp_path / "l.duckdb", "nothing")
    with pytest.raises(BadInputError, match="2 artifacts"):
        lineage(tmp_path / "l.duckdb", "abcd")
    with pytest.raises(BadInputError, match="no artifacts"):
        lineage(tmp_path / "l.duckdb", "abc")


def test_a_run_that_reads_what_it_writes_does_not_loop(tmp_path: Path, record) -> None:
    model = Artifact(kind="model", sha256="a" * 64, alias="model")
    for _ in range(2):
        with record(tmp_path / "l.duckdb", verb="train") as run:
            run.use(model)
            run.generate(model)
    assert len(lineage(tmp_path / "l.duckdb", "model").lines()) < 30
