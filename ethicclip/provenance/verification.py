"""Is the ledger what was written? Replays the chain, compares every row with it, checks heads, keys and artifacts.

What this cannot show: a tail that was cut, or a chain that was rewritten whole, is detected only against a head held
elsewhere (the heads file, a report, ``head=``); whoever holds the signing key can rewrite what no one else has a head
for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.provenance.artifact_files import check_files
from ethicclip.provenance.contents import Contents, read_contents
from ethicclip.provenance.findings import Collector, VerifyResult
from ethicclip.provenance.heads import read_heads
from ethicclip.provenance.reading import LedgerSnapshot, snapshot_of
from ethicclip.provenance.replay import Replay, check_rows, replay_chain
from ethicclip.provenance.schema import TABLES
from ethicclip.provenance.signatures import check_heads_file, check_keys, check_own_heads, check_tail, signed_events
from ethicclip.provenance.store import LOCK_WAIT_S, heads_path, open_ledger, rows_of

_SHORTEST_HEAD = 16


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
    refuse_bad_head(head)
    found = Collector()
    with open_ledger(ledger, read_only=True, wait_s=wait_s) as connection:
        contents = read_contents(connection, found)
    return _verified(ledger, contents, found, head, heads_file, known_key, artifacts)


def read_verified(ledger: Path, *, wait_s: float = LOCK_WAIT_S) -> tuple[LedgerSnapshot, VerifyResult]:
    """A snapshot of a ledger and its verification, of one and the same moment, artifacts left out.

    Raises:
        BadInputError: There is no ledger at that path.
        IntegrityError: Its records cannot be read as what they claim to be.
        LedgerLockedError: Another process held it all the time.
    """
    found = Collector()
    with open_ledger(ledger, read_only=True, wait_s=wait_s) as connection:
        contents = read_contents(connection, found)
    return snapshot_of(ledger, contents), _verified(ledger, contents, found, None, None, None, False)


def refuse_bad_head(head: str | None) -> None:
    """Refuse what is not the beginning of a head's hash.

    Raises:
        BadInputError: Too short, or not hexadecimal.
    """
    if head is not None and (len(head) < _SHORTEST_HEAD or set(head.lower()) - set("0123456789abcdef")):
        raise BadInputError(
            f"--head {head[:80]!r} is not a head hash",
            next_step=f"Give at least the first {_SHORTEST_HEAD} hexadecimal digits of a head.",
        )


def _verified(
    ledger: Path,
    contents: Contents,
    found: Collector,
    head: str | None,
    heads_file: Path | None,
    known_key: str | None,
    artifacts: bool,
) -> VerifyResult:
    path = heads_path(ledger) if heads_file is None else heads_file
    lines = read_heads(path)
    replay = replay_chain(contents.events, signed_events(contents.heads, lines), found)
    for table in TABLES:
        check_rows(table, contents.tables[table], replay.rows[table], found)
    _check_meta(contents.tables["meta"], replay, found)
    heads = check_own_heads(contents.heads, replay, found)
    check_tail(heads, replay, found)
    outside = check_heads_file(path, lines, heads, replay, found)
    keys = check_keys([*heads, *outside], replay, known_key, found)
    if head is not None and not any(value.startswith(head.lower()) for value in replay.hashes.values()):
        found.add(
            "head", head, "the chain does not hold the head that you gave: its tail was cut or its past rewritten"
        )
    _note_runs(contents, found)
    checked = {"events": len(contents.events), **{name: len(contents.tables[name]) for name in TABLES}}
    checked |= {"heads": len(contents.heads), "lines of the heads file": len(outside)}
    if artifacts:
        folder = ledger.absolute().parent
        checked["artifact files"] = check_files(folder, rows_of(contents.tables["artifacts"]), found)
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


def _check_meta(rows: Any, replay: Replay, found: Collector) -> None:
    meta = {row[1]: row[2] for row in rows_of(rows)}
    if meta.get("ledger") != replay.ledger:
        found.add("meta", "ledger", "the id of the ledger is not the one in its first event")


def _note_runs(contents: Contents, found: Collector) -> None:
    ended = {row[1] for row in rows_of(contents.tables["endings"])}
    for row in rows_of(contents.tables["runs"]):
        if row[1] not in ended:
            found.note(f"run {row[1]} ({row[2]}) has no end: it was killed or is still at work")
