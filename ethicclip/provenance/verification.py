"""Is the ledger what was written? Replays the chain, compares every row with it, checks heads, keys and artifacts.

What this cannot show: a tail that was cut, or a chain that was rewritten whole, is detected only against a head held
elsewhere (the heads file, a report, ``head=``); whoever holds the signing key can rewrite what no one else has a head
for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.files import sha256_file
from ethicclip.provenance.artifacts import FOLDER_MEDIA, listing_of_folder
from ethicclip.provenance.chain import CREATED, GENESIS_HASH, RESERVED_KINDS, ROWS, SIGNER, Head, event_hash, row_hash
from ethicclip.provenance.findings import Collector, VerifyResult
from ethicclip.provenance.heads import HeadLine, read_heads
from ethicclip.provenance.schema import ALL_TABLES, TABLES, VIEWS
from ethicclip.provenance.signers import admitted_signers
from ethicclip.provenance.store import (
    LOCK_WAIT_S,
    fresh_views,
    heads_path,
    open_ledger,
    query,
    read_table,
    view_definitions,
)

_SHORTEST_HEAD = 16


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """The rows of every table as they stand in the file."""

    tables: Mapping[str, list[tuple[Any, ...]]]
    events: list[tuple[Any, ...]]
    heads: list[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class _Replay:
    """What the chain says: hashes by event number, expected row hashes, counts of rows at signed events."""

    ledger: str
    hashes: dict[int, str]
    rows: dict[str, list[str]]
    counts: dict[int, dict[str, int]]
    signers: list[tuple[int, Mapping[str, Any]]]
    tail: list[tuple[int, str, str]]


def verify_ledger(
    ledger: Path,
    *,
    head: str | None = None,
    heads_file: Path | None = None,
    known_key: str | None = None,
    artifacts: bool = True,
    wait_s: float = LOCK_WAIT_S,
) -> VerifyResult:
    """Verify a ledger, whatever its name, with or without its heads file.

    Args:
        ledger: Path of the ledger.
        head: A head hash held elsewhere (at least its first 16 digits); it must lie in the chain.
        heads_file: Signed heads kept beside or elsewhere; ``LEDGER.heads`` when None.
        known_key: The public key (hex) that must have admitted or made every signature.
        artifacts: Whether to compare the artifacts on disk with their hashes.
        wait_s: How long to wait for another process that holds the ledger.

    Raises:
        BadInputError: Not a ledger, or `head` is not a hash.
        LedgerLockedError: Another process held it all the time.
    """
    if head is not None and (len(head) < _SHORTEST_HEAD or set(head.lower()) - set("0123456789abcdef")):
        raise BadInputError(
            f"--head {head[:80]!r} is not a head hash",
            next_step=f"Give at least the first {_SHORTEST_HEAD} hexadecimal digits of a head.",
        )
    found = Collector()
    contents = _read(ledger, found, wait_s)
    path = heads_path(ledger) if heads_file is None else heads_file
    lines = read_heads(path)
    replay = _replay_chain(contents.events, _signed_events(contents.heads, lines), found)
    for table in TABLES:
        _check_rows(table, contents.tables.get(table, []), replay.rows[table], found)
    _check_meta(contents.tables.get("meta", []), replay, found)
    heads = _check_own_heads(contents.heads, replay, found)
    _check_tail(heads, replay, found)
    outside = _check_heads_file(path, lines, heads, replay, found)
    keys = _check_keys([*heads, *outside], replay, known_key, found)
    if head is not None and not any(value.startswith(head.lower()) for value in replay.hashes.values()):
        found.add(
            "head", head, "the chain does not hold the head that you gave: its tail was cut or its past rewritten"
        )
    _note_runs(contents.tables, found)
    checked = {"events": len(contents.events), **{name: len(contents.tables.get(name, [])) for name in TABLES}}
    checked |= {"heads": len(contents.heads), "lines of the heads file": len(outside)}
    if artifacts:
        checked["artifact files"] = _check_artifacts(ledger, contents.tables.get("artifacts", []), found)
    return VerifyResult(
        target=ledger,
        kind="ledger",
        findings=tuple(found.findings),
        more=found.more(),
        notes=tuple(found.notes),
        checked=checked,
        head=replay.hashes[max(replay.hashes)] if replay.hashes else None,
        public_keys=tuple(keys),
    )


def _read(ledger: Path, found: Collector, wait_s: float) -> _Contents:
    with open_ledger(ledger, read_only=True, wait_s=wait_s) as connection:
        columns: dict[str, list[tuple[str, str]]] = {}
        for table, column, kind in query(
            connection,
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY column_index",
        ):
            columns.setdefault(str(table), []).append((str(column), str(kind)))
        views = view_definitions(connection)
        present = set(columns) - set(views)
        tables: dict[str, list[tuple[Any, ...]]] = {}
        for table, expected in ALL_TABLES.items():
            if table not in present:
                found.add(table, "(whole table)", "the table is missing")
            elif tuple(columns.get(table, ())) != expected:
                found.add(table, "(whole table)", "its columns are not those the ledger was made with")
            else:
                tables[table] = read_table(connection, table, expected[0][0])
    for name in sorted(present - set(ALL_TABLES)):
        found.note(f"table {name!r} is not part of a ledger; nothing vouches for it")
    for name in sorted(set(views) - set(VIEWS)):
        found.note(f"view {name!r} is not part of a ledger; nothing vouches for it")
    for name, definition in fresh_views().items():
        if views.get(name) != definition:
            # Another release of DuckDB may spell the same view otherwise, and no result rests on a view.
            found.note(f"view {name!r} is missing or not as this release defines it; query the base tables")
    return _Contents(
        tables={name: tables.get(name, []) for name in TABLES},
        events=tables.get("events", []),
        heads=tables.get("heads", []),
    )


def _signed_events(own: Sequence[tuple[Any, ...]], lines: Sequence[HeadLine]) -> set[int]:
    """Numbers of the events that a head signs: the counts of tables are needed at those only."""
    found = {line.head.seq for line in lines if line.head is not None}
    return found | {seq for _, text in own if isinstance(seq := _payload(text).get("seq"), int)}


def _replay_chain(events: Sequence[tuple[Any, ...]], signed: set[int], found: Collector) -> _Replay:
    replay = _Replay(ledger="", hashes={}, rows={table: [] for table in TABLES}, counts={}, signers=[], tail=[])
    ledger, previous, expected_seq = "", GENESIS_HASH, 1
    for seq, run_id, kind, time, payload, prev_hash, hash_ in events:
        if seq is None or seq < expected_seq:
            found.add("events", f"event {seq}", "its number stands twice or was never given")
            continue
        if seq > expected_seq:
            missing = f"event {expected_seq}" if seq == expected_seq + 1 else f"events {expected_seq} to {seq - 1}"
            found.add("events", missing, "missing from the chain")
        elif prev_hash != previous:
            found.add("events", f"event {seq} ({kind})", "does not follow on the event before it")
        if _event_hash(seq, run_id, kind, time, payload, prev_hash) != hash_:
            found.add("events", f"event {seq} ({kind})", "was changed after it was recorded")
        expected_seq, previous = seq + 1, hash_
        replay.hashes[seq] = str(hash_)
        # Only the ledger's own kinds carry what the replay needs.
        values = _payload(payload) if kind in RESERVED_KINDS else {}
        table = ""
        if kind == ROWS:
            table = str(values.get("table"))
            _expect_rows(seq, values, replay.rows, found)
        elif kind == SIGNER:
            replay.signers.append((seq, values))
        elif kind == CREATED:
            if seq == 1:
                ledger = str(values.get("ledger"))
            else:
                found.add("events", f"event {seq}", "a ledger is created only once")
        if seq in signed:
            replay.counts[seq] = {name: len(rows) for name, rows in replay.rows.items()} | {"events": seq}
        replay.tail.append((seq, str(kind), table))
    return _Replay(**{**vars(replay), "ledger": ledger})


def _event_hash(*fields: Any) -> str | None:
    try:
        return event_hash(*fields)
    except (TypeError, ValueError):
        return None


def _payload(text: Any) -> Mapping[str, Any]:
    try:
        values = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return values if isinstance(values, Mapping) else {}


def _expect_rows(seq: int, values: Mapping[str, Any], rows: dict[str, list[str]], found: Collector) -> None:
    table, first, hashes = values.get("table"), values.get("first"), values.get("sha256")
    if table not in rows or not isinstance(first, int) or not isinstance(hashes, list):
        found.add("events", f"event {seq} (rows)", "does not say which rows it covers")
        return
    gap = first - 1 - len(rows[table])
    # A missing event leaves its rows without cover; later ones keep their numbers.
    rows[table].extend([""] * gap if gap > 0 else [])
    if gap < 0:
        found.add("events", f"event {seq} (rows)", f"covers rows of {table} that an earlier event covers")
        return
    rows[table].extend(str(value) for value in hashes)


def _check_rows(table: str, rows: Iterable[tuple[Any, ...]], expected: Sequence[str], found: Collector) -> None:
    seen: set[int] = set()
    for row in rows:
        number = row[0]
        record = f"row {number} ({_describe(table, row)})"
        if number is None or not 1 <= number <= len(expected) or not expected[number - 1]:
            found.add(table, record, "was inserted: no event covers it")
        elif number in seen:
            found.add(table, record, "stands twice")
        else:
            seen.add(number)
            if _row_hash(table, row) != expected[number - 1]:
                found.add(table, record, "was changed, or put in another's place, after it was recorded")
    if len(seen) < len(expected):
        for number in range(1, len(expected) + 1):
            if number not in seen and expected[number - 1]:
                found.add(table, f"row {number}", "is missing: it was recorded and is gone")


def _row_hash(table: str, row: Sequence[Any]) -> str | None:
    try:
        return row_hash(table, row)
    except (TypeError, ValueError):
        return None


def _describe(table: str, row: Sequence[Any]) -> str:
    """Enough of a row to recognise it."""
    shown = {"meta": (1,), "runs": (1, 2), "endings": (1, 3, 5), "artifacts": (3, 5, 6), "edges": (1, 2, 3)}
    words = [str(row[i]) for i in shown.get(table, (1, 2)) if row[i] is not None]
    return " ".join(words)[:120]


def _check_meta(rows: Sequence[tuple[Any, ...]], replay: _Replay, found: Collector) -> None:
    meta = {row[1]: row[2] for row in rows}
    if meta.get("ledger") != replay.ledger:
        found.add("meta", "ledger", "the id of the ledger is not the one in its first event")


def _check_own_heads(rows: Sequence[tuple[Any, ...]], replay: _Replay, found: Collector) -> list[Head]:
    heads: list[Head] = []
    last_good: Head | None = None
    for i, (number, text) in enumerate(rows, start=1):
        record = f"head {number}"
        try:
            head = Head.from_json(json.loads(text))
        except (TypeError, ValueError):
            found.add("heads", record, "cannot be read")
            continue
        if number != i or head.number != number:
            found.add("heads", f"head {i}", "is missing or out of its place")
        if not head.holds():
            found.add("heads", record, "was changed: its signature does not hold")
            continue
        heads.append(head)
        if _matches(head, replay, found, "heads", record, last_good):
            last_good = head
    return heads


def _matches(head: Head, replay: _Replay, found: Collector, table: str, record: str, last_good: Head | None) -> bool:
    since = f"after event {last_good.seq}" if last_good else "from the start"
    if head.ledger != replay.ledger:
        found.add(table, record, "signs another ledger")
    elif head.seq not in replay.hashes:
        end = max(replay.hashes, default=0)
        lost = f"{end + 1} to {head.seq}" if end < head.seq else str(head.seq)
        found.add(table, record, f"signed on {head.time} event {head.seq}, which is gone: event(s) {lost} were deleted")
    elif replay.hashes[head.seq] != head.hash:
        found.add(table, record, f"signed event {head.seq} on {head.time} with another hash: rewritten {since}")
    elif dict(head.counts) != replay.counts[head.seq]:
        found.add(table, record, f"signed other numbers of rows than the chain gives: rewritten {since}")
    else:
        return True
    return False


def _check_tail(heads: Sequence[Head], replay: _Replay, found: Collector) -> None:
    """After the last signature only the starts of runs may stand: an end is signed in its own transaction."""
    last = max((head.seq for head in heads), default=0)
    tail = [(seq, kind, table) for seq, kind, table in replay.tail if seq > last]
    if not tail:
        return
    innocent = [seq for seq, kind, table in tail if _is_start(seq, kind, table)]
    if len(innocent) == len(tail):
        found.note(f"{len(tail)} event(s) after the last signature start runs that were killed or are still at work")
        return
    forged = [(seq, kind) for seq, kind, table in tail if not _is_start(seq, kind, table)]
    for seq, kind in forged:
        found.add(
            "events", f"event {seq} ({kind})", "no signature covers it, and no interrupted run leaves such an event"
        )


def _is_start(seq: int, kind: str, table: str) -> bool:
    first_signer = kind == SIGNER and seq == 2
    return kind == CREATED or first_signer or (kind == ROWS and table in {"meta", "runs"})


def _check_heads_file(
    path: Path, lines: Sequence[HeadLine], own: Sequence[Head], replay: _Replay, found: Collector
) -> list[Head]:
    if not lines:
        found.note(f"there is no heads file {path.name}: a cut tail would show only against a head held elsewhere")
        return []
    heads: list[Head] = []
    foreign = 0
    last_good: Head | None = None
    for line in lines:
        record, head = f"line {line.line}", line.head
        if head is None:
            found.add("heads file", record, "cannot be read")
        elif not head.holds():
            found.add("heads file", record, "was changed: its signature does not hold")
        elif head.ledger != replay.ledger:
            foreign += 1
        else:
            if heads and head.number != heads[-1].number + 1:
                found.add(
                    "heads file", record, f"head {head.number} follows head {heads[-1].number}: lines were changed"
                )
            heads.append(head)
            if _matches(head, replay, found, "heads file", record, last_good):
                last_good = head
    if foreign:
        found.note(f"{foreign} line(s) of {path.name} belong to another ledger, which once stood here")
    if heads and own and own[-1].number > heads[-1].number:
        found.note(f"{path.name} ends at head {heads[-1].number}; the ledger goes on to head {own[-1].number}")
    if heads and heads[0].number != 1:
        found.note(f"{path.name} begins at head {heads[0].number}, not at the first")
    return heads


def _check_keys(heads: Sequence[Head], replay: _Replay, known: str | None, found: Collector) -> list[str]:
    admitted, refused = admitted_signers(replay.ledger, [payload for _, payload in replay.signers])
    for position in refused:
        found.add("events", f"event {replay.signers[position][0]} (signer)", "admits a key without a signer's word")
    used = list(dict.fromkeys(head.public_key for head in heads))
    for key in used:
        if key not in admitted:
            found.add("heads", f"key {key}", "signed heads and was never admitted by this ledger's signer: swapped key")
    if known is not None and known.lower() not in admitted[:1]:
        found.add("heads", f"key {known}", "is not the key that began this ledger: it was made or re-signed by another")
    return used


def _note_runs(tables: Mapping[str, list[tuple[Any, ...]]], found: Collector) -> None:
    ended = {row[1] for row in tables["endings"]}
    for row in tables["runs"]:
        if row[1] not in ended:
            found.note(f"run {row[1]} ({row[2]}) has no end: it was killed or is still at work")


def _check_artifacts(ledger: Path, rows: Sequence[tuple[Any, ...]], found: Collector) -> int:
    latest = {row[6]: row for row in rows if row[6] is not None and str(row[1]).startswith("sha256:")}
    superseded = sum(1 for row in rows if row[6] in latest and latest[row[6]][1] != row[1])
    absent: list[str] = []
    checked = 0
    for path, row in latest.items():
        place = ledger.absolute().parent / path
        record = f"{row[3]} {path}"
        if not place.exists():
            absent.append(record)
            continue
        checked += 1
        try:
            now = listing_of_folder(place)[0] if row[8] == FOLDER_MEDIA else sha256_file(place)
        except (OSError, BadInputError) as error:
            found.add("artifact file", record, f"cannot be read: {error}")
            continue
        if f"sha256:{now}" != row[1]:
            found.add("artifact file", record, f"was changed: recorded as {row[1]}, now sha256:{now}")
    for record in absent[:20]:
        found.note(f"absent: {record}")
    if len(absent) > 20:
        found.note(f"absent: and {len(absent) - 20} more artifacts")
    if superseded:
        found.note(f"{superseded} artifact record(s) were written over by a later run; the latest was compared")
    return checked
