"""``ethicclip generate``: a set of synthetic fundus image-text pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import ExitCode

if TYPE_CHECKING:
    from ethicclip.generation import GenerateResult, GenerateSettings
    from ethicclip.progress import Progress

NAME = "generate"


def command(
    out: Annotated[Path, typer.Option("--out", help="Folder of the pair set.")],
    count: Annotated[int | None, typer.Option("--count", help="How many pairs.", show_default="required")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="What draws the eyes.", show_default="phantom")] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side of an image in pixels.", show_default="224")] = None,
    seed: options.Seed = None,
    languages: Annotated[
        str | None, typer.Option("--languages", help="Caption languages.", show_default="en,zh")
    ] = None,
    masks: Annotated[
        bool | None,
        typer.Option("--masks/--no-masks", help="Store masks of disc, cup, vessels, lesions.", show_default="yes"),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes; changes no byte.")] = 1,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Draw synthetic fundus photographs with their findings and captions, as a WebDataset pair set.

    No patient's image enters. A run that was cut off goes on when the same command is given again, and ends with the
    same bytes.
    """
    from ethicclip.generation import GenerateSettings, plan
    from ethicclip.settings import resolve

    flags = {
        "count": count,
        "engine": engine,
        "size": size,
        "seed": seed,
        "languages": options.comma_list(languages),
        "masks": masks,
    }
    settings = resolve(GenerateSettings, verb=NAME, config=config, overrides=set_ or (), flags=flags)
    if dry_run:
        planned = plan(settings, workers=workers)
        print_json(planned.to_json()) if json else print_lines(*planned.lines())
        return ExitCode.PASS
    result = perform(settings, out, workers=workers, ledger=ledger, progress=console_progress())
    if json:
        print_json(result.to_json())
    else:
        print_lines(*result.lines())
    return ExitCode.PASS


def perform(settings: GenerateSettings, out: Path, *, workers: int, ledger: Path, progress: Progress) -> GenerateResult:
    """Generate and record it."""
    from ethicclip.cli.recording import pair_set_artifact, recorded
    from ethicclip.generation import generate
    from ethicclip.pairs import PairSet

    with recorded(ledger, NAME, settings) as run:
        result = generate(settings, out, workers=workers, progress=progress)
        run.generate(pair_set_artifact(PairSet.open(out)))
        run.metric("pairs", result.count)
    return result
