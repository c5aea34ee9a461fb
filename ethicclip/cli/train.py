"""``ethicclip train``: a CLIP model from pair sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ethicclip.generation import PhantomStream
    from ethicclip.pairs import PairSet
    from ethicclip.progress import Progress
    from ethicclip.training import TrainResult, TrainSettings

NAME = "train"


def command(
    pairs: Annotated[
        list[str], typer.Argument(help="Pair sets, and streams such as phantom:200000,size=224,seed=3; mixed freely.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    model: Annotated[
        str | None, typer.Option("--model", help="A config of ours or an open_clip name.", show_default="tiny")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the pairs.", show_default="16")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Pairs a step.", show_default="32")] = None,
    seed: options.Seed = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Decoding or drawing processes; changes no result.")
    ] = 0,
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", help="Differential privacy budget.", show_default=False)
    ] = None,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Train an open_clip model on pair sets; checkpoints are safetensors and a resumed run continues its loss curve.

    phantom:COUNT draws phantoms while training reads them: the same pairs that `generate` would write, without a disk.
    """
    from ethicclip.settings import resolve

    if epsilon is not None:
        raise UsageError(
            f"--epsilon {epsilon}: differentially private training arrives with the private path",
            next_step="Leave --epsilon out; the run then states that no differential privacy was used.",
        )
    from ethicclip.cli.sources import open_sources
    from ethicclip.training import TrainSettings, plan

    flags = {"model": model, "epochs": epochs, "batch_size": batch_size, "seed": seed}
    settings = resolve(TrainSettings, verb=NAME, config=config, overrides=set_ or (), flags=flags)
    sources = open_sources(pairs, config)
    if dry_run:
        planned = plan(settings, sources)
        print_json(planned.to_json()) if json else print_lines(*planned.lines())
        return ExitCode.PASS
    result = perform(settings, sources, out, resume=resume, workers=workers, ledger=ledger, progress=console_progress())
    if json:
        print_json(result.to_json())
    else:
        print_lines(*result.lines())
    return ExitCode.PASS


def perform(
    settings: TrainSettings,
    sources: Sequence[PairSet | PhantomStream],
    out: Path,
    *,
    resume: bool,
    workers: int,
    ledger: Path,
    progress: Progress,
) -> TrainResult:
    """Train and record it."""
    from ethicclip.cli.recording import model_artifacts, recorded
    from ethicclip.cli.sources import source_artifact
    from ethicclip.pairs import PairSet
    from ethicclip.training import train

    with recorded(ledger, NAME, settings) as run:
        for source in sources:
            run.use(source_artifact(source))
        run.event("licences", {"carried_to_the_weights": sorted({source.licence for source in sources})})
        for source in sources:
            if not isinstance(source, PairSet):
                run.event("stream", {**source.description, "pairs": len(source), "licence": source.licence})
        result = train(settings, sources, out, resume=resume, workers=workers, progress=progress)
        for artifact in model_artifacts(out):
            run.generate(artifact)
        run.metric("loss/last", result.final_loss)
    return result
