"""What an export is about: the whole ledger, one run, or an artifact with everything up- and downstream of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ethicclip.files import read_json
from ethicclip.provenance import ArtifactRecord, LedgerSnapshot, RunRecord, graph_of
from ethicclip.provenance.ancestry import find_artifact
from ethicclip.provenance.reading import EdgeRecord


@dataclass(frozen=True, kw_only=True)
class Scope:
    """A part of a ledger.

    Args:
        snapshot: The whole.
        runs: Those in question, oldest first.
        artifacts: Those that these runs used or generated, by id.
        edges: What joins them.
        focus: The artifact that was asked for, if one was.
    """

    snapshot: LedgerSnapshot
    runs: tuple[RunRecord, ...]
    artifacts: Mapping[str, ArtifactRecord]
    edges: tuple[EdgeRecord, ...]
    focus: ArtifactRecord | None

    def of(self, run: RunRecord, role: str) -> list[ArtifactRecord]:
        """What a run used or generated, each once."""
        ids = dict.fromkeys(edge.artifact for edge in self.edges if edge.run_id == run.run_id and edge.role == role)
        return [self.artifacts[id_] for id_ in ids if id_ in self.artifacts]


def scope_of(snapshot: LedgerSnapshot, subject: str | None) -> Scope:
    """The part of a ledger that `subject` names: None for all of it, a run's id, or an artifact.

    Raises:
        BadInputError: Nothing answers to that name.
    """
    if subject is None:
        return _scope(snapshot, snapshot.runs, snapshot.edges, None)
    if subject in snapshot.by_run:
        edges = tuple(edge for edge in snapshot.edges if edge.run_id == subject)
        return _scope(snapshot, (snapshot.by_run[subject],), edges, None)
    graph = graph_of(snapshot, find_artifact(snapshot, subject))
    return _scope(snapshot, tuple(graph.runs.values()), graph.edges, graph.focus)


def shards_of(snapshot: LedgerSnapshot, record: ArtifactRecord) -> list[tuple[str, str]]:
    """File and sha256 of each shard of a pair set whose manifest lies where it was recorded; else nothing."""
    place = snapshot.place(record)
    if record.kind != "pair_set" or place is None or not place.is_file():
        return []
    manifest = read_json(place)
    shards = manifest.get("shards") if isinstance(manifest, Mapping) else None
    return [
        (str(entry["file"]), str(entry["sha256"]))
        for entry in (shards if isinstance(shards, list) else [])
        if isinstance(entry, Mapping) and "file" in entry and "sha256" in entry
    ]


def digest_of(record: ArtifactRecord) -> dict[str, str]:
    """A digest set: ``sha256``, or the keyed commitment under a name that nobody takes for a plain hash."""
    kind, _, value = record.id.partition(":")
    return {"sha256" if kind == "sha256" else "ethicclip-hmac-sha256": value}


def name_of(record: ArtifactRecord) -> str:
    """What people call an artifact: its path beside the ledger, its alias, else the beginning of its hash.

    An absolute path names a machine, so only the last part of it is told.
    """
    if record.path is not None and not record.path.startswith("/"):
        return record.path
    return record.alias or (record.path or record.id).rpartition("/")[2][:40]


def _scope(
    snapshot: LedgerSnapshot, runs: Iterable[RunRecord], edges: tuple[EdgeRecord, ...], focus: ArtifactRecord | None
) -> Scope:
    ids: dict[str, Any] = dict.fromkeys(edge.artifact for edge in edges)
    if focus is not None:
        ids.setdefault(focus.id)
    known = snapshot.by_artifact
    return Scope(
        snapshot=snapshot,
        runs=tuple(runs),
        artifacts={id_: known[id_] for id_ in ids if id_ in known},
        edges=edges,
        focus=focus,
    )
