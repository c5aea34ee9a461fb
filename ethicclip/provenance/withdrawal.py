"""What a patient's images reached: every split, audit, generator, pair set and model, through the recorded lineage.

A ledger knows patients as keyed commitments only, so the question needs the patient's id and the commitment key. What
it cannot know it names: cohorts that were recorded without patients, and people who stand under several ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip.provenance.artifacts import commit_patients
from ethicclip.provenance.keys import KeyStore
from ethicclip.provenance.reading import ArtifactRecord, LedgerSnapshot, RunRecord, read_ledger
from ethicclip.provenance.store import LOCK_WAIT_S

WITHDRAWN = "patient_withdrawn"
"""Kind of the event that `ethicclip withdraw --record` writes; reports and gates call what it names stale."""

_GROUPS = {
    "cohort": "cohorts and splits",
    "generator": "generators",
    "pair_set": "pair sets",
    "image_set": "pair sets",
    "model": "models",
    "verdict": "audits",
    "metrics": "evaluations",
    "comparison": "evaluations",
    "retrieval": "evaluations",
}
_RUNS = {
    "audit-leakage": "audits",
    "fit-generator": "generators",
    "generate": "generators",
    "evaluate": "evaluations",
    "evaluate-retrieval": "evaluations",
    "compare": "evaluations",
    "split": "cohorts and splits",
}
_LIMITS = (
    "A person who stands in a table under another id is not found by this one.",
    "Copies that were handed on are outside the ledger: whoever received an artifact named here has to be told.",
)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Everything that one patient's images reached.

    Args:
        member: The patient's commitment; never the id.
        cohorts: The cohorts that hold images of the patient.
        artifacts: What was made from those cohorts, directly or not, in the order of recording.
        runs: The runs that used any of it, in the order of starting.
        unknown: Cohorts recorded without patients, of which nothing can be said.
        withdrawn: When an earlier withdrawal of this patient was recorded; None when none was.
    """

    member: str
    cohorts: tuple[ArtifactRecord, ...]
    artifacts: tuple[ArtifactRecord, ...]
    runs: tuple[RunRecord, ...]
    unknown: tuple[ArtifactRecord, ...]
    withdrawn: str | None

    def to_json(self) -> dict[str, Any]:
        """What ``withdraw --json`` prints."""
        return {
            "schema": "ethicclip/withdrawal/1",
            "member": self.member,
            "cohorts": [record.to_json() for record in self.cohorts],
            "artifacts": [record.to_json() for record in self.artifacts],
            "runs": [
                {name: getattr(run, name) for name in ("run_id", "verb", "started", "status", "verdict")}
                for run in self.runs
            ],
            "cohorts_without_patients": [record.to_json() for record in self.unknown],
            "withdrawn": self.withdrawn,
            "limits": list(_LIMITS),
        }

    def lines(self) -> tuple[str, ...]:
        """The outcome for people, grouped by kind."""
        head = f"patient {self.member[:16]}... (commitment)"
        if not self.cohorts:
            lines = [f"{head}: no recorded cohort holds this patient"]
        else:
            count = len(self.cohorts) + len(self.artifacts)
            lines = [f"{head}: reached {count} artifacts through {len(self.runs)} runs"]
        for group, names in self._grouped().items():
            lines += ["", group, *(f"  {name}" for name in names)]
        if self.withdrawn:
            lines += ["", f"this withdrawal was recorded on {self.withdrawn}"]
        if self.unknown:
            lines += ["", "cohorts recorded without patients; of these nothing can be said"]
            lines += [f"  {record.label()}  [{record.id[:28]}]" for record in self.unknown]
        return (*lines, "", *(f"note    {limit}" for limit in _LIMITS))

    def _grouped(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for record in (*self.cohorts, *self.artifacts):
            group = _GROUPS.get(record.kind, "other artifacts")
            found.setdefault(group, []).append(f"{record.label()}  [{record.id[:28]}, origin {record.origin}]")
        for run in self.runs:
            verdict = f", {run.verdict}" if run.verdict else ""
            group = _RUNS.get(run.verb, "other runs")
            found.setdefault(group, []).append(f"run {run.verb} {run.run_id} ({run.started[:10]}{verdict})")
        return found


def withdraw(ledger: Path, patient: str, *, keys: KeyStore, wait_s: float = LOCK_WAIT_S) -> Reach:
    """Find what `patient` reached.

    Args:
        ledger: Path of the ledger.
        patient: The id as it stands in the cohort's table.
        keys: Hold the commitment key of whoever recorded the cohorts.
        wait_s: How long to wait for another process that holds the ledger.

    Raises:
        BadInputError: There is no ledger at that path.
        LedgerLockedError: Another process held it all the time.
    """
    return reach(read_ledger(ledger, wait_s=wait_s), commit_patients([patient], keys)[0])


def reach(snapshot: LedgerSnapshot, member: str) -> Reach:
    """What the person behind a commitment reached."""
    told = {entry.cohort for entry in snapshot.members}
    mine = {entry.cohort for entry in snapshot.members if entry.member == member}
    used: dict[str, list[str]] = {}
    made: dict[str, list[str]] = {}
    for edge in snapshot.edges:
        if edge.role == "used":
            used.setdefault(edge.artifact, []).append(edge.run_id)
        else:
            made.setdefault(edge.run_id, []).append(edge.artifact)
    waiting, seen, runs = deque(mine), set(mine), set()
    while waiting:
        for run_id in used.get(waiting.popleft(), []):
            runs.add(run_id)
            for artifact in made.get(run_id, []):
                # A part of a split that holds others only was not reached.
                if artifact not in seen and not (artifact in told and artifact not in mine):
                    seen.add(artifact)
                    waiting.append(artifact)
    runs |= {run_id for run_id, artifacts in made.items() if mine & set(artifacts)}
    order = snapshot.by_artifact
    unknown = [record for record in order.values() if record.kind == "cohort" and record.id not in told]
    recorded = [event for event in snapshot.events if event.kind == WITHDRAWN and event.payload.get("member") == member]
    return Reach(
        member=member,
        cohorts=tuple(record for record in order.values() if record.id in mine),
        artifacts=tuple(record for record in order.values() if record.id in seen - mine),
        runs=tuple(run for run in snapshot.runs if run.run_id in runs),
        unknown=tuple(unknown),
        withdrawn=recorded[-1].time if recorded else None,
    )
