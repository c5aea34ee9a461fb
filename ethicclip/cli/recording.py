"""What the verbs write into the ledger: which files and cohorts they read and made, and the figures that count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ethicclip.provenance import Artifact, KeyStore, Run, artifact_of_file, commit_cohort, record_run
from ethicclip.settings import Settings

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort
    from ethicclip.pairs import ImageSource, PairSet

_AUDIT_FILES = {
    "verdict.json": "verdict",
    "flagged.csv": "flagged",
    "scores.csv": "scores",
    "scores.svg": "figure",
    "power.svg": "figure",
}
_MODEL_FILES = {
    "open_clip_model.safetensors": "model",
    "open_clip_config.json": "model_config",
    "ethicclip_model.json": "model_config",
    "README.md": "model_card",
    "run.json": "training_run",
    "log.csv": "training_log",
}


@contextmanager
def recorded(ledger: Path, verb: str, settings: Settings) -> Iterator[Run]:
    """Record the body as one run of `verb`; an exception in it is recorded as a failure and passes on."""
    resolved = settings.resolved()
    with record_run(ledger, verb=verb, settings=resolved, seed=resolved.get("seed")) as run:
        yield run


def file_artifact(kind: str, path: Path, *, origin: str = "none") -> Artifact:
    """A file that shows no patient, named by its content."""
    return artifact_of_file(path, kind=kind, origin=origin, alias=f"{path.parent.name}/{path.name}")


def cohort_artifact(cohort: Cohort) -> Artifact:
    """A cohort and its patients, by commitment: neither names, ids nor plain hashes enter the ledger."""
    origin = "synthetic" if cohort.simulated else "real"
    people = cohort.patient_ids or ()
    return commit_cohort(cohort.content_hashes(), cohort.alias, KeyStore.default(), origin=origin, patients=people)


def pair_set_artifact(pairs: PairSet) -> Artifact:
    """A pair set, named by its manifest, which holds the hash of every shard; a real one by commitment."""
    if pairs.origin == "real":
        return commit_cohort([pairs.digest], pairs.path.name, KeyStore.default(), kind="pair_set")
    manifest = pairs.path / "manifest.json"
    if not manifest.exists():
        return Artifact(kind="pair_set", sha256=pairs.digest, origin=pairs.origin, alias=pairs.path.name)
    return artifact_of_file(manifest, kind="pair_set", origin=pairs.origin, alias=pairs.path.name)


def images_artifact(path: Path, images: ImageSource) -> Artifact:
    """The set that an audit looks at: a pair set of ours, or whatever folder the user calls synthetic."""
    from ethicclip.pairs import PairSet

    if isinstance(images, PairSet) and (path / "manifest.json").exists():
        return pair_set_artifact(images)
    # A set under suspicion may hold patients, so it gets a commitment whatever its maker calls it.
    return commit_cohort([images.digest], path.name, KeyStore.default(), kind="image_set", origin="mixed")


def audit_artifacts(out: Path) -> list[Artifact]:
    """The audit's tables and plots; its pictures of eyes show patients and stay out."""
    return [file_artifact(kind, out / name) for name, kind in _AUDIT_FILES.items() if (out / name).exists()]


def model_artifacts(run_folder: Path) -> list[Artifact]:
    """Weights, architecture and the run's own record."""
    found = [
        file_artifact(kind, run_folder / name) for name, kind in _MODEL_FILES.items() if (run_folder / name).exists()
    ]
    return found


def evaluation_artifacts(out: Path) -> list[Artifact]:
    """Scores and figures; the predictions name real files and stay out."""
    figures = sorted(out.glob("*.svg"))
    return [file_artifact("metrics", out / "metrics.json"), *(file_artifact("figure", path) for path in figures)]


def record_audit_metrics(run: Run, verdict: Mapping[str, Any]) -> None:
    """The counts of a verdict and each measured recall."""
    for name, value in verdict["counts"].items():
        run.metric(f"audit/{name}", value)
    for row in verdict.get("power") or ():
        recall = row.get("recall") or {}
        run.metric(
            f"audit/recall/{row['kind']}",
            recall.get("estimate"),
            recall.get("low"),
            recall.get("high"),
            n=recall.get("n"),
            unit="planted copies",
        )


def record_evaluation_metrics(run: Run, metrics: Mapping[str, Any]) -> None:
    """Every top-level metric that is an estimate with an interval."""
    for name, value in metrics.items():
        if isinstance(value, Mapping) and "estimate" in value:
            run.metric(
                name, value["estimate"], value.get("low"), value.get("high"), n=value.get("n"), unit=metrics.get("unit")
            )
