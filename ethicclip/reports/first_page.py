"""The first page: what a data-protection officer must not miss, in plain language."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, cast

from ethicclip.provenance import stale_reasons
from ethicclip.reports.document import AuditPart, Check, FirstPage, SetPart
from ethicclip.reports.evidence import AuditEvidence, Evidence
from ethicclip.reports.model_sections import NO_PRIVACY_CLAIM, privacy_words
from ethicclip.reports.settings import ReportSettings
from ethicclip.reports.wording import clean, day, interval

NOT_STATED = "Not stated. A person has to write it here (settings released_to and purpose)."

_Verdict = Literal["PASS", "LEAK", "INCONCLUSIVE", "NOT RUN"]

_MEANS: dict[_Verdict, str] = {
    "PASS": "No copy of a reference patient was found, and the audit measured that it would have seen copies down to "
    "the bound below. It is a screen, not a proof: it does not say that nothing else leaks.",
    "LEAK": "At least one patient of the reference is recognisable in the set. It must not be released as it is.",
    "INCONCLUSIVE": "The audit could not say: neither that the set leaks, nor that it would have seen a leak. Treat "
    "the set as not tested.",
    "NOT RUN": "No leakage audit of this set is recorded. Nothing is known about whom it gives away.",
}

_SOONER = (
    "the generator, its settings or its data change",
    "the set is filtered, extended or joined with another",
    "the audit's descriptor, threshold or version changes",
    "the attacker assumed here no longer fits",
)


def first_page(
    evidence: Evidence, settings: ReportSettings, subject: SetPart | None, audit: AuditPart | None
) -> FirstPage:
    """Sum up the evidence on the released set."""
    deciding = evidence.deciding
    verdict = cast(_Verdict, deciding.outcome) if deciding is not None else "NOT RUN"
    ended = deciding.run.ended if deciding is not None else None
    stale = _stale(evidence, deciding)
    return FirstPage(
        subject=subject.alias if subject is not None else "(no set is recorded)",
        subject_id=subject.id if subject is not None else None,
        released=_released(evidence, subject),
        released_to=clean(settings.released_to or NOT_STATED),
        purpose=clean(settings.purpose or NOT_STATED),
        attacker=clean(settings.attacker),
        verdict=verdict,
        verdict_means=_MEANS[verdict],
        reason=audit.reason if audit is not None else "",
        bound=_bound(audit),
        audited=ended,
        audits_of_subject=len(evidence.audits_of(evidence.subject.id)) if evidence.subject is not None else 0,
        look_again=_later(ended, settings.review_months) if ended is not None else "before any release",
        look_again_sooner=_SOONER,
        privacy=privacy_words(evidence.claims[-1][1]) if evidence.claims else NO_PRIVACY_CLAIM,
        stale=stale,
        tested=_tested(evidence, audit),
        not_tested=_not_tested(evidence, audit),
        eyes=_eyes(evidence),
    )


def banners(evidence: Evidence, settings: ReportSettings) -> tuple[str, ...]:
    """What stands above everything else."""
    found = []
    if settings.audience == "restricted":
        found.append(
            "Restricted: this report shows or names eyes of patients and is itself personal data. Do not pass it on."
        )
    if evidence.simulated:
        found.append(_eyes(evidence))
    if not evidence.checked.ok:
        found.append(
            "The ledger this report was made from does not verify: records were changed. See the section on integrity "
            "before you rely on anything below."
        )
    return tuple(found)


def _eyes(evidence: Evidence) -> str:
    origins = {cohort.origin for cohort in evidence.cohorts}
    if not origins:
        return "No cohort of real eyes is recorded."
    if origins == {"synthetic"}:
        return (
            "Simulated population: the \u201creal\u201d eyes in this report are simulated. No real patient is in it, "
            "and its figures say nothing about real patients."
        )
    if "synthetic" in origins:
        return "Some of the cohorts are simulated populations, not real eyes: see the origin of each."
    return "The cohorts are eyes of real patients, recorded by commitment."


def _released(evidence: Evidence, subject: SetPart | None) -> str:
    if subject is None:
        return "No synthetic set is recorded in this ledger."
    facts = {fact.name: fact.text for fact in subject.facts}
    pairs = f"{facts['Pairs']} image-text pairs" if "Pairs" in facts else "Images"
    if subject.origin != "synthetic" and evidence.models_of(subject.id):
        claimed = "with the differential privacy stated below" if evidence.claims else "without differential privacy"
        return (
            f"A model, trained {claimed} on {pairs.lower()} of recorded origin {subject.origin}. The pairs themselves "
            "show patients; nothing in this report is evidence for releasing them."
        )
    licence = f", licence {facts['Licence']}" if "Licence" in facts else ""
    made = "made and recorded here" if subject.run_id else "made elsewhere"
    return f"{pairs} of recorded origin {subject.origin}, {made}{licence}."


def _bound(audit: AuditPart | None) -> str:
    if audit is None:
        return "There is no bound."
    return audit.bound or "The audit states no bound."


def _tested(evidence: Evidence, audit: AuditPart | None) -> tuple[Check, ...]:
    found = list(audit.attacks) if audit is not None else []
    for entry in evidence.evaluations[-1:]:
        score = entry.paper.content.get("balanced_accuracy")
        parts: dict[str, Any] = score if isinstance(score, dict) else {}
        text = interval(*(parts.get(name) for name in ("estimate", "low", "high", "n"))) if parts else "see its section"
        on = "simulated eyes" if evidence.simulated else "real eyes"
        found.append(Check(name=f"Zero-shot accuracy on {on}", text=f"Balanced accuracy {text}."))
    for entry in evidence.memberships[-1:]:
        said = clean(entry.run.verdict or "no result", 60)
        found.append(Check(name="Membership in the model's training set", text=f"Result: {said}; see its section."))
    for entry in evidence.texts_of(evidence.subject.id if evidence.subject is not None else None)[-1:]:
        said = clean(entry.run.verdict or "no result", 60)
        found.append(Check(name="Names and identifiers in words and files", text=f"Result: {said}; see its section."))
    if evidence.checked.ok:
        text = "Every record of the ledger matches its hash chain and signatures."
        found.append(Check(name="Integrity of the evidence", text=text))
    return tuple(found)


def _not_tested(evidence: Evidence, audit: AuditPart | None) -> tuple[Check, ...]:
    if audit is None:
        found = [Check(name="Leakage", text="No audit of the released set is recorded.")]
    else:
        found = list(audit.attacks_not_run)
    if evidence.simulated:
        found.append(Check(name="Real patients", text="The eyes in the place of real ones are simulated."))
    if not evidence.evaluations:
        found.append(Check(name="Accuracy", text="No evaluation is recorded."))
    if not evidence.memberships:
        found.append(Check(name="The model", text="No audit of what a model reveals of its training data is recorded."))
    if not evidence.claims:
        found.append(Check(name="Differential privacy", text="It was not requested; no epsilon is claimed."))
    return tuple(found)


def _stale(evidence: Evidence, audit: AuditEvidence | None) -> tuple[str, ...]:
    """What changed after the deciding audit."""
    if audit is None:
        return ()
    return tuple(clean(reason.text) for reason in stale_reasons(evidence.snapshot, audit.run))


def _later(time: str, months: int) -> str:
    start = datetime.fromisoformat(time)
    count = start.year * 12 + start.month - 1 + months
    return day(start.replace(year=count // 12, month=count % 12 + 1, day=min(start.day, 28)).isoformat())
