"""``ethicclip generate``: a set of synthetic fundus image-text pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ethicclip.generation import GenerateResult, GenerateSettings
    from ethicclip.generation.diffusion import DiffusionSettings
    from ethicclip.progress import Progress

NAME = "generate"


def command(
    out: Annotated[Path, typer.Option("--out", help="Folder of the pair set.")],
    count: Annotated[int | None, typer.Option("--count", help="How many pairs.", show_default="required")] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="What draws the eyes: phantom or diffusion.", show_default="phantom")
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator",
            help="Of diffusion: a folder with a diffusers pipeline, or hub:OWNER/NAME[@REVISION], which is downloaded.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", help="Side of an image in pixels.", show_default="224; diffusion the generator's own"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Of diffusion: steps of DPM-Solver++.", show_default="20")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Of diffusion: classifier-free guidance.", show_default="2")
    ] = None,
    seed: options.Seed = None,
    languages: Annotated[
        str | None, typer.Option("--languages", help="Caption languages.", show_default="en,zh")
    ] = None,
    masks: Annotated[
        bool | None,
        typer.Option("--masks/--no-masks", help="Store masks of disc, cup, vessels, lesions.", show_default="yes"),
    ] = None,
    guard: Annotated[
        Path | None,
        typer.Option(
            "--guard",
            help="Of diffusion: cohort that the generator learnt from; pictures that the audit flags are dropped.",
            show_default=False,
        ),
    ] = None,
    control: Annotated[
        Path | None, typer.Option("--control", help="Of --guard: other patients of the same pool.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes; changes no byte.")] = 1,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Draw synthetic fundus photographs with their findings and captions, as a WebDataset pair set.

    phantom: no patient's image enters. diffusion: draws from a learned generator, which can repeat what it learnt from.
    A run that was cut off goes on when the same command is given again, and ends with the same bytes.
    """
    from ethicclip.cli.engines import chosen_engine
    from ethicclip.generation import GenerateSettings, plan
    from ethicclip.settings import resolve

    learned = {"generator": generator, "steps": steps, "guidance": guidance, "guard": guard, "control": control}
    name = chosen_engine(NAME, engine, config, set_ or (), known=("phantom", "diffusion"), default="phantom")
    given = learned if name == "phantom" else {"masks": masks}
    if wrong := [f"--{one}" for one, value in given.items() if value not in (None, False)]:
        raise UsageError(f"{', '.join(wrong)} is not for --engine {name}", next_step="Leave it out.")
    if name == "diffusion":
        if dry_run:
            raise UsageError("--dry-run plans phantoms only", next_step="Draw a few: --count 16.")
        if (guard is None) != (control is None):
            raise UsageError("a guard needs both sides", next_step="Give --guard and --control together.")
        flags: dict[str, object] = {
            "engine": name,
            "count": count,
            "generator": generator,
            "size": size,
            "seed": seed,
            "steps": steps,
            "guidance": guidance,
            "languages": options.comma_list(languages),
        }
        from ethicclip.generation.diffusion import DiffusionSettings

        asked = resolve(DiffusionSettings, verb=NAME, config=config, overrides=set_ or (), flags=flags)
        sides = None if guard is None or control is None else (guard, control)
        drawn = perform_learned(asked, out, guarded=sides, workers=workers, ledger=ledger, progress=console_progress())
        print_json(drawn.to_json()) if json else print_lines(*drawn.lines())
        return ExitCode.PASS

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
    result = perform(settings, out, workers=workers, ledger=ledger, progress=console_progress(), recipe=config)
    if json:
        print_json(result.to_json())
    else:
        print_lines(*result.lines())
    return ExitCode.PASS


def perform(
    settings: GenerateSettings,
    out: Path,
    *,
    workers: int,
    ledger: Path,
    progress: Progress,
    recipe: Path | None = None,
) -> GenerateResult:
    """Generate and record it, with the recipe file where patients had a say in that."""
    from ethicclip.cli.recording import file_artifact, pair_set_artifact, recorded
    from ethicclip.generation import generate
    from ethicclip.pairs import PairSet

    with recorded(ledger, NAME, settings) as run:
        if settings.fitted is not None and recipe is not None:
            run.use(file_artifact("generator", recipe))
        result = generate(settings, out, workers=workers, progress=progress)
        run.generate(pair_set_artifact(PairSet.open(out)))
        run.metric("pairs", result.count)
    return result


def perform_learned(
    settings: DiffusionSettings,
    out: Path,
    *,
    guarded: tuple[Path, Path] | None,
    workers: int,
    ledger: Path,
    progress: Progress,
) -> GenerateResult:
    """Draw from a learned generator, behind a guard where one is asked for, and record it."""
    from ethicclip.cli.guarding import Guarded, guarded_numbers
    from ethicclip.cli.recording import cohort_artifact, generator_artifact, pair_set_artifact, recorded
    from ethicclip.generation.diffusion import generate_learned
    from ethicclip.pairs import PairSet

    with recorded(ledger, NAME, settings) as run:
        run.use(generator_artifact(settings.generator))
        found: Guarded | None = None
        if guarded is not None:
            found = guarded_numbers(settings, out, *guarded, workers=workers, progress=progress)
            run.use(cohort_artifact(found.reference))
            run.use(cohort_artifact(found.control))
        result = generate_learned(
            settings,
            out,
            workers=workers,
            leave_out=frozenset() if found is None else frozenset(found.dropped),
            notes=() if found is None else found.notes(),
            progress=progress,
        )
        if found is not None:
            run.metric("guard/dropped", len(found.dropped), n=settings.count, unit="pictures")
            run.event("guard", found.to_json())
            progress.say(found.notes()[0])
        run.generate(pair_set_artifact(PairSet.open(out)))
        run.metric("pairs", result.count)
    return result
