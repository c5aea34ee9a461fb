"""A policy: what a figure must be before a set or a model may go out, who says so, and which exceptions run until when.

Ground floor: it knows neither audits nor the ledger, only named measures, so that ``audit-leakage --policy`` and a
gate over the ledger judge by the same rules and the same words.
"""

from ethicclip.policy.judging import Decision, Judgement, Measure, Outcome, judge
from ethicclip.policy.model import Policy, Rule, Statistic, Waiver
from ethicclip.policy.reading import read_policy

__all__ = [
    "Decision",
    "Judgement",
    "Measure",
    "Outcome",
    "Policy",
    "Rule",
    "Statistic",
    "Waiver",
    "judge",
    "read_policy",
]
