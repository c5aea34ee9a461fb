"""The table of the 18 HIPAA identifiers as the latest scan of the released set's words and files filled it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ethicclip.reports.document import Identifier
from ethicclip.reports.evidence import Evidence, PaperState
from ethicclip.reports.reading_json import as_integer, fields, items
from ethicclip.reports.wording import clean_all


def identifier_rows(evidence: Evidence) -> tuple[tuple[Identifier, ...], str | None]:
    """The rows, and the run that scanned; none where nothing was scanned or its file is not as recorded.

    A scan of its own (`audit-text`) counts before the one inside the leakage audit.
    """
    subject = evidence.subject.id if evidence.subject is not None else None
    found: list[tuple[Mapping[str, Any], str]] = []
    if evidence.deciding is not None and evidence.deciding.verdict.state == PaperState.READ:
        found.append((fields(evidence.deciding.verdict.content, "text"), evidence.deciding.run.run_id))
    found += [
        (entry.paper.content, entry.run.run_id)
        for entry in evidence.texts_of(subject)
        if entry.paper.state == PaperState.READ
    ]
    for content, run_id in reversed(found):
        rows = tuple(_row(clean_all(row)) for row in items(content, "safe_harbor") if isinstance(row, Mapping))
        if rows:
            return rows, run_id
    return (), None


def _row(row: Mapping[str, Any]) -> Identifier:
    return Identifier(
        letter=str(row.get("letter", "")),
        name=str(row.get("identifier", "")),
        state=str(row.get("state", "")),
        how=str(row.get("how", "")),
        found=as_integer(row.get("found")),
    )
