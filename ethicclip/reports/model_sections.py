"""Sections on training and evaluation."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from ethicclip.reports.document import EvaluationPart, Picture, Score, TrainingPart
from ethicclip.reports.evidence import Evidence, Paper, PaperState, RunWithPaper, written_by
from ethicclip.reports.privacy_words import privacy_facts
from ethicclip.reports.reading_json import (
    alias_of,
    as_facts,
    as_integer,
    as_number,
    as_score,
    fields,
    items,
    settings_facts,
)
from ethicclip.reports.wording import clean, clean_all, facts_of, label, number

NO_PRIVACY_CLAIM = "No differential privacy was requested; no epsilon is claimed."
_NAMED_SCORES = ("balanced_accuracy", "accuracy", "macro_f1", "auroc", "auprc", "quadratic_kappa")
_MORE_SCORES = ("expected_calibration_error",)


def training_part(evidence: Evidence, entry: RunWithPaper) -> TrainingPart:
    """One training run: data, figures, and what may be said of its privacy."""
    content = clean_all(entry.paper.content)
    claim = fields(content, "differential_privacy")
    sets = evidence.snapshot.artifacts_of(entry.run.run_id, "used")
    origins = {record.origin for record in sets}
    privacy = privacy_words(claim) if claim else NO_PRIVACY_CLAIM
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
        privacy_facts=as_facts(privacy_facts(claim)) if claim else (),
        privacy_caveats=tuple(str(text) for text in items(claim, "caveats")) if claim else (),
        data=tuple(f"{alias_of(record)} (origin {record.origin})" for record in sets),
        facts=as_facts(facts),
        settings=settings_facts(entry.run.settings),
        loss=_loss(log),
    )


def privacy_words(claim: Mapping[str, Any]) -> str:
    """An epsilon is never told without whose it is, its unit and its adjacency."""
    epsilon, delta = (number(as_number(claim.get(name))) for name in ("epsilon", "delta"))
    whose = str(fields(claim, "scope").get("whose") or "whom it covers is not stated")
    replaced = as_number(claim.get("epsilon_replace_one"))
    other = f" (replacing one: {number(replaced)})" if replaced is not None else ""
    return (
        f"Differential privacy with epsilon {epsilon} at delta {delta}{other}, for {clean(whose)}. "
        f"Unit: {claim.get('unit', 'not stated')}; {claim.get('adjacency', 'adjacency not stated')}. It covers the "
        "released weights, not this audit's figures."
    )


def evaluation_part(evidence: Evidence, entry: RunWithPaper, figures: tuple[Picture, ...] = ()) -> EvaluationPart:
    """One evaluation from its metrics file, or from the ledger's metrics where the file is gone."""
    content = clean_all(entry.paper.content)
    unit = str(content.get("unit", "")) or None
    scores = [as_score(label(name), content[name], unit) for name in (*_NAMED_SCORES, *_MORE_SCORES) if name in content]
    if entry.paper.state != PaperState.READ:
        scores = [
            Score(name=label(clean(m.name, 80)), estimate=m.estimate, low=m.low, high=m.high, n=m.n, unit=m.unit)
            for m in evidence.snapshot.metrics_of(entry.run.run_id)
        ]
    names = {str(name): label(str(name)) for name in items(content, "classes")} | fields(content, "class_names")
    one_vs_rest = content.get("auroc_one_vs_rest")
    by_class = [
        as_score(f"AUROC, {str(names.get(name, label(name))).lower()} against the rest", value, unit)
        for name, value in (one_vs_rest.items() if isinstance(one_vs_rest, dict) else ())
    ]
    confusion = fields(content, "confusion")
    used = {record.id for record in evidence.snapshot.artifacts_of(entry.run.run_id, "used")}
    cohorts = [record for record in evidence.cohorts if record.id in used]
    return EvaluationPart(
        run_id=entry.run.run_id,
        time=entry.run.ended or entry.run.started,
        paper=entry.paper.says(),
        cohort=alias_of(cohorts[0] if cohorts else None),
        unit=unit or "",
        scores=tuple(scores),
        by_class=tuple(by_class),
        baselines=tuple(_baselines(content, unit)),
        subgroups=tuple(_subgroups(content, unit)),
        classes=tuple(str(names.get(name, name)) for name in items(content, "classes")),
        confusion=_counts(confusion.get("counts")),
        facts=as_facts(facts_of(content.get("counts"), skip=("by_class",))),
        skipped=as_facts(facts_of({**fields(content, "skipped"), **fields(content, "left_out")})),
        caveats=tuple(str(text) for text in items(content, "caveats")),
        figures=figures,
    )


def _counts(value: Any) -> tuple[tuple[int, ...], ...]:
    rows = value if isinstance(value, list) else []
    return tuple(tuple(as_integer(cell) or 0 for cell in row) for row in rows if isinstance(row, list))


def _baselines(content: Mapping[str, Any], unit: str | None) -> list[Score]:
    """The strongest single statistic of each class: what a ruler reaches without a model."""
    by_statistic = fields(fields(content, "single_statistics"), "by_statistic")
    best: dict[str, Score] = {}
    for statistic, by_class in by_statistic.items():
        for name, value in fields(by_class, "auroc_one_vs_rest").items() if isinstance(by_class, dict) else ():
            score = as_score(f"AUROC of {statistic.lower()}, {label(name).lower()}", value, unit)
            held = best.get(name)
            if score.estimate is not None and (held is None or score.estimate > (held.estimate or 0)):
                best[name] = score
    return list(best.values())


def _subgroups(content: Mapping[str, Any], unit: str | None) -> list[Score]:
    """Balanced accuracy by subgroup; a part too small to score is named without its count."""
    found = []
    for column, parts in fields(content, "subgroups").items():
        for part, values in parts.items() if isinstance(parts, dict) else ():
            value = values if isinstance(values, dict) else {}
            score = value.get("balanced_accuracy") or {"reason": value.get("reason", "")}
            found.append(as_score(f"{label(column)} {part}", score, unit))
    return found


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
