"""The release gate: what the ledger, the audit and the policy say, and that words and exit code are one thing."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ethicclip.errors import ExitCode
from ethicclip.policy import Policy
from ethicclip.provenance import Artifact
from ethicclip.reports import gate
from ethicclip.reports.gating import Checked, GateCheck, GateResult

DAY = date(2030, 3, 20)


def policy(*rules: dict, **more) -> Policy:
    base = {"rationale": "board, 2030", "owner": "DPO"}
    return Policy.model_validate(
        {"name": "release", "owner": "DPO", "rules": [{**base, **rule} for rule in rules], **more}
    )


KEPT = {"metric": "balanced_accuracy", "minimum": 0.5}
MISSED = {"metric": "balanced_accuracy", "minimum": 0.6}
UNKNOWN = {"metric": "epsilon", "maximum": 8}


def waived(until: str) -> dict:
    return {**MISSED, "waivers": [{"until": until, "reason": "pilot", "owner": "research lead"}]}


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([KEPT], ExitCode.PASS),
        # The lower end of the interval counts, 0.59, not the estimate of 0.66.
        ([MISSED], ExitCode.GATE_FAILED),
        ([{**MISSED, "statistic": "estimate"}], ExitCode.PASS),
        ([KEPT, UNKNOWN], ExitCode.INCONCLUSIVE),
        ([MISSED, UNKNOWN], ExitCode.GATE_FAILED),
        ([waived("2030-03-20")], ExitCode.PASS),
        ([waived("2030-03-19")], ExitCode.GATE_FAILED),
        ([{"metric": "audit/age_days", "maximum": 365}], ExitCode.PASS),
        ([{"metric": "audit/age_days", "maximum": 10}], ExitCode.GATE_FAILED),
        ([{"metric": "audit/stale_reasons", "maximum": 0}], ExitCode.PASS),
        ([{"metric": "audit/fewest_noticed/combination", "maximum": 30}], ExitCode.PASS),
        ([{"metric": "audit/fewest_noticed/combination", "maximum": 3}], ExitCode.GATE_FAILED),
        ([{"metric": "evaluate/balanced_accuracy", "minimum": 0.5}], ExitCode.PASS),
        # A loss without an interval cannot pass a rule on its unfavourable end.
        ([{"metric": "loss/last", "maximum": 5}], ExitCode.INCONCLUSIVE),
    ],
)
def test_the_policy_decides(world, rules, code) -> None:
    result = gate(policy(*rules), world.ledger, day=DAY)
    assert result.exit_code == code, result.lines()
    assert result.lines()[-1] == f"gate {result.state}: exit {int(code)}"


@pytest.mark.parametrize(
    ("verdict", "code"), [("PASS", 0), ("LEAK", 10), ("INCONCLUSIVE", 11)], ids=["pass", "leak", "inconclusive"]
)
def test_a_policy_cannot_lift_a_verdict(make_world, verdict: str, code: int) -> None:
    assert gate(policy(KEPT), make_world(verdict=verdict).ledger, day=DAY).exit_code == code


def test_a_stale_or_missing_audit_is_open(world) -> None:
    with world.record("generate", {"count": 41, "engine": "phantom"}) as run:
        run.generate(Artifact(kind="pair_set", sha256="9" * 64, origin="synthetic", alias="pairs"))
    result = gate(policy(KEPT), world.ledger, day=DAY, subject=str(world.folder / "pairs"))
    assert result.exit_code == ExitCode.INCONCLUSIVE
    assert any("stale" in line for line in result.lines())
    result = gate(policy(KEPT), world.ledger, day=DAY, subject="sha256:" + "9" * 64)
    assert result.exit_code == ExitCode.INCONCLUSIVE and any("no leakage audit" in line for line in result.lines())


def test_a_broken_ledger_passes_nothing(world) -> None:
    connection = duckdb.connect(str(world.ledger))
    connection.execute("UPDATE metrics SET low = 0.9 WHERE name = 'balanced_accuracy'").fetchall()
    connection.close()
    result = gate(policy(MISSED), world.ledger, day=DAY)
    assert result.exit_code == ExitCode.INTEGRITY and "metrics row" in result.lines()[1]


codes = st.sampled_from([ExitCode.PASS, ExitCode.INCONCLUSIVE, ExitCode.GATE_FAILED, ExitCode.INTEGRITY])


@given(st.lists(codes, min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_text_json_and_exit_code_never_disagree(found) -> None:
    from ethicclip.policy import judge

    checks = tuple(Checked(check=GateCheck.POLICY, code=code, text="x") for code in found)
    decision = judge(policy(KEPT), {}, day=DAY)
    result = GateResult(subject="s", subject_id=None, checks=checks, decision=decision, head=None)
    words = {"passed": 0, "open": 11, "failed": 10, "broken": 12}
    said = re.fullmatch(r"gate (\w+): exit (\d+)", result.lines()[-1])
    assert said is not None and words[said[1]] == int(said[2]) == int(result.exit_code) == result.to_json()["exit_code"]
    assert (result.exit_code == ExitCode.PASS) == all(code == ExitCode.PASS for code in found)


def test_the_verb_ends_a_pipeline(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ethicclip.provenance import read_ledger
    from tests.journeys.conftest import call

    monkeypatch.setenv("ETHICCLIP_HOME", str(world.keys.folder))
    file = tmp_path / "policy.yaml"
    file.write_text(
        json.dumps({"name": "release", "owner": "DPO", "rules": [{**MISSED, "rationale": "r", "owner": "o"}]})
    )
    answer = call("gate", "--policy", file, "--ledger", world.ledger, "--json")
    assert answer.code == 10 and answer.json()["exit_code"] == 10 and answer.json()["state"] == "failed"
    run = read_ledger(world.ledger).runs[-1]
    assert (run.verb, run.exit_code, run.verdict) == ("gate", 10, "failed")
    answer = call("gate", "--policy", file, "--ledger", world.ledger)
    assert answer.code == 10 and answer.out.strip().endswith("gate failed: exit 10")
    file.write_text("rules: []")
    assert call("gate", "--policy", file, "--ledger", world.ledger).code == 3
