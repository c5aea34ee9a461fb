"""The ledger file: opened for one short transaction at a time, since DuckDB admits one process.

A long run holds no connection. Another process's lock is waited for with growing pauses; then `LedgerLockedError`
names the holder.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow

from ethicclip.errors import BadInputError, IntegrityError, LedgerLockedError, StorageError
from ethicclip.files import canonical_json, storage_errors
from ethicclip.provenance.chain import (
    CREATED,
    GENESIS_HASH,
    MIGRATED,
    ROWS,
    SIGNER,
    Head,
    event_hash,
    row_hash,
    sign_head,
)
from ethicclip.provenance.keys import KeyStore
from ethicclip.provenance.schema import (
    ALL_TABLES,
    SCHEMA_VERSION,
    TABLES,
    columns_of,
    create_statements,
    migration_statements,
)

# pyarrow is untyped: to the type checker its module exports nothing.
pa: Any = pyarrow

Clock = Callable[[], datetime]
LOCK_WAIT_S = 5.0
ROWS_PER_EVENT = 1000

_MAGIC = b"DUCK"
_MAGIC_OFFSET = 8
_HOLDER = re.compile(r"lock is held in (?P<program>.*?) \(PID (?P<pid>\d+)\)")
_ARROW = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "VARCHAR": pa.string()}


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """UTC, ISO 8601 with microseconds and Z: sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def heads_path(ledger: Path) -> Path:
    """``LEDGER.heads``, beside the ledger."""
    return ledger.with_name(ledger.name + ".heads")


def looks_like_database(path: Path) -> bool:
    """Whether a file is a DuckDB database by its content, whatever its name."""
    try:
        with path.open("rb") as stream:
            return stream.read(_MAGIC_OFFSET + len(_MAGIC))[_MAGIC_OFFSET:] == _MAGIC
    except OSError:
        return False


