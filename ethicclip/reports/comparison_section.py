"""Sections on comparisons: two models, or two languages of one, asked about the same eyes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ethicclip.reports.document import ComparisonPart, PairedScores, Picture, Score
from ethicclip.reports.evidence import Evidence, PaperState, RunWithPaper
from ethicclip.reports.reading_json import alias_of, as_facts, as_number, as_score, fields, items
from ethicclip.reports.wording import clean, clean_all, facts_of, interval, label

_NAMED = ("balanced_accuracy", "accuracy", "macro_f1", "auroc", "auprc", "quadratic_kappa")
_LIKENESS = {"cka": "CKA of their features (debiased)", "neighbour_overlap": "Overlap of nearest neighbours"}
_REFERENCES = {"unrelated": "for unrelated pictures", "same_label": "by labels alone"}


def comparison_part(evidence: Evidence, entry: RunWithPaper, figures: tuple[Picture, ...] = ()) -> ComparisonPart:
    """One comparison from its file, or its differences from the ledger's metrics where the file is gone."""
    content = clean_all(entry.paper.content)
    unit = str(content.get("unit", "")) or None
    models = fields(content, "models")
    called = {side: f"{side}: {fields(models, side).get('name') or 'not named'}" for side in ("a", "b")}
    names = {str(name): label(str(name)) for name in items(content, "classes")} | fields(content, "class_names")
    used = {record.id for record in evidence.snapshot.artifacts_of(entry.run.run_id, "used")}
    return ComparisonPart(
        run_id=entry.run.run_id,
        time=entry.run.ended or entry.run.started,
        paper=entry.paper.says(),
        cohort=alias_of(next((record for record in evidence.cohorts if record.id in used), None)),
        unit=unit or "",
        scores=_paired(
            fields(content, "scores"), names, unit, keys=("a", "b", "b_minus_a"), columns=(called["a"], called["b"])
        ),
        languages=tuple(
            _paired(
                fields(found, "scores"), names, unit, keys=("en", "zh", "zh_minus_en"), columns=("English", "Chinese")
            ).model_copy(update={"title": called.get(side, side)})
            for side, found in fields(content, "languages").items()
            if isinstance(found, dict) and "scores" in found
        ),
        likeness=tuple(_likeness(fields(content, "representations"), unit)),
        recorded=()
        if entry.paper.state == PaperState.READ
        else tuple(
            Score(name=label(clean(m.name, 80)), estimate=m.estimate, low=m.low, high=m.high, n=m.n, unit=m.unit)
            for m in evidence.snapshot.metrics_of(entry.run.run_id)
        ),
        facts=as_facts(facts_of(content.get("counts"), skip=("by_class",))),
        caveats=tuple(str(text) for text in items(content, "caveats")),
        figures=figures,
    )


def _paired(
    scores: Mapping[str, Any],
    names: Mapping[str, Any],
    unit: str | None,
    *,
    keys: tuple[str, str, str],
    columns: tuple[str, str],
) -> PairedScores:
    """Rows of a score of the first, of the second, and of their difference on the same resampled patients."""
    rows = [(label(name), scores[name]) for name in _NAMED if name in scores]
    if "auroc" not in scores:  # with two classes the one area says all
        rows += [
            (f"AUROC, {str(names.get(name, label(name))).lower()} against the rest", value)
            for name, value in fields(scores, "auroc_one_vs_rest").items()
        ]
    return PairedScores(
        title="",
        columns=columns,
        rows=tuple(_row(name, value, unit, keys) for name, value in rows if isinstance(value, dict)),
    )


def _row(
    name: str, value: Mapping[str, Any], unit: str | None, keys: tuple[str, str, str]
) -> tuple[Score, Score, Score]:
    first, second, gap = (as_score(name, fields(value, key), unit) for key in keys)
    # A remark on the data holds for all three: once is enough.
    one, other = (
        score.model_copy(update={"note": ""}) if score.estimate is not None and score.note == gap.note else score
        for score in (first, second)
    )
    return one, other, gap


def _likeness(representations: Mapping[str, Any], unit: str | None) -> list[Score]:
    """How alike the two see, each with what chance and labels alone would give."""
    found = []
    for name, title in _LIKENESS.items():
        measure = fields(representations, name)
        if not measure:
            continue
        beside = [
            f"{interval(mean)} {words}"
            for key, words in _REFERENCES.items()
            if (mean := as_number(fields(measure, key).get("mean"))) is not None
        ]
        score = as_score(title, fields(measure, "value"), unit)
        found.append(score.model_copy(update={"note": "; ".join(text for text in (score.note, *beside) if text)}))
    if not found and representations.get("reason"):
        found.append(Score(name="Likeness of their features", estimate=None, note=str(representations["reason"])))
    return found
