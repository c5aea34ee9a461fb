"""``ethicclip verify``: is the evidence what was written?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines, printable
from ethicclip.errors import ExitCode

NAME = "verify"


def command(
    target: Annotated[Path, typer.Argument(metavar="LEDGER_OR_REPORT", help="A ledger file or a report folder.")],
    head: Annotated[
        str | None, typer.Option("--head", help="A head hash that you hold from elsewhere.", show_default=False)
    ] = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Check chain, signatures and artifact hashes; name what broke; exit 12 on failure. Offline, without torch."""
    from ethicclip.provenance import verify

    outcome = verify(target, head=head)
    print_json(outcome.to_json()) if json else print_lines(*(printable(line) for line in outcome.lines()))
    return ExitCode.PASS if outcome.ok else ExitCode.INTEGRITY
