"""``ethicclip audit-model``: who was in the training set, and can the stated epsilon be true?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from ethicclip.audits.models import ModelAuditResult, ModelAuditSettings
    from ethicclip.audits.models.audit import TrainFn
    from ethicclip.progress import Progress

NAME = "audit-model"

EXIT_CODES = {
    "CONSISTENT": ExitCode.PASS,
    "CONTRADICTED": ExitCode.INTEGRITY,
    "INCONCLUSIVE": ExitCode.INCONCLUSIVE,
}


def command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A trained run.")],
    members: Annotated[Path, typer.Option("--members", help="Pair set that it was trained on.")],
    non_members: Annotated[Path, typer.Option("--non-members", help="Pair set of other patients of the same pool.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the audit; restricted.")],
    shadows: Annotated[
        int | None, typer.Option("--shadows", help="Shadow models for LiRA: even, 4 or more.", show_default="0")
    ] = None,
    seed: options.Seed = None,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Attack a model: membership, a lower bound on epsilon from its canaries, extraction.

    Exit 0 nothing contradicts what the run states, 11 the negative control failed, 12 the canaries show more than the
    stated epsilon. Figures are recorded in the ledger; they are outside any epsilon.
    """
    from ethicclip.audits.models import ModelAuditSettings
    from ethicclip.settings import resolve

    flags = {"shadows": shadows, "seed": seed}
    settings = resolve(ModelAuditSettings, verb=NAME, config=config, overrides=set_ or (), flags=flags)
    result = perform(settings, run_folder, members, non_members, out, ledger=ledger, progress=console_progress())
    print_json(result.to_json()) if json else print_lines(*result.lines(), f"written to {out} (restricted)")
    return EXIT_CODES[result.verdict]


def perform(
    settings: ModelAuditSettings,
    run_folder: Path,
    members: Path,
    non_members: Path,
    out: Path,
    *,
    ledger: Path,
    progress: Progress,
) -> ModelAuditResult:
    """Audit and record it."""
    from ethicclip.audits.models import audit_model
    from ethicclip.cli.recording import (
        file_artifact,
        model_artifacts,
        pair_set_artifact,
        record_model_audit,
        recorded,
    )
    from ethicclip.clip import load
    from ethicclip.clip.shipped import locate
    from ethicclip.files import read_json
    from ethicclip.pairs import PairSet
    from ethicclip.pairs.canaries import read_canaries

    run_folder = locate(run_folder)
    model = load(run_folder)
    coins, said = run_folder / "restricted" / "canaries.json", run_folder / "privacy.json"
    inside, outside = PairSet.open(members), PairSet.open(non_members)
    with recorded(ledger, NAME, settings) as run:
        for artifact in (*model_artifacts(run_folder), pair_set_artifact(inside), pair_set_artifact(outside)):
            run.use(artifact)
        result = audit_model(
            settings,
            model,
            inside,
            outside,
            out,
            canaries=read_canaries(coins) if coins.exists() else None,
            statement=read_json(said) if said.exists() else None,
            train_fn=_train_fn(run_folder, out) if settings.shadows else None,
            progress=progress,
        )
        run.generate(file_artifact("model_audit", out / "model_audit.json"))
        record_model_audit(run, result.to_json())
        run.note_exit(int(EXIT_CODES[result.verdict]), result.verdict)
    return result


def _train_fn(run_folder: Path, out: Path) -> TrainFn:
    """Shadow models are trained as the run was: its settings, its kind of training, seeds of their own, no canaries."""
    import tempfile

    from ethicclip.clip import load
    from ethicclip.files import read_json
    from ethicclip.training import TrainSettings, train, train_private

    run: Any = read_json(run_folder / "run.json")
    if not isinstance(run, dict) or not isinstance(run.get("settings"), dict):
        raise BadInputError(
            f"{run_folder}/run.json does not say how the run was trained", next_step="Leave out --shadows."
        )
    settings = TrainSettings.build({**run["settings"], "canaries": 0})

    def train_one(pairs: Any, number: int) -> Any:
        own = settings.model_copy(update={"seed": settings.seed + 1 + number})
        out.parent.mkdir(parents=True, exist_ok=True)
        # Shadow models remember patients: they live where only their owner reads, and no longer than needed.
        with tempfile.TemporaryDirectory(prefix=".shadow-", dir=out.parent) as folder:
            (train if own.privacy is None else train_private)(own, [pairs], Path(folder) / "run")
            return load(Path(folder) / "run")

    return train_one
