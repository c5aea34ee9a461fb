"""``ethicclip runs``: what the ledger holds."""

from __future__ import annotations

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines, printable
from ethicclip.errors import ExitCode

NAME = "runs"


def command(ledger: options.Ledger = options.DEFAULT_LEDGER, json: options.Json = False) -> int:
    """List every recorded run with its state, time and result; an audit that something changed after is STALE."""
    from dataclasses import asdict

    from ethicclip.provenance import read_ledger, stale_audits

    snapshot = read_ledger(ledger)
    stale = stale_audits(snapshot)
    if json:
        print_json(
            {
                "schema": "ethicclip/runs/1",
                "ledger": str(ledger),
                "runs": [entry.to_json() for entry in snapshot.runs],
                "stale": {run_id: [asdict(reason) for reason in reasons] for run_id, reasons in stale.items()},
            }
        )
        return ExitCode.PASS
    lines = []
    for entry in snapshot.runs:
        lines.append(f"{entry.line()}{'  STALE' if entry.run_id in stale else ''}")
        lines += [f"{'':28}stale: {reason.text}" for reason in stale.get(entry.run_id, ())]
    print_lines(*(printable(line) for line in lines) if lines else ("no run is recorded yet",))
    return ExitCode.PASS
