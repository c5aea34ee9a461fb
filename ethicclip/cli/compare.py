"""``ethicclip compare``: two runs, or two languages of one, on the same real eyes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.cli.unseen import KnownOverlap, TrainedOn
from ethicclip.errors import ExitCode

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort
    from ethicclip.evaluation import CompareResult, CompareSettings
    from ethicclip.progress import Progress

NAME = "compare"


def command(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run, an open_clip folder, or builtin.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The other; the same again compares languages.")],
    cohort: Annotated[Path, typer.Option("--cohort", help="Labelled real eyes.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the comparison.")],
    label_column: options.LabelColumn = None,
    classes: options.Classes = None,
    prompts: options.Prompts = None,
    trained_on: TrainedOn = None,
    known_overlap: KnownOverlap = None,
    seed: options.Seed = None,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Compare two models on the same eyes: paired differences of every score, likeness of what they see, languages.

    Differences are B less A, with intervals on the same resampled patients. Likeness is debiased CKA and the overlap of
    nearest neighbours, beside what permuted patients give. Each model is asked in English and in Chinese.
    """
    from ethicclip.cohorts import read_cohort
    from ethicclip.evaluation import CompareSettings
    from ethicclip.settings import resolve

    flags = {
        "label_column": label_column,
        "classes": options.comma_list(classes),
        "prompts": None if prompts is None else str(prompts),
        "seed": seed,
    }
    settings = resolve(CompareSettings, verb=NAME, config=config, overrides=set_ or (), flags=flags)
    result = perform(
        settings,
        run_a,
        run_b,
        read_cohort(cohort),
        out,
        ledger=ledger,
        trained_on=trained_on or (),
        known_overlap=known_overlap or (),
        progress=console_progress(),
    )
    if json:
        print_json(result.to_json())
    else:
        print_lines(*result.lines(), f"written to {out}")
    return ExitCode.PASS


def perform(
    settings: CompareSettings,
    run_a: Path,
    run_b: Path,
    eyes: Cohort,
    out: Path,
    *,
    ledger: Path,
    trained_on: Sequence[Path] = (),
    known_overlap: Sequence[str] = (),
    progress: Progress,
) -> CompareResult:
    """Compare and record it."""
    from ethicclip.cli.recording import (
        cohort_artifact,
        file_artifact,
        model_artifacts,
        record_comparison_metrics,
        recorded,
    )
    from ethicclip.cli.unseen import look_for_overlap
    from ethicclip.clip import load
    from ethicclip.clip.shipped import locate
    from ethicclip.evaluation import compare

    first_folder, second_folder = locate(run_a), locate(run_b)
    first = load(first_folder)
    same = first_folder.resolve() == second_folder.resolve()
    second = first if same else load(second_folder)
    with recorded(ledger, NAME, settings) as run:
        for artifact in (*model_artifacts(first_folder), *model_artifacts(second_folder)):
            run.use(artifact)
        run.use(cohort_artifact(eyes))
        seen = look_for_overlap(
            [first_folder] if same else [first_folder, second_folder],
            eyes,
            ledger=ledger,
            trained_on=trained_on,
            known=known_overlap,
            progress=progress,
        )
        told = {side: one.to_json() for side, one in zip("ab", seen, strict=False)}
        run.event("contamination", told)
        names = (first_folder.resolve().name, second_folder.resolve().name)
        result = compare(settings, first, second, eyes, out, names=names, contamination=told, progress=progress)
        run.generate(file_artifact("comparison", out / "comparison.json"))
        for path in sorted(out.glob("*.svg")):
            run.generate(file_artifact("figure", path))
        record_comparison_metrics(run, result.document)
    return result
