"""Reading a ledger: one short look at the file gives a snapshot that no later run changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ethicclip.errors import IntegrityError
from ethicclip.provenance.chain import ROWS, Head
from ethicclip.provenance.contents import Contents, read_contents
from ethicclip.provenance.findings import Collector
from ethicclip.provenance.store import LOCK_WAIT_S, open_ledger, rows_of

UNFINISHED = "unfinished"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run; `status` is finished, failed, interrupted, or unfinished (killed, or still at work)."""

    run_id: str
    verb: str
    started: str
    ended: str | None
    status: str
    exit_code: int | None
    verdict: str | None
    seed: int | None
    settings: Mapping[str, Any]
    settings_sha256: str
    version: str
    environment: Mapping[str, Any]

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it has no end."""
        if self.ended is None:
            return None
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON types."""
        fields = dict(self.__dict__)
        return {**fields, "settings": dict(self.settings), "environment": dict(self.environment)}

    def line(self) -> str:
        """One line for a list of runs."""
        took = "" if self.seconds is None else f"{self.seconds:.1f} s"
        code = "" if self.exit_code is None else f"exit {self.exit_code}"
        words = f"{self.run_id}  {self.started[:19]}Z  {self.verb:<14}{self.status:<12}{code:<9}{took:>10}"
        return f"{words}  {self.verdict}" if self.verdict else words


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """One record of an artifact; the same content may be recorded under several names."""

    row: int
    id: str
    run_id: str
    kind: str
    origin: str
    alias: str | None
    path: str | None
    size_bytes: int | None
    media: str | None

    def label(self) -> str:
        """Kind and the most telling name it has."""
        return f"{self.kind} {self.path or self.alias or self.id[:24]}"

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EdgeRecord:
    """A run used or generated an artifact."""

    run_id: str
    role: str
    artifact: str


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """A measured value with its interval and sample size; `estimate` None means that it could not be computed."""

    run_id: str
    name: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int | None
    unit: str | None
    artifact: str | None

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A person's images are in a cohort: the cohort's id, and the commitment to the person."""

    cohort: str
    member: str


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something a verb said about its run."""

    seq: int
    run_id: str
    kind: str
    time: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class LedgerSnapshot:
    """Everything a ledger holds at one moment, in the order in which it was recorded."""

    path: Path
    ledger_id: str
    runs: tuple[RunRecord, ...]
    artifacts: tuple[ArtifactRecord, ...]
    edges: tuple[EdgeRecord, ...]
    metrics: tuple[MetricRecord, ...]
    members: tuple[MemberRecord, ...]
    events: tuple[EventRecord, ...]
    heads: tuple[Head, ...]

    @cached_property
    def by_run(self) -> dict[str, RunRecord]:
        """Runs by id."""
        return {run.run_id: run for run in self.runs}

    @cached_property
    def by_artifact(self) -> dict[str, ArtifactRecord]:
        """The latest record of each artifact, by id."""
        return {record.id: record for record in self.artifacts}

    def latest(self, verb: str) -> RunRecord | None:
        """The latest finished run of a verb, failed gates included."""
        return next((run for run in reversed(self.runs) if run.verb == verb and run.status == "finished"), None)

    def artifacts_of(self, run_id: str, role: str) -> list[ArtifactRecord]:
        """What a run used or generated, in the order of recording."""
        ids = [edge.artifact for edge in self.edges if edge.run_id == run_id and edge.role == role]
        own = {record.id: record for record in self.artifacts if record.run_id == run_id}
        return [own.get(id_) or self.by_artifact[id_] for id_ in ids if id_ in self.by_artifact]

    def metrics_of(self, run_id: str) -> list[MetricRecord]:
        """What a run measured."""
        return [metric for metric in self.metrics if metric.run_id == run_id]

    def place(self, record: ArtifactRecord) -> Path | None:
        """Where an artifact should lie now; None when it has no path."""
        return None if record.path is None else self.path.absolute().parent / record.path


def read_ledger(ledger: Path, *, wait_s: float = LOCK_WAIT_S) -> LedgerSnapshot:
    """Take a snapshot of a ledger. It is not verified: `verify_ledger` does that.

    Raises:
        BadInputError: There is no ledger at that path.
        IntegrityError: Its records cannot be read as what they claim to be.
        LedgerLockedError: Another process held it all the time.
    """
    found = Collector()
    with open_ledger(ledger, read_only=True, wait_s=wait_s) as connection:
        contents = read_contents(connection, found, check_views=False)
    if found.findings:
        raise IntegrityError(
            f"the ledger {ledger} does not have the tables it was made with: {found.findings[0].line()}",
            next_step="Run `ethicclip verify` on it, and restore it from a copy.",
        )
    return snapshot_of(ledger, contents)


def snapshot_of(ledger: Path, contents: Contents) -> LedgerSnapshot:
    """The records that a ledger's contents are.

    Raises:
        IntegrityError: They cannot be read as what they claim to be.
    """
    tables = contents.tables
    try:
        endings = {row[1]: row for row in rows_of(tables["endings"])}
        meta = {row[1]: row[2] for row in rows_of(tables["meta"])}
        return LedgerSnapshot(
            path=ledger,
            ledger_id=str(meta["ledger"]),
            runs=tuple(_run(row, endings.get(row[1])) for row in rows_of(tables["runs"])),
            artifacts=tuple(ArtifactRecord(*row) for row in rows_of(tables["artifacts"])),
            edges=tuple(EdgeRecord(*row[1:]) for row in rows_of(tables["edges"])),
            metrics=tuple(MetricRecord(*row[1:]) for row in rows_of(tables["metrics"])),
            members=tuple(MemberRecord(*row[2:]) for row in rows_of(tables["members"])),
            events=tuple(
                EventRecord(row[0], row[1], row[2], row[3], json.loads(row[4]))
                for row in rows_of(contents.events)
                if row[2] != ROWS
            ),
            heads=tuple(Head.from_json(json.loads(row[1])) for row in rows_of(contents.heads)),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(
            f"the ledger {ledger} holds a record that cannot be read: {error}",
            next_step="Run `ethicclip verify` on it: it names the record.",
        ) from None


def list_runs(ledger: Path, *, wait_s: float = LOCK_WAIT_S) -> tuple[RunRecord, ...]:
    """All runs of a ledger, oldest first.

    Raises:
        BadInputError: There is no ledger at that path.
    """
    return read_ledger(ledger, wait_s=wait_s).runs


def latest(ledger: Path, verb: str, *, wait_s: float = LOCK_WAIT_S) -> RunRecord | None:
    """The latest finished run of a verb; None when there is none."""
    return read_ledger(ledger, wait_s=wait_s).latest(verb)


def _run(row: tuple[Any, ...], ending: tuple[Any, ...] | None) -> RunRecord:
    _, run_id, verb, started, seed, settings, settings_sha256, version, environment = row
    _, _, ended, status, code, verdict = ending if ending is not None else (0, "", None, UNFINISHED, None, None)
    return RunRecord(
        run_id=run_id,
        verb=verb,
        started=started,
        ended=ended,
        status=status,
        exit_code=code,
        verdict=verdict,
        seed=seed,
        settings=json.loads(settings),
        settings_sha256=settings_sha256,
        version=version,
        environment=json.loads(environment),
    )
