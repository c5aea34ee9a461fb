"""What the verbs write into the ledger: which files and cohorts they read and made, and the figures that count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ethicclip.provenance import Artifact, KeyStore, Run, artifact_of_file, commit_cohort, record_run
from ethicclip.settings import Settings

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort
    from ethicclip.generation.learning import LearningSet
    from ethicclip.importing import ImportResult
    from ethicclip.pairs import ImageSource, PairSet
    from ethicclip.privacy import PrivacyStatement

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
    "tokenizer.json": "model_config",
    "tokenizer_config.json": "model_config",
    "README.md": "model_card",
    "run.json": "training_run",
    "log.csv": "training_log",
    "privacy.json": "privacy_statement",
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


def generator_artifact(name: str) -> Artifact:
    """A generator: ours by its manifest, which holds the hash of every part, a foreign one by its folder's content."""
    from ethicclip.generation.diffusion.hub import located, name_of
    from ethicclip.provenance.artifacts import artifact_of_folder

    folder = located(name)
    manifest = folder / "ethicclip_generator.json"
    return (
        file_artifact("generator", manifest)
        if manifest.is_file()
        else artifact_of_folder(folder, kind="generator", alias=name_of(name))
    )


def learning_artifact(source: Path, learning: LearningSet) -> Artifact:
    """What a generator learnt from: a pair set as ever, a cohort with its patients by commitment."""
    from ethicclip.pairs import PairSet

    if (source / "manifest.json").is_file():
        return pair_set_artifact(PairSet.open(source))
    origin = str(learning.origin)
    people = sorted({one for one in learning.patient_ids if one is not None})
    return commit_cohort(learning.hashes, learning.alias, KeyStore.default(), origin=origin, patients=people)


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


@contextmanager
def recorded_import(ledger: Path, kind: str, settings: Settings) -> Iterator[Callable[[ImportResult, Artifact], None]]:
    """Record an import; the body calls what it is given with the result and the artifact it was made from."""
    from ethicclip.pairs import PairSet

    with record_run(ledger, verb="import", settings={"kind": kind, **settings.resolved()}) as run:

        def record(result: ImportResult, source: Artifact) -> None:
            run.use(source)
            run.generate(pair_set_artifact(PairSet.open(result.path)))
            run.metric("pairs", result.count)
            run.metric("left_out", sum(result.left_out.values()))
            run.event("licences", {"of_the_set": result.licence})

        yield record


def import_source_artifact(result: ImportResult, alias: str) -> Artifact:
    """What `import folder` read: by its hash when the eyes are synthetic, by commitment otherwise."""
    if result.origin == "synthetic":
        return Artifact(kind="image_table", sha256=result.rows_sha256, origin=result.origin, alias=alias)
    keys = KeyStore.default()
    return commit_cohort([result.rows_sha256], alias, keys, kind="image_table", origin=result.origin)


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


def record_privacy(run: Run, statement: PrivacyStatement) -> None:
    """The statement's figures as metrics, and the whole of it as an event: it is public."""
    scope = f"add or remove one {statement.unit}; {'patients' if statement.scope.covers_patients else 'records'}"
    run.metric("privacy/epsilon", statement.epsilon, high=statement.epsilon, unit=scope)
    run.metric("privacy/epsilon_replace_one", statement.epsilon_replace_one, unit=f"replace one {statement.unit}")
    run.metric("privacy/delta", statement.delta)
    run.metric("privacy/noise_multiplier", statement.noise.noise_multiplier)
    run.metric("privacy/sample_rate", statement.sampling.sample_rate)
    run.metric("privacy/max_grad_norm", statement.noise.max_grad_norm)
    run.metric("privacy/steps", statement.steps.accounted)
    run.event("privacy_statement", statement.to_json())


def record_model_audit(run: Run, document: Mapping[str, Any]) -> None:
    """Each attack's figures with their intervals, the control, and the bound on epsilon."""
    for name, attack in document["attacks"].items():
        for figure, value in attack.items():
            if isinstance(value, Mapping):
                label = "auc" if figure == "auc" else f"tpr_at_{figure}"
                run.metric(
                    f"membership/{name.split()[0]}/{label}",
                    value.get("estimate"),
                    value.get("low"),
                    value.get("high"),
                    n=value.get("n"),
                    unit=document["unit"],
                )
    control = document["control"]
    run.metric("membership/control/auc", control["estimate"], control["low"], control["high"], n=control["n"])
    canaries = document["canaries"]
    if canaries["state"] == "DONE":
        bound = canaries["epsilon_lower_bound"]
        run.metric("membership/epsilon_lower_bound", bound["epsilon"], low=bound["epsilon"], n=bound["canaries"])
        for name, share in canaries["extraction"]["retrieved"].items():
            label = name.replace(" ", "_")
            run.metric(f"extraction/{label}", share["estimate"], share["low"], share["high"], n=share["n"])


def text_artifacts(out: Path) -> list[Artifact]:
    """The counts of a scan of words; its tables name people and stay out."""
    return [file_artifact("text_audit", out / "text.json")]


def record_text_metrics(run: Run, document: Mapping[str, Any]) -> None:
    """The counts of a scan of words, and its overlap against the control."""
    for name, value in document["counts"].items():
        run.metric(f"text/{name}", value)
    risk = (document["overlap"] or {}).get("risk_against_control")
    if risk is not None:
        run.metric("text/overlap_risk", risk["estimate"], risk["low"], risk["high"], unit="captions")


def record_audit_metrics(run: Run, verdict: Mapping[str, Any]) -> None:
    """The counts of a verdict, each measured recall, and the aggregates printed for comparison."""
    for name, value in verdict["counts"].items():
        run.metric(f"audit/{name}", value)
    if verdict.get("text") is not None:
        record_text_metrics(run, verdict["text"])
    if verdict.get("history") is not None:
        run.metric("audit/times_audited", verdict["history"]["of_this_set"], unit="audits of this set")
    for row in verdict.get("aggregates") or ():
        if row["estimate"] is not None:
            run.metric(
                f"aggregate/{row['name']}", row["estimate"], row["low"], row["high"], n=row["n"], unit=row["unit"]
            )
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


def record_comparison_metrics(run: Run, document: Mapping[str, Any]) -> None:
    """Each paired difference, and how alike the representations are."""
    unit = document["unit"]

    def record(name: str, value: Mapping[str, Any]) -> None:
        run.metric(name, value["estimate"], value.get("low"), value.get("high"), n=value.get("n"), unit=unit)

    for name, value in document["scores"].items():
        if "b_minus_a" in value:
            record(f"b_minus_a/{name}", value["b_minus_a"])
    for name in ("cka", "neighbour_overlap"):
        if name in document["representations"]:
            record(f"likeness/{name}", document["representations"][name]["value"])
    for side, found in document["languages"].items():
        for name in ("balanced_accuracy", "auroc"):
            if name in found.get("scores", {}):
                record(f"zh_minus_en/{side}/{name}", found["scores"][name]["zh_minus_en"])
