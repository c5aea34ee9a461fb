"""From evidence to the sections of the report: picking, naming and counting, never measuring again."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ethicclip.provenance import ArtifactRecord, RunRecord
from ethicclip.reports.document import (
    AuditPart,
    Check,
    CohortPart,
    EvaluationPart,
    Fact,
    Picture,
    PowerRow,
    RunPart,
    Score,
    SetPart,
    SplitPart,
    TrainingPart,
)
from ethicclip.reports.evidence import AuditEvidence, Evidence, Paper, PaperState, RunWithPaper, written_by
from ethicclip.reports.pictures import SHOWN_FLAGS, Shown, flagged_rows
from ethicclip.reports.wording import clean, clean_all, facts_of, label, number

NO_PRIVACY_CLAIM = "No differential privacy was requested; no epsilon is claimed."
_PATH = re.compile(r"^(~|\.{0,2}/|[A-Za-z]:\\|\\\\)|[/\\].*[/\\]")
_NAMED_SCORES = ("balanced_accuracy", "accuracy", "macro_f1", "auroc", "auprc", "quadratic_kappa")
_COUNTS = (
    "synthetic",
    "flagged_images",
    "flagged_patients",
    "reference_images",
    "reference_patients",
    "control_images",
    "control_patients",
    "control_dropped",
)
_MORE_SCORES = ("expected_calibration_error",)


def settings_facts(settings: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Settings for people; whatever looks like a path of the machine is withheld, since it may name a person."""
    hidden = {
        name: "(a path; withheld)" if isinstance(value, str) and _PATH.search(value) else value
        for name, value in settings.items()
    }
    return _facts(facts_of(clean_all(hidden)))


def cohort_parts(evidence: Evidence) -> tuple[CohortPart, ...]:
    """Every cohort by alias and commitment, with the counts that a split recorded."""
    parts = []
    for record in evidence.cohorts:
        uses = [edge for edge in evidence.snapshot.edges if edge.artifact == record.id]
        known = evidence.snapshot.by_run
        verbs = [f"{known[edge.run_id].verb} ({edge.role})" for edge in uses if edge.run_id in known]
        parts.append(
            CohortPart(
                alias=clean(record.alias or "(no alias)", 120),
                id=record.id,
                origin=record.origin,
                facts=_facts(_split_counts(evidence, record)),
                used_by=tuple(dict.fromkeys(clean(verb, 80) for verb in verbs)),
            )
        )
    return tuple(parts)


def split_parts(evidence: Evidence) -> tuple[SplitPart, ...]:
    """How cohorts were divided."""
    parts = []
    for run in evidence.splits:
        whole = [r for r in evidence.snapshot.artifacts_of(run.run_id, "used") if r.kind == "cohort"]
        metrics = evidence.snapshot.metrics_of(run.run_id)
        parts.append(
            SplitPart(
                run_id=run.run_id,
                cohort=clean(whole[0].alias or "(no alias)", 120) if whole else "(not recorded)",
                parts=_facts((label(clean(m.name, 80)), number(m.estimate)) for m in metrics),
                disjoint="Patients, and images found to be near-duplicates, were kept together in one part. Patients "
                "can be kept apart only as far as the table names them.",
            )
        )
    return tuple(parts)


def set_part(evidence: Evidence, record: ArtifactRecord, shown: Shown) -> SetPart:
    """One synthetic set from its manifest."""
    paper = evidence.manifests[record.id]
    content = clean_all(paper.content)
    counts = _dict(content, "counts")
    labels = _dict(counts, "labels")
    maker = next((e.run_id for e in evidence.snapshot.edges if e.artifact == record.id and e.role == "generated"), None)
    facts: list[tuple[str, str]] = [("Recorded origin", record.origin)]
    facts += [(label(name), number(value)) for name, value in counts.items() if not isinstance(value, dict | list)]
    for name in ("licence", "marking"):
        if isinstance(content.get(name), str):
            facts.append((label(name), content[name]))
    run = evidence.snapshot.by_run.get(maker or "")
    return SetPart(
        alias=clean(record.alias or "(no alias)", 120),
        id=record.id,
        origin=record.origin,
        is_subject=evidence.subject is not None and record.id == evidence.subject.id,
        run_id=maker,
        paper=paper.says(),
        facts=_facts(facts),
        labels=_facts((label(name), number(value)) for name, value in labels.items()),
        notes=tuple(str(note) for note in _list(content, "notes")),
        settings=settings_facts(run.settings) if run is not None else (),
        pictures=shown.pictures,
        pictures_note=shown.note,
    )


