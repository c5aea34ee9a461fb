"""What the report says of a private training, of an audit of the model, and of a scan of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ethicclip.files import write_json
from ethicclip.provenance import Artifact, artifact_of_file, commit_cohort
from ethicclip.reports import ReportSettings, State, write_report

STATEMENT = {
    "schema": "ethicclip/privacy/1",
    "epsilon": 7.93,
    "delta": 1e-6,
    "epsilon_target": 8.0,
    "epsilon_replace_one": 15.9,
    "adjacency": "add or remove one patient",
    "unit": "patient",
    "mechanism": "per-unit",
    "scope": {"whose": "the patients in the real pairs this run was trained on", "origins": ["real"]},
    "sampling": {"assumed": "Poisson", "used": "Poisson"},
    "noise": {"noise_multiplier": 1.1, "max_grad_norm": 1.0},
    "steps": {"planned": 400, "accounted": 400},
    "accountant": {"prv": 7.93, "pld": 7.92, "versions": {"opacus": "1.6"}},
    "tuning": "hyperparameters were fixed before",
    "frozen": [],
    "public_inputs": ["caption vocabulary"],
    "caveats": ["Floating-point noise."],
}


@pytest.fixture
def write(tmp_path: Path):
    def run(world, audience: str = "shareable", **more) -> Any:
        settings = ReportSettings(audience=audience, **{"formats": ("html", "json", "pdf"), **more})
        return write_report(settings, world.ledger, tmp_path / audience, keys=world.keys)

    return run


BOUND = {"epsilon": 0.4, "confidence": 0.95, "guesses": 10, "correct": 9, "canaries": 40}


def interval(value: float) -> dict[str, float]:
    return {"estimate": value, "low": value - 0.03, "high": value + 0.03, "n": 200}


def private_journey(world, origin: str) -> None:
    real = commit_cohort(["ef" * 32], "clinic-pairs", world.keys, kind="pair_set", origin="real")
    pairs = next(a for a in _records(world) if a.kind == "pair_set")
    synthetic = Artifact(kind="pair_set", sha256=pairs.id[7:], origin="synthetic", alias="pairs")
    used = real if origin == "real" else synthetic
    folder = world.folder / "private"
    folder.mkdir()
    with world.record("train", {"epsilon": 8}) as run:
        run.use(used)
        write_json(folder / "run.json", {"schema": "ethicclip/run/1", "differential_privacy": STATEMENT})
        (folder / "weights").write_bytes(b"private weights")
        model = artifact_of_file(folder / "weights", kind="model", alias="private/weights")
        run.generate(model)
        run.generate(artifact_of_file(folder / "run.json", kind="training_run", alias="private/run.json"))
    with world.record("audit-model", {"shadows": 4}) as run:
        run.use(model)
        document = {
            "schema": "ethicclip/model-audit/1",
            "verdict": "CONSISTENT",
            "reason": "nothing contradicts the statement",
            "attacks": {
                "population": {"auc": interval(0.5123), "0.001": {"estimate": None, "reason": "too few", "n": 200}},
                "blind (no model)": {"auc": interval(0.49)},
                "lira": {"state": "NOT_RUN", "reason": "no shadow models"},
            },
            "control": interval(0.5),
            "counts": {"members": 100, "non_members": 90},
            "stated": {"epsilon": 7.93, "delta": 1e-6},
            "canaries": {
                "state": "DONE",
                "epsilon_lower_bound": {
                    "epsilon": 0.4,
                    "confidence": 0.95,
                    "guesses": 10,
                    "correct": 9,
                    "canaries": 40,
                },
            },
            "exchangeable": True,
        }
        write_json(folder / "model_audit.json", document)
        run.generate(
            artifact_of_file(folder / "model_audit.json", kind="model_audit", alias="private/model_audit.json")
        )
        run.metric("membership/offline/auc", 0.5123, 0.48, 0.55, 200, "patient")
        run.note_exit(0, "CONSISTENT")
    with world.record("audit-text", {}) as run:
        run.use(synthetic)
        write_json(folder / "text.json", {"schema": "ethicclip/text/1"})
        run.generate(artifact_of_file(folder / "text.json", kind="text_audit", alias="private/text.json"))
        run.metric("text/identifiers", 0)
        run.note_exit(0, "PASS")


def _records(world):
    from ethicclip.provenance import read_ledger

    return read_ledger(world.ledger).artifacts


def test_an_epsilon_is_told_with_whose_it_is(world, write) -> None:
    private_journey(world, "real")
    result = write(world, subject="pairs")
    part = result.report.trainings[0]
    assert "epsilon 7.93 at delta 1e-06" in part.privacy and "the patients in the real pairs" in part.privacy
    assert "Unit: patient; add or remove one patient" in part.privacy and "replacing one: 15.9" in part.privacy
    assert part.privacy_caveats == ("Floating-point noise.",)
    facts = {fact.name: fact.text for fact in part.privacy_facts}
    assert list(facts)[:3] == ["Epsilon", "Delta", "Adjacency"]
    assert facts["Epsilon"] == "7.93 (target 8)" and facts["Noise multiplier sigma"].startswith("1.1 (")
    assert facts["How settings were chosen"].startswith("hyperparameters")
    assert facts["Accountants"] == "PRV 7.93, PLD 7.92 (opacus 1.6)" and facts["Sampling that ran"] == "the same"
    assert facts["Steps"].startswith("400 accounted for of 400 planned")
    html = (result.out / "report.html").read_text()
    assert "The privacy statement of the run" in html
    assert "the patients in the real pairs" in result.report.first_page.privacy
    rows = {row.section: row for f in result.report.frameworks for row in f.requirements}
    unit = rows["SP 800-226 (unit of privacy)"]
    assert unit.state == State.NEEDS_A_PERSON and "unit: patient" in unit.evidence and "whose" in unit.evidence
    assert "Differential privacy" not in {check.name for check in result.report.first_page.not_tested}


def test_figures_of_a_model_of_patients_are_restricted(world, write) -> None:
    private_journey(world, "real")
    for audience in ("shareable", "restricted"):
        result = write(world, audience)
        (part,) = result.report.memberships
        assert (part.verdict, part.model) == ("CONSISTENT", "private/weights")
        shown = "0.512" in (result.out / "report.html").read_text()
        assert shown == (audience == "restricted") == bool(part.scores)
        # What did not run is not among what ran.
        assert part.attacks[:2] == ("population attack", "blind attack, which sees no model")
        assert [(check.name, check.text) for check in part.attacks_not_run] == [
            ("LiRA with shadow models", "no shadow models")
        ]
        facts = {fact.name: fact.text for fact in part.facts}
        assert ("Epsilon is at least" in facts) == (audience == "restricted")


def test_a_model_of_synthetic_pairs_and_a_scan_of_words(world, write) -> None:
    private_journey(world, "synthetic")
    result = write(world, formats=("html",))
    (part,) = result.report.memberships
    names = {score.name: score for score in part.scores}
    assert names["Population attack: AUC"].estimate == 0.5123
    assert names["Population attack: true positives at 0.1 % false positives"].note == "too few"
    assert names["Negative control, members against members: AUC"].estimate == 0.5
    facts = {fact.name: fact.text for fact in part.facts}
    assert facts["Epsilon that the run states"] == "7.93 at delta 1e-06"
    assert facts["Epsilon is at least"].startswith("0.4 with 95 % confidence (9 of 10 guesses right, 40 canaries)")
    rows = {f"{f.id} {row.section}": row for f in result.report.frameworks for row in f.requirements}
    membership = rows["edpb-28-2024 Section 3.2 (testing, membership inference)"]
    assert (
        membership.state == State.NEEDS_A_PERSON and "CONSISTENT" in membership.evidence and len(membership.refs) == 1
    )
    assert rows["edpb-28-2024 Section 3.2 (testing, model inversion)"].state == State.NOT_RUN
    assert rows["hipaa 164.514(b)(2)(i)(A) to (O)"].state == State.NEEDS_A_PERSON
    captions = result.report.captions
    assert [check.name for check in captions.tested] == ["Scan of words and files (audit-text)"]
    assert [(fact.name, fact.text) for fact in captions.results] == [("Identifiers", "0")]
    names = {check.name for check in result.report.first_page.tested}
    assert {"Membership in the model's training set", "Names and identifiers in words and files"} <= names
