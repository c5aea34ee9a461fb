"""``ethicclip evaluate``: zero-shot on a real cohort, or retrieval on a pair set, with patient-level intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.cli.unseen import KnownOverlap, TrainedOn
from ethicclip.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort
    from ethicclip.evaluation import EvaluateResult, EvaluateSettings, RetrievalResult, RetrievalSettings
    from ethicclip.progress import Progress

NAME = "evaluate"
RETRIEVAL = "evaluate-retrieval"


def command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run, an open_clip folder, or builtin.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the evaluation.")],
    cohort: Annotated[Path | None, typer.Option("--cohort", help="Labelled real eyes.", show_default=False)] = None,
    pairs: Annotated[
        Path | None, typer.Option("--pairs", help="Pair set: image-text retrieval instead.", show_default=False)
    ] = None,
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
    """Classify real eyes by comparing each with prompts, and say how good that is, with intervals by patient.

    A cohort that shares patients or pictures with what the run was trained on is refused unless --known-overlap names
    the source. With --pairs, captions are retrieved by pictures and pictures by captions.
    """
    from ethicclip.cohorts import read_cohort
    from ethicclip.evaluation import EvaluateSettings
    from ethicclip.settings import resolve

    if (cohort is None) == (pairs is None):
        raise UsageError("evaluate needs either --cohort or --pairs", next_step="Name one of them.")
    flags = {
        "label_column": label_column,
        "classes": options.comma_list(classes),
        "prompts": None if prompts is None else str(prompts),
    }
    result: EvaluateResult | RetrievalResult
    if cohort is None:
        typed = [name.replace("_", "-") for name, value in flags.items() if value is not None]
        typed += [name for name, value in (("trained-on", trained_on), ("known-overlap", known_overlap)) if value]
        if typed:
            raise UsageError(f"--{typed[0]} is for a cohort", next_step="Leave it out with --pairs.")
        result = _retrieve(run_folder, pairs, out, seed=seed, config=config, set_=set_, ledger=ledger)
    else:
        settings = resolve(
            EvaluateSettings, verb=NAME, config=config, overrides=set_ or (), flags={**flags, "seed": seed}
        )
        result = perform(
            settings,
            run_folder,
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
    settings: EvaluateSettings,
    run_folder: Path,
    eyes: Cohort,
    out: Path,
    *,
    ledger: Path,
    trained_on: Sequence[Path] = (),
    known_overlap: Sequence[str] = (),
    progress: Progress,
) -> EvaluateResult:
    """Evaluate and record it."""
    from ethicclip.cli.recording import (
        cohort_artifact,
        evaluation_artifacts,
        model_artifacts,
        record_evaluation_metrics,
        recorded,
    )
    from ethicclip.cli.unseen import look_for_overlap
    from ethicclip.clip import load
    from ethicclip.clip.shipped import locate
    from ethicclip.evaluation import evaluate

    run_folder = locate(run_folder)
    model = load(run_folder)
    with recorded(ledger, NAME, settings) as run:
        for artifact in model_artifacts(run_folder):
            run.use(artifact)
        run.use(cohort_artifact(eyes))
        seen = look_for_overlap(
            [run_folder], eyes, ledger=ledger, trained_on=trained_on, known=known_overlap, progress=progress
        )[0]
        run.event("contamination", seen.to_json())
        result = evaluate(settings, model, eyes, out, contamination=seen.to_json(), progress=progress)
        for artifact in evaluation_artifacts(out):
            run.generate(artifact)
        record_evaluation_metrics(run, result.to_json())
    return result


def _retrieve(
    run_folder: Path,
    pairs: Path | None,
    out: Path,
    *,
    seed: int | None,
    config: Path | None,
    set_: list[str] | None,
    ledger: Path,
) -> RetrievalResult:
    from ethicclip.cli.recording import file_artifact, model_artifacts, pair_set_artifact, recorded
    from ethicclip.clip import load
    from ethicclip.clip.shipped import locate
    from ethicclip.evaluation import RetrievalSettings, retrieve
    from ethicclip.pairs import PairSet
    from ethicclip.settings import resolve

    settings: RetrievalSettings = resolve(
        RetrievalSettings, verb=RETRIEVAL, config=config, overrides=set_ or (), flags={"seed": seed}
    )
    run_folder = locate(run_folder)
    model = load(run_folder)
    source = PairSet.open(Path(str(pairs)))
    with recorded(ledger, RETRIEVAL, settings) as run:
        for artifact in (*model_artifacts(run_folder), pair_set_artifact(source)):
            run.use(artifact)
        result = retrieve(settings, model, source, out, progress=console_progress())
        run.generate(file_artifact("retrieval", out / "retrieval.json"))
        unit = result.document["unit"]
        for direction, recalls in result.document["recall"].items():
            for rank, value in recalls.items():
                run.metric(
                    f"recall_at_{rank}/{direction}",
                    value["estimate"],
                    value["low"],
                    value["high"],
                    n=value["n"],
                    unit=unit,
                )
    return result
