"""Policies: what is kept, missed, waived or not measured, and that words and exit code are one thing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethicclip.errors import BadInputError, ExitCode
from ethicclip.policy import Judgement, Measure, Policy, judge, read_policy

DAY = date(2027, 3, 1)


def policy(**rule: object) -> Policy:
    base = {"metric": "audit/flagged_share", "maximum": 0.01, "rationale": "board, 2027", "owner": "DPO"}
    return Policy.model_validate({"name": "release", "owner": "DPO", "rules": [{**base, **rule}]})


@pytest.mark.parametrize(
    ("measure", "judgement", "code"),
    [
        (Measure(estimate=0.001, low=0.0, high=0.009), Judgement.KEPT, ExitCode.PASS),
        (Measure(estimate=0.001, low=0.0, high=0.02), Judgement.MISSED, ExitCode.GATE_FAILED),
        (Measure(estimate=0.001), Judgement.NOT_MEASURED, ExitCode.INCONCLUSIVE),
        (None, Judgement.NOT_MEASURED, ExitCode.INCONCLUSIVE),
    ],
)
def test_the_upper_end_counts_not_the_estimate(measure: Measure | None, judgement: Judgement, code: ExitCode) -> None:
    decision = judge(policy(), {} if measure is None else {"audit/flagged_share": measure}, day=DAY)
    assert decision.outcomes[0].judgement is judgement
    assert decision.exit_code is code


def test_a_minimum_is_held_to_the_lower_end() -> None:
    rule = policy(metric="audit/recall/flip", maximum=None, minimum=0.9)
    assert rule.rules[0].compared == "low"
    kept = judge(rule, {"audit/recall/flip": Measure(estimate=1.0, low=0.91, high=1.0)}, day=DAY)
    missed = judge(rule, {"audit/recall/flip": Measure(estimate=1.0, low=0.86, high=1.0)}, day=DAY)
    assert (kept.state, missed.state) == ("kept", "missed")


@pytest.mark.parametrize(("until", "state"), [("2027-03-01", "kept"), ("2027-02-28", "missed")])
def test_waivers_hold_to_their_last_day_and_are_named(until: str, state: str) -> None:
    waived = policy(waivers=[{"until": until, "reason": "pilot in one clinic", "owner": "Dr Chen"}])
    decision = judge(waived, {"audit/flagged_share": Measure(estimate=0.5, low=0.4, high=0.6)}, day=DAY)
    assert decision.state == state
    text = "\n".join(decision.lines())
    assert ("pilot in one clinic" in text) == (state == "kept")
    assert ("expired" in text) == (state == "missed")


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.none() | st.floats(0, 1), st.booleans()), min_size=1, max_size=4
    )
)
def test_words_and_exit_code_agree(rows: list[tuple[str, float | None, bool]]) -> None:
    rules, measures = [], {}
    for number, (name, value, running) in enumerate(rows):
        metric = f"{name}{number}"
        until = "2030-01-01" if running else "2020-01-01"
        rules.append(
            {"metric": metric, "maximum": 0.5, "rationale": "r", "owner": "o"}
            | {"waivers": [{"until": until, "reason": "w", "owner": "o"}]}
        )
        if value is not None:
            measures[metric] = Measure(estimate=value, low=value, high=value)
    decision = judge(Policy.model_validate({"name": "n", "owner": "o", "rules": rules}), measures, day=DAY)
    words = {"kept": ExitCode.PASS, "missed": ExitCode.GATE_FAILED, "open": ExitCode.INCONCLUSIVE}
    assert words[decision.to_json()["state"]] is decision.exit_code
    assert decision.lines()[0].endswith(decision.state)
    assert any("missed" in line for line in decision.lines()[1:]) == (decision.exit_code is ExitCode.GATE_FAILED)


def test_a_policy_file_is_read_and_named_by_its_content(tmp_path: Path) -> None:
    text = (
        "schema: ethicclip/policy/1\nname: release\nowner: DPO\nrules:\n"
        "  - {metric: text/direct_identifiers, maximum: 0, rationale: no name leaves, owner: DPO}\n"
    )
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text("# the same\n" + text)
    assert read_policy(tmp_path / "a.yaml").digest() == read_policy(tmp_path / "b.yaml").digest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "name: x\nowner: y\nrules: []",
        "name: x\nowner: y\nrules: [{metric: m, rationale: r, owner: o}]",
        "name: x\nowner: y\nrules: [{metric: m, maximum: 1, minimum: 0, rationale: r, owner: o}]",
        "name: x\nowner: y\nrules: [{metric: m, maximum: 1, owner: o}]",
        "name: x\nowner: y\nrules: [{metric: m, maximum: 1, rationale: r, owner: o, threshhold: 2}]",
        "name: x\nowner: y\nrules: [{metric: m, maximum: 1, rationale: r, owner: o, waivers: [{reason: no end}]}]",
        "a: [",
    ],
)
def test_a_rule_that_cannot_be_applied_is_an_error_not_a_hole(text: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(BadInputError, match=r"policy\.yaml"):
        read_policy(tmp_path / "policy.yaml")
    with pytest.raises(BadInputError, match="cannot be read"):
        read_policy(tmp_path / "none.yaml")
