"""What an audit attests: published form, gate with a policy, words beside pictures, history, what is restricted."""

from __future__ import annotations

import json
import stat
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from ethicclip.audits import AuditHistory, AuditResult, AuditSettings, audit_leakage
from ethicclip.audits.gating import measures_of
from ethicclip.audits.ladder import plant
from ethicclip.audits.verdict_schema import schema
from ethicclip.cohorts import Cohort
from ethicclip.errors import UsageError
from ethicclip.policy import Policy

from .eyes import Images, cohort_of, draw_eye

PATIENTS = 36
DAY = date(2027, 3, 1)
SETTINGS = {
    "side": 192,
    "keypoints": 200,
    "voting_keypoints": 120,
    "candidates": 3,
    "impostor_pictures": 40,
    "required_kinds": ("jpeg50",),
    "power_copies": 8,
    "exchangeable": True,
    "max_leak_rate": 0.25,
    "sheet_pairs": 4,
    "report_column": "report",
}


class Captioned(Images):
    """A synthetic set whose captions are given."""

    captions: tuple[str, ...] = ()

    def caption(self, index: int) -> str | None:
        return self.captions[index % len(self.captions)] if self.captions else None


def rules(*more: dict[str, Any]) -> Policy:
    base = {"rationale": "board", "owner": "DPO"}
    return Policy.model_validate({"name": "release", "owner": "DPO", "rules": [{**base, **one} for one in more]})


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cohort, Cohort]:
    folder = tmp_path_factory.mktemp("cohorts")
    found = []
    for name, start in (("reference", 0), ("control", 1000)):
        cohort = cohort_of(
            folder / name,
            [draw_eye(start + i) for i in range(PATIENTS)],
            [f"{name.upper()}{i:03d}" for i in range(PATIENTS)],
            name,
        )
        cohort.table["report"] = [f"{name} eye {i} with a scar of shape {i % 7}" for i in range(PATIENTS)]
        found.append(cohort)
    return found[0], found[1]


