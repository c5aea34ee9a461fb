"""Recording one run: a start in its own transaction, an end in another, and nothing held in between.

A run that is killed leaves its start without an end, which `ethicclip runs` shows as unfinished.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ethicclip import __version__
from ethicclip.errors import EthicClipError, ExitCode, LedgerLockedError, UsageError
from ethicclip.files import canonical_json
from ethicclip.provenance.artifacts import Artifact
from ethicclip.provenance.chain import RESERVED_KINDS, Head, settings_digest
from ethicclip.provenance.heads import append_heads, refuse_cut_ledger
from ethicclip.provenance.ingestion import artifact_table, ingest_parts, with_run
from ethicclip.provenance.keys import KeyStore
from ethicclip.provenance.places import recorded_path, recorded_text
from ethicclip.provenance.signers import require_signer
from ethicclip.provenance.store import LOCK_WAIT_S, Appender, Clock, timestamp, transaction, utc_now

IdFactory = Callable[[datetime], str]

END_WAIT_S = 60.0
"""Patience at the end of a run: hours of work are recorded or not, so it waits longer than at the start."""

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RECORDED_PACKAGES = ("torch", "torchvision", "open_clip_torch", "faiss-gpu", "faiss-cpu", "numpy", "duckdb")


def new_id(moment: datetime) -> str:
    """A ULID: 48 bits of time, 80 random bits, so that ids sort by time."""
    number = (int(moment.timestamp() * 1000) << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def environment() -> dict[str, Any]:
    """Versions and machine in the words a report needs; no host name, no user, no path."""
    packages = {}
    for name in _RECORDED_PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "packages": packages,
    }


class Run:
    """What a verb tells about itself while it works; written to the ledger when the run ends."""

    def __init__(self, *, run_id: str, ledger: Path, clock: Clock) -> None:
        self.run_id = run_id
        self.ledger = ledger
        self.head: Head | None = None
        """The signed head after this run; None until it ended. Keep it elsewhere to detect a later cut."""
        self._clock = clock
        self._artifacts: dict[tuple[Any, ...], None] = {}
        self._edges: dict[tuple[str, str], None] = {}
        self._metrics: list[tuple[Any, ...]] = []
        self._events: list[tuple[str, str, Any]] = []
        self._members: dict[str, tuple[str, ...]] = {}
        self._parts: dict[Path, None] = {}
        self._exit_code: int | None = None
        self._verdict: str | None = None

    def use(self, artifact: Artifact) -> None:
        """Say that this run read `artifact`."""
        self._add(artifact, "used")

    def generate(self, artifact: Artifact) -> None:
        """Say that this run wrote `artifact`."""
        self._add(artifact, "generated")

    def metric(
        self,
        name: str,
        estimate: float | None,
        low: float | None = None,
        high: float | None = None,
        n: int | None = None,
        unit: str | None = None,
        artifact: Artifact | None = None,
    ) -> None:
        """Record a measured value with its interval and sample size.

        Args:
            name: Such as ``balanced_accuracy``.
            estimate: The value; None, NaN or infinite is kept as "could not be computed".
            low: Lower end of the interval.
            high: Upper end of the interval.
            n: Sample size.
            unit: What `n` counts or the value is in, such as ``patient``.
            artifact: What it was measured on or is written in.
        """
        values = (_finite(estimate), _finite(low), _finite(high))
        self._metrics.append((name, *values, None if n is None else int(n), unit, artifact.id if artifact else None))

    def event(self, kind: str, payload: Mapping[str, Any] | None = None) -> None:
        """Record that something happened; the payload is JSON and holds no patient id and no path of real data.

        Raises:
            UsageError: A kind that the ledger keeps for itself, or a payload that is not JSON.
        """
        if kind in RESERVED_KINDS:
            raise UsageError(f"event kind {kind!r} is the ledger's own", next_step="Choose another name.")
        try:
            canonical_json(dict(payload or {}))
        except (TypeError, ValueError) as error:
            raise UsageError(f"the payload of event {kind!r} is not JSON: {error}") from None
        self._events.append((kind, timestamp(self._clock()), dict(payload or {})))

    def ingest(self, folder: Path) -> None:
        """Take in the part files that workers wrote into `folder` (`ethicclip.provenance.parts`) when the run ends."""
        self._parts[folder] = None

    def note_exit(self, code: int, verdict: str | None = None) -> None:
        """Say with which exit code and verdict the verb ends; a failed gate is still a finished run."""
        self._exit_code, self._verdict = int(code), verdict

    def _add(self, artifact: Artifact, role: str) -> None:
        path = None if artifact.path is None else recorded_path(Path(artifact.path), self.ledger)
        row = (artifact.id, artifact.kind, str(artifact.origin), recorded_text(artifact.alias), path)
        self._artifacts[(*row, artifact.size_bytes, artifact.media)] = None
        self._edges[(role, artifact.id)] = None
        if artifact.members:
            self._members[artifact.id] = artifact.members

    def _write(self, appender: Appender, moment: str, status: str, code: int) -> None:
        run = self.run_id
        told = artifact_table(self._artifacts)
        new = appender.unknown_artifacts(told)
        appender.arrow_rows("artifacts", run, moment, with_run(new, run))
        appender.rows("edges", run, moment, [(run, *edge) for edge in self._edges])
        appender.rows("metrics", run, moment, [(run, *metric) for metric in self._metrics])
        members = {} if not self._members else dict.fromkeys(appender.cohorts_with_members())
        for cohort, people in self._members.items():
            if cohort not in members:
                appender.rows("members", run, moment, [(run, cohort, member) for member in people])
        for folder in self._parts:
            ingest_parts(appender, run, moment, folder)
        for kind, when, payload in self._events:
            appender.event(run, kind, when, payload)
        appender.rows("endings", run, moment, [(run, moment, status, code, self._verdict)])


@contextmanager
def record_run(
    ledger: Path,
    *,
    verb: str,
    settings: Mapping[str, Any],
    seed: int | None = None,
    clock: Clock = utc_now,
    keys: KeyStore | None = None,
    ids: IdFactory = new_id,
    env: Mapping[str, Any] | None = None,
    wait_s: float = LOCK_WAIT_S,
    end_wait_s: float = END_WAIT_S,
) -> Iterator[Run]:
    """Record what happens in the body as one run; a new ledger is made where there is none.

    The start is written at once; artifacts, edges, metrics, events and the end are written in one transaction when the
    body ends, with status ``finished``, ``failed`` or ``interrupted``, and the chain's head is signed, kept in the
    ledger and appended to ``LEDGER.heads``. The body's exception passes through.

    Args:
        ledger: Path of the ledger.
        verb: Name of the verb.
        settings: Resolved settings; they hold no path of real data and no patient id.
        seed: The run's seed.
        clock: Gives every time that is written.
        keys: The writer's keys; `KeyStore.default` when None.
        ids: Makes the ids of run and ledger.
        env: What to record of versions and machine; `environment` when None.
        wait_s: How long to wait for another process at the start.
        end_wait_s: How long to wait for another process at the end.

    Raises:
        BadInputError: The file is not a ledger, or is signed by keys that did not admit this writer's.
        IntegrityError: The ledger lacks what ``LEDGER.heads`` says it held.
        LedgerLockedError: Another process held it all the time.

    Example:
        >>> with record_run(Path("ethicclip.duckdb"), verb="generate", settings={"count": 10}) as run:  # doctest: +SKIP
        ...     run.generate(artifact_of_folder(Path("pairs"), kind="pair_set", origin="synthetic"))
    """
    store = KeyStore.default() if keys is None else keys
    started = clock()
    moment = timestamp(started)
    run = Run(run_id=ids(started), ledger=ledger, clock=clock)
    if seed is not None and not -(2**63) <= seed < 2**63:
        raise UsageError(f"the seed {seed} does not fit in 64 bits", next_step="Choose a smaller one.")
    start_row = (
        run.run_id,
        verb,
        moment,
        seed,
        canonical_json(dict(settings)).decode(),
        settings_digest(settings),
        __version__,
        canonical_json(dict(environment() if env is None else env)).decode(),
    )

    def begin(when: str, patience_s: float) -> Any:
        return transaction(
            ledger, keys=store, moment=when, ledger_id=lambda: ids(started), version=__version__, wait_s=patience_s
        )

    with begin(moment, wait_s) as appender:
        refuse_cut_ledger(ledger, appender)
        require_signer(appender, store, ledger)
        appender.rows("runs", run.run_id, moment, [start_row])

    def finish(status: str, code: int) -> None:
        when = timestamp(clock())
        with begin(when, end_wait_s) as appender:
            run._write(appender, when, status, code)
            head = appender.sign(store, when)
            heads = appender.heads()
        run.head = head
        append_heads(ledger, heads)

    try:
        yield run
    except BaseException as error:
        try:
            finish(*_outcome(error))
        except LedgerLockedError as locked:
            # The body's own failure is what the user must see; that it went unrecorded is a remark to it.
            error.add_note(f"the run's end is not in the ledger: {locked.what}")
        raise
    finish("finished", 0 if run._exit_code is None else run._exit_code)


def _outcome(error: BaseException) -> tuple[str, int]:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", int(ExitCode.INTERRUPTED)
    if isinstance(error, EthicClipError):
        return "failed", int(error.exit_code)
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return ("finished" if error.code == 0 else "failed"), error.code
    return "failed", int(ExitCode.BUG)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
