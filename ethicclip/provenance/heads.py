"""``LEDGER.heads``: the signed heads outside the ledger, one JSON line each, only ever appended to."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ethicclip.errors import IntegrityError
from ethicclip.files import canonical_json, storage_errors
from ethicclip.provenance.chain import Head
from ethicclip.provenance.store import Appender, heads_path


@dataclass(frozen=True, kw_only=True)
class HeadLine:
    """One line of a heads file: its number from 1, and the head, or None when the line is not one."""

    line: int
    head: Head | None


def read_heads(path: Path) -> list[HeadLine]:
    """All lines of a heads file, in order; a missing file is an empty list."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [HeadLine(line=i, head=_parsed(line)) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]


def append_heads(ledger: Path, heads: Sequence[Head]) -> None:
    """Append those heads of the ledger that its heads file does not hold yet.

    A crash between commit and append leaves a gap; the next run closes it here.
    """
    path = heads_path(ledger)
    held = {line.head.number for line in read_heads(path) if line.head and line.head.ledger == heads[-1].ledger}
    new = [head for head in heads if head.number not in held or head is heads[-1]]
    data = b"".join(canonical_json(head.to_json()) + b"\n" for head in new)
    with storage_errors(path):
        # One write to a descriptor opened for appending: lines of two processes do not mix.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def refuse_cut_ledger(ledger: Path, appender: Appender) -> None:
    """Refuse to write on a ledger that lacks the last event its heads file vouches for.

    Raises:
        IntegrityError: The ledger was cut back, rewritten, or replaced by an old copy.
    """
    lines = read_heads(heads_path(ledger))
    own = [line.head for line in lines if line.head is not None and line.head.ledger == appender.ledger_id]
    if own and appender.hash_at(own[-1].seq) != own[-1].hash:
        last = own[-1]
        raise IntegrityError(
            f"the ledger {ledger} does not hold event {last.seq} as {heads_path(ledger)} signed it on {last.time}",
            next_step="It was cut, rewritten or replaced by an old copy: run `ethicclip verify` on it, "
            "and start a new ledger with --ledger rather than write on this one.",
        )


def _parsed(line: str) -> Head | None:
    try:
        values = json.loads(line)
        return Head.from_json(values)
    except (ValueError, TypeError, AttributeError):
        return None
