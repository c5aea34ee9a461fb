"""The typed family of errors, and the exit codes that the command line gives them.

The library raises these; only ``ethicclip.cli`` turns them into text and a process exit code.
A gate that fails or a verdict that stays open is a *result*, not an error: the verbs return it
and the command line picks `ExitCode.GATE_FAILED` or `ExitCode.INCONCLUSIVE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller; a contract (see docs/exit-codes.md)."""

    PASS = 0
    BUG = 1
    USAGE = 2
    BAD_INPUT = 3
    GATE_FAILED = 10
    INCONCLUSIVE = 11
    INTEGRITY = 12
    LEDGER_LOCKED = 75
    INTERRUPTED = 130


class EthicClipError(Exception):
    """An error a user can act on: what was wrong, with the value and the place, and the next step.

    Args:
        what: One sentence with the offending value and where it stands.
        next_step: One sentence that says what to do about it.
        details: Further lines, such as one line per unreadable file.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, what: str, *, next_step: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step
        self.details = tuple(details)

    def __str__(self) -> str:
        parts = [self.what, *(f"  - {line}" for line in self.details)]
        if self.next_step:
            parts.append(self.next_step)
        return "\n".join(parts)


class UsageError(EthicClipError):
    """Options that cannot be meant together, or a value outside its domain."""

    exit_code = ExitCode.USAGE


class BadInputError(EthicClipError):
    """A file, folder, table or image that cannot be used as it is."""

    exit_code = ExitCode.BAD_INPUT


class StorageError(EthicClipError):
    """The place to write to is full or refuses writing; nothing half-written is left under a final name."""

    exit_code = ExitCode.BAD_INPUT


class IntegrityError(EthicClipError):
    """Evidence that does not match its hash, chain or signature."""

    exit_code = ExitCode.INTEGRITY


class LedgerLockedError(EthicClipError):
    """Another process holds the ledger."""

    exit_code = ExitCode.LEDGER_LOCKED
