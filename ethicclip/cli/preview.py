"""``ethicclip preview``: a contact sheet of what the generator draws, one row a condition."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import ExitCode

NAME = "preview"


def command(
    out: Annotated[Path, typer.Option("--out", help="PNG file to write; replaced when it exists.")],
    size: Annotated[int, typer.Option("--size", min=128, max=1024, help="Side of a picture in pixels.")] = 224,
    columns: Annotated[int, typer.Option("--columns", min=1, max=40, help="Pictures a condition.")] = 8,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which eyes.")] = 0,
    good_quality: Annotated[
        bool, typer.Option("--good-quality", help="Leave blur, haze and their kin out of the rows of conditions.")
    ] = False,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Draw a contact sheet of phantom eyes: a row for each condition, grade, stage and defect of docs/conditions.md."""
    from ethicclip.cli.recording import file_artifact
    from ethicclip.generation import preview
    from ethicclip.provenance import record_run

    settings = {"size": size, "columns": columns, "seed": seed, "good_quality": good_quality}
    with record_run(ledger, verb=NAME, settings=settings, seed=seed) as run:
        preview(out, size=size, columns=columns, seed=seed, good_quality=good_quality, progress=console_progress())
        run.generate(file_artifact("contact_sheet", out, origin="synthetic"))
    print_json({"path": str(out), **settings}) if json else print_lines(f"written to {out}")
    return ExitCode.PASS
