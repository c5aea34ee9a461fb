"""The mechanisms, as what accountants need to know of them: how far one unit can move the sum, how often it is drawn.

What is private here is a *unit* (a patient, or a pair): its addition to or removal from the data is what the guarantee
hides. A mechanism releases, each step, a vector plus Gaussian noise of standard deviation sigma times `sensitivity`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ethicclip.errors import UsageError


class Mechanism(StrEnum):
    """How a step's gradient becomes private."""

    PROMPT_BANK = "prompt-bank"
    GROUPED = "grouped"

    @property
    def sensitivity_factor(self) -> int:
        """Largest L2 change of the clipped sum when one unit is added or removed, in units of the clipping norm.

        prompt-bank: a unit adds one vector of norm at most C. grouped: it changes one group's clipped gradient from
        h(A) to h(A and x), each of norm at most C, so by at most 2C.
        """
        return 1 if self is Mechanism.PROMPT_BANK else 2


class GeneratorMechanism(StrEnum):
    """How a generator becomes private; training does not take these."""

    VOTES = "votes"
    DENOISING = "denoising"

    @property
    def sensitivity_factor(self) -> int:
        """As of `Mechanism`: a unit adds one vector, of its votes or of its clipped gradient, of norm at most C."""
        return 1


class Unit(StrEnum):
    """Whose presence the guarantee hides."""

    PATIENT = "patient"
    PAIR = "pair"


class Purpose(StrEnum):
    """What a release was for."""

    GENERATOR = "generator"
    TRAINING = "training"
    TUNING = "tuning"


@dataclass(frozen=True, kw_only=True)
class SampledGaussian:
    """`steps` releases of a Poisson-sampled sum with Gaussian noise; `sample_rate` 1 is the plain Gaussian mechanism.

    Attributes:
        noise_multiplier: Standard deviation of the noise over the sensitivity (sigma); over 0.
        sample_rate: Probability q with which each unit enters a step, independently; over 0, at most 1.
        steps: Number of releases, empty ones included; 0 is allowed and costs nothing.

    Raises:
        UsageError: A value outside its domain; the message names it.

    Example:
        >>> SampledGaussian(noise_multiplier=1.0, sample_rate=0.05, steps=600).steps
        600
    """

    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        """Refuse what is no mechanism."""
        check_rate(self.sample_rate)
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise UsageError(
                f"a noise multiplier of {self.noise_multiplier!r} gives no finite epsilon",
                next_step="Use a positive number; about 0.5 to 10 is usual.",
            )
        if self.steps < 0:
            raise UsageError(f"{self.steps} steps cannot be accounted for")

    def to_json(self) -> dict[str, float]:
        """JSON types."""
        return {"noise_multiplier": self.noise_multiplier, "sample_rate": self.sample_rate, "steps": self.steps}


Events = Sequence[SampledGaussian]


def check_rate(rate: float) -> float:
    """`rate` if it is a probability over 0.

    Raises:
        UsageError: It is not.
    """
    if not (math.isfinite(rate) and 0 < rate <= 1):
        raise UsageError(
            f"a sampling rate q of {rate:.6g} is no probability: it must lie over 0 and at most at 1",
            next_step="q is the expected units of a step over all units: use a smaller batch, or state q below 1.",
        )
    return rate


def check_budget(epsilon: float, delta: float) -> None:
    """Refuse a target that is no (epsilon, delta).

    Raises:
        UsageError: epsilon is not positive and finite, or delta is not inside (0, 1).
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise UsageError(
            f"an epsilon of {epsilon!r} is impossible: it must be positive and finite",
            next_step="Use for example --epsilon 3; leave the option out to train without differential privacy.",
        )
    if not (math.isfinite(delta) and 0 < delta < 1):
        raise UsageError(
            f"a delta of {delta!r} is impossible: it must lie between 0 and 1",
            next_step="Use a value well under one over the number of units, such as 1e-5.",
        )


def default_delta(units: int) -> float:
    """min(1e-5, 1/(10 n)): a tenth of what publishing one unit of n at random would cost."""
    return min(1e-5, 1 / (10 * max(1, units)))
