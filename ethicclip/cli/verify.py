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
    target: Annotated[
        Path,
        typer.Argument(metavar="TARGET", help="A ledger, a report folder, a pair set, a model or any recorded file."),
    ],
    head: Annotated[
        str | None, typer.Option("--head", help="A head hash that you hold from elsewhere.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="The public key that must have begun or signed it.", show_default=False),
    ] = None,
    heads_file: Annotated[
        Path | None,
        typer.Option("--heads-file", help="Signed heads kept elsewhere.", show_default="TARGET.heads"),
    ] = None,
    artifacts: Annotated[
        bool, typer.Option("--artifacts/--no-artifacts", help="Compare the recorded files with their hashes.")
    ] = True,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Check chain, signatures and artifact hashes; name what broke; exit 12 on failure. Offline, without torch."""
    from ethicclip.provenance import verify

    outcome = verify(target, head=head, known_key=key, ledger=ledger, heads_file=heads_file, artifacts=artifacts)
    print_json(outcome.to_json()) if json else print_lines(*(printable(line) for line in outcome.lines()))
    return ExitCode.PASS if outcome.ok else ExitCode.INTEGRITY