@pytest.fixture(scope="module")
def clean(sides: tuple[Cohort, Cohort], tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    synthetic = Captioned([draw_eye(2000 + i) for i in range(30)])
    synthetic.captions = ("a healthy eye with a large scar", "左眼，正常")
    policy = rules(
        {"metric": "audit/flagged_share", "maximum": 0.2},
        {"metric": "audit/times_audited", "maximum": 2},
        {"metric": "aggregate/C_T", "minimum": -3},
    )
    return audit_leakage(
        AuditSettings.build({**SETTINGS, "scores": True}),
        synthetic,
        *sides,
        tmp_path_factory.mktemp("audit") / "out",
        policy=policy,
        today=DAY,
        history=AuditHistory(of_this_set=3, against_this_reference=7),
    )


@pytest.fixture(scope="module")
def leaking(sides: tuple[Cohort, Cohort], tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    synthetic = Captioned(
        [plant("flip", draw_eye(i), np.random.default_rng(i)) for i in range(3)],
    )
    synthetic.captions = ("seen on 2024-03-15 by REFERENCE004",)
    settings = AuditSettings.build({**SETTINGS, "power_copies": 0})
    return audit_leakage(settings, synthetic, *sides, tmp_path_factory.mktemp("audit") / "out")


@pytest.mark.parametrize("which", ["clean", "leaking"])
def test_real_verdicts_have_the_published_form(which: str, request: pytest.FixtureRequest) -> None:
    result: AuditResult = request.getfixturevalue(which)
    published = json.loads((Path(__file__).parents[2] / "docs/schemas/verdict.schema.json").read_text())
    assert published == json.loads(json.dumps(schema())), "run `make docs`"
    written = json.loads((result.out / "verdict.json").read_text())
    validator = jsonschema.Draft202012Validator(published)
    assert [error.message for error in validator.iter_errors(written)] == []
    for name in ("gate", "counts", "aggregates"):
        assert list(validator.iter_errors({key: value for key, value in written.items() if key != name}))
    assert list(validator.iter_errors({**written, "verdict": "COMPLIANT"}))


def test_a_policy_tightens_a_pass_and_words_and_code_agree(clean: AuditResult) -> None:
    assert clean.verdict == "PASS", clean.reason
    assert int(clean.exit_code) == 10
    gate = clean.document["gate"]
    assert (gate["state"], gate["exit_code"]) == ("failed", 10)
    states = {row["metric"]: row["judgement"] for row in gate["policy"]["rules"]}
    assert states == {
        "audit/flagged_share": "kept",
        "audit/times_audited": "missed",
        # Aggregates are printed, never gated on: a rule on one is open, not kept.
        "aggregate/C_T": "not measured",
    }
    assert clean.lines()[-1] == "gate failed: exit 10"
    assert len(gate["policy"]["sha256"]) == 64


def test_a_policy_does_not_lift_a_leak(leaking: AuditResult, sides: tuple[Cohort, Cohort]) -> None:
    assert (leaking.verdict, int(leaking.exit_code)) == ("LEAK", 10)
    with pytest.raises(UsageError, match="the day"):
        audit_leakage(
            AuditSettings(),
            Images([draw_eye(0)]),
            *sides,
            leaking.out.parent / "other",
            policy=rules({"metric": "audit/flagged_images", "maximum": 9}),
        )


def test_a_policy_may_hold_counts_recalls_and_words(clean: AuditResult) -> None:
    found = measures_of(clean.document)
    assert {"audit/flagged_images", "audit/recall/jpeg50", "audit/fewest_noticed_share/jpeg50"} <= set(found)
    assert {"text/direct_identifiers", "text/burned_in", "text/overlap_risk"} <= set(found)
    assert not any(name.startswith("aggregate") for name in found)


def test_history_stands_in_document_caveats_and_lines(clean: AuditResult) -> None:
    assert clean.document["history"] == {"of_this_set": 3, "against_this_reference": 7}
    assert any("3 audits of this set" in caveat for caveat in clean.document["caveats"])
    assert any("3 of this set" in line for line in clean.lines())


def test_words_are_scanned_beside_pictures(clean: AuditResult, leaking: AuditResult) -> None:
    assert clean.document["text"]["counts"]["identifiers"] == 0
    kinds = {row["kind"] for row in leaking.document["text"]["by_kind"]}
    assert kinds == {"date", "patient_id"}
    assert "REFERENCE004" not in json.dumps(leaking.document)
    assert (leaking.out / "identifiers.csv").read_text().count(",patient_id,") == 3


def test_a_pass_does_not_stand_while_captions_name_somebody(
    clean: AuditResult, sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    synthetic = Captioned([draw_eye(2000 + i) for i in range(30)])
    synthetic.captions = ("call 13800138000",)
    result = audit_leakage(AuditSettings.build(SETTINGS), synthetic, *sides, tmp_path / "out")
    assert (result.verdict, int(result.exit_code)) == ("INCONCLUSIVE", 11)
    assert "30 phone" in result.reason
    assert result.document["bound"] is None


def test_aggregates_stand_beside_the_verdict_with_their_control(clean: AuditResult) -> None:
    rows = {row["name"]: row for row in clean.document["aggregates"]}
    assert {"C_T", "authenticity", "feature likelihood divergence"} <= set(rows)
    for name in ("authenticity", "feature likelihood gap"):
        assert rows[name]["low"] <= rows[name]["estimate"] <= rows[name]["high"]
        assert rows[name]["control"] is not None
    linked = next(row for name, row in rows.items() if name.startswith("linkability"))
    assert linked["n"] == 2 * PATIENTS


def test_everything_but_the_verdict_is_marked_restricted(clean: AuditResult, leaking: AuditResult) -> None:
    for result in (clean, leaking):
        marked = {row["name"]: row["restricted"] for row in result.document["files"]}
        assert {name for name, restricted in marked.items() if not restricted} == {"verdict.json"}
        assert set(marked) == {path.name for path in result.out.iterdir()}
    assert stat.S_IMODE((clean.out / "scores.csv").stat().st_mode) == 0o600
    assert len(list((leaking.out / "pairs").glob("*.png"))) == 3
