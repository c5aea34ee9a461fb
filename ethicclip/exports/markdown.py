"""Text from a ledger as Markdown that stays text: no markup, no HTML, no link, no line of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ethicclip.reports.wording import clean

_SPECIAL = re.compile(r"[\\`*_\[\]<>|~!$&@#]|^[-+](?=\s)")
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s)")


def plain(text: object, limit: int = 300) -> str:
    """Any text within a line of Markdown: controls shown, addresses cut, every sign of markup escaped."""
    shown = _NUMBERED.sub(r"\1 \2", " ".join(clean(str(text), limit).split()))
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};" if match[0] in tuple("<>&|$") else f"\\{match[0]}", shown)


def table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """A table; cells are escaped, the head is ours."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(plain(cell) for cell in row)} |" for row in rows)])
