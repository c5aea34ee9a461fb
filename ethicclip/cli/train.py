"""``ethicclip train``: a CLIP model from pair sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.cli.launching import alone, writes
from ethicclip.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ethicclip.generation import PhantomStream
    from ethicclip.pairs import PairSet
    from ethicclip.progress import Progress
    from ethicclip.training import PrivateTrainResult, TrainResult, TrainSettings

NAME = "train"


def command(
    pairs: Annotated[
        list[str],
        typer.Argument(
            help="Pair sets, and streams such as phantom:200000,size=224,seed=3; mixed freely, or by weight: A@2 B@1."
        ),
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
    validation: Annotated[
        str | None,
        typer.Option(
            "--validation", help="Public pairs kept aside: the weights that do best on them stay.", show_default=False
        ),
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write the curves for TensorBoard too.")] = False,
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
    Several processes share every batch under `torchrun --nproc-per-node N -m ethicclip train ...`.

    With --epsilon, training is differentially private: privacy units are Poisson-sampled by the pair sets' index, the
    batch size is an expectation, and what is measured on the pairs stays in the run's restricted folder.
    """
    from ethicclip.cli.sources import open_sources, split_weights
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
    _refuse_beside_privacy(settings, pairs, validation, tensorboard=tensorboard)
    names, weights = split_weights(pairs)
    opened = open_sources([*names, *([] if validation is None else [validation])], config)
    sources, aside = opened[: len(names)], opened[len(names) :]
    if dry_run:
        if settings.privacy is not None:
            raise UsageError(
                "--dry-run plans a run without privacy", next_step="Use `ethicclip privacy plan` for a private one."
            )
        planned = plan(settings, sources, weights=weights)
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
        weights=weights,
        validation=aside[0] if aside else None,
        tensorboard=tensorboard,
    )
    if not writes():
        return ExitCode.PASS
    if json:
        print_json(result.to_json())
    else:
        print_lines(*result.lines())
    return ExitCode.PASS


def _refuse_beside_privacy(
    settings: TrainSettings, pairs: list[str], validation: str | None, *, tensorboard: bool
) -> None:
    """What a private run does not have: its own units are drawn, and nothing measured on pairs may leave it."""
    from ethicclip.cli.sources import split_weights

    if settings.privacy is None:
        return
    typed = {
        "--validation": validation is not None,
        "--tensorboard": tensorboard,
        "weights of sets": split_weights(pairs)[1] is not None,
        "torchrun": not alone(),
    }
    found = [name for name, there in typed.items() if there]
    if found:
        raise UsageError(f"a private run has no {', '.join(found)}", next_step="Leave it away.")


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
    weights: Sequence[float] | None = None,
    validation: PairSet | PhantomStream | None = None,
    tensorboard: bool = False,
) -> TrainResult | PrivateTrainResult:
    """Train and record it; of a private run only what its statement covers, of several processes only the first."""
    from ethicclip.cli.recording import model_artifacts, record_privacy, recorded
    from ethicclip.cli.sources import source_artifact
    from ethicclip.pairs import PairSet
    from ethicclip.provenance import Artifact
    from ethicclip.training import train, train_private

    def plainly() -> TrainResult:
        return train(
            settings,
            sources,
            out,
            weights=weights,
            validation=validation,
            resume=resume,
            workers=workers,
            canary_seed=canary_seed,
            tensorboard=tensorboard,
            progress=progress,
        )

    if not writes():
        return plainly()
    result: TrainResult | PrivateTrainResult
    with recorded(ledger, NAME, settings) as run:
        for source in sources:
            run.use(source_artifact(source))
        run.event("licences", {"carried_to_the_weights": sorted({source.licence for source in sources})})
        for source in sources:
            if not isinstance(source, PairSet):
                run.event("stream", {**source.description, "pairs": len(source), "licence": source.licence})
        if settings.privacy is None:
            if validation is not None:
                run.use(source_artifact(validation))
                run.event("validation", {"pairs": len(validation), "origin": str(validation.origin)})
            if weights is not None:
                run.event("mixture", {"weights": list(weights)})
            plain = plainly()
            run.metric("loss/last", plain.final_loss)
            if plain.run["weights"]["kept"] == "best":
                run.metric("loss/validation", plain.run["weights"]["loss"])
            start = plain.run.get("pretrained")
            if start is not None:
                run.use(Artifact(kind="model", sha256=start["sha256"], origin="none", alias=start["source"]))
                run.event("pretrained", start)
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
