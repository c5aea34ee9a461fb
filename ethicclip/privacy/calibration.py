"""The smallest noise that keeps a run within (epsilon, delta), and how many steps a given noise allows.

Opacus' own `get_noise_multiplier` with its defaults asks the RDP accountant and derives the sampling rate from a
loader's length; here rate and steps are given, and the answer is checked by both accountants.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ethicclip.errors import IntegrityError, UsageError
from ethicclip.privacy.accountant import epsilon_of, prv_epsilon
from ethicclip.privacy.mechanisms import Events, SampledGaussian, check_budget, check_rate

SMALLEST_NOISE, LARGEST_NOISE = 0.2, 4096.0

_SLACK = 0.004
"""A share of epsilon that may stay unspent, so that few expensive evaluations suffice."""

_MOST_EVALUATIONS = 12

_SMALL = 0.1
"""Below this an epsilon may be out of reach whatever the noise: what the accountants state includes their own error."""


def noise_for(epsilon: float, delta: float, *, sample_rate: float, steps: int, spent: Events = ()) -> float:
    """The noise multiplier with which `steps` more releases stay within the budget.

    Args:
        epsilon: Target for adding or removing one unit.
        delta: Target.
        sample_rate: Poisson rate q of each unit.
        steps: Number of releases; at least 1.
        spent: What was released of the same units before; it is composed with the new steps.

    Returns:
        sigma, rounded up to four decimals; epsilon at it is at most `epsilon` and at least 0.99 times it, unless the
        smallest noise of 0.2 already suffices.

    Raises:
        UsageError: An impossible target, or one that no noise up to 4096 reaches (the budget is spent, or the target is
            less than the accountants' own error, which is about 0.001).

    Example:
        >>> sigma = noise_for(3.0, 1e-5, sample_rate=128 / 2000, steps=470)
        >>> 2.08 < sigma < 2.14
        True
    """
    check_budget(epsilon, delta)
    check_rate(sample_rate)
    if steps < 1:
        raise UsageError(f"{steps} steps: noise is calibrated for at least 1")

    def events(sigma: float) -> tuple[SampledGaussian, ...]:
        return (*spent, SampledGaussian(noise_multiplier=sigma, sample_rate=sample_rate, steps=steps))

    def roughly(sigma: float) -> float:
        return _or_infinity(lambda: prv_epsilon(events(sigma), delta, wide) - wide)

    def stated(sigma: float) -> float:
        return _or_infinity(lambda: epsilon_of(events(sigma), delta).value)

    if epsilon < _SMALL and not (least := stated(LARGEST_NOISE)) <= epsilon:
        raise UsageError(
            f"no noise reaches epsilon {epsilon:g} at delta {delta:g}: with the largest, {LARGEST_NOISE:g}, the "
            f"accountants state {least:.2g} for these {steps} steps"
            + (" and what was released before" if spent else ""),
            next_step="Use a larger epsilon (between 0.5 and 10 is usual), fewer steps or a smaller batch.",
        )
    # A wide error is cheap, and enough to find the neighbourhood.
    wide = max(0.02, epsilon / 50)
    low, high = SMALLEST_NOISE, 1.0
    while roughly(high) > epsilon:
        low, high = high, high * 2
        if high > LARGEST_NOISE:
            raise UsageError(
                f"no noise reaches epsilon {epsilon:g} at delta {delta:g}"
                + (" after what was already released" if spent else ""),
                next_step="Use a larger epsilon, fewer epochs or a smaller batch.",
            )
    while high / low > 1.02:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if roughly(middle) > epsilon else (low, middle)
    return _refined(stated, epsilon, start=high)


def steps_within(epsilon: float, delta: float, *, noise_multiplier: float, sample_rate: float, most: int) -> int:
    """How many of `most` steps at this noise stay within the budget; 0 when not even one does.

    Raises:
        UsageError: An impossible target.
    """
    check_budget(epsilon, delta)

    def event(steps: int) -> SampledGaussian:
        return SampledGaussian(noise_multiplier=noise_multiplier, sample_rate=sample_rate, steps=steps)

    def roughly_fits(steps: int) -> bool:
        # An upper bound with a wide error: at worst a few steps are given away.
        return prv_epsilon((event(steps),), delta, 0.01) <= epsilon

    low, high = (most, most) if roughly_fits(most) else (0, most)
    while high - low > max(1, low // 200):
        middle = (low + high) // 2
        low, high = (middle, high) if roughly_fits(middle) else (low, middle)
    while low and epsilon_of([event(low)], delta).value > epsilon:
        low -= max(1, low // 200)
    return low


def _refined(stated: Callable[[float], float], epsilon: float, *, start: float) -> float:
    """The smallest sigma, to `_SLACK`, at which the stated epsilon is within the target: secant steps in logarithms."""
    aim = math.log(epsilon * (1 - _SLACK / 2))
    sigma, slope = _rounded(start), -1.2
    best = math.inf
    before: tuple[float, float] | None = None
    for _ in range(_MOST_EVALUATIONS):
        value = stated(sigma)
        if value <= epsilon:
            best = min(best, sigma)
            if value >= epsilon * (1 - _SLACK) or sigma <= SMALLEST_NOISE:
                return best
        if not math.isfinite(value) or value <= 0:
            sigma = _rounded(sigma * (1.1 if value > 0 else 0.8))
            continue
        here = (math.log(sigma), math.log(value))
        if before is not None and abs(here[0] - before[0]) > 1e-6:
            slope = min(-0.3, (here[1] - before[1]) / (here[0] - before[0]))
        before = here
        sigma = min(LARGEST_NOISE, max(SMALLEST_NOISE, _rounded(math.exp(here[0] + (aim - here[1]) / slope))))
    while best == math.inf:
        sigma = min(LARGEST_NOISE, _rounded(sigma * 1.02))
        if sigma == LARGEST_NOISE or stated(sigma) <= epsilon:
            best = sigma
    return best


def _rounded(sigma: float) -> float:
    """Four decimals, upwards: a number that people can copy."""
    return math.ceil(sigma * 1e4) / 1e4


def _or_infinity(question: Callable[[], float]) -> float:
    """An accountant that cannot bound so little noise has bounded it by infinity."""
    try:
        return question()
    except IntegrityError:
        return math.inf
