"""From the ledger to the state of a requirement. Each rule is a sentence that anyone can check against the records.

A state says that a record exists and what it says. It never says that a requirement is met: that is for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ethicclip.reports.document import State
from ethicclip.reports.evidence import Evidence, PaperState
from ethicclip.reports.identifiers import identifier_rows
from ethicclip.reports.wording import interval, number


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A state, the sentence behind it, and the runs and artifacts it rests on."""

    state: State
    text: str
    refs: tuple[str, ...] = ()


_OF_MODELS = frozenset({"membership", "extraction", "regurgitation"})
_OF_WORDS = frozenset({"identifier", "metadata", "caption", "linkability"})

Rule = Callable[[Evidence, Mapping[str, Any]], Answer]


def leakage(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """The verdict of the latest audit of the released set."""
    audit = evidence.deciding
    if audit is None:
        return Answer(state=State.NOT_RUN, text="No leakage audit of the released set is recorded.")
    refs = (audit.run.run_id,)
    bound = audit.verdict.content.get("bound")
    if audit.outcome == "LEAK":
        return Answer(state=State.FAILED, text="The leakage audit found copies of patients.", refs=refs)
    if audit.reference is not None and audit.reference.origin == "synthetic":
        text = "The audit ran against simulated eyes only: nothing is known about real patients."
        return Answer(state=State.NOT_RUN, text=text, refs=refs)
    if audit.outcome == "PASS":
        stated = f" {bound['statement']}" if isinstance(bound, Mapping) and bound.get("statement") else ""
        return Answer(state=State.EVIDENCED, text=f"The leakage audit ended in PASS.{stated}", refs=refs)
    text = "The leakage audit ended INCONCLUSIVE: what follows from that is for a person."
    return Answer(state=State.NEEDS_A_PERSON, text=text, refs=refs)


def attack(evidence: Evidence, requirement: Mapping[str, Any]) -> Answer:
    """Whether an attack of that name ran: in the latest audit of the set, a scan of its words, or on a model of it."""
    words = [str(word) for word in requirement.get("with", ())]
    ran: list[str] = []
    refs: list[str] = []
    audit = evidence.deciding
    subject = evidence.subject.id if evidence.subject is not None else None
    for entry in _listed(audit.verdict.content if audit is not None else {}, "attacks"):
        named = any(word in str(entry.get("name", "")).lower() for word in words)
        if named and entry.get("ran") is True and audit is not None:
            ran.append(f"{entry.get('name')}: ran. {entry.get('note') or ''}".strip())
            refs.append(audit.run.run_id)
    if set(words) & _OF_MODELS:
        models = evidence.models_of(subject)
        for model in evidence.memberships:
            used = {record.id for record in evidence.snapshot.artifacts_of(model.run.run_id, "used")}
            if models & used:
                ran.append(f"Audit of a model trained on the set: {model.run.verdict or 'no result'}.")
                refs.append(model.run.run_id)
    if set(words) & _OF_WORDS:
        for scan in evidence.texts_of(subject):
            ran.append(f"Scan of words and files: {scan.run.verdict or 'no result'}.")
            refs.append(scan.run.run_id)
    if ran:
        text = " ".join(dict.fromkeys(ran))
        return Answer(
            state=State.NEEDS_A_PERSON, text=f"{text} The result is for a person.", refs=tuple(dict.fromkeys(refs))
        )
    return Answer(
        state=State.NOT_RUN,
        text=f"No attack on {' or '.join(words)} is recorded.",
        refs=(audit.run.run_id,) if audit is not None else (),
    )


def identifiers(evidence: Evidence, requirement: Mapping[str, Any]) -> Answer:
    """What the latest scan says of the identifiers with these letters; a finding fails, the unscanned is open."""
    letters = str(requirement.get("letters", ""))
    rows, run_id = identifier_rows(evidence)
    rows = tuple(row for row in rows if row.letter in letters)
    if not rows or run_id is None:
        scans = evidence.texts_of(evidence.subject.id) if evidence.subject is not None else []
        if scans:
            text = f"A scan of words and files ran ({scans[-1].run.verdict or 'no result'}); its table cannot be read."
            return Answer(state=State.NEEDS_A_PERSON, text=text, refs=(scans[-1].run.run_id,))
        return Answer(state=State.NOT_RUN, text="No scan of words and files for these identifiers is recorded.")
    hits = [f"{row.name} ({row.letter}): {row.found}" for row in rows if row.found]
    if hits:
        return Answer(state=State.FAILED, text=f"Found in words or files: {'; '.join(hits)}.", refs=(run_id,))
    scanned = "".join(row.letter for row in rows if row.state == "scanned")
    left = [f"{row.name} ({row.letter}): {row.state}" for row in rows if row.state != "scanned"]
    text = f"Scanned by form, nothing found: {', '.join(scanned) or 'none'}."
    if left:
        return Answer(state=State.NEEDS_A_PERSON, text=f"{text} Open: {'; '.join(left)}.", refs=(run_id,))
    return Answer(state=State.EVIDENCED, text=text, refs=(run_id,))


def person(_: Evidence, requirement: Mapping[str, Any]) -> Answer:
    """Nothing that a tool can say."""
    return Answer(state=State.NEEDS_A_PERSON, text=str(requirement.get("because", "A judgement.")))


def ledger(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """Whether every record is what was written."""
    heads = evidence.snapshot.heads
    refs = (heads[-1].hash,) if heads else ()
    if not evidence.checked.ok:
        text = f"The ledger does not verify: {evidence.checked.findings[0].line()}."
        return Answer(state=State.FAILED, text=text, refs=refs)
    runs = len(evidence.snapshot.runs)
    text = f"{runs} runs with settings, inputs, outputs and results stand in a chain that verified; its head is signed."
    return Answer(state=State.EVIDENCED, text=text, refs=refs)


def review_date(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """A date is set; keeping it is for a person."""
    if evidence.deciding is None:
        return Answer(state=State.NOT_RUN, text="Without an audit there is nothing to re-evaluate.")
    text = "A date to look again is on the first page; keeping it is for a person."
    return Answer(state=State.NEEDS_A_PERSON, text=text, refs=(evidence.deciding.run.run_id,))


def origin(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """Cohorts by commitment, sets by their generator."""
    if evidence.subject is None:
        return Answer(state=State.NOT_RUN, text="No set is recorded.")
    makers = _makers(evidence)
    if not makers:
        text = "The set came from outside: its origin is not in the ledger."
        return Answer(state=State.NEEDS_A_PERSON, text=text, refs=(evidence.subject.id,))
    simulated = " Its eyes are simulated." if evidence.simulated else ""
    text = f"The generator of the set is recorded with its settings, and {len(evidence.cohorts)} cohorts by commitment."
    return Answer(state=State.EVIDENCED, text=text + simulated, refs=(evidence.subject.id, *makers))


def preparation(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """Settings of every step."""
    steps = [*evidence.splits, *evidence.generations]
    if not steps:
        return Answer(state=State.NOT_RUN, text="No split and no generation is recorded.")
    text = f"{len(steps)} steps that made or divided data are recorded with their settings."
    return Answer(state=State.EVIDENCED, text=text, refs=tuple(run.run_id for run in steps))


def quantity(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """Counts of the set, from its manifest."""
    subject = evidence.subject
    paper = evidence.manifests.get(subject.id) if subject is not None else None
    if subject is None or paper is None or paper.state != PaperState.READ:
        return Answer(state=State.NOT_RUN, text="The set's manifest cannot be read.")
    counts = paper.content.get("counts")
    pairs = counts.get("pairs") if isinstance(counts, Mapping) else None
    text = f"The set holds {pairs} pairs, counted by label; whether that suffices is for a person."
    return Answer(state=State.EVIDENCED, text=text, refs=(subject.id,))


def subgroups(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """Scores by subgroup."""
    for entry in reversed(evidence.evaluations):
        if entry.paper.content.get("subgroups"):
            text = "Scores by subgroup are recorded; what they mean for bias is for a person."
            return Answer(state=State.NEEDS_A_PERSON, text=text, refs=(entry.run.run_id,))
    return Answer(state=State.NOT_RUN, text="No score by subgroup is recorded.")


def versions(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """Versions and settings of each run."""
    runs = evidence.snapshot.runs
    if not runs:
        return Answer(state=State.NOT_RUN, text="No run is recorded.")
    text = "Versions of software, machine type and settings are recorded with every run."
    return Answer(state=State.EVIDENCED, text=text, refs=tuple(run.run_id for run in runs[-3:]))


def evaluation(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """Scores with intervals."""
    if not evidence.evaluations:
        return Answer(state=State.NOT_RUN, text="No evaluation is recorded.")
    entry = evidence.evaluations[-1]
    score = entry.paper.content.get("balanced_accuracy")
    shown = ""
    if isinstance(score, Mapping):
        shown = f" Balanced accuracy {interval(*(score.get(name) for name in ('estimate', 'low', 'high', 'n')))}."
    cohorts = [r for r in evidence.snapshot.artifacts_of(entry.run.run_id, "used") if r.kind == "cohort"]
    if any(cohort.origin == "synthetic" for cohort in cohorts):
        text = "Zero-shot scores are recorded on simulated eyes only: nothing is known about real ones."
        return Answer(state=State.NOT_RUN, text=text, refs=(entry.run.run_id,))
    text = f"Zero-shot scores with intervals are recorded.{shown} Whether they suffice is for a person."
    return Answer(state=State.EVIDENCED, text=text, refs=(entry.run.run_id,))


def independence(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """A patient-disjoint split, and no real image in training."""
    if not evidence.splits:
        return Answer(state=State.NOT_RUN, text="No split by patient is recorded.")
    refs = tuple(run.run_id for run in evidence.splits)
    trained = all(
        record.origin == "synthetic"
        for entry in evidence.trainings
        for record in evidence.snapshot.artifacts_of(entry.run.run_id, "used")
    )
    text = "Cohorts were divided by patient."
    if evidence.trainings and trained:
        text += " Every set that a model was trained on is recorded as synthetic."
    return Answer(state=State.EVIDENCED, text=text, refs=refs)


def marking(evidence: Evidence, _: Mapping[str, Any]) -> Answer:
    """What the manifest says of marking."""
    subject = evidence.subject
    paper = evidence.manifests.get(subject.id) if subject is not None else None
    said = paper.content.get("marking") if paper is not None and paper.state == PaperState.READ else None
    if subject is None or not said:
        return Answer(state=State.NOT_RUN, text="No marking of the images is recorded.")
    return Answer(state=State.EVIDENCED, text=f"The set's manifest says: {said}", refs=(subject.id,))


def differential_privacy(evidence: Evidence, requirement: Mapping[str, Any]) -> Answer:
    """What the latest privacy statement says under a field; whether that suffices is for a person."""
    if not evidence.claims:
        return Answer(state=State.NOT_RUN, text="No differential privacy was requested; no epsilon is claimed.")
    run, statement = evidence.claims[-1]
    said = [f"{name.replace('_', ' ')}: {_shown(statement.get(name))}" for name in requirement.get("fields", ())]
    text = f"{'; '.join(said)}." if said else "A claim is recorded with its parameters."
    return Answer(state=State.NEEDS_A_PERSON, text=f"{text} Whether it suffices is for a person.", refs=(run.run_id,))


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        attack,
        differential_privacy,
        evaluation,
        identifiers,
        independence,
        leakage,
        ledger,
        marking,
        origin,
        person,
        preparation,
        quantity,
        review_date,
        subgroups,
        versions,
    )
}


def _listed(content: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = content.get(name)
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _shown(value: Any) -> str:
    """A field of a statement in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value) or "none"
    return "not stated" if value is None else number(value)


def _makers(evidence: Evidence) -> tuple[str, ...]:
    subject = evidence.subject
    return tuple(
        edge.run_id
        for edge in evidence.snapshot.edges
        if subject is not None and edge.artifact == subject.id and edge.role == "generated"
    )
