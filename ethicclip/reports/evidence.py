"""What a report may rest on: the ledger's snapshot, and those artifact files that are still as recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ethicclip.files import sha256_file
from ethicclip.provenance import ArtifactRecord, LedgerSnapshot, RunRecord, VerifyResult

SET_KINDS = frozenset({"pair_set", "image_set"})
_LARGEST_PAPER_BYTES = 64 << 20


class PaperState(StrEnum):
    """Whether a recorded file can be relied on."""

    READ = "read"
    ABSENT = "absent"
    CHANGED = "changed"
    UNRECORDED = "unrecorded"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A file that a run wrote, as far as it can be relied on.

    Args:
        state: Whether its content is what the ledger recorded.
        name: What it is called in sentences.
        text: Its content; empty unless it was read.
        path: Where it lies.
        record: Its record in the ledger.
    """

    state: PaperState
    name: str
    text: str = ""
    path: Path | None = None
    record: ArtifactRecord | None = None
    content: dict[str, Any] = field(default_factory=dict)

    def says(self) -> str:
        """One sentence on its state."""
        return {
            PaperState.READ: f"{self.name} was read; its hash is the one in the ledger.",
            PaperState.ABSENT: f"{self.name} is not where the ledger says it was written; what follows is from the "
            "ledger alone.",
            PaperState.CHANGED: f"{self.name} was changed after it was recorded; its content is not shown.",
            PaperState.UNRECORDED: f"{self.name}: the ledger holds no file of that kind here.",
            PaperState.UNREADABLE: f"{self.name} has the recorded hash but is not of a form this release reads.",
        }[self.state]


@dataclass(frozen=True, kw_only=True)
class AuditEvidence:
    """One run of ``audit-leakage`` that ended by itself."""

    run: RunRecord
    verdict: Paper
    flagged: Paper
    audited: ArtifactRecord | None
    reference: ArtifactRecord | None
    control: ArtifactRecord | None
    positive_control: str

    @property
    def outcome(self) -> str:
        """PASS, LEAK, INCONCLUSIVE; what file and ledger agree on, else INCONCLUSIVE."""
        recorded = self.run.verdict or "INCONCLUSIVE"
        written = self.verdict.content.get("verdict", recorded)
        if written != recorded or recorded not in {"PASS", "LEAK", "INCONCLUSIVE"}:
            return "LEAK" if "LEAK" in (written, recorded) else "INCONCLUSIVE"
        return recorded


@dataclass(frozen=True, kw_only=True)
class RunWithPaper:
    """A run and its main paper."""

    run: RunRecord
    paper: Paper


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that the sections and the framework rules look at."""

    snapshot: LedgerSnapshot
    checked: VerifyResult
    subject: ArtifactRecord | None
    sets: tuple[ArtifactRecord, ...]
    manifests: dict[str, Paper]
    cohorts: tuple[ArtifactRecord, ...]
    splits: tuple[RunRecord, ...]
    generations: tuple[RunRecord, ...]
    audits: tuple[AuditEvidence, ...]
    trainings: tuple[RunWithPaper, ...]
    evaluations: tuple[RunWithPaper, ...]
    comparisons: tuple[RunWithPaper, ...]
    memberships: tuple[RunWithPaper, ...]
    texts: tuple[RunWithPaper, ...]

    def audits_of(self, artifact_id: str | None) -> list[AuditEvidence]:
        """Audits of one set, oldest first."""
        return [audit for audit in self.audits if audit.audited is not None and audit.audited.id == artifact_id]

    @property
    def deciding(self) -> AuditEvidence | None:
        """The latest audit of the released set."""
        found = self.audits_of(self.subject.id) if self.subject is not None else []
        return found[-1] if found else None

    def texts_of(self, artifact_id: str | None) -> list[RunWithPaper]:
        """Scans of the words of one set, oldest first."""
        return [
            entry
            for entry in self.texts
            if any(record.id == artifact_id for record in self.snapshot.artifacts_of(entry.run.run_id, "used"))
        ]

    def models_of(self, artifact_id: str | None) -> set[str]:
        """Ids of what was trained on one set."""
        return {
            record.id
            for entry in self.trainings
            if any(used.id == artifact_id for used in self.snapshot.artifacts_of(entry.run.run_id, "used"))
            for record in self.snapshot.artifacts_of(entry.run.run_id, "generated")
        }

    @property
    def claims(self) -> list[tuple[RunRecord, dict[str, Any]]]:
        """Privacy statements of the trainings that made one, oldest first."""
        found = [(entry.run, entry.paper.content.get("differential_privacy")) for entry in self.trainings]
        return [(run, statement) for run, statement in found if isinstance(statement, dict)]

    @property
    def simulated(self) -> bool:
        """Whether eyes of a simulated population stand in the place of real ones."""
        return any(cohort.origin == "synthetic" for cohort in self.cohorts)


def gather(snapshot: LedgerSnapshot, checked: VerifyResult, subject: ArtifactRecord | None) -> Evidence:
    """Sort a ledger's runs into what the sections need, and read their papers."""
    finished = [run for run in snapshot.runs if run.status == "finished"]

    def of(verb: str) -> tuple[RunRecord, ...]:
        return tuple(run for run in finished if run.verb == verb)

    # The first name a cohort got says most: a split calls it odir/control, a later run just control.
    cohorts: dict[str, ArtifactRecord] = {}
    for record in snapshot.artifacts:
        if record.kind == "cohort":
            cohorts.setdefault(record.id, record)
    sets = _distinct(record for record in snapshot.artifacts if record.kind in SET_KINDS)
    return Evidence(
        snapshot=snapshot,
        checked=checked,
        subject=subject or _default_subject(snapshot, of("train"), of("generate"), of("audit-leakage")),
        sets=sets,
        manifests={record.id: _paper(snapshot, record, "The set's manifest") for record in sets},
        cohorts=tuple(cohorts.values()),
        splits=of("split"),
        generations=of("generate"),
        audits=tuple(_audit(snapshot, run, cohorts) for run in of("audit-leakage")),
        trainings=tuple(_with_paper(snapshot, run, "training_run", "run.json") for run in of("train")),
        evaluations=tuple(_with_paper(snapshot, run, "metrics", "metrics.json") for run in of("evaluate")),
        comparisons=tuple(_with_paper(snapshot, run, "comparison", "comparison.json") for run in of("compare")),
        memberships=tuple(_with_paper(snapshot, run, "model_audit", "model_audit.json") for run in of("audit-model")),
        texts=tuple(_with_paper(snapshot, run, "text_audit", "text.json") for run in of("audit-text")),
    )


