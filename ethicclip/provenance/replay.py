"""What the chain says a ledger holds, and whether the rows are those: hashing, one batch of rows at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ethicclip.provenance.chain import CREATED, GENESIS_HASH, RESERVED_KINDS, ROWS, SIGNER, event_hash, row_hash
from ethicclip.provenance.findings import Collector
from ethicclip.provenance.schema import TABLES
from ethicclip.provenance.store import rows_of


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What the chain says.

    Args:
        ledger: Id of the ledger, from its first event.
        hashes: Hash of each event by its number.
        rows: Expected hash of each row by table; "" where no event covers it.
        counts: Rows of each table at the events that a head signs.
        signers: Number and payload of each event that admits a signer.
        tail: Number, kind and covered table of the events after the last signature.
    """

    ledger: str
    hashes: dict[int, str]
    rows: dict[str, list[str]]
    counts: dict[int, dict[str, int]]
    signers: list[tuple[int, Mapping[str, Any]]]
    tail: list[tuple[int, str, str]]


def replay_chain(events: Any, signed: set[int], found: Collector) -> Replay:
    """Walk the chain from its first event; `signed` numbers the events at which counts are wanted."""
    replay = Replay(ledger="", hashes={}, rows={table: [] for table in TABLES}, counts={}, signers=[], tail=[])
    ledger, previous, expected_seq = "", GENESIS_HASH, 1
    last_signed = max(signed, default=0)
    hashes, tail = replay.hashes, replay.tail
    for seq, run_id, kind, time, payload, prev_hash, hash_ in rows_of(events):
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
        hashes[seq] = str(hash_)
        table = ""
        # Only the ledger's own kinds carry what the replay needs.
        if kind in RESERVED_KINDS:
            values = payload_of(payload)
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
        elif seq > last_signed:
            tail.append((seq, str(kind), table))
    return Replay(**{**vars(replay), "ledger": ledger})


def check_rows(table: str, rows: Any, expected: Sequence[str], found: Collector) -> None:
    """Compare every row of a table with the hash that the chain holds for it."""
    seen = bytearray(len(expected) + 1)
    matched = 0
    for row in rows_of(rows):
        number = row[0]
        if number is None or not 1 <= number <= len(expected) or not expected[number - 1]:
            found.add(table, describe(table, row), "was inserted: no event covers it")
        elif seen[number]:
            found.add(table, describe(table, row), "stands twice")
        else:
            seen[number] = 1
            matched += 1
            if _row_hash(table, row) != expected[number - 1]:
                problem = "was changed, or put in another's place, after it was recorded"
                found.add(table, describe(table, row), problem)
    if matched < len(expected):
        for number in range(1, len(expected) + 1):
            if not seen[number] and expected[number - 1]:
                found.add(table, f"row {number}", "is missing: it was recorded and is gone")


def describe(table: str, row: Sequence[Any]) -> str:
    """Enough of a row to recognise it."""
    shown = {"meta": (1,), "runs": (1, 2), "endings": (1, 3, 5), "artifacts": (3, 5, 6), "edges": (1, 2, 3)}
    words = [str(row[i]) for i in shown.get(table, (1, 2)) if row[i] is not None]
    return f"row {row[0]} ({' '.join(words)[:120]})"


def payload_of(text: Any) -> Mapping[str, Any]:
    """An event's payload, or nothing where it is not an object."""
    try:
        values = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return values if isinstance(values, Mapping) else {}


def _event_hash(*fields: Any) -> str | None:
    try:
        return event_hash(*fields)
    except (TypeError, ValueError):
        return None


def _row_hash(table: str, row: Sequence[Any]) -> str | None:
    try:
        return row_hash(table, row)
    except (TypeError, ValueError):
        return None


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
    rows[table].extend(map(str, hashes))