@contextmanager
def open_ledger(
    path: Path, *, read_only: bool, wait_s: float = LOCK_WAIT_S, create: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Hold the ledger for one short piece of work.

    Raises:
        BadInputError: No such file, not a DuckDB database, or a database that is no ledger.
        LedgerLockedError: Another process still held it after `wait_s` seconds.
        StorageError: The place refuses writing.
    """
    if path.exists():
        if path.is_dir() or not looks_like_database(path):
            raise BadInputError(f"{path} is not a ledger", next_step="Give the path of a ledger, or of a new file.")
    elif not create:
        raise BadInputError(
            f"there is no ledger at {path}",
            next_step="Give --ledger the file that your runs wrote; any verb that makes something makes a ledger.",
        )
    else:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    with _connect(path, read_only=read_only, wait_s=wait_s) as connection:
        _check_kind(connection, path, may_be_empty=create)
        yield connection


@contextmanager
def _connect(path: Path, *, read_only: bool, wait_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    deadline, pause_s = time.monotonic() + wait_s, 0.02
    while True:
        try:
            connection = duckdb.connect(str(path), read_only=read_only)
            break
        except duckdb.Error as error:
            if "lock" not in str(error).lower():
                raise _translated(error, path) from error
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise _locked(error, path, wait_s) from None
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.7, 0.5)
    try:
        yield connection
    except duckdb.Error as error:
        raise _translated(error, path) from error
    finally:
        connection.close()


def _locked(error: duckdb.Error, path: Path, wait_s: float) -> LedgerLockedError:
    found = _HOLDER.search(str(error))
    holder = f"process {found['pid']} ({found['program']})" if found else "another process"
    return LedgerLockedError(
        f"the ledger {path} is held by {holder}; waited {wait_s:g} s",
        next_step="Wait until it ends (or close the DuckDB shell that has it open) and run the same command again.",
    )


def _translated(error: duckdb.Error, path: Path) -> Exception:
    text = " ".join(str(error).split())[:300]
    if re.search(r"no space left|read-only file system|permission denied|disk quota", text, re.IGNORECASE):
        return StorageError(f"the ledger {path} cannot be written: {text}", next_step="Free space or choose a place.")
    if re.search(r"corrupt|checksum", text, re.IGNORECASE):
        return IntegrityError(
            f"the file of the ledger {path} is damaged: {text}", next_step="Restore it from a copy and verify that."
        )
    if isinstance(error, duckdb.IOException | duckdb.SerializationException | duckdb.InternalException):
        return BadInputError(
            f"the ledger {path} cannot be read: {text}",
            next_step="Restore it from a copy; `ethicclip verify` tells whether a copy is whole.",
        )
    if isinstance(error, duckdb.CatalogException | duckdb.BinderException):
        return IntegrityError(
            f"the ledger {path} does not have the tables it was made with: {text}",
            next_step="Run `ethicclip verify` on it, and restore it from a copy.",
        )
    return error


def _check_kind(connection: duckdb.DuckDBPyConnection, path: Path, *, may_be_empty: bool) -> None:
    names = table_names(connection)
    if "events" in names and "meta" in names:
        version = schema_version(connection)
        if version > SCHEMA_VERSION:
            raise BadInputError(
                f"the ledger {path} has schema {version}; this release knows schema 1 to {SCHEMA_VERSION}",
                next_step="Use a release of EthicCLIP that is as new as the one that wrote it.",
            )
        return
    if not names and may_be_empty:
        return
    raise BadInputError(
        f"{path} is a DuckDB database but not a ledger of EthicCLIP", next_step="Give --ledger another file."
    )


def schema_version(connection: duckdb.DuckDBPyConnection) -> int:
    """The version that the ledger says it has; 1 where it says nothing that can be read."""
    found = query(connection, "SELECT value FROM meta WHERE name = 'schema_version' ORDER BY row DESC LIMIT 1")
    text = str(found[0][0]) if found else ""
    return int(text) if text.isdecimal() else 1


def query(connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query; the result is read to its end, which DuckDB asks for before other work."""
    return connection.execute(sql, list(values)).fetchall()


def table_names(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Names of the base tables that the file holds."""
    found = query(connection, "SELECT table_name FROM duckdb_tables() WHERE NOT internal")
    return {str(row[0]) for row in found}


def view_definitions(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The views that the file holds, by name, with the SQL that defines them."""
    found = query(connection, "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal")
    return {str(name): str(sql) for name, sql in found}


@functools.cache
def fresh_views(version: int) -> dict[str, str]:
    """The views of a new ledger of that version, spelled as this release of DuckDB spells them."""
    connection = duckdb.connect(":memory:")
    try:
        for statement in create_statements(version):
            connection.execute(statement)
        return view_definitions(connection)
    finally:
        connection.close()


def read_arrow(connection: duckdb.DuckDBPyConnection, table: str) -> Any:
    """All rows of a table as an Arrow table, columns in hashing order, rows by their number."""
    names = columns_of(table)
    return connection.sql(f"SELECT {', '.join(names)} FROM {table} ORDER BY {names[0]}").to_arrow_table()  # noqa: S608


def rows_of(table: Any, batch: int = 20_000) -> Iterator[tuple[Any, ...]]:
    """The rows of an Arrow table as Python values, made a batch at a time."""
    for part in table.to_batches(max_chunksize=batch):
        yield from zip(*(column.to_pylist() for column in part.columns), strict=True)


class Appender:
    """Adds rows and events to the end of the chain within one transaction of an open ledger."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, ledger_id: str, counts: dict[str, int]) -> None:
        self._connection = connection
        self.ledger_id = ledger_id
        self._counts = counts
        last = query(connection, "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
        self.seq, self.hash = (int(last[0][0]), str(last[0][1])) if last else (0, GENESIS_HASH)
        self._events: list[tuple[Any, ...]] = []

    def event(self, run_id: str, kind: str, moment: str, payload: Any) -> None:
        """Chain one event."""
        text = canonical_json(payload).decode()
        self.seq += 1
        digest = event_hash(self.seq, run_id, kind, moment, text, self.hash)
        self._events.append((self.seq, run_id, kind, moment, text, self.hash, digest))
        self.hash = digest

    def rows(self, table: str, run_id: str, moment: str, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows (values without their number) to a base table, covered by events of kind ``rows``."""
        numbered = [(number, *row) for number, row in enumerate(rows, start=self._counts[table] + 1)]
        self._cover(table, run_id, moment, numbered)
        if numbered:
            _insert(self._connection, table, numbered)

    def arrow_rows(self, table: str, run_id: str, moment: str, rows: Any) -> None:
        """`rows` for an Arrow table with every column but ``row``, under the table's names."""
        if len(rows) == 0:
            return
        first = self._counts[table] + 1
        numbers = pa.array(range(first, first + len(rows)), type=pa.int64())
        batch = rows.append_column("row", numbers).select([name for name, _ in TABLES[table]])
        self._cover(table, run_id, moment, rows_of(batch))
        _insert_arrow(self._connection, table, batch)

    def _cover(self, table: str, run_id: str, moment: str, numbered: Iterable[tuple[Any, ...]]) -> None:
        """Chain the hashes of new rows."""
        rows = iter(numbered)
        while part := list(itertools.islice(rows, ROWS_PER_EVENT)):
            hashes = [row_hash(table, row) for row in part]
            self.event(run_id, ROWS, moment, {"table": table, "first": part[0][0], "sha256": hashes})
            self._counts[table] += len(part)

    def unknown_artifacts(self, told: Any) -> Any:
        """The distinct rows of an Arrow table of artifacts that the ledger does not hold yet, in their order.

        A file that was written over and then made again as it was is told anew: its record must be the latest one.

        Args:
            told: Columns id, kind, origin, alias, path, size_bytes, media.
        """
        names = ("id", "kind", "origin", "alias", "path", "size_bytes", "media")
        same = " AND ".join(f"told.{name} IS NOT DISTINCT FROM held.{name}" for name in names)
        numbered = told.append_column("place", pa.array(range(len(told)), type=pa.int64()))
        self._connection.register("_told", numbered)
        try:
            found: Any = self._connection.sql(
                f"SELECT {', '.join(f'told.{name}' for name in names)}, min(place) AS place FROM _told told "  # noqa: S608
                "ANTI JOIN (SELECT * FROM artifacts WHERE path IS NULL OR row IN "
                f"(SELECT max(row) FROM artifacts GROUP BY path)) held ON {same} "
                f"GROUP BY {', '.join(f'told.{name}' for name in names)} ORDER BY place"
            ).to_arrow_table()
        finally:
            self._connection.unregister("_told")
        return found.select(list(names))

    def cohorts_with_members(self) -> set[str]:
        """Ids of the cohorts whose members the ledger holds already."""
        return {str(row[0]) for row in query(self._connection, "SELECT DISTINCT cohort FROM members")}

    def hash_at(self, seq: int) -> str | None:
        """The hash of event `seq` as the ledger holds it now."""
        found = query(self._connection, "SELECT hash FROM events WHERE seq = ?", [seq])
        return str(found[0][0]) if found else None

    def signer_payloads(self) -> list[dict[str, Any]]:
        """The payloads of all events that admit a signer, those of this transaction included."""
        found = query(self._connection, "SELECT payload FROM events WHERE kind = ? ORDER BY seq", [SIGNER])
        texts = [str(row[0]) for row in found] + [str(event[4]) for event in self._events if event[2] == SIGNER]
        return [json.loads(text) for text in texts]

    def heads(self) -> list[Head]:
        """All heads in the ledger, in order."""
        found = query(self._connection, "SELECT head FROM heads ORDER BY number")
        return [Head.from_json(json.loads(str(row[0]))) for row in found]

    def flush(self) -> None:
        """Write the chained events."""
        if self._events:
            _insert(self._connection, "events", self._events)
            self._events = []

    def sign(self, keys: KeyStore, moment: str) -> Head:
        """Sign the end of the chain and keep the head in the ledger, in the same transaction."""
        self.flush()
        number = int(query(self._connection, "SELECT coalesce(max(number), 0) + 1 FROM heads")[0][0])
        counts = {**self._counts, "events": self.seq}
        head = sign_head(
            keys, ledger=self.ledger_id, number=number, seq=self.seq, hash_=self.hash, counts=counts, time=moment
        )
        _insert(self._connection, "heads", [(number, canonical_json(head.to_json()).decode())])
        return head


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    columns = ALL_TABLES[table]
    arrays = [
        pa.array(values, type=_ARROW[kind]) for values, (_, kind) in zip(zip(*rows, strict=True), columns, strict=True)
    ]
    _insert_arrow(connection, table, pa.Table.from_arrays(arrays, names=[name for name, _ in columns]))


def _insert_arrow(connection: duckdb.DuckDBPyConnection, table: str, batch: Any) -> None:
    connection.register("_batch", batch)
    try:
        connection.execute(f"INSERT INTO {table} SELECT * FROM _batch")  # noqa: S608 - names come from our schema
    finally:
        connection.unregister("_batch")


@contextmanager
def transaction(
    path: Path, *, keys: KeyStore, moment: str, ledger_id: Callable[[], str], version: str, wait_s: float
) -> Iterator[Appender]:
    """One transaction that appends; the ledger is made when it does not exist. Nothing is kept when the body raises."""
    with open_ledger(path, read_only=False, wait_s=wait_s, create=True) as connection:
        connection.execute("BEGIN")
        try:
            if not table_names(connection):
                appender = _create(connection, keys, moment, ledger_id(), version)
            else:
                old = schema_version(connection)
                if old < SCHEMA_VERSION:
                    # The chain's events stand in a table that no version changed, so it can be continued at once.
                    for statement in migration_statements(old):
                        connection.execute(statement)
                appender = Appender(connection, ledger_id=_known_id(connection, path), counts=_counts(connection))
                if old < SCHEMA_VERSION:
                    appender.event("", MIGRATED, moment, {"from": old, "to": SCHEMA_VERSION, "version": version})
                    appender.rows("meta", "", moment, [("schema_version", str(SCHEMA_VERSION))])
            yield appender
            appender.flush()
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _create(
    connection: duckdb.DuckDBPyConnection, keys: KeyStore, moment: str, ledger_id: str, version: str
) -> Appender:
    for statement in create_statements():
        connection.execute(statement)
    appender = Appender(connection, ledger_id=ledger_id, counts=dict.fromkeys(TABLES, 0))
    signer = keys.public_key()
    appender.event("", CREATED, moment, {"ledger": ledger_id, "schema_version": SCHEMA_VERSION, "version": version})
    # The first signer needs nobody's word; every later one needs an earlier signer's.
    appender.event("", SIGNER, moment, {"public_key": signer, "endorsed_by": None, "signature": None})
    meta = [("schema_version", str(SCHEMA_VERSION)), ("ledger", ledger_id), ("created", moment), ("version", version)]
    appender.rows("meta", "", moment, meta)
    return appender


def _known_id(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    meta = dict(query(connection, "SELECT name, value FROM meta ORDER BY row"))
    if "ledger" not in meta:
        raise IntegrityError(
            f"the ledger {path} does not say which one it is",
            next_step="Run `ethicclip verify` on it, and restore it from a copy.",
        )
    return str(meta["ledger"])


def _counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    last = "SELECT coalesce(max(row), 0) FROM"
    return {table: int(query(connection, f"{last} {table}")[0][0]) for table in TABLES}
