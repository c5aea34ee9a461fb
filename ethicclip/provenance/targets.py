"""``verify`` knows what it is given by content, not by name."""

from __future__ import annotations

from pathlib import Path

from ethicclip.errors import BadInputError
from ethicclip.provenance.bundles import MANIFEST, is_sealed_folder, verify_folder
from ethicclip.provenance.findings import VerifyResult
from ethicclip.provenance.store import LOCK_WAIT_S, looks_like_database
from ethicclip.provenance.verification import verify_ledger


def verify(
    target: Path, *, head: str | None = None, known_key: str | None = None, wait_s: float = LOCK_WAIT_S
) -> VerifyResult:
    """Verify a ledger file, or a sealed folder such as a report (or the manifest or page inside it).

    Raises:
        BadInputError: The target is neither.
        LedgerLockedError: Another process held the ledger all the time.

    Example:
        >>> verify(Path("ethicclip.duckdb")).ok  # doctest: +SKIP
        True
    """
    if target.is_file() and looks_like_database(target):
        return verify_ledger(target, head=head, known_key=known_key, wait_s=wait_s)
    folder = target.parent if target.is_file() else target
    if is_sealed_folder(folder):
        return verify_folder(folder, head=head, known_key=known_key)
    if not target.exists():
        raise BadInputError(
            f"there is nothing at {target}", next_step="Give the path of a ledger or of a report folder."
        )
    raise BadInputError(
        f"{target} is neither a ledger nor a folder with a readable {MANIFEST}",
        next_step="Give the path of a ledger or of a report folder.",
    )
