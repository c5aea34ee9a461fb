"""``ethicclip audit-leakage``: does a synthetic set give real patients away?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import ExitCode

if TYPE_CHECKING:
    from ethicclip.audits import AuditResult, AuditSettings
    from ethicclip.cohorts import Cohort
    from ethicclip.progress import Progress

NAME = "audit-leakage"

EXIT_CODES = {"PASS": ExitCode.PASS, "LEAK": ExitCode.GATE_FAILED, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}


def command(
    synthetic: Annotated[Path, typer.Argument(help="The set to audit: a pair set or a folder of images.")],
    reference: Annotated[Path, typer.Option("--reference", help="Real patients that the generator saw.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the audit; restricted.")],
    control: Annotated[
        Path | None,
        typer.Option("--control", help="Other patients of the same pool; without them no PASS.", show_default=False),
    ] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="False discovery rate.", show_default="0.05")] = None,
    descriptor: Annotated[
        str | None, typer.Option("--descriptor", help="What describes an image.", show_default="local")
    ] = None,
    scores: Annotated[
        bool | None, typer.Option("--scores/--no-scores", help="Write scores.csv (restricted).", show_default="no")
    ] = None,
    seed: options.Seed = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Threads; changes no result.")] = 2,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Look for copies of reference patients in a synthetic set, with error control and measured power.

    Exit 0 PASS, 10 LEAK, 11 INCONCLUSIVE. A screen with a stated bound, not a proof.
    """
    from ethicclip.audits import AuditSettings
    from ethicclip.cohorts import read_cohort
    from ethicclip.settings import resolve

    flags = {"alpha": alpha, "descriptor": descriptor, "scores": scores, "seed": seed}
    settings = resolve(AuditSettings, verb=NAME, config=config, overrides=set_ or (), flags=flags)
    seen = read_cohort(reference)
    unseen = None if control is None else read_cohort(control)
    result = perform(
        settings, synthetic, seen, unseen, out, workers=workers, ledger=ledger, progress=console_progress()
    )
    if json:
        print_json(result.to_json())
    else:
        print_lines(*result.lines(), f"evidence: {out} (restricted: it shows patients)")
    return EXIT_CODES[result.verdict]


def perform(
    settings: AuditSettings,
    synthetic: Path,
    reference: Cohort,
    control: Cohort | None,
    out: Path,
    *,
    workers: int,
    ledger: Path,
    progress: Progress,
    positive_control: str | None = None,
) -> AuditResult:
    """Audit and record it; `positive_control` says that copies were planted on purpose."""
    from ethicclip.audits import audit_leakage
    from ethicclip.cli.recording import (
        audit_artifacts,
        cohort_artifact,
        images_artifact,
        record_audit_metrics,
        recorded,
    )
    from ethicclip.pairs import open_images

    images = open_images(synthetic)
    with recorded(ledger, NAME, settings) as run:
        run.use(images_artifact(synthetic, images))
        run.use(cohort_artifact(reference))
        if control is not None:
            run.use(cohort_artifact(control))
        result = audit_leakage(settings, images, reference, control, out, workers=workers, progress=progress)
        for artifact in audit_artifacts(out):
            run.generate(artifact)
        record_audit_metrics(run, result.to_json())
        if positive_control is not None:
            run.event("positive_control", {"note": positive_control})
        run.note_exit(int(EXIT_CODES[result.verdict]), result.verdict)
    return result
