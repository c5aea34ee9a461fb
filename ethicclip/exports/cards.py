"""Hugging Face cards of a model and of a pair set, from the same document as the report.

What the cards say is what the ledger holds; a field that nobody recorded is left out rather than guessed.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ethicclip.errors import BadInputError
from ethicclip.exports.markdown import plain, table
from ethicclip.provenance import ArtifactRecord
from ethicclip.reports.document import AuditPart, EvaluationPart, Report, TrainingPart
from ethicclip.reports.wording import interval

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))
_LICENCES = {"cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "apache-2.0", "mit"}


def dataset_card(report: Report) -> str:
    """The card of the report's set.

    Raises:
        BadInputError: The ledger holds no set.
    """
    subject = next((one for one in report.sets if one.is_subject), None)
    if subject is None:
        raise BadInputError("there is no set to write a card for", next_step="Name a pair set of the ledger.")
    facts = {fact.name: fact.text for fact in subject.facts}
    pairs = int(re.sub(r"\D", "", facts.get("Pairs", "")) or 0)
    head: dict[str, Any] = {
        "license": _licence(facts.get("Licence")),
        "language": ["en", "zh"] if any("zh" in fact.text for fact in report.captions.facts) else ["en"],
        "pretty_name": subject.alias,
        "size_categories": [next((name for limit, name in _SIZES if pairs < limit), "10M<n<100M")],
        "task_categories": ["zero-shot-image-classification", "image-to-text"],
        "tags": ["fundus", "medical", subject.origin, "webdataset"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "shards/*.tar"}]}],
    }
    audit = next((one for one in report.audits if one.is_subject), None)
    parts = [
        _front(head),
        f"# {plain(subject.alias)}",
        plain(report.first_page.released),
        *(plain(note, 600) for note in subject.notes),
        "## Contents",
        table(("what", "recorded"), [(fact.name, fact.text) for fact in (*subject.facts, *subject.labels)]),
        *_leakage(report, audit),
        *_limits(report),
        *_evidence(report, subject.id),
    ]
    return "\n\n".join(parts) + "\n"


def model_card(report: Report, model: ArtifactRecord, training: TrainingPart, scored: list[EvaluationPart]) -> str:
    """The card of a model, with its scores as a model index.

    Args:
        report: The ledger's document.
        model: The weights.
        training: The run that made them.
        scored: The evaluations of this model, newest first.
    """
    name = (model.alias or "model").rpartition("/")[0] or "model"
    results = [
        {
            "task": {"type": "zero-shot-image-classification"},
            "dataset": {"name": part.cohort, "type": re.sub(r"[^\w-]+", "-", part.cohort).strip("-") or "cohort"},
            "metrics": [
                {
                    "type": re.sub(r"\W+", "_", score.name.lower()).strip("_"),
                    "value": score.estimate,
                    "name": f"{score.name} {interval(score.estimate, score.low, score.high, score.n, score.unit)}",
                }
                for score in part.scores
                if score.estimate is not None
            ],
        }
        for part in scored
    ]
    sets = [one for one in report.sets if any(one.alias in text for text in training.data)]
    head: dict[str, Any] = {
        "license": _licence(next((f.text for one in sets for f in one.facts if f.name == "Licence"), None)),
        "library_name": "open_clip",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["fundus", "medical", "clip"],
        "model-index": [{"name": name, "results": [result for result in results if result["metrics"]]}],
    }
    if not head["model-index"][0]["results"]:
        del head["model-index"]
    parts = [
        _front(head),
        f"# {plain(name)}",
        f"Trained on {plain('; '.join(training.data) or 'data that the ledger does not name')}.",
        "## Privacy",
        plain(training.privacy, 1200),
        *_leakage(report, next((one for one in report.audits if one.is_subject), None)),
        "## Scores",
        "Each is estimate, interval and sample size; intervals are by patient where patients are known.",
        table(
            ("eyes", "measure", "value"),
            [
                (part.cohort, score.name, interval(score.estimate, score.low, score.high, score.n, score.unit))
                for part in scored
                for score in (*part.scores, *part.by_class)
            ],
        )
        if scored
        else "No evaluation of this model is recorded.",
        "## Training",
        table(("setting", "value"), [(fact.name, fact.text) for fact in (*training.settings, *training.facts)]),
        *_limits(report),
        *_evidence(report, model.id),
    ]
    return "\n\n".join(parts) + "\n"


def _leakage(report: Report, audit: AuditPart | None) -> list[str]:
    page = report.first_page
    if audit is None:
        return ["## Leakage", "No leakage audit of the set is recorded."]
    found = ["## Leakage", f"**{plain(page.verdict)}** of {plain(page.subject)}. {plain(page.verdict_means, 600)}"]
    found += [f"Reason: {plain(page.reason, 600)}", f"Bound: {plain(page.bound, 600)}"]
    found += [f"Stale: {plain(text)}" for text in page.stale]
    not_run = "; ".join(plain(check.name) for check in page.not_tested)
    return [*found, f"Not tested: {not_run or 'nothing is listed as left out'}."]


def _limits(report: Report) -> list[str]:
    page = report.first_page
    return [
        "## Limits",
        plain(page.eyes, 600),
        f"Assumed attacker: {plain(page.attacker, 600)}",
        f"To be looked at again by {plain(page.look_again)}. This card repeats records; it promises nothing.",
    ]


def _evidence(report: Report, id_: str) -> list[str]:
    ledger = report.ledger
    rows = [("artifact", id_), ("ledger", ledger.id), ("ledger head", ledger.head or "none is signed")]
    rows += [("ledger status", ledger.status), ("written by", f"EthicCLIP {report.version}")]
    return ["## Evidence", table(("what", "value"), rows)]


def _front(values: dict[str, Any]) -> str:
    kept = {name: value for name, value in values.items() if value is not None}
    return f"---\n{yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=1000)}---"


def _licence(text: str | None) -> str:
    """A licence id that the hub knows, else ``other``."""
    known = (text or "").strip().lower()
    return known if known in _LICENCES else "other"
