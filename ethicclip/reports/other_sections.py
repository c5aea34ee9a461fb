"""Sections on captions and metadata, and on audits of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ethicclip.reports.document import AuditPart, CaptionPart, Check, MembershipPart
from ethicclip.reports.evidence import Evidence, RunWithPaper
from ethicclip.reports.identifiers import identifier_rows
from ethicclip.reports.privacy_words import attack_facts, attack_scores, attacks_of
from ethicclip.reports.reading_json import alias_of, as_facts, as_score, fields
from ethicclip.reports.wording import clean, clean_all, facts_of, interval, label, sentence

_TEXT_WORDS = ("caption", "identifier", "metadata", "text", "linkability")
_TEXT_RESULTS = ("captions", "metadata", "text", "identifiers", "linkability")
_COUNTED = ("captions", "languages", "distinct_captions")


def caption_part(evidence: Evidence, audit: AuditPart | None) -> CaptionPart:
    """What the manifest says of captions, which attacks on text ran, and what they found."""
    subject, deciding = evidence.subject, evidence.deciding
    manifest: Mapping[str, Any] = {}
    if subject is not None and subject.id in evidence.manifests:
        manifest = clean_all(evidence.manifests[subject.id].content)
    facts = [(label(name), text) for name, text in facts_of({n: manifest[n] for n in _COUNTED if n in manifest})]
    settings = fields(fields(manifest, "generator"), "settings")
    facts += facts_of({n: settings[n] for n in ("languages", "captions_per_image") if n in settings})
    if isinstance(manifest.get("marking"), str):
        facts.append(("Marking in every image", manifest["marking"]))
    content = clean_all(deciding.verdict.content) if deciding is not None else {}
    results = facts_of(
        {name: content[name] for name in _TEXT_RESULTS if isinstance(content.get(name), dict)}, skip=("safe_harbor",)
    )
    results = [(name, text) for name, text in results if text]
    tested = list(_about_text(audit.attacks if audit is not None else ()))
    for entry in evidence.texts_of(subject.id if subject is not None else None)[-1:]:
        outcome = clean(entry.run.verdict or "no result", 60)
        tested.append(Check(name="Scan of words and files (audit-text)", text=f"{outcome}, run {entry.run.run_id}."))
        measured = evidence.snapshot.metrics_of(entry.run.run_id)
        results += [
            (label(clean(m.name.removeprefix("text/"), 80)), interval(m.estimate, m.low, m.high, m.n)) for m in measured
        ]
    return CaptionPart(
        facts=as_facts(facts),
        tested=tuple(tested),
        not_tested=_about_text(audit.attacks_not_run if audit is not None else ()),
        results=as_facts(results),
        identifiers=identifier_rows(evidence)[0],
    )


def membership_part(evidence: Evidence, entry: RunWithPaper, *, restricted: bool) -> MembershipPart:
    """One run of ``audit-model``: its measures as recorded in the ledger, with their intervals.

    They were computed from the training data, outside any epsilon. Of a model of real patients the shareable form
    therefore tells the result and which attacks ran, not the figures.
    """
    content = clean_all(entry.paper.content)
    models = [r for r in evidence.snapshot.artifacts_of(entry.run.run_id, "used") if r.kind == "model"]
    scores = attack_scores(content) or [
        as_score(
            label(clean(metric.name.removeprefix("membership/"), 80)),
            {"estimate": metric.estimate, "low": metric.low, "high": metric.high, "n": metric.n},
            None,
        )
        for metric in evidence.snapshot.metrics_of(entry.run.run_id)
    ]
    figures = restricted or _of_synthetic(evidence, {record.id for record in models})
    withheld = [("Figures", "in the restricted form: they were computed from real patients' data, outside any epsilon")]
    ran, not_ran = attacks_of(content)
    facts = attack_facts(content) if figures else withheld
    return MembershipPart(
        run_id=entry.run.run_id,
        time=entry.run.ended or entry.run.started,
        paper=entry.paper.says(),
        model=alias_of(models[0] if models else None),
        verdict=clean(entry.run.verdict or "INCONCLUSIVE", 60),
        reason=sentence(str(content.get("reason") or "No reason is recorded beside the verdict.")),
        scores=tuple(scores) if figures else (),
        attacks=ran,
        attacks_not_run=not_ran,
        facts=as_facts(facts),
    )


def _of_synthetic(evidence: Evidence, models: set[str]) -> bool:
    """Whether every set that these models were trained on is recorded as synthetic."""
    makers = {e.run_id for e in evidence.snapshot.edges if e.artifact in models and e.role == "generated"}
    used = [record for run_id in makers for record in evidence.snapshot.artifacts_of(run_id, "used")]
    return bool(used) and all(record.origin == "synthetic" for record in used)


def _about_text(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    return tuple(check for check in checks if any(word in check.name.lower() for word in _TEXT_WORDS))
