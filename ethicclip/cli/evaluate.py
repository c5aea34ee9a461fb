"""``ethicclip evaluate``: zero-shot on a real cohort, with patient-level intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import ExitCode

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort
    from ethicclip.evaluation import EvaluateResult, EvaluateSettings
    from ethicclip.progress import Progress

NAME = "evaluate"


def command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run, an open_clip folder, or builtin.")],
    cohort: Annotated[Path, typer.Option("--cohort", help="Labelled real eyes.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the evaluation.")],
    label_column: Annotated[
        str | None, typer.Option("--label-column", help="Column that holds the label.", show_default="label")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", help="Which labels, a,b,c; the rest is left out.", show_default="all known"),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="YAML of prompts for your own classes.", show_default=False)
    ] = None,
    seed: options.Seed = None,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Classify real eyes by comparing each with prompts, and say how good that is, with intervals by patient."""
    from ethicclip.cohorts import read_cohort
    from ethicclip.evaluation import EvaluateSettings
    from ethicclip.settings import resolve

    flags = {
        "label_column": label_column,
        "classes": options.comma_list(classes),
        "prompts": None if prompts is None else str(prompts),
        "seed": seed,
    }
    settings = resolve(EvaluateSettings, verb=NAME, config=config, overrides=set_ or (), flags=flags)
    eyes = read_cohort(cohort)
    result = perform(settings, run_folder, eyes, out, ledger=ledger, progress=console_progress())
    if json:
        print_json(result.to_json())
    else:
        print_lines(*result.lines(), f"written to {out}")
    return ExitCode.PASS


def perform(
    settings: EvaluateSettings, run_folder: Path, eyes: Cohort, out: Path, *, ledger: Path, progress: Progress
) -> EvaluateResult:
    """Evaluate and record it."""
    from ethicclip.cli.recording import (
        cohort_artifact,
        evaluation_artifacts,
        model_artifacts,
        record_evaluation_metrics,
        recorded,
    )
    from ethicclip.clip import load
    from ethicclip.clip.shipped import locate
    from ethicclip.evaluation import evaluate

    run_folder = locate(run_folder)
    model = load(run_folder)
    with recorded(ledger, NAME, settings) as run:
        for artifact in model_artifacts(run_folder):
            run.use(artifact)
        run.use(cohort_artifact(eyes))
        result = evaluate(settings, model, eyes, out, progress=progress)
        for artifact in evaluation_artifacts(out):
            run.generate(artifact)
        record_evaluation_metrics(run, result.to_json())
    return result
