"""Where an artifact comes from and what was made of it, as a tree for people and as JSON."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.provenance.drawing import Node, draw
from ethicclip.provenance.reading import ArtifactRecord, EdgeRecord, LedgerSnapshot, RunRecord, read_ledger
from ethicclip.provenance.staleness import Reason, stale_audits
from ethicclip.provenance.store import LOCK_WAIT_S

_SHORTEST_PREFIX = 4
_MOST_SHOWN = 20
_MAIN_KINDS = ("pair_set", "model", "verdict", "metrics", "report")


@dataclass(frozen=True, kw_only=True)
class LineageGraph:
    """An artifact with everything upstream and downstream of it.

    Args:
        focus: The artifact that was asked for.
        artifacts: Those reached, by id, in the order of recording.
        runs: Those reached, by id, in the order of starting.
        edges: What joins them.
        stale: Audits among the runs whose verdict no longer speaks of the present, by run id, with the reasons.
    """

    focus: ArtifactRecord
    artifacts: dict[str, ArtifactRecord]
    runs: dict[str, RunRecord]
    edges: tuple[EdgeRecord, ...]
    stale: dict[str, tuple[Reason, ...]]

    def to_json(self) -> dict[str, Any]:
        """What ``lineage --json`` prints."""
        return {
            "schema": "ethicclip/lineage/1",
            "focus": self.focus.id,
            "artifacts": [record.to_json() for record in self.artifacts.values()],
            "runs": [
                {name: getattr(run, name) for name in ("run_id", "verb", "started", "ended", "status", "verdict")}
                for run in self.runs.values()
            ],
            "edges": [asdict(edge) for edge in self.edges],
            "stale": {run_id: [asdict(reason) for reason in reasons] for run_id, reasons in self.stale.items()},
        }

    def picture(self) -> str:
        """The same as an SVG file."""
        nodes = [
            Node(
                id=record.id,
                head=record.kind.replace("_", " "),
                rest=record.alias or record.path or record.id.partition(":")[2][:12],
                kind="artifact",
                origin=record.origin,
            )
            for record in self.artifacts.values()
        ]
        nodes += [
            Node(
                id=run.run_id,
                head=run.verb,
                rest=f"{run.verdict or run.status}{', STALE' if run.run_id in self.stale else ''}",
                kind="run",
                stale=run.run_id in self.stale,
            )
            for run in self.runs.values()
        ]
        edges = {(e.artifact, e.run_id) if e.role == "used" else (e.run_id, e.artifact): None for e in self.edges}
        # What a run both read and wrote would point both ways.
        joined = [(start, end) for start, end in edges if (end, start) not in edges or start in self.artifacts]
        return draw(nodes, joined, standalone=True, focus=self.focus.id) + "\n"

    def lines(self) -> tuple[str, ...]:
        """Two trees: what it was made from, what was made from it."""
        focus = self.focus
        lines = [f"{focus.label()}  [{focus.id[:24]}, origin {focus.origin}]", "", "made from"]
        lines += self._tree(focus.id, "generated", "used", "by", "", set()) or ["  (nothing recorded made it)"]
        lines += ["", "used in"]
        lines += self._tree(focus.id, "used", "generated", "in", "", set()) or ["  (nothing recorded used it)"]
        for run_id, reasons in self.stale.items():
            lines += ["", f"STALE: {self.runs[run_id].verb} {run_id}", *(f"  {reason.text}" for reason in reasons)]
        return tuple(lines)

    def _tree(self, artifact: str, toward: str, beyond: str, word: str, indent: str, shown: set[str]) -> list[str]:
        lines: list[str] = []
        for edge in self.edges:
            if edge.artifact != artifact or edge.role != toward:
                continue
            run = self.runs[edge.run_id]
            verdict = f", {run.verdict}" if run.verdict else ""
            again = run.run_id in shown
            more = "  (shown above)" if again else ""
            old = ", STALE" if run.run_id in self.stale else ""
            lines.append(f"{indent}  {word} {run.verb} {run.run_id} ({run.status}{verdict}{old}){more}")
            if again:
                continue
            shown.add(run.run_id)
            others = [e.artifact for e in self.edges if e.run_id == run.run_id and e.role == beyond]
            for other in others[:_MOST_SHOWN]:
                record = self.artifacts[other]
                lines.append(f"{indent}    {record.label()}  [{record.id[:24]}, origin {record.origin}]")
                lines += self._tree(other, toward, beyond, word, indent + "    ", shown)
            if len(others) > _MOST_SHOWN:
                lines.append(f"{indent}    ... and {len(others) - _MOST_SHOWN} more")
        return lines


def lineage(ledger: Path, artifact: str, *, wait_s: float = LOCK_WAIT_S) -> LineageGraph:
    """The lineage of one artifact.

    Args:
        ledger: Path of the ledger.
        artifact: Its path (as recorded, or from here), the folder it lies in, its alias, or the first digits of its
            hash.
        wait_s: How long to wait for another process that holds the ledger.

    Raises:
        BadInputError: No artifact answers to that name, or several different ones do.
    """
    snapshot = read_ledger(ledger, wait_s=wait_s)
    return graph_of(snapshot, find_artifact(snapshot, artifact))


def graph_of(snapshot: LedgerSnapshot, focus: ArtifactRecord) -> LineageGraph:
    """Everything upstream and downstream of `focus`."""
    edges: set[tuple[str, str, str]] = set()
    _walk(snapshot, focus.id, "generated", "used", edges)
    _walk(snapshot, focus.id, "used", "generated", edges)
    kept = tuple(edge for edge in snapshot.edges if (edge.run_id, edge.role, edge.artifact) in edges)
    reached = {edge.artifact for edge in kept} | {focus.id}
    runs = {edge.run_id for edge in kept}
    return LineageGraph(
        focus=focus,
        artifacts={record.id: record for record in snapshot.artifacts if record.id in reached},
        runs={run.run_id: run for run in snapshot.runs if run.run_id in runs},
        edges=kept,
        stale={run_id: reasons for run_id, reasons in stale_audits(snapshot).items() if run_id in runs},
    )


def find_artifact(snapshot: LedgerSnapshot, text: str) -> ArtifactRecord:
    """The latest record that answers to a path, an alias or a hash.

    Raises:
        BadInputError: None does, or a hash prefix fits several artifacts.
    """
    absolute = Path(text).absolute()
    located = ((record, snapshot.place(record)) for record in snapshot.artifacts)
    places = {record: place for record, place in located if place is not None}
    for matches in (
        [record for record in snapshot.artifacts if text in (record.path, record.alias)],
        [record for record, place in places.items() if place == absolute],
        # A folder stands for the main thing that a run wrote into it.
        *([r for r, place in places.items() if place.parent == absolute and r.kind == kind] for kind in _MAIN_KINDS),
    ):
        if matches:
            return matches[-1]
    bare = text.lower().removeprefix("hmac-sha256:").removeprefix("sha256:")
    found: dict[str, ArtifactRecord] = {}
    if len(bare) >= _SHORTEST_PREFIX:
        found = {record.id: record for record in snapshot.artifacts if record.id.partition(":")[2].startswith(bare)}
    if len(found) == 1:
        return next(iter(found.values()))
    raise BadInputError(
        f"{len(found) or 'no'} artifacts in {snapshot.path} answer to {text[:120]!r}",
        details=_names(found.values() if found else snapshot.by_artifact.values()),
        next_step="Give a path, an alias or the first digits of a hash of the list above.",
    )


def _walk(snapshot: LedgerSnapshot, start: str, toward: str, beyond: str, edges: set[tuple[str, str, str]]) -> None:
    by_artifact: dict[tuple[str, str], list[EdgeRecord]] = {}
    by_run: dict[tuple[str, str], list[EdgeRecord]] = {}
    for edge in snapshot.edges:
        by_artifact.setdefault((edge.artifact, edge.role), []).append(edge)
        by_run.setdefault((edge.run_id, edge.role), []).append(edge)
    waiting, seen = deque([start]), {start}
    while waiting:
        for near in by_artifact.get((waiting.popleft(), toward), []):
            edges.add((near.run_id, near.role, near.artifact))
            for far in by_run.get((near.run_id, beyond), []):
                edges.add((far.run_id, far.role, far.artifact))
                if far.artifact not in seen:
                    seen.add(far.artifact)
                    waiting.append(far.artifact)


def _names(records: Iterable[ArtifactRecord]) -> list[str]:
    named = [f"{record.label()}  {record.id[:28]}" for record in records]
    return named[-_MOST_SHOWN:]
