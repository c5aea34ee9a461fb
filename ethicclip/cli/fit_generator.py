"""``ethicclip fit-generator``: a generator that fits a hospital's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.cli.launching import writes
from ethicclip.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ethicclip.generation.diffusion import FitResult, FitSettings
    from ethicclip.generation.evolution import EvolutionResult, EvolutionSettings
    from ethicclip.generation.learning import LearningSet
    from ethicclip.progress import Progress

NAME = "fit-generator"

_DIFFUSION_ONLY = ("start", "steps", "pretrain_steps", "batch_size", "stop_on_leak", "reference", "control")


def command(
    cohort: Annotated[Path, typer.Argument(help="What to learn from: a cohort, or a pair set.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the generator.")],
    engine: Annotated[
        str | None, typer.Option("--engine", help="diffusion or evolution.", show_default="diffusion")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Side of a picture in pixels.", show_default="64; evolution 128")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--start", help="Generator whose weights and shape it begins with.", show_default="fresh weights"),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps on the cohort.", show_default="4000")] = None,
    pretrain_steps: Annotated[
        int | None,
        typer.Option("--pretrain-steps", help="Steps on phantoms before that.", show_default="2000; none with --start"),
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Pictures a step.", show_default="16")] = None,
    epsilon: Annotated[
        float | None,
        typer.Option("--epsilon", help="Fit with differential privacy up to this budget.", show_default=False),
    ] = None,
    delta: options.Delta = None,
    unit: options.PrivacyUnit = None,
    budget: Annotated[
        Path | None, typer.Option("--budget", help="Joint budget that the run is reserved in.", show_default=False)
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference", help="Cohort that samples are checked against for copies.", show_default="the cohort"
        ),
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option("--control", help="Other patients of the same pool; turns the checks on.", show_default=False),
    ] = None,
    stop_on_leak: Annotated[
        bool | None, typer.Option("--stop-on-leak/--go-on", help="End at the first check that finds copies.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    seed: options.Seed = None,
    label_column: Annotated[str, typer.Option("--label-column", help="Column of a cohort's labels.")] = "label",
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Fit a generator to a cohort or a pair set.

    diffusion: a conditional network, first on phantoms, then on the cohort; saved as a diffusers pipeline. It can learn
    its pictures by heart: with --control, samples are audited for copies on the way, and --stop-on-leak exits 10. With
    --epsilon the steps on the cohort are DP-SGD, and the folder holds a privacy statement; --set
    privacy.trained=attention lets few weights learn, under less noise. --start goes on from a generator, such as one
    fitted to phantoms (`ethicclip fit-generator PAIRS`), so that several cohorts pay once for what they share. --set
    autoencoder=FOLDER learns in the latent space of a diffusers AutoencoderKL that you bring. Several processes share
    every batch under `torchrun --nproc-per-node N -m ethicclip fit-generator ...`.

    evolution: patients cast noisy votes for the phantom's parameters (Private Evolution); no network is trained. The
    recipe is a small file with its privacy statement, for `ethicclip generate --config`.
    """
    from ethicclip.cli.engines import chosen_engine
    from ethicclip.generation.learning import open_learning_set
    from ethicclip.settings import resolve

    typed = {
        "epsilon": epsilon,
        "delta": delta,
        "unit": unit,
        "budget": budget,
        "start": start,
        "steps": steps,
        "pretrain_steps": pretrain_steps,
        "batch_size": batch_size,
        "stop_on_leak": stop_on_leak,
        "reference": reference,
        "control": control,
    }
    name = chosen_engine(NAME, engine, config, set_ or (), known=("diffusion", "evolution"), default="diffusion")
    wrong = [f"--{one.replace('_', '-')}" for one in _DIFFUSION_ONLY if typed[one] is not None]
    if name == "evolution" and wrong:
        raise UsageError(f"{', '.join(wrong)} is not for --engine evolution", next_step="Leave it out.")
    common = {"engine": name, "size": size, "seed": seed}
    overrides = set_ or ()
    result: EvolutionResult | FitResult
    if name == "evolution":
        from ethicclip.generation.evolution import EvolutionSettings

        flags = {**common, "epsilon": epsilon, "delta": delta, "unit": unit}
        evolving = resolve(EvolutionSettings, verb=NAME, config=config, overrides=overrides, flags=flags)
        learning = open_learning_set(cohort, label_column=label_column)
        result = perform_evolution(
            evolving, cohort, learning, out, budget=budget, ledger=ledger, progress=console_progress()
        )
        stopped = False
    else:
        from ethicclip.generation.diffusion import FitSettings

        private = {key: typed[key] for key in ("epsilon", "delta", "unit") if typed[key] is not None}
        asked: dict[str, object] = {
            **common,
            "privacy": private or None,
            "start": None if start is None else str(start),
            "steps": steps,
            "pretrain_steps": pretrain_steps,
            "batch_size": batch_size,
            "stop_on_leak": stop_on_leak,
        }
        fitting = resolve(FitSettings, verb=NAME, config=config, overrides=overrides, flags=asked)
        if fitting.privacy is None and budget is not None:
            raise UsageError("--budget is for a private fit", next_step="Give --epsilon with it.")
        if control is None and (reference is not None or fitting.stop_on_leak):
            raise UsageError(
                "samples are checked against other patients of the same pool", next_step="Give --control with it."
            )
        learning = open_learning_set(cohort, label_column=label_column)
        result = fitted = perform_diffusion(
            fitting,
            cohort,
            learning,
            out,
            resume=resume,
            reference=reference,
            control=control,
            budget=budget,
            ledger=ledger,
            progress=console_progress(),
        )
        stopped = fitted.stopped_on_leak
    if not writes():
        return ExitCode.GATE_FAILED if stopped else ExitCode.PASS
    print_json(result.to_json()) if json else print_lines(*result.lines())
    return ExitCode.GATE_FAILED if stopped else ExitCode.PASS


