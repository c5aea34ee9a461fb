"""Do the signed heads hold, and do they sign this chain? Heads in the ledger, heads in its file, keys, the tail."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ethicclip.provenance.chain import CREATED, MIGRATED, ROWS, SIGNER, Head
from ethicclip.provenance.findings import Collector
from ethicclip.provenance.heads import HeadLine
from ethicclip.provenance.replay import Replay, payload_of
from ethicclip.provenance.signers import admitted_signers
from ethicclip.provenance.store import rows_of


def signed_events(own: Any, lines: Sequence[HeadLine]) -> set[int]:
    """Numbers of the events that a head signs: the counts of tables are needed at those only."""
    heads = [line.head for line in lines if line.head is not None]
    for _, text in rows_of(own):
        try:
            heads.append(Head.from_json(payload_of(text)))
        except (TypeError, ValueError):
            continue  # check_own_heads names it
    return {head.seq for head in heads if head.holds()}


def check_own_heads(heads: Any, replay: Replay, found: Collector) -> list[Head]:
    """The heads that the ledger itself holds; those whose signature holds are given back."""
    kept: list[Head] = []
    last_good: Head | None = None
    for i, (number, text) in enumerate(rows_of(heads), start=1):
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
        kept.append(head)
        if _matches(head, replay, found, "heads", record, last_good):
            last_good = head
    return kept


def check_heads_file(
    path: Path, lines: Sequence[HeadLine], own: Sequence[Head], replay: Replay, found: Collector
) -> list[Head]:
    """The heads that are kept outside the ledger; those whose signature holds are given back."""
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
    last_own = own[-1].number if own else 0
    if heads and last_own > heads[-1].number:
        found.note(f"{path.name} ends at head {heads[-1].number}; the ledger goes on to head {last_own}")
    for head in heads:
        if head.number > last_own:
            found.add("heads", f"head {head.number}", f"stands in {path.name} and is gone from the ledger")
    if heads and heads[0].number != 1:
        found.note(f"{path.name} begins at head {heads[0].number}, not at the first")
    return heads


def check_keys(heads: Sequence[Head], replay: Replay, known: str | None, found: Collector) -> list[str]:
    """Whether every key that signed was admitted by the ledger's first signer, or by one that was."""
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


def check_tail(heads: Sequence[Head], replay: Replay, found: Collector) -> None:
    """After the last signature only the starts of runs may stand: an end is signed in its own transaction."""
    last = max((head.seq for head in heads), default=0)
    tail = [(seq, kind, table) for seq, kind, table in replay.tail if seq > last]
    if not tail:
        return
    forged = [(seq, kind) for seq, kind, table in tail if not _is_start(seq, kind, table)]
    if not forged:
        found.note(f"{len(tail)} event(s) after the last signature start runs that were killed or are still at work")
    for seq, kind in forged:
        found.add(
            "events", f"event {seq} ({kind})", "no signature covers it, and no interrupted run leaves such an event"
        )


def _matches(head: Head, replay: Replay, found: Collector, table: str, record: str, last_good: Head | None) -> bool:
    since = f"after event {last_good.seq}" if last_good else "from the start"
    if head.ledger != replay.ledger:
        found.add(table, record, "signs another ledger")
    elif head.seq not in replay.hashes:
        end = max(replay.hashes, default=0)
        lost = f"{end + 1} to {head.seq}" if end < head.seq else str(head.seq)
        found.add(table, record, f"signed on {head.time} event {head.seq}, which is gone: event(s) {lost} were deleted")
    elif replay.hashes[head.seq] != head.hash:
        found.add(table, record, f"signed event {head.seq} on {head.time} with another hash: rewritten {since}")
    elif not _same_counts(head.counts, replay.counts[head.seq]):
        found.add(table, record, f"signed other numbers of rows than the chain gives: rewritten {since}")
    else:
        return True
    return False


def _same_counts(signed: Mapping[str, int], replayed: Mapping[str, int]) -> bool:
    """A head of an earlier version does not name the tables that came later; they were empty then."""
    return set(signed) <= set(replayed) and all(signed.get(name, 0) == n for name, n in replayed.items())


def _is_start(seq: int, kind: str, table: str) -> bool:
    first_signer = kind == SIGNER and seq == 2
    return kind in {CREATED, MIGRATED} or first_signer or (kind == ROWS and table in {"meta", "runs"})
