"""``ethicclip lineage``: where an artifact comes from and what was made of it."""

from __future__ import annotations

from typing import Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines, printable
from ethicclip.errors import ExitCode

NAME = "lineage"


def command(
    artifact: Annotated[str, typer.Argument(help="A path, an alias, or the first characters of a hash.")],
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Show the chain from real cohort and generator to model and score, as a tree or JSON."""
    from ethicclip.provenance import lineage

    graph = lineage(ledger, artifact)
    print_json(graph.to_json()) if json else print_lines(*(printable(line) for line in graph.lines()))
    return ExitCode.PASS