def perform_evolution(
    settings: EvolutionSettings,
    source: Path,
    learning: LearningSet,
    out: Path,
    *,
    budget: Path | None,
    ledger: Path,
    progress: Progress,
) -> EvolutionResult:
    """Evolve a recipe and record it."""
    from ethicclip.cli.recording import file_artifact, learning_artifact, record_privacy, recorded
    from ethicclip.generation.evolution import evolve

    with recorded(ledger, NAME, settings) as run:
        run.use(learning_artifact(source, learning))
        result = evolve(settings, learning, out, budget=budget, progress=progress)
        record_privacy(run, result.statement)
        run.generate(file_artifact("generator", out / "recipe.yaml"))
        run.generate(file_artifact("privacy_statement", out / "privacy.json"))
    return result


def perform_diffusion(
    settings: FitSettings,
    source: Path,
    learning: LearningSet,
    out: Path,
    *,
    resume: bool,
    reference: Path | None,
    control: Path | None,
    budget: Path | None,
    ledger: Path,
    progress: Progress,
) -> FitResult:
    """Fit a diffusion model, look for copies on the way, and record it; of several processes only the first does."""
    from ethicclip.cli.copy_checks import copy_check, real_sides
    from ethicclip.cli.recording import cohort_artifact, file_artifact, learning_artifact, record_privacy, recorded
    from ethicclip.generation.diffusion import fit
    from ethicclip.generation.diffusion.folder import MANIFEST
    from ethicclip.generation.diffusion.starting import begin
    from ethicclip.provenance.artifacts import artifact_of_folder

    start, settings = begin(settings)  # the ledger records the shape that the fit has
    if not writes():
        return fit(settings, learning, out, resume=resume, budget=budget, progress=progress)
    with recorded(ledger, NAME, settings) as run:
        run.use(learning_artifact(source, learning))
        if settings.autoencoder is not None:
            brought = Path(settings.autoencoder)
            run.use(artifact_of_folder(brought, kind="autoencoder", alias=brought.name))
        if start is not None:
            run.use(file_artifact("generator", start.folder / MANIFEST))
        watch = None
        if control is not None:
            seen, unseen = real_sides(reference or source, control)
            run.use(cohort_artifact(seen))
            run.use(cohort_artifact(unseen))
            watch = copy_check(seen, unseen, out / "restricted" / "audits", seed=settings.seed)
        result = fit(settings, learning, out, resume=resume, watch=watch, budget=budget, progress=progress)
        for step, copies, samples in result.copy_rates:
            run.metric(f"copying/step_{step}", copies / samples, n=samples, unit="samples")
        run.generate(file_artifact("generator", out / MANIFEST))
        if result.statement is not None:
            record_privacy(run, result.statement)
            run.generate(file_artifact("privacy_statement", out / "privacy.json"))
        if result.stopped_on_leak:
            run.note_exit(int(ExitCode.GATE_FAILED), "LEAK")
    return result
