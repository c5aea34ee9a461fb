"""What a report says beside a verdict: aggregates with their control, the policy's rules, how often it was audited."""

from __future__ import annotations

from ethicclip.reports.beside_verdict import beside_facts


def test_aggregates_policy_and_history_become_facts() -> None:
    content = {
        "aggregates": [
            {
                "name": "authenticity",
                "estimate": 0.663,
                "low": 0.557,
                "high": 0.754,
                "n": 49,
                "unit": "patients",
                "control": 0.719,
            },
            {"name": "C_T", "estimate": None, "note": "not run: needs a control"},
            "not a mapping",
        ],
        "history": {"of_this_set": 2, "against_this_reference": 5},
        "gate": {
            "policy": {
                "name": "release",
                "state": "missed",
                "sha256": "ab" * 32,
                "rules": [
                    {
                        "metric": "audit/flagged_share",
                        "statistic": "high",
                        "maximum": 0.01,
                        "value": 0.02,
                        "judgement": "missed",
                        "note": "1 waiver(s) have expired",
                    },
                    {
                        "metric": "m",
                        "statistic": "low",
                        "maximum": None,
                        "minimum": 0.5,
                        "value": None,
                        "judgement": "x",
                    },
                ],
            }
        },
    }
    facts = dict(beside_facts(content))
    assert facts["Authenticity"] == "0.663 [0.557, 0.754] (n = 49 patients); control value 0.719"
    assert facts["C_T"] == "not run: needs a control"
    assert facts["Audits of this set in the ledger"] == "2"
    assert facts["Policy"] == "release: missed (sha256 abababababababab)"
    assert facts["Policy rule on audit/flagged_share"].startswith("missed: high at most 0.01, it is 0.02; 1 waiver")
    assert facts["Policy rule on m"] == "x: low at least 0.5, it is none"


def test_older_verdicts_without_these_fields_give_nothing() -> None:
    assert beside_facts({"verdict": "PASS"}) == []
    assert beside_facts({"aggregates": None, "gate": {"policy": None}, "history": None}) == []
