"""Every way to tamper with a small house of evidence: what was done, and which record must be named for it.

Used by the benchmark (`mutations.py`) and, in a small random version, by the tests.
"""

from __future__ import annotations

from collections.abc import Callable

from ethicclip.errors import EthicClipError
from ethicclip.provenance import KeyStore, verify
from tests.provenance.house import House
from tests.provenance.mutating_chain import (
    change_heads_file,
    delete_event,
    delete_head,
    flip_event,
    flip_head,
    insert_event,
    redefine_view,
    reorder_events,
    reorder_heads,
    swap_key,
    truncate,
    truncate_heads_file,
)
from tests.provenance.mutating_files import change_artifact, change_manifest, change_report, reseal
from tests.provenance.mutating_rows import delete_row, flip_cell, insert_row, reorder_rows, replace_row
from tests.provenance.tampering import Done, Random

WAYS: tuple[Callable[[House, Random], Done], ...] = (
    flip_cell,
    delete_row,
    insert_row,
    reorder_rows,
    replace_row,
    flip_event,
    delete_event,
    insert_event,
    reorder_events,
    truncate,
    flip_head,
    delete_head,
    reorder_heads,
    change_heads_file,
    truncate_heads_file,
    swap_key,
    redefine_view,
    change_artifact,
    change_report,
    change_manifest,
    reseal,
)


def tamper(house: House, rng: Random) -> Done:
    """Do one thing at random; the name of the record follows from what was done."""
    return WAYS[int(rng.integers(len(WAYS)))](house, rng)


def judge(done: Done, keys: KeyStore) -> tuple[bool, bool, str]:
    """Whether it was detected, whether the record was named, and what verification said."""
    try:
        outcome = verify(done.target, head=done.head, known_key=keys.public_key())
    except EthicClipError as error:
        return True, done.record in str(error), str(error)
    findings = [finding.line() for finding in outcome.findings]
    said = findings + (list(outcome.notes) if done.noted else [])
    return bool(said), any(done.record in line for line in said), "\n".join(said) or "intact"
