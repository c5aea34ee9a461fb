"""``ethicclip split``: reference, control and test parts that share no patient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort, SplitResult, SplitSettings
    from ethicclip.progress import Progress

NAME = "split"


def command(
    cohort: Annotated[Path, typer.Argument(help="Real images: a folder with cohort.csv, a table, or a plain folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write PART/cohort.csv into.")],
    parts: Annotated[
        str | None,
        typer.Option("--parts", help="Names and shares.", show_default="reference=0.4,control=0.4,test=0.2"),
    ] = None,
    seed: options.Seed = None,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Divide a cohort by patient into parts that share no patient and no near-duplicate.

    Copies no image: each part is a table of absolute paths.
    """
    from ethicclip.cohorts import SplitSettings, read_cohort
    from ethicclip.settings import resolve

    settings = resolve(
        SplitSettings,
        verb=NAME,
        config=config,
        overrides=set_ or (),
        flags={"parts": parse_parts(parts), "seed": seed},
    )
    whole = read_cohort(cohort)
    result = perform(settings, whole, out, ledger=ledger, progress=console_progress())
    if json:
        print_json(result.to_json())
    else:
        print_lines(
            *(
                f"{name}: {count['images']} images of {count['patients']} patients"
                for name, count in result.counts.items()
            ),
            *whole.notes,
            f"written to {out}",
        )
    return ExitCode.PASS


def perform(settings: SplitSettings, whole: Cohort, out: Path, *, ledger: Path, progress: Progress) -> SplitResult:
    """Split and record it."""
    from ethicclip.cli.recording import cohort_artifact, recorded
    from ethicclip.cohorts import read_cohort, split_cohort

    with recorded(ledger, NAME, settings) as run:
        run.use(cohort_artifact(whole))
        result = split_cohort(settings, whole, out, progress=progress)
        for name, count in result.counts.items():
            run.generate(cohort_artifact(read_cohort(out / name, alias=f"{whole.alias}/{name}")))
            run.metric(f"images/{name}", count["images"])
            run.metric(f"patients/{name}", count["patients"])
    return result


def parse_parts(text: str | None) -> dict[str, float] | None:
    """Read ``reference=0.4,control=0.4`` into shares by name; None stays None."""
    if text is None:
        return None
    shares: dict[str, float] = {}
    for item in options.comma_list(text) or ():
        name, separator, value = item.partition("=")
        try:
            share = float(value)
        except ValueError:
            separator = ""
            share = 0.0
        if not separator or name.strip() in shares:
            raise UsageError(
                f"--parts {text!r}: {item!r} is not a new NAME=SHARE",
                next_step="Write for example --parts reference=0.4,control=0.4,test=0.2.",
            )
        shares[name.strip()] = share
    return shares
