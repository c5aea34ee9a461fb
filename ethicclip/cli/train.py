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
    from ethicclip.training import PrivateTrainResult, TrainResult, TrainSettings

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
        float | None,
        typer.Option("--epsilon", help="Train with differential privacy up to this budget.", show_default=False),
    ] = None,
    delta: options.Delta = None,
    mechanism: options.Mechanism = None,
    unit: options.PrivacyUnit = None,
    max_grad_norm: options.MaxGradNorm = None,
    budget: Annotated[
        Path | None, typer.Option("--budget", help="Joint budget that the run is reserved in.", show_default=False)
    ] = None,
    canaries: Annotated[
        int | None, typer.Option("--canaries", help="Made-up pairs for audit-model.", show_default="0")
    ] = None,
    canary_seed: Annotated[
        int | None,
        typer.Option("--canary-seed", help="Seed of the canaries' coins.", show_default="the system's randomness"),
    ] = None,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Train an open_clip model on pair sets; checkpoints are safetensors and a resumed run continues its loss curve.

    phantom:COUNT draws phantoms while training reads them: the same pairs that `generate` would write, without a disk.

    With --epsilon, training is differentially private: privacy units are Poisson-sampled by the pair sets' index, the
    batch size is an expectation, and what is measured on the pairs stays in the run's restricted folder.
    """
    from ethicclip.cli.sources import open_sources
    from ethicclip.settings import resolve
    from ethicclip.training import TrainSettings, plan

    private = {"epsilon": epsilon, "delta": delta, "mechanism": mechanism, "unit": unit, "max_grad_norm": max_grad_norm}
    typed = {name: value for name, value in private.items() if value is not None}
    flags = {
        "model": model,
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "canaries": canaries,
        "privacy": typed or None,
    }
    settings = resolve(TrainSettings, verb=NAME, config=config, overrides=set_ or (), flags=flags)
    if settings.privacy is None and budget is not None:
        raise UsageError("--budget is for a private run", next_step="Give --epsilon with it.")
    if canary_seed is not None and not settings.canaries:
        raise UsageError("--canary-seed is for a run with canaries", next_step="Give --canaries with it.")
    sources = open_sources(pairs, config)
    if dry_run:
        if settings.privacy is not None:
            raise UsageError(
                "--dry-run plans a run without privacy", next_step="Use `ethicclip privacy plan` for a private one."
            )
        planned = plan(settings, sources)
        print_json(planned.to_json()) if json else print_lines(*planned.lines())
        return ExitCode.PASS
    result = perform(
        settings,
        sources,
        out,
        resume=resume,
        workers=workers,
        ledger=ledger,
        progress=console_progress(),
        canary_seed=canary_seed,
        budget=budget,
    )
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
    canary_seed: int | None = None,
    budget: Path | None = None,
) -> TrainResult | PrivateTrainResult:
    """Train and record it; of a private run only what its statement covers."""
    from ethicclip.cli.recording import model_artifacts, record_privacy, recorded
    from ethicclip.cli.sources import source_artifact
    from ethicclip.pairs import PairSet
    from ethicclip.training import train, train_private

    result: TrainResult | PrivateTrainResult
    with recorded(ledger, NAME, settings) as run:
        for source in sources:
            run.use(source_artifact(source))
        run.event("licences", {"carried_to_the_weights": sorted({source.licence for source in sources})})
        for source in sources:
            if not isinstance(source, PairSet):
                run.event("stream", {**source.description, "pairs": len(source), "licence": source.licence})
        if settings.privacy is None:
            plain = train(
                settings,
                sources,
                out,
                resume=resume,
                workers=workers,
                canary_seed=canary_seed,
                progress=progress,
            )
            run.metric("loss/last", plain.final_loss)
            result = plain
        else:
            private = train_private(
                settings,
                sources,
                out,
                resume=resume,
                workers=workers,
                canary_seed=canary_seed,
                budget=budget,
                progress=progress,
            )
            record_privacy(run, private.statement)
            result = private
        for artifact in model_artifacts(out):
            run.generate(artifact)
    return result
