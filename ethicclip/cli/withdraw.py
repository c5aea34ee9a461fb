"""``ethicclip withdraw``: everything that one patient's images reached."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines, printable
from ethicclip.errors import ExitCode, UsageError

NAME = "withdraw"


def command(
    patient: Annotated[str, typer.Argument(help="The patient's id as in the cohort's table; - reads it from stdin.")],
    record: Annotated[
        bool, typer.Option("--record", help="Write into the ledger that the patient withdrew (by commitment).")
    ] = False,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """List every split, audit, generator, pair set and model that a patient's images reached.

    The id enters the ledger never, its keyed commitment only with --record; audits that rest on it are then STALE.
    """
    from ethicclip.provenance import KeyStore, withdraw
    from ethicclip.provenance.withdrawal import WITHDRAWN

    name = sys.stdin.readline().strip() if patient == "-" else patient
    if not name:
        raise UsageError("the patient's id is empty", next_step="Give the id as it stands in the cohort's table.")
    found = withdraw(ledger, name, keys=KeyStore.default())
    if record:
        from ethicclip.provenance import record_run

        reached = [item.id for item in (*found.cohorts, *found.artifacts)]
        with record_run(ledger, verb=NAME, settings={}) as run:
            run.event(WITHDRAWN, {"member": found.member, "reached": reached})
        found = withdraw(ledger, name, keys=KeyStore.default())
    print_json(found.to_json()) if json else print_lines(*(printable(line) for line in found.lines()))
    return ExitCode.PASS
