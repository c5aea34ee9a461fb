"""The verbs around an audit, as a user runs them: words, a policy, and how often a set was audited."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ethicclip.pairs import PairSet
from ethicclip.provenance import read_ledger

from .conftest import World

SMALL = ("--set", "side=160", "--set", "keypoints=120", "--set", "power_copies=0", "--set", "impostor_pictures=40")


@pytest.fixture(scope="module")
def split(world: World) -> tuple[Path, Path]:
    return world.root / "split" / "reference", world.root / "split" / "control"


def test_words_of_phantoms_name_nobody(world: World, tmp_path: Path) -> None:
    answer = world.call("audit-text", world.root / "pairs", "--out", tmp_path / "text", "--json")
    assert answer.code == 0, answer.out
    document = answer.json()
    assert document["counts"]["identifiers"] == 0
    assert document["counts"]["captions"] == 40
    snapshot = read_ledger(world.ledger)
    run = snapshot.latest("audit-text")
    assert run is not None
    assert (run.exit_code, run.verdict) == (0, "PASS")
    assert {metric.name for metric in snapshot.metrics_of(run.run_id)} >= {"text/identifiers", "text/burned_in"}
    assert [record.kind for record in snapshot.artifacts_of(run.run_id, "generated")] == ["text_audit"]


def test_copied_reports_are_a_failed_gate(world: World, tmp_path: Path) -> None:
    captions = [pair.caption for pair in PairSet.open(world.root / "pairs")]
    for name, texts in (("seen", captions), ("others", ["a short note on another eye entirely"] * 5)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows([["report"], *([text] for text in texts)])
    answer = world.call(
        "audit-text",
        world.root / "pairs",
        "--reports",
        tmp_path / "seen.csv",
        "--control-reports",
        tmp_path / "others.csv",
        "--out",
        tmp_path / "text",
    )
    assert answer.code == 10
    assert "overlap with the reference's reports beyond the control's" in answer.out
    with (tmp_path / "text" / "overlaps.csv").open(newline="") as stream:
        assert {row["side"] for row in csv.DictReader(stream)} == {"reference"}
    wrong = world.call("audit-text", world.root / "pairs", "--reports", tmp_path / "seen.csv", "--column", "repot",
                       "--out", tmp_path / "b")  # fmt: skip
    assert (wrong.code, "did you mean 'report'" in wrong.err) == (3, True)


def test_a_policy_decides_the_exit_code_and_audits_are_counted(
    world: World, split: tuple[Path, Path], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "name: release\nowner: DPO\nrules:\n"
        "  - {metric: audit/times_audited, maximum: 1, rationale: no filtering by audit, owner: DPO}\n"
    )
    arguments = ["audit-leakage", world.root / "pairs", "--reference", split[0], "--control", split[1], *SMALL]
    first = world.call(*arguments, "--policy", policy, "--out", tmp_path / "one")
    assert first.code == 11, first.err
    assert first.out.strip().splitlines()[-2] == "gate open: exit 11"
    second = world.call(*arguments, "--policy", policy, "--out", tmp_path / "two", "--json")
    assert second.code == 10
    document = second.json()
    assert document["history"] == {"of_this_set": 2, "against_this_reference": 2}
    assert (document["verdict"], document["gate"]["state"]) == ("INCONCLUSIVE", "failed")
    run = read_ledger(world.ledger).latest("audit-leakage")
    assert run is not None
    assert (run.exit_code, run.verdict) == (10, "INCONCLUSIVE")
    assert json.loads((tmp_path / "two" / "verdict.json").read_text())["gate"]["exit_code"] == 10


def test_mistakes_in_policy_names_and_descriptor_are_named(
    world: World, split: tuple[Path, Path], tmp_path: Path
) -> None:
    arguments = ["audit-leakage", world.root / "pairs", "--reference", split[0], "--out", tmp_path / "out"]
    for more, code, text in (
        (["--policy", tmp_path / "none.yaml"], 3, "cannot be read"),
        (["--descriptor", "sscd"], 2, "is not a descriptor"),
        (["--descriptor", "local,timm:test_vit@none.safetensors"], 3, "none.safetensors"),
        (["--set", "report_column=reprot"], 3, "reprot"),
        (["--reuse", tmp_path / "never"], 3, "no embeddings"),
    ):
        answer = world.call(*arguments, *more)
        assert (answer.code, text in answer.err) == (code, True), answer.err
    assert not (tmp_path / "out").exists()
    names = world.call("audit-text", world.root / "pairs", "--names", tmp_path / "no.txt", "--out", tmp_path / "t")
    assert names.code == 3
