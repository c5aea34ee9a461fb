"""One verb for every format: what the ledger holds, in the words of another ecosystem; same ledger, same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError, UsageError
from ethicclip.exports import cards, croissant, intoto, openlineage, prov
from ethicclip.exports.ro_crate import json_lines, pretty, write_crate
from ethicclip.exports.scope import Scope, scope_of
from ethicclip.files import require_empty_or_absent, write_bytes, write_text
from ethicclip.provenance import ArtifactRecord, KeyStore, LedgerSnapshot, VerifyResult, read_verified
from ethicclip.reports import ReportSettings
from ethicclip.reports.building import build
from ethicclip.reports.document import Report
from ethicclip.reports.evidence import gather


class Format(StrEnum):
    """What ``ethicclip export`` writes."""

    PROV = "prov"
    INTOTO = "intoto"
    OPENLINEAGE = "openlineage"
    CROISSANT = "croissant"
    DATASET_CARD = "dataset-card"
    MODEL_CARD = "model-card"
    RO_CRATE = "ro-crate"
    CLIP_BENCHMARK = "clip-benchmark"
    MLFLOW = "mlflow"


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written.

    Args:
        format: As which format.
        out: File or folder.
        counts: How much of what.
        notes: What a reader should know.
    """

    format: Format
    out: Path
    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What ``export --json`` prints."""
        return {
            "schema": "ethicclip/export/1",
            "format": str(self.format),
            "out": str(self.out),
            "counts": dict(self.counts),
            "notes": list(self.notes),
        }

    def lines(self) -> tuple[str, ...]:
        """The outcome for people."""
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        return (f"{self.format}: {self.out} ({counts})", *(f"note    {note}" for note in self.notes))


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A ledger's snapshot with what an export may need of it."""

    snapshot: LedgerSnapshot
    checked: VerifyResult
    subject: str | None
    out: Path
    keys: KeyStore

    def scope(self) -> Scope:
        return scope_of(self.snapshot, self.subject)

    def focus(self, *kinds: str) -> ArtifactRecord | None:
        """The artifact that was asked for, if it is of one of these kinds."""
        if self.subject is None:
            return None
        record = self.scope().focus
        if record is None or record.kind not in kinds:
            what = "a run" if record is None else record.kind
            raise UsageError(
                f"{self.subject!r} is {what}, not {' or '.join(kinds)}", next_step="Name one, or leave it out."
            )
        return record

    def report(self, subject: ArtifactRecord | None) -> Report:
        """The report's document about a set, without pictures."""
        written = self.snapshot.heads[-1].time if self.snapshot.heads else self.snapshot.runs[-1].started
        evidence = gather(self.snapshot, self.checked, subject)
        return build(evidence, ReportSettings(pictures=0), written)[0]


def export(
    format_: Format, ledger: Path, out: Path, *, subject: str | None = None, keys: KeyStore | None = None
) -> ExportResult:
    """Write `ledger` in another format.

    Args:
        format_: Which.
        ledger: The ledger; artifact files are read where they lie beside it.
        out: The file to write, or an absent or empty folder for ro-crate, clip-benchmark and mlflow.
        subject: What it is about: a run's id, or a path, alias or hash of an artifact; for clip-benchmark a pair set or
            a cohort on disk. None for the whole ledger, the released set or the latest model.
        keys: Sign attestations; `KeyStore.default` when None.

    Raises:
        BadInputError: No ledger, no such subject, or `out` holds something.
        UsageError: The subject is of another kind than the format wants.
        LedgerLockedError: Another process held the ledger all the time.

    Example:
        >>> export(Format.PROV, Path("ethicclip.duckdb"), Path("prov.json"))  # doctest: +SKIP
    """
    if format_ is Format.CLIP_BENCHMARK:
        return _clip_benchmark(subject, out)
    snapshot, checked = read_verified(ledger)
    if not snapshot.runs:
        raise BadInputError(f"the ledger {ledger} holds no run", next_step="Run a verb with this --ledger first.")
    job = _Job(
        snapshot=snapshot,
        checked=checked,
        subject=subject,
        out=out,
        keys=KeyStore.default() if keys is None else keys,
    )
    result = _WRITERS[format_](job)
    if checked.ok:
        return result
    broken = f"the ledger does not verify: {checked.findings[0].line()}"
    return ExportResult(format=format_, out=out, counts=result.counts, notes=(*result.notes, broken))


def _prov(job: _Job) -> ExportResult:
    document = prov.prov_json(job.scope())
    write_bytes(job.out, pretty(document))
    counts = {name: len(document.get(name, ())) for name in ("entity", "activity")}
    return ExportResult(
        format=Format.PROV, out=job.out, counts={"entities": counts["entity"], "activities": counts["activity"]}
    )


def _intoto(job: _Job) -> ExportResult:
    found = [intoto.envelope(statement, job.keys) for statement in intoto.statements(job.scope())]
    write_bytes(job.out, json_lines(found))
    return ExportResult(format=Format.INTOTO, out=job.out, counts={"attestations": len(found)})


def _openlineage(job: _Job) -> ExportResult:
    found = list(openlineage.events(job.scope()))
    write_bytes(job.out, json_lines(found))
    return ExportResult(format=Format.OPENLINEAGE, out=job.out, counts={"events": len(found)})


