"""The gate of an audit: its verdict and, where one is given, a policy; words and exit code have one source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ethicclip.audits.decision import Verdict
from ethicclip.errors import ExitCode
from ethicclip.policy import Decision, Measure

EXIT_CODES = {
    Verdict.PASS: ExitCode.PASS,
    Verdict.LEAK: ExitCode.GATE_FAILED,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
}

_SEVERITY = (ExitCode.PASS, ExitCode.INCONCLUSIVE, ExitCode.GATE_FAILED)
_STATES = {ExitCode.PASS: "passed", ExitCode.INCONCLUSIVE: "open", ExitCode.GATE_FAILED: "failed"}


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What the audit's caller gets: the worse of verdict and policy. A policy can tighten the verdict, not lift it.

    Attributes:
        verdict: Of the audit.
        decision: The policy applied, None without one.
    """

    verdict: Verdict
    decision: Decision | None

    @property
    def exit_code(self) -> ExitCode:
        """10 when either failed, else 11 when either is open, else 0."""
        codes = [EXIT_CODES[self.verdict], *([self.decision.exit_code] if self.decision else [])]
        return max(codes, key=_SEVERITY.index)

    def lines(self) -> list[str]:
        """The policy's words, and the gate's state with its exit code."""
        policy = self.decision.lines() if self.decision is not None else []
        return [*policy, f"gate {_STATES[self.exit_code]}: exit {int(self.exit_code)}"]

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "state": _STATES[self.exit_code],
            "exit_code": int(self.exit_code),
            "policy": None if self.decision is None else self.decision.to_json(),
        }


def measures_of(document: Mapping[str, Any]) -> dict[str, Measure]:
    """What a policy may hold an audit to, by name; aggregates are not among it, since nothing is gated on them.

    ``audit/COUNT`` for each count, ``audit/flagged_share``, ``audit/reference_share``, ``audit/recall/KIND``,
    ``audit/fewest_noticed/KIND`` (copies in the set), ``audit/fewest_noticed_share/KIND``, ``audit/times_audited``,
    ``text/COUNT``, ``text/overlap_risk``.
    """
    found = {f"audit/{name}": _exact(value) for name, value in document["counts"].items()}
    for name in ("flagged_share", "reference_share"):
        if document.get(name):
            found[f"audit/{name}"] = _estimate(document[name])
    for row in document["power"]:
        found[f"audit/recall/{row['kind']}"] = _estimate(row["recall"])
        noticed = row["m"]
        # A kind of which no number of copies is noticed keeps no upper threshold.
        count = math.inf if noticed is None else float(noticed)
        found[f"audit/fewest_noticed/{row['kind']}"] = _exact(count)
        found[f"audit/fewest_noticed_share/{row['kind']}"] = _exact(count / max(1, row["n"]))
    history = document.get("history")
    if history is not None:
        found["audit/times_audited"] = _exact(history["of_this_set"])
    text = document.get("text")
    if text is not None:
        found |= {f"text/{name}": _exact(value) for name, value in text["counts"].items()}
        risk = (text["overlap"] or {}).get("risk_against_control")
        if risk is not None:
            found["text/overlap_risk"] = Measure(estimate=risk["estimate"], low=risk["low"], high=risk["high"])
    return found


def _exact(value: float) -> Measure:
    return Measure(estimate=float(value), low=float(value), high=float(value))


def _estimate(value: Mapping[str, Any]) -> Measure:
    return Measure(estimate=value["estimate"], low=value["low"], high=value["high"], n=value["n"])
