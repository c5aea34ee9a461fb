"""The policy file as typed settings: rules with a threshold, a reason and an owner, and waivers that expire."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from ethicclip.settings import Settings


class Statistic(StrEnum):
    """Which part of a measure is held against the threshold."""

    ESTIMATE = "estimate"
    LOW = "low"
    HIGH = "high"


class Waiver(Settings):
    """An exception to a rule, with an end.

    Attributes:
        until: Last day on which it holds.
        reason: Why the rule may be missed until then.
        owner: Who answers for it.
    """

    until: date
    reason: str = Field(min_length=1)
    owner: str = Field(min_length=1)


class Rule(Settings):
    """One threshold.

    Attributes:
        metric: Name of the measure, such as ``audit/flagged_share``.
        statistic: The end of its interval that counts. By default the unfavourable one: ``high`` under a maximum,
            ``low`` over a minimum, so that too little data cannot pass.
        maximum: The statistic must not be above it.
        minimum: The statistic must not be below it.
        rationale: Why this threshold.
        owner: Who answers for it.
        waivers: Exceptions; any that has not expired holds.
    """

    metric: str = Field(min_length=1)
    statistic: Statistic | None = None
    maximum: float | None = None
    minimum: float | None = None
    rationale: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    waivers: tuple[Waiver, ...] = ()

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if (self.maximum is None) == (self.minimum is None):
            raise ValueError(f"rule {self.metric!r} needs either a maximum or a minimum")
        return self

    @property
    def compared(self) -> Statistic:
        """The statistic that counts, the default resolved."""
        if self.statistic is not None:
            return self.statistic
        return Statistic.HIGH if self.maximum is not None else Statistic.LOW

    def holds(self, value: float) -> bool:
        """Whether `value` keeps the threshold."""
        return value <= self.maximum if self.maximum is not None else value >= (self.minimum or 0.0)

    def threshold_text(self) -> str:
        """The requirement in words, such as ``high of audit/flagged_share at most 0.01``."""
        bound = f"at most {self.maximum:g}" if self.maximum is not None else f"at least {self.minimum:g}"
        return f"{self.compared} of {self.metric} {bound}"


class Policy(Settings):
    """A named list of rules.

    Attributes:
        schema_: Version of the file's form.
        name: What people call it.
        owner: Who answers for the whole.
        rules: At least one.
    """

    schema_: Literal["ethicclip/policy/1"] = Field(default="ethicclip/policy/1", alias="schema")
    name: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rules_are_distinct(self) -> Self:
        seen = [(rule.metric, rule.compared, rule.maximum is not None) for rule in self.rules]
        twice = sorted({metric for metric, *_ in seen if sum(one[0] == metric for one in seen) > 1})
        if len(set(seen)) != len(seen):
            raise ValueError(f"two rules hold the same statistic to a threshold: {', '.join(twice)}")
        return self
