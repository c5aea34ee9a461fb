"""What verification says: findings (evidence that does not match), notes (what a reader should know), counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

SHOWN_PER_TABLE = 20


class Status(StrEnum):
    """Whether the evidence is what was written."""

    INTACT = "intact"
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that broke: in which table or file, which record, what about it."""

    table: str
    record: str
    problem: str

    def line(self) -> str:
        """One line."""
        return f"{self.table} {self.record}: {self.problem}"


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """The outcome of a verification.

    Args:
        target: What was verified.
        kind: ``ledger`` or the kind of the sealed folder, such as ``report``.
        findings: What broke; at most `SHOWN_PER_TABLE` per table.
        more: Findings per table beyond those shown.
        notes: What is no failure but should be known, such as absent artifacts.
        checked: How much was checked, by table.
        head: Hash at the end of the chain.
        public_keys: Keys whose signatures hold.
    """

    target: Path
    kind: str
    findings: tuple[Finding, ...] = ()
    more: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    checked: Mapping[str, int] = field(default_factory=dict)
    head: str | None = None
    public_keys: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """Intact when there is no finding."""
        return Status.BROKEN if self.findings else Status.INTACT

    @property
    def ok(self) -> bool:
        """Whether nothing broke."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """What ``verify --json`` prints."""
        return {
            "schema": "ethicclip/verify/1",
            "target": str(self.target),
            "kind": self.kind,
            "status": str(self.status),
            "findings": [vars(finding) for finding in self.findings],
            "more_findings": dict(self.more),
            "notes": list(self.notes),
            "checked": dict(self.checked),
            "head": self.head,
            "public_keys": list(self.public_keys),
        }

    def lines(self) -> tuple[str, ...]:
        """The outcome for people."""
        counts = ", ".join(f"{number} {name}" for name, number in self.checked.items())
        lines = [f"{self.kind} {self.target}: {self.status}", f"checked: {counts}"]
        lines += [f"BROKEN  {finding.line()}" for finding in self.findings]
        lines += [f"BROKEN  {table}: and {number} more" for table, number in self.more.items()]
        lines += [f"note    {note}" for note in self.notes]
        if self.head:
            lines.append(f"head    {self.head}")
        lines += [f"key     {key}" for key in self.public_keys]
        return tuple(lines)


class Collector:
    """Gathers findings, and keeps a flood in one table from hiding the others."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self._seen: Counter[str] = Counter()

    def add(self, table: str, record: str, problem: str) -> None:
        """Add a finding."""
        self._seen[table] += 1
        if self._seen[table] <= SHOWN_PER_TABLE:
            self.findings.append(Finding(table=table, record=record, problem=problem))

    def note(self, text: str) -> None:
        """Add a note."""
        self.notes.append(text)

    def more(self) -> dict[str, int]:
        """How many findings are not shown, by table."""
        return {table: n - SHOWN_PER_TABLE for table, n in self._seen.items() if n > SHOWN_PER_TABLE}
