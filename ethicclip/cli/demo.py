"""``ethicclip demo``: the whole journey in one command, on simulated eyes or on a cohort of yours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import ExitCode

NAME = "demo"


def command(
    out: Annotated[Path, typer.Option("--out", help="Folder of everything the journey makes.")] = Path("demo"),
    cohort: Annotated[
        Path | None,
        typer.Option("--cohort", help="Your real eyes; a simulated population without it.", show_default=False),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", help="Pairs to generate and train on.", show_default="1000")
    ] = None,
    seed: options.Seed = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes; changes no result.")] = 2,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Split, generate, audit an honest set and one with planted copies, train, evaluate, report.

    Exit 0 when the honest set did not leak and the planted one was caught, 10 otherwise. With --cohort the output shows
    real patients: it is restricted.
    """
    from ethicclip.cli.journey import DemoSettings, run_demo
    from ethicclip.settings import resolve

    settings = resolve(
        DemoSettings, verb=NAME, config=config, overrides=set_ or (), flags={"count": count, "seed": seed}
    )
    result = run_demo(settings, out, cohort=cohort, ledger=ledger, workers=workers, progress=console_progress())
    print_json(result.to_json()) if json else print_lines(*result.lines())
    return ExitCode.PASS if result.as_expected else ExitCode.GATE_FAILED
