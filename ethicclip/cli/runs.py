"""``ethicclip runs``: what the ledger holds."""

from __future__ import annotations

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines, printable
from ethicclip.errors import ExitCode

NAME = "runs"


def command(ledger: options.Ledger = options.DEFAULT_LEDGER, json: options.Json = False) -> int:
    """List every recorded run with its state, time and result."""
    from ethicclip.provenance import list_runs

    found = list_runs(ledger)
    if json:
        print_json({"ledger": str(ledger), "runs": [entry.to_json() for entry in found]})
    else:
        print_lines(*(printable(entry.line()) for entry in found) if found else ("no run is recorded yet",))
    return ExitCode.PASS
