"""What a patient reached, and what makes an audit stale; a small journey with answers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ethicclip.provenance import (
    Artifact,
    KeyStore,
    Origin,
    commit_cohort,
    read_ledger,
    stale_audits,
    stale_reasons,
    verify,
    withdraw,
)
from ethicclip.provenance.staleness import POLICY_EVENT
from ethicclip.provenance.withdrawal import WITHDRAWN

PEOPLE = {"reference": ["anna", "bela"], "control": ["carl"], "test": ["dora"]}


@pytest.fixture
def journey(tmp_path: Path, record, keys: KeyStore) -> Path:
    """Split; a generator that saw the reference; an audit; a model; its evaluation."""
    ledger = tmp_path / "l.duckdb"

    def cohort(name: str) -> Artifact:
        people = PEOPLE.get(name) or [person for part in PEOPLE.values() for person in part]
        return commit_cohort([name.encode().hex().ljust(64, "0")], f"clinic/{name}", keys, patients=people)

    with record(ledger, verb="split") as run:
        run.use(cohort("all"))
        for part in PEOPLE:
            run.generate(cohort(part))
    pairs = Artifact(kind="pair_set", sha256="1" * 64, origin=Origin.MIXED, alias="pairs")
    with record(ledger, verb="generate", settings={"engine": "diffusion"}) as run:
        run.use(cohort("reference"))
        run.generate(pairs)
    with record(ledger, verb="audit-leakage", settings={"alpha": 0.05, "descriptor": "local"}) as run:
        for artifact in (pairs, cohort("reference"), cohort("control")):
            run.use(artifact)
        run.generate(Artifact(kind="verdict", sha256="2" * 64, alias="audit/verdict.json"))
        run.note_exit(0, "PASS")
    model = Artifact(kind="model", sha256="3" * 64, alias="run/model")
    with record(ledger, verb="train") as run:
        run.use(pairs)
        run.generate(model)
    with record(ledger, verb="evaluate") as run:
        run.use(model)
        run.use(cohort("test"))
        run.generate(Artifact(kind="metrics", sha256="4" * 64, alias="evaluation/metrics.json"))
    return ledger


def names(items) -> set[str]:
    return {item.alias for item in items}


@pytest.mark.parametrize(
    ("patient", "cohorts", "artifacts", "verbs"),
    [
        (
            "anna",
            {"clinic/all", "clinic/reference"},
            {"pairs", "audit/verdict.json", "run/model", "evaluation/metrics.json"},
            ["split", "generate", "audit-leakage", "train", "evaluate"],
        ),
        ("carl", {"clinic/all", "clinic/control"}, {"audit/verdict.json"}, ["split", "audit-leakage"]),
        ("dora", {"clinic/all", "clinic/test"}, {"evaluation/metrics.json"}, ["split", "evaluate"]),
        ("nobody", set(), set(), []),
    ],
)
def test_everything_a_patient_reached_and_nothing_else(journey: Path, keys, patient, cohorts, artifacts, verbs) -> None:
    found = withdraw(journey, patient, keys=keys)
    assert names(found.cohorts) == cohorts and names(found.artifacts) == artifacts
    assert [run.verb for run in found.runs] == verbs
    assert patient not in json.dumps(found.to_json())
    assert patient not in "\n".join(found.lines())


def test_the_id_is_nowhere_and_another_key_finds_nothing(journey: Path, tmp_path: Path) -> None:
    written = journey.read_bytes() + journey.with_name("l.duckdb.heads").read_bytes()
    assert not any(person.encode() in written for person in ("anna", "bela", "carl", "dora"))
    assert withdraw(journey, "anna", keys=KeyStore(tmp_path / "other")).cohorts == ()


def test_cohorts_without_patients_are_named(journey: Path, record, keys) -> None:
    with record(journey, verb="evaluate") as run:
        run.use(commit_cohort(["e" * 64], "plain-folder", keys))
    found = withdraw(journey, "anna", keys=keys)
    assert names(found.unknown) == {"plain-folder"} and any("nothing can be said" in line for line in found.lines())


def audit_of(ledger: Path):
    snapshot = read_ledger(ledger)
    return snapshot, next(run for run in snapshot.runs if run.verb == "audit-leakage")


def reasons(ledger: Path) -> set[str]:
    return {reason.what for reason in stale_reasons(*audit_of(ledger))}


def test_nothing_changed_is_not_stale(journey: Path) -> None:
    assert reasons(journey) == set() and stale_audits(read_ledger(journey)) == {}


def audited_again(run, keys) -> None:
    run.use(Artifact(kind="image_set", commitment="9" * 64, origin="mixed", alias="other"))
    run.use(commit_cohort(["f" * 64], "elsewhere/reference", keys, patients=["x"]))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"alpha": 0.05, "descriptor": "pixel"}, {"descriptor"}),
        ({"alpha": 0.01, "descriptor": "local"}, {"threshold"}),
        ({"alpha": 0.05, "descriptor": "local", "seed": 7}, set()),
    ],
)
def test_a_changed_descriptor_or_threshold_is_stale(journey: Path, record, keys, settings, expected) -> None:
    with record(journey, verb="audit-leakage", settings=settings) as run:
        audited_again(run, keys)
    assert reasons(journey) == expected


def test_a_changed_generator_set_or_cohort_is_stale(journey: Path, record, keys) -> None:
    with record(journey, verb="generate", settings={"engine": "phantom", "steps": 20}) as run:
        run.generate(Artifact(kind="pair_set", sha256="5" * 64, origin=Origin.MIXED, alias="pairs"))
    assert reasons(journey) == {"generator", "set"}
    with record(journey, verb="evaluate") as run:
        run.use(commit_cohort(["c" * 64], "clinic/control", keys, patients=["carl"]))
    assert reasons(journey) == {"generator", "set", "cohort"}
    assert "settings changed after the audit: engine." in str(stale_reasons(*audit_of(journey)))


def test_a_changed_policy_is_stale(journey: Path, record) -> None:
    for digest in ("a" * 64, "a" * 64):
        with record(journey, verb="gate") as run:
            run.event(POLICY_EVENT, {"sha256": digest, "name": "release"})
    assert reasons(journey) == set(), "the first policy that anyone used is not a change"
    with record(journey, verb="audit-leakage", settings={"alpha": 0.05, "descriptor": "local"}) as run:
        run.use(Artifact(kind="pair_set", sha256="1" * 64, origin=Origin.MIXED, alias="pairs"))
        run.event(POLICY_EVENT, {"sha256": "a" * 64})
    with record(journey, verb="gate") as run:
        run.event(POLICY_EVENT, {"sha256": "b" * 64})
    (stale,) = stale_audits(read_ledger(journey)).values()
    assert [reason.what for reason in stale] == ["policy"]


def test_a_withdrawal_is_stale_only_where_the_patient_was(journey: Path, record, keys) -> None:
    for patient, expected in (("dora", set()), ("carl", {"withdrawal"})):
        found = withdraw(journey, patient, keys=keys)
        with record(journey, verb="withdraw") as run:
            reached = [item.id for item in (*found.cohorts, *found.artifacts)]
            run.event(WITHDRAWN, {"member": found.member, "reached": reached})
        assert reasons(journey) == expected
    assert withdraw(journey, "carl", keys=keys).withdrawn is not None
    assert verify(journey).ok