def audit_part(evidence: Evidence, audit: AuditEvidence, *, restricted: bool, sheet: Picture | None) -> AuditPart:
    """One audit from its verdict file, or from the ledger's metrics where the file is gone."""
    content = clean_all(audit.verdict.content)
    counts = facts_of(_ordered(_dict(content, "counts")))
    if audit.verdict.state != PaperState.READ:
        recorded = evidence.snapshot.metrics_of(audit.run.run_id)
        counts = [
            (label(clean(m.name.removeprefix("audit/"), 80)), number(m.estimate))
            for m in recorded
            if "recall" not in m.name
        ]
    bound = content.get("bound")
    attacks = [item for item in _list(content, "attacks") if isinstance(item, dict)]
    subject = evidence.subject
    return AuditPart(
        run_id=audit.run.run_id,
        time=audit.run.ended or audit.run.started,
        set_alias=_alias(audit.audited),
        is_subject=subject is not None and audit.audited is not None and audit.audited.id == subject.id,
        positive_control=clean(audit.positive_control),
        paper=audit.verdict.says(),
        verdict=audit.outcome,
        reason=str(content.get("reason") or "No reason is recorded beside the verdict."),
        bound=str(bound.get("statement", "")) if isinstance(bound, dict) else "",
        reference=_alias(audit.reference),
        control=_alias(audit.control) if audit.control is not None else "none",
        counts=_facts(counts),
        target_decoy=_facts(facts_of(content.get("target_decoy"))),
        confirmed=_facts(facts_of(content.get("confirmed"))),
        far_half=_facts(facts_of(content.get("far_half"))),
        patients=_facts(facts_of({"patients_known": content.get("patients_known")} if content else {})),
        power=tuple(_power(row) for row in _list(content, "power") if isinstance(row, dict)),
        attacks=tuple(_check(item) for item in attacks if item.get("ran") is True),
        attacks_not_run=tuple(_check(item) for item in attacks if item.get("ran") is not True),
        caveats=tuple(str(text) for text in _list(content, "caveats")),
        settings=settings_facts(audit.run.settings),
        flagged=_flagged(audit) if restricted else (),
        sheet=sheet,
    )


def training_part(evidence: Evidence, entry: RunWithPaper) -> TrainingPart:
    """One training run: data, figures, and what may be said of its privacy."""
    content = clean_all(entry.paper.content)
    claim = content.get("differential_privacy")
    sets = evidence.snapshot.artifacts_of(entry.run.run_id, "used")
    origins = {record.origin for record in sets}
    privacy = NO_PRIVACY_CLAIM if not claim else "Differential privacy was requested; its statement: " + str(claim)
    if not claim and sets and origins == {"synthetic"}:
        privacy += (
            " Every set it was trained on is recorded as synthetic. That is a statement about its inputs, not a bound "
            "on what it reveals: what a synthetic set reveals is what its audit says."
        )
    skipped = ("schema", "settings", "settings_sha256", "data", "finished", "differential_privacy")
    facts = facts_of(content, skip=skipped)
    if entry.paper.state != PaperState.READ:
        metrics = evidence.snapshot.metrics_of(entry.run.run_id)
        facts = [(label(clean(m.name, 80)), number(m.estimate)) for m in metrics]
    log = written_by(evidence.snapshot, entry.run, "training_log", "log.csv", as_json=False)
    return TrainingPart(
        run_id=entry.run.run_id,
        time=entry.run.ended or entry.run.started,
        paper=entry.paper.says(),
        privacy=privacy,
        data=tuple(f"{_alias(record)} (origin {record.origin})" for record in sets),
        facts=_facts(facts),
        settings=settings_facts(entry.run.settings),
        loss=_loss(log),
    )


def evaluation_part(evidence: Evidence, entry: RunWithPaper) -> EvaluationPart:
    """One evaluation from its metrics file, or from the ledger's metrics where the file is gone."""
    content = clean_all(entry.paper.content)
    unit = str(content.get("unit", "")) or None
    scores = [_score(label(name), content[name], unit) for name in (*_NAMED_SCORES, *_MORE_SCORES) if name in content]
    if entry.paper.state != PaperState.READ:
        scores = [
            Score(name=label(clean(m.name, 80)), estimate=m.estimate, low=m.low, high=m.high, n=m.n, unit=m.unit)
            for m in evidence.snapshot.metrics_of(entry.run.run_id)
        ]
    names = {str(name): label(str(name)) for name in _list(content, "classes")} | _dict(content, "class_names")
    one_vs_rest = content.get("auroc_one_vs_rest")
    by_class = [
        _score(f"AUROC, {str(names.get(name, label(name))).lower()} against the rest", value, unit)
        for name, value in (one_vs_rest.items() if isinstance(one_vs_rest, dict) else ())
    ]
    confusion = _dict(content, "confusion")
    cohorts = [r for r in evidence.snapshot.artifacts_of(entry.run.run_id, "used") if r.kind == "cohort"]
    return EvaluationPart(
        run_id=entry.run.run_id,
        time=entry.run.ended or entry.run.started,
        paper=entry.paper.says(),
        cohort=_alias(cohorts[0] if cohorts else None),
        unit=unit or "",
        scores=tuple(scores),
        by_class=tuple(by_class),
        baselines=tuple(_baselines(content, unit)),
        classes=tuple(str(names.get(name, name)) for name in _list(content, "classes")),
        confusion=_counts(confusion.get("counts")),
        facts=_facts(facts_of(content.get("counts"), skip=("by_class",))),
        skipped=_facts(facts_of({**_dict(content, "skipped"), **_dict(content, "left_out")})),
        caveats=tuple(str(text) for text in _list(content, "caveats")),
    )