def _croissant(job: _Job) -> ExportResult:
    record, report = _set_and_report(job)
    place = job.snapshot.place(record)
    if place is None or not place.is_file():
        raise BadInputError(
            f"{record.label()} is not where it was recorded",
            next_step="Name another set as SUBJECT, or bring this one back; of real pairs the ledger holds no place.",
        )
    document = croissant.croissant_of(place.parent, report)
    write_bytes(job.out, pretty(document))
    found = croissant.problems(document, place.parent)
    notes = tuple(f"beyond the format: {problem}" for problem in found)
    return ExportResult(
        format=Format.CROISSANT, out=job.out, counts={"files": len(document["distribution"])}, notes=notes
    )


def _dataset_card(job: _Job) -> ExportResult:
    _, report = _set_and_report(job)
    write_text(job.out, cards.dataset_card(report))
    return ExportResult(format=Format.DATASET_CARD, out=job.out, counts={"sets": 1})


def _model_card(job: _Job) -> ExportResult:
    model = job.focus("model") or next(
        (record for record in reversed(job.snapshot.artifacts) if record.kind == "model"), None
    )
    if model is None:
        raise BadInputError("the ledger holds no model", next_step="Train one with this --ledger first.")
    made = [e.run_id for e in job.snapshot.edges if e.artifact == model.id and e.role == "generated"]
    sets = [r for run in made for r in job.snapshot.artifacts_of(run, "used") if r.kind in {"pair_set", "image_set"}]
    report = job.report(sets[0] if sets else None)
    training = next((part for part in report.trainings if part.run_id in made), None)
    if training is None:
        raise BadInputError(
            f"the ledger holds no finished training of {model.label()}", next_step="Name a model that was trained here."
        )
    users = {e.run_id for e in job.snapshot.edges if e.artifact == model.id and e.role == "used"}
    scored = [part for part in report.evaluations if part.run_id in users]
    write_text(job.out, cards.model_card(report, model, training, scored))
    return ExportResult(format=Format.MODEL_CARD, out=job.out, counts={"evaluations": len(scored)})


def _ro_crate(job: _Job) -> ExportResult:
    require_empty_or_absent(job.out)
    scope = job.scope()
    report = job.report(scope.focus if scope.focus is not None and scope.focus.kind == "pair_set" else None)
    licence = next((f.text for one in report.sets if one.is_subject for f in one.facts if f.name == "Licence"), "")
    extra = {
        "prov.json": pretty(prov.prov_json(scope)),
        "attestations.intoto.jsonl": json_lines(
            [intoto.envelope(statement, job.keys) for statement in intoto.statements(scope)]
        ),
        "report.json": pretty(report.to_json()),
    }
    files = write_crate(
        scope,
        job.out,
        title=report.title,
        when=report.written,
        licence=licence or "No licence is recorded",
        extra=extra,
    )
    return ExportResult(format=Format.RO_CRATE, out=job.out, counts={"files": len(files), "runs": len(scope.runs)})


def _mlflow(job: _Job) -> ExportResult:
    from ethicclip.exports.mlflow import log_runs  # noqa: PLC0415 - an extra

    require_empty_or_absent(job.out)
    count = log_runs(job.scope(), job.out)
    return ExportResult(format=Format.MLFLOW, out=job.out, counts={"runs": count})


def _set_and_report(job: _Job) -> tuple[ArtifactRecord, Report]:
    asked = job.focus("pair_set")
    evidence = gather(job.snapshot, job.checked, asked)
    record = asked or evidence.subject
    if record is None or record.kind != "pair_set":
        raise BadInputError("the ledger holds no pair set", next_step="Name one, or generate one first.")
    return record, job.report(record)


def _clip_benchmark(subject: str | None, out: Path) -> ExportResult:
    from ethicclip.exports import clip_benchmark  # noqa: PLC0415 - reads images

    if subject is None:
        raise UsageError("clip-benchmark needs a pair set or a cohort", next_step="Give its path as SUBJECT.")
    place = Path(subject)
    notes: tuple[str, ...] = ()
    if (place / "manifest.json").exists():
        from ethicclip.pairs import PairSet  # noqa: PLC0415

        written = clip_benchmark.from_pairs(PairSet.open(place), out)
    else:
        from ethicclip.cohorts import read_cohort  # noqa: PLC0415

        cohort = read_cohort(place)
        written = clip_benchmark.from_cohort(cohort, out)
        if not cohort.simulated:
            notes = ("restricted: the folder shows patients",)
    counts = {"images": sum(written.classes.values()), "classes": len(written.classes), "left out": written.left_out}
    return ExportResult(format=Format.CLIP_BENCHMARK, out=out, counts=counts, notes=notes)


_WRITERS: dict[Format, Callable[[_Job], ExportResult]] = {
    Format.PROV: _prov,
    Format.INTOTO: _intoto,
    Format.OPENLINEAGE: _openlineage,
    Format.CROISSANT: _croissant,
    Format.DATASET_CARD: _dataset_card,
    Format.MODEL_CARD: _model_card,
    Format.RO_CRATE: _ro_crate,
    Format.MLFLOW: _mlflow,
}
