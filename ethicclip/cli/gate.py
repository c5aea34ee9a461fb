"""``ethicclip gate``: the last step of a pipeline."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines, printable

NAME = "gate"


def command(
    policy: Annotated[Path, typer.Option("--policy", help="YAML rules: metric, threshold, rationale, owner, waivers.")],
    subject: Annotated[
        str | None,
        typer.Option("--subject", help="Path, alias or hash of the set.", show_default="the one a report would take"),
    ] = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Hold a released set to its audit and a policy; a pipeline's last step.

    Exit 0 passed, 10 failed, 11 open (not measured, not audited, or stale), 12 the ledger does not verify.
    """
    from ethicclip.policy import read_policy
    from ethicclip.provenance import record_run
    from ethicclip.provenance.staleness import POLICY_EVENT
    from ethicclip.reports import gate

    rules = read_policy(policy)
    result = gate(rules, ledger, day=date.today(), subject=subject)
    with record_run(ledger, verb=NAME, settings={"policy": rules.name, "policy_sha256": rules.digest()}) as run:
        run.event(POLICY_EVENT, {"sha256": rules.digest(), "name": rules.name, "state": result.state})
        run.note_exit(int(result.exit_code), result.state)
    print_json(result.to_json()) if json else print_lines(*(printable(line) for line in result.lines()))
    return result.exit_code
