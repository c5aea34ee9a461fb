"""The ledger's runs and artifacts as a small graph: the released set, what it came from, what was made of it."""

from __future__ import annotations

from ethicclip.provenance import ArtifactRecord, LedgerSnapshot, RunRecord, stale_audits
from ethicclip.reports.document import LineageNode, LineagePart
from ethicclip.reports.evidence import Evidence
from ethicclip.reports.wording import clean

MOST_NODES = 48
_MINOR = frozenset({"figure", "flagged", "model_config", "report", "scores", "training_log", "training_run"})
_NAMES = {"pair_set": "pair set", "image_set": "image set"}


def lineage_part(evidence: Evidence) -> LineagePart:
    """All finished runs with their main artifacts, oldest first, as many as a picture bears."""
    snapshot = evidence.snapshot
    runs = [run for run in snapshot.runs if run.status == "finished" and run.verb != "report"]
    kept_runs, left_out = _latest_of_each(snapshot, runs)
    edges: dict[tuple[str, str], None] = {}
    artifacts: dict[str, ArtifactRecord] = {}
    for run in kept_runs:
        used = {record.id: record for record in snapshot.artifacts_of(run.run_id, "used")}
        made = {record.id: record for record in snapshot.artifacts_of(run.run_id, "generated")}
        for record in used.values():
            if record.kind not in _MINOR:
                artifacts[record.id] = record
                edges[record.id, run.run_id] = None
        for record in made.values():
            if record.kind not in _MINOR and record.id not in used:
                artifacts[record.id] = record
                edges[run.run_id, record.id] = None
    stale = stale_audits(snapshot)
    nodes = [
        LineageNode(id=run.run_id, text=_run_text(run), kind="run", stale=run.run_id in stale) for run in kept_runs
    ]
    nodes += [
        LineageNode(
            id=record.id,
            text=f"{_NAMES.get(record.kind, clean(record.kind, 40))}\n{_name(record)}",
            kind="artifact",
            origin=record.origin,
        )
        for record in artifacts.values()
    ]
    return LineagePart(nodes=tuple(nodes), edges=tuple(edges), left_out=left_out)


def _latest_of_each(snapshot: LedgerSnapshot, runs: list[RunRecord]) -> tuple[list[RunRecord], int]:
    """Drop the oldest runs while the picture would be too full."""
    kept = list(runs)
    while len(kept) > 1 and _size(snapshot, kept) > MOST_NODES:
        kept.pop(0)
    return kept, len(runs) - len(kept)


def _size(snapshot: LedgerSnapshot, runs: list[RunRecord]) -> int:
    wanted = {run.run_id for run in runs}
    ids = {edge.artifact for edge in snapshot.edges if edge.run_id in wanted}
    return len(wanted) + sum(1 for id_ in ids if snapshot.by_artifact[id_].kind not in _MINOR)


def _run_text(run: RunRecord) -> str:
    return f"{clean(run.verb, 40)}\n{clean(run.verdict, 40) if run.verdict else run.started[:16].replace('T', ' ')}"


def _name(record: ArtifactRecord) -> str:
    return clean(record.alias or record.id.partition(":")[2][:12], 60)