def run_parts(evidence: Evidence) -> tuple[tuple[RunPart, ...], tuple[tuple[Fact, ...], ...]]:
    """All runs, and the distinct environments that they ran in."""
    environments: list[tuple[Fact, ...]] = []
    parts = []
    for run in evidence.snapshot.runs:
        facts = _facts(facts_of({"ethicclip": run.version, **clean_all(run.environment)}))
        if facts not in environments:
            environments.append(facts)
        parts.append(_run(run, environments.index(facts) + 1))
    return tuple(parts), tuple(environments)


def _run(run: RunRecord, environment: int) -> RunPart:
    return RunPart(
        run_id=run.run_id,
        verb=clean(run.verb, 60),
        started=run.started,
        seconds=None if run.seconds is None else round(run.seconds, 1),
        status=run.status,
        exit_code=run.exit_code,
        verdict=None if run.verdict is None else clean(run.verdict, 60),
        seed=run.seed,
        settings=settings_facts(run.settings),
        settings_sha256=run.settings_sha256,
        environment=environment,
    )


def _facts(pairs: Any) -> tuple[Fact, ...]:
    return tuple(Fact(name=name, text=text) for name, text in pairs)


def _list(content: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = content.get(name)
    return value if isinstance(value, list) else []


def _dict(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _alias(record: ArtifactRecord | None) -> str:
    return clean(record.alias or record.kind, 120) if record is not None else "(not recorded)"


def _ordered(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Counts in the order in which a reader asks for them; those of other names follow."""
    names = [name for name in _COUNTS if name in counts]
    return {name: counts[name] for name in [*names, *(name for name in counts if name not in names)]}


def _check(item: Mapping[str, Any]) -> Check:
    return Check(name=label(str(item.get("name", ""))), text=str(item.get("note") or ""))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _integer(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _score(name: str, value: Any, unit: str | None) -> Score:
    parts = value if isinstance(value, Mapping) else {}
    low, high = _number(parts.get("low")), _number(parts.get("high"))
    people = _integer(parts.get("patients")) if unit == "patient" else _integer(parts.get("n"))
    return Score(
        name=name,
        estimate=_number(parts.get("estimate")),
        low=low,
        high=high,
        n=people,
        unit=f"{unit}s" if unit else None,
        note=str(parts.get("reason") or ""),
    )


def _power(row: Mapping[str, Any]) -> PowerRow:
    return PowerRow(
        kind=str(row.get("kind", "")),
        m=_integer(row.get("m")),
        n=_integer(row.get("n")),
        recall=_score(str(row.get("kind", "")), row.get("recall"), None),
    )


def _counts(value: Any) -> tuple[tuple[int, ...], ...]:
    rows = value if isinstance(value, list) else []
    return tuple(tuple(_integer(cell) or 0 for cell in row) for row in rows if isinstance(row, list))


def _baselines(content: Mapping[str, Any], unit: str | None) -> list[Score]:
    """The strongest single statistic of each class: what a ruler reaches without a model."""
    by_statistic = _dict(_dict(content, "single_statistics"), "by_statistic")
    best: dict[str, Score] = {}
    for statistic, by_class in by_statistic.items():
        for name, value in by_class.items() if isinstance(by_class, dict) else ():
            score = _score(f"{label(statistic)} alone, {label(name).lower()}", _dict(value, "auroc") or value, unit)
            held = best.get(name)
            if score.estimate is not None and (held is None or score.estimate > (held.estimate or 0)):
                best[name] = score
    return list(best.values())


def _flagged(audit: AuditEvidence) -> tuple[tuple[str, ...], ...]:
    rows = flagged_rows(audit)[:SHOWN_FLAGS]
    if not rows:
        return ()
    names = list(rows[0])
    return (
        tuple(clean(name, 60) for name in names),
        *(tuple(clean(row.get(n, ""), 120) for n in names) for row in rows),
    )


def _loss(log: Paper) -> tuple[tuple[float, float], ...]:
    if log.state != PaperState.READ:
        return ()
    points = []
    for row in csv.DictReader(io.StringIO(log.text)):
        try:
            points.append((float(row["step"]), float(row["loss"])))
        except (KeyError, TypeError, ValueError):
            return ()
    step = max(1, len(points) // 400)
    return tuple(points[::step])


def _split_counts(evidence: Evidence, record: ArtifactRecord) -> list[tuple[str, str]]:
    part = (record.alias or "").rpartition("/")[2]
    for edge in evidence.snapshot.edges:
        if edge.artifact == record.id and edge.role == "generated":
            return [
                (label(metric.name.partition("/")[0]), number(metric.estimate))
                for metric in evidence.snapshot.metrics_of(edge.run_id)
                if metric.name.partition("/")[2] == part
            ]
    return []