def written_by(snapshot: LedgerSnapshot, run: RunRecord, kind: str, name: str, *, as_json: bool = True) -> Paper:
    """The file of a kind that a run wrote."""
    for record in snapshot.artifacts_of(run.run_id, "generated"):
        if record.kind == kind:
            return _paper(snapshot, record, name, as_json=as_json)
    return Paper(state=PaperState.UNRECORDED, name=name)


def _paper(snapshot: LedgerSnapshot, record: ArtifactRecord, name: str, *, as_json: bool = True) -> Paper:
    place = snapshot.place(record)
    if place is None:
        return Paper(state=PaperState.UNRECORDED, name=name, record=record)
    paper = Paper(state=PaperState.ABSENT, name=name, path=place, record=record)
    try:
        if not place.is_file():
            return paper
        if place.stat().st_size > _LARGEST_PAPER_BYTES:
            return Paper(**{**vars(paper), "state": PaperState.UNREADABLE})
        if f"sha256:{sha256_file(place)}" != record.id:
            return Paper(**{**vars(paper), "state": PaperState.CHANGED})
        text = place.read_text(encoding="utf-8")
        content = json.loads(text) if as_json else {}
    except (OSError, ValueError, RecursionError):
        return Paper(**{**vars(paper), "state": PaperState.UNREADABLE})
    if not isinstance(content, dict):
        return Paper(**{**vars(paper), "state": PaperState.UNREADABLE})
    return Paper(**{**vars(paper), "state": PaperState.READ, "text": text, "content": content})


def _with_paper(snapshot: LedgerSnapshot, run: RunRecord, kind: str, name: str) -> RunWithPaper:
    return RunWithPaper(run=run, paper=written_by(snapshot, run, kind, name))


def _audit(snapshot: LedgerSnapshot, run: RunRecord, known: dict[str, ArtifactRecord]) -> AuditEvidence:
    used = snapshot.artifacts_of(run.run_id, "used")
    cohorts = [known[record.id] for record in used if record.kind == "cohort"]
    planted = [event for event in snapshot.events if event.run_id == run.run_id and event.kind == "positive_control"]
    return AuditEvidence(
        run=run,
        verdict=written_by(snapshot, run, "verdict", "verdict.json"),
        flagged=written_by(snapshot, run, "flagged", "flagged.csv", as_json=False),
        audited=next((record for record in used if record.kind in SET_KINDS), None),
        # The order of recording tells the sides apart: reference first, then control.
        reference=cohorts[0] if cohorts else None,
        control=cohorts[1] if len(cohorts) > 1 else None,
        positive_control=str(planted[-1].payload.get("note", "copies were planted on purpose")) if planted else "",
    )


def _default_subject(snapshot: LedgerSnapshot, *verbs: tuple[RunRecord, ...]) -> ArtifactRecord | None:
    for runs, role in zip(verbs, ("used", "generated", "used"), strict=True):
        for run in reversed(runs):
            for record in snapshot.artifacts_of(run.run_id, role):
                if record.kind in SET_KINDS:
                    return snapshot.by_artifact[record.id]
    return None


def _distinct(records: Any) -> tuple[ArtifactRecord, ...]:
    """The latest record of each artifact, in the order of first recording."""
    found: dict[str, ArtifactRecord] = {}
    for record in records:
        found[record.id] = record
    return tuple(found.values())
