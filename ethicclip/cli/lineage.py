"""``ethicclip lineage``: where an artifact comes from and what was made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines, printable
from ethicclip.errors import ExitCode

NAME = "lineage"


def command(
    artifact: Annotated[str, typer.Argument(help="A path, an alias, or the first characters of a hash.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also draw it, into this SVG file.", show_default=False)
    ] = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Show the chain from real cohort and generator to model and score, as a tree, JSON or a picture.

    An audit that something changed after is marked STALE, with the reasons.
    """
    from ethicclip.files import write_text
    from ethicclip.provenance import lineage

    graph = lineage(ledger, artifact)
    if out is not None:
        write_text(out, graph.picture())
    print_json(graph.to_json()) if json else print_lines(*(printable(line) for line in graph.lines()))
    return ExitCode.PASS
