"""``ethicclip audit-leakage``: does a synthetic set give real patients away?"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines

if TYPE_CHECKING:
    from ethicclip.audits import AuditHistory, AuditResult, AuditSettings
    from ethicclip.cohorts import Cohort
    from ethicclip.policy import Policy
    from ethicclip.progress import Progress
    from ethicclip.provenance import Artifact

NAME = "audit-leakage"


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
        str | None,
        typer.Option(
            "--descriptor",
            help="What describes an image, joined with commas: local, copy, pixel, open_clip:MODEL[@FILE], "
            "timm:MODEL[@FILE], torchscript:FILE.",
            show_default="local",
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="YAML thresholds that the result is held to as well.", show_default=False),
    ] = None,
    reuse: Annotated[
        Path | None,
        typer.Option("--reuse", help="Folder of an earlier audit whose embeddings are reused.", show_default=False),
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

    Exit 0 PASS, 10 LEAK or a missed policy, 11 INCONCLUSIVE. A screen with a stated bound, not a proof.
    """
    from ethicclip.audits import AuditSettings
    from ethicclip.cohorts import read_cohort
    from ethicclip.policy import read_policy
    from ethicclip.settings import resolve

    flags = {"alpha": alpha, "descriptor": descriptor, "scores": scores, "seed": seed}
    settings = resolve(AuditSettings, verb=NAME, config=config, overrides=set_ or (), flags=flags)
    rules = None if policy is None else read_policy(policy)
    seen = read_cohort(reference)
    unseen = None if control is None else read_cohort(control)
    result = perform(
        settings,
        synthetic,
        seen,
        unseen,
        out,
        policy=rules,
        reuse=reuse,
        workers=workers,
        ledger=ledger,
        progress=console_progress(),
    )
    if json:
        print_json(result.to_json())
    else:
        print_lines(*result.lines(), f"evidence: {out} (restricted: it shows patients)")
    return result.exit_code


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
    policy: Policy | None = None,
    reuse: Path | None = None,
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
    audited, seen = images_artifact(synthetic, images), cohort_artifact(reference)
    earlier = history(ledger, audited, seen)
    with recorded(ledger, NAME, settings) as run:
        run.use(audited)
        run.use(seen)
        if control is not None:
            run.use(cohort_artifact(control))
        result = audit_leakage(
            settings,
            images,
            reference,
            control,
            out,
            policy=policy,
            today=None if policy is None else date.today(),
            history=earlier,
            reuse=reuse,
            workers=workers,
            progress=progress,
        )
        for artifact in audit_artifacts(out):
            run.generate(artifact)
        record_audit_metrics(run, result.to_json())
        if positive_control is not None:
            run.event("positive_control", {"note": positive_control})
        if result.gate.decision is not None:
            run.event("policy", result.gate.decision.to_json())
        run.note_exit(int(result.exit_code), result.verdict)
    return result


def history(ledger: Path, audited: Artifact, reference: Artifact) -> AuditHistory:
    """How often the ledger saw this set, and this reference, audited to the end; the audit about to start counts."""
    from ethicclip.audits import AuditHistory
    from ethicclip.provenance import read_ledger

    counts = {audited.id: 1, reference.id: 1}
    if ledger.exists():
        snapshot = read_ledger(ledger)
        finished = {run.run_id for run in snapshot.runs if run.verb == NAME and run.status == "finished"}
        for edge in snapshot.edges:
            if edge.run_id in finished and edge.role == "used" and edge.artifact in counts:
                counts[edge.artifact] += 1
    return AuditHistory(of_this_set=counts[audited.id], against_this_reference=counts[reference.id])
