"""The gate at the end of a pipeline: ledger, audit and policy together decide whether a set may go out.

Every line of its text and its exit code come from one list of checks, so they cannot disagree. A policy can tighten
what the audit says, not lift it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from ethicclip.errors import ExitCode
from ethicclip.policy import Decision, Measure, Policy, judge
from ethicclip.provenance import MetricRecord, read_verified, stale_reasons
from ethicclip.provenance.ancestry import find_artifact
from ethicclip.reports.evidence import Evidence, PaperState, gather
from ethicclip.reports.reading_json import as_number, fields, items
from ethicclip.reports.wording import clean

_EXACT_PREFIXES = ("audit/", "text/", "images/", "patients/", "pairs")
_WORDS = {
    ExitCode.PASS: "passed",
    ExitCode.INCONCLUSIVE: "open",
    ExitCode.GATE_FAILED: "failed",
    ExitCode.INTEGRITY: "broken",
}
_SEVERITY = (ExitCode.PASS, ExitCode.INCONCLUSIVE, ExitCode.GATE_FAILED, ExitCode.INTEGRITY)


class GateCheck(StrEnum):
    """What the gate looks at, in this order."""

    LEDGER = "ledger"
    AUDIT = "audit"
    FRESH = "fresh"
    POLICY = "policy"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One check: what it looked at, what that is worth as an exit code, and the words."""

    check: GateCheck
    code: ExitCode
    text: str

    def line(self) -> str:
        """One line for a person."""
        return f"{_WORDS[self.code]:<8}{self.check}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """What the gate says.

    Args:
        subject: What people call the set.
        subject_id: Its id; None when the ledger holds no set.
        checks: All of them.
        decision: The policy applied.
        head: The ledger's head that was judged.
    """

    subject: str
    subject_id: str | None
    checks: tuple[Checked, ...]
    decision: Decision
    head: str | None

    @property
    def exit_code(self) -> ExitCode:
        """The worst of all checks."""
        return max((entry.code for entry in self.checks), key=_SEVERITY.index)

    @property
    def state(self) -> str:
        """The exit code as a word."""
        return _WORDS[self.exit_code]

    def lines(self) -> tuple[str, ...]:
        """The outcome for people; the last line names the exit code."""
        return (
            f"gate for {self.subject} by policy {self.decision.policy.name!r}",
            *(entry.line() for entry in self.checks),
            f"gate {self.state}: exit {int(self.exit_code)}",
        )

    def to_json(self) -> dict[str, Any]:
        """What ``gate --json`` prints."""
        return {
            "schema": "ethicclip/gate/1",
            "subject": self.subject,
            "subject_id": self.subject_id,
            "state": self.state,
            "exit_code": int(self.exit_code),
            "checks": [
                {"check": str(entry.check), "state": _WORDS[entry.code], "text": entry.text} for entry in self.checks
            ],
            "policy": self.decision.to_json(),
            "ledger_head": self.head,
        }


def gate(policy: Policy, ledger: Path, *, day: date, subject: str | None = None) -> GateResult:
    """Judge the released set of a ledger.

    Args:
        policy: The rules.
        ledger: Path of the ledger; the verdict's file is read where it lies beside it.
        day: Decides which waivers have expired and how old the audit is.
        subject: Path, alias or hash of the set; None takes the one that a report would take.

    Raises:
        BadInputError: No ledger, or no such subject.
        LedgerLockedError: Another process held the ledger all the time.

    Example:
        >>> gate(read_policy(Path("policy.yaml")), Path("l.duckdb"), day=date.today()).exit_code  # doctest: +SKIP
    """
    snapshot, checked = read_verified(ledger)
    chosen = None if subject is None else find_artifact(snapshot, subject)
    evidence = gather(snapshot, checked, chosen)
    decision = judge(policy, measures(evidence, day), day=day)
    record = evidence.subject
    return GateResult(
        subject=clean((record.alias or record.id[:24]) if record is not None else "(no set is recorded)", 120),
        subject_id=record.id if record is not None else None,
        checks=tuple(_checks(evidence, decision)),
        decision=decision,
        head=checked.head,
    )


def measures(evidence: Evidence, day: date) -> dict[str, Measure]:
    """What a policy may hold a release to, by name.

    Every metric of the latest audit of the set, of the latest training on it and of the latest evaluation and audit of
    a model trained on it, under its own name and under ``VERB/NAME``; from the verdict's file ``audit/flagged_share``,
    ``audit/reference_share`` and ``audit/fewest_noticed/KIND``; and ``audit/age_days`` and ``audit/stale_reasons``.
    """
    found: dict[str, Measure] = {}
    for run in _runs(evidence):
        for metric in evidence.snapshot.metrics_of(run):
            measure = _measure(metric)
            found[metric.name] = measure
            found[f"{evidence.snapshot.by_run[run].verb}/{metric.name}"] = measure
    deciding = evidence.deciding
    if deciding is None:
        return found
    if deciding.verdict.state == PaperState.READ:
        found |= _from_verdict(deciding.verdict.content)
    ended = datetime.fromisoformat(deciding.run.ended or deciding.run.started).date()
    found["audit/age_days"] = _exact((day - ended).days)
    found["audit/stale_reasons"] = _exact(len(stale_reasons(evidence.snapshot, deciding.run)))
    return found


def _checks(evidence: Evidence, decision: Decision) -> Iterator[Checked]:
    if evidence.checked.ok:
        yield Checked(check=GateCheck.LEDGER, code=ExitCode.PASS, text="every record matches its chain and signatures")
    else:
        problem = clean(evidence.checked.findings[0].line(), 300)
        yield Checked(check=GateCheck.LEDGER, code=ExitCode.INTEGRITY, text=problem)
    audit = evidence.deciding
    if audit is None:
        yield Checked(check=GateCheck.AUDIT, code=ExitCode.INCONCLUSIVE, text="no leakage audit of the set is recorded")
    else:
        codes = {"PASS": ExitCode.PASS, "LEAK": ExitCode.GATE_FAILED}
        code = codes.get(audit.outcome, ExitCode.INCONCLUSIVE)
        yield Checked(check=GateCheck.AUDIT, code=code, text=f"{audit.outcome}, run {audit.run.run_id}")
        for reason in stale_reasons(evidence.snapshot, audit.run):
            yield Checked(check=GateCheck.FRESH, code=ExitCode.INCONCLUSIVE, text=f"the audit is stale: {reason.text}")
    for outcome in decision.outcomes:
        code = Decision(policy=decision.policy, day=decision.day, outcomes=(outcome,)).exit_code
        yield Checked(check=GateCheck.POLICY, code=code, text=clean(outcome.line().removeprefix("policy: ")))


def _runs(evidence: Evidence) -> list[str]:
    """Runs whose metrics speak of the set, oldest first, so that the latest of a name counts."""
    subject, snapshot = evidence.subject, evidence.snapshot
    if subject is None:
        return []
    wanted = {evidence.deciding.run.run_id} if evidence.deciding is not None else set()
    models: set[str] = set()
    for edge in snapshot.edges:
        if edge.artifact == subject.id and edge.role == "generated":
            wanted.add(edge.run_id)
    for entry in evidence.trainings:
        if any(record.id == subject.id for record in snapshot.artifacts_of(entry.run.run_id, "used")):
            wanted.add(entry.run.run_id)
            models |= {record.id for record in snapshot.artifacts_of(entry.run.run_id, "generated")}
    for entry in (*evidence.evaluations, *evidence.memberships):
        if models & {record.id for record in snapshot.artifacts_of(entry.run.run_id, "used")}:
            wanted.add(entry.run.run_id)
    return [run.run_id for run in snapshot.runs if run.run_id in wanted]


def _measure(metric: MetricRecord) -> Measure:
    """A count has no interval and needs none; a score without one stays without."""
    counted = metric.low is None and metric.high is None and metric.name.startswith(_EXACT_PREFIXES)
    if counted and "recall" not in metric.name and metric.estimate is not None:
        return _exact(metric.estimate)
    return Measure(estimate=metric.estimate, low=metric.low, high=metric.high, n=metric.n)


def _from_verdict(content: Mapping[str, Any]) -> dict[str, Measure]:
    found: dict[str, Measure] = {}
    for name in ("flagged_share", "reference_share"):
        value = fields(content, name)
        if value:
            low, high = as_number(value.get("low")), as_number(value.get("high"))
            found[f"audit/{name}"] = Measure(estimate=as_number(value.get("estimate")), low=low, high=high)
    for row in items(content, "power"):
        if isinstance(row, Mapping) and isinstance(row.get("kind"), str):
            noticed = as_number(row.get("m"))
            # A kind of which no number of copies is noticed keeps no upper threshold.
            found[f"audit/fewest_noticed/{row['kind']}"] = _exact(math.inf if noticed is None else noticed)
    return found


def _exact(value: float) -> Measure:
    return Measure(estimate=float(value), low=float(value), high=float(value))
