"""Judges measures by a policy. Text and exit code come from one object, so they cannot disagree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from ethicclip.errors import ExitCode
from ethicclip.policy.model import Policy, Rule, Statistic


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measured value as a policy sees it.

    Attributes:
        estimate, low, high: The value and the ends of its interval; None where there is none.
        n: Units behind it.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None

    def value(self, statistic: Statistic) -> float | None:
        """The part of it that a rule compares."""
        return {Statistic.ESTIMATE: self.estimate, Statistic.LOW: self.low, Statistic.HIGH: self.high}[statistic]


class Judgement(StrEnum):
    """What became of one rule."""

    KEPT = "kept"
    MISSED = "missed"
    WAIVED = "waived"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One rule, what was measured, and what follows."""

    rule: Rule
    value: float | None
    judgement: Judgement
    note: str

    def line(self) -> str:
        """One line for a person."""
        shown = "not measured" if self.value is None else f"{self.value:.4g}"
        return f"policy: {self.judgement}: {self.rule.threshold_text()}; it is {shown}{self.note}"

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "metric": self.rule.metric,
            "statistic": str(self.rule.compared),
            "maximum": self.rule.maximum,
            "minimum": self.rule.minimum,
            "value": self.value if self.value is not None and math.isfinite(self.value) else None,
            "judgement": str(self.judgement),
            "rationale": self.rule.rationale,
            "owner": self.rule.owner,
            "note": self.note.lstrip("; "),
        }


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A policy applied: the only source of both its words and its exit code."""

    policy: Policy
    day: date
    outcomes: tuple[Outcome, ...]

    @property
    def exit_code(self) -> ExitCode:
        """Gate failed when a rule is missed, inconclusive when one could not be measured, else pass."""
        found = {outcome.judgement for outcome in self.outcomes}
        if Judgement.MISSED in found:
            return ExitCode.GATE_FAILED
        return ExitCode.INCONCLUSIVE if Judgement.NOT_MEASURED in found else ExitCode.PASS

    @property
    def state(self) -> str:
        """``kept``, ``missed`` or ``open``: the exit code as a word."""
        return {ExitCode.PASS: "kept", ExitCode.GATE_FAILED: "missed", ExitCode.INCONCLUSIVE: "open"}[self.exit_code]

    def lines(self) -> list[str]:
        """A few lines for a person."""
        head = f"policy {self.policy.name!r} ({self.policy.digest()[:12]}): {self.state}"
        return [head, *(outcome.line() for outcome in self.outcomes)]

    def to_json(self) -> dict[str, Any]:
        """As JSON types, the hash of the policy included."""
        return {
            "name": self.policy.name,
            "owner": self.policy.owner,
            "sha256": self.policy.digest(),
            "day": self.day.isoformat(),
            "state": self.state,
            "rules": [outcome.to_json() for outcome in self.outcomes],
        }


def judge(policy: Policy, measures: Mapping[str, Measure], *, day: date) -> Decision:
    """Hold measures against a policy.

    Args:
        policy: The rules.
        measures: By metric name. A rule whose metric or statistic is missing is "not measured", never kept.
        day: Which waivers have expired; a waiver holds up to and including its last day.
    """
    return Decision(policy=policy, day=day, outcomes=tuple(_outcome(rule, measures, day) for rule in policy.rules))


def _outcome(rule: Rule, measures: Mapping[str, Measure], day: date) -> Outcome:
    measure = measures.get(rule.metric)
    value = None if measure is None else measure.value(rule.compared)
    if value is not None and rule.holds(value):
        return Outcome(rule=rule, value=value, judgement=Judgement.KEPT, note="")
    running = [waiver for waiver in rule.waivers if day <= waiver.until]
    if running:
        last = max(running, key=lambda waiver: waiver.until)
        note = f"; waived until {last.until.isoformat()} by {last.owner}: {last.reason}"
        return Outcome(rule=rule, value=value, judgement=Judgement.WAIVED, note=note)
    expired = f"; {len(rule.waivers)} waiver(s) have expired" if rule.waivers else ""
    judgement = Judgement.NOT_MEASURED if value is None else Judgement.MISSED
    return Outcome(rule=rule, value=value, judgement=judgement, note=expired)
