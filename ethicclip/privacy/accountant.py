"""Epsilon of composed Poisson-sampled Gaussian mechanisms, by two accountants that have to agree.

Opacus' PRV accountant (Gopi et al. 2021, 2106.02848) and dp-accounting's privacy loss distributions (Doroshenko et al.
2022, 2207.04380) are separate implementations of separate methods. Both give upper bounds; what is stated is the
larger. This module does not prove that the mechanism which ran is the one described: `audit-model` tests that.
"""

from __future__ import annotations

import functools
import importlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from ethicclip.errors import IntegrityError, UsageError
from ethicclip.privacy.mechanisms import Events, SampledGaussian, check_budget

EPS_ERROR = 0.001
"""Error allowed to the PRV accountant; it is included in the bound."""

ABSOLUTE_TOLERANCE = 0.02
RELATIVE_TOLERANCE = 0.01

_BISECTIONS = 30


@dataclass(frozen=True, kw_only=True)
class Epsilon:
    """What the accountants say of some events at one delta.

    Attributes:
        value: The stated epsilon, for adding or removing one unit: the larger of the two bounds.
        delta: The delta it holds at.
        prv: Bound of Opacus' PRV accountant.
        pld: Bound of dp-accounting's PLD accountant.
    """

    value: float
    delta: float
    prv: float
    pld: float

    def to_json(self) -> dict[str, float]:
        """JSON types."""
        return {"epsilon": self.value, "delta": self.delta, "prv": self.prv, "pld": self.pld}


def epsilon_of(events: Events, delta: float) -> Epsilon:
    """The epsilon of composed events at `delta`, by both accountants.

    Args:
        events: What is released, in any order; each with its own noise, rate and number of steps.
        delta: Between 0 and 1.

    Raises:
        IntegrityError: The accountants differ by more than max(0.02, 1 %), or one of them cannot say.
        UsageError: An impossible delta.

    Example:
        >>> run = SampledGaussian(noise_multiplier=1.10, sample_rate=128 / 2000, steps=470)
        >>> round(epsilon_of([run], 1e-5).value, 1)
        8.0
    """
    check_budget(1.0, delta)
    live = tuple(sorted((event for event in events if event.steps), key=lambda event: event.noise_multiplier))
    if not live:
        return Epsilon(value=0.0, delta=delta, prv=0.0, pld=0.0)
    prv, pld = prv_epsilon(live, delta), pld_epsilon(live, delta)
    require_agreement(prv, pld)
    return Epsilon(value=max(prv, pld), delta=delta, prv=prv, pld=pld)


def require_agreement(prv: float, pld: float) -> None:
    """Stop unless the two bounds are the same to max(0.02, 1 %).

    Raises:
        IntegrityError: They differ, or one is not finite.
    """
    allowed = max(ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE * max(prv, pld)) if math.isfinite(prv + pld) else 0.0
    if not abs(prv - pld) <= allowed:
        raise IntegrityError(
            f"the accountants disagree: PRV says epsilon {prv:.4f}, PLD says {pld:.4f} (allowed: {allowed:.4f} apart)",
            next_step="State no epsilon from these numbers. Use a larger noise multiplier, or report this as a bug "
            "with the noise multiplier, the sampling rate and the number of steps.",
        )


@functools.lru_cache(maxsize=4096)
def prv_epsilon(events: tuple[SampledGaussian, ...], delta: float, eps_error: float = EPS_ERROR) -> float:
    """Upper bound by Opacus' PRV accountant.

    Raises:
        IntegrityError: The accountant gives up on these numbers.
    """
    # Here, because Opacus loads torch.
    accountant: Any = importlib.import_module("opacus.accountants").PRVAccountant()
    accountant.history = [(event.noise_multiplier, event.sample_rate, event.steps) for event in events]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # log(0) at q = 1, where the limit is right
        return _asked("PRV", lambda: accountant.get_epsilon(delta, eps_error=eps_error))


def pld_epsilon(events: tuple[SampledGaussian, ...], delta: float) -> float:
    """Upper bound by dp-accounting's privacy loss distributions.

    Raises:
        IntegrityError: The accountant gives up on these numbers.
    """
    return _asked("PLD", lambda: _pld(events).get_epsilon(delta))


def replace_one(events: Events, delta: float) -> float | None:
    """Epsilon for *replacing* one unit, at the same delta, by the PLD accountant.

    A replacement is a removal and an addition: by group privacy for two, (e, d) under add/remove gives
    (2e, (1 + exp(e)) d) under replacement (Vadhan 2017, lemma 2.2). Solved for the d whose total is `delta`; the PLD
    accountant's own replace-one relation does not know the Poisson-sampled Gaussian.

    Returns:
        The bound; None where the d that a group of two leaves is too small for the accountant (epsilons over about 12).

    Raises:
        IntegrityError: The accountant gives up on these numbers.
    """
    live = tuple(event for event in events if event.steps)
    if not live:
        return 0.0
    low, high = math.log(delta) - 40.0, math.log(delta / 2)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        inner = float(_pld(live).get_epsilon(math.exp(middle)))
        # In logarithms: log(1 + exp(inner)) + log(d) against log(delta).
        low, high = (
            (middle, high) if math.log1p(math.exp(min(inner, 700.0))) + middle <= math.log(delta) else (low, middle)
        )
    bound = 2 * float(_pld(live).get_epsilon(math.exp(low)))
    return bound if math.isfinite(bound) else None


@functools.lru_cache(maxsize=64)
def _pld(events: tuple[SampledGaussian, ...]) -> Any:
    """dp-accounting's accountant with the events composed."""
    # Here, because its mpmath and dm-tree take a while to load.
    dp: Any = importlib.import_module("dp_accounting")
    accountant: Any = dp.pld.PLDAccountant(dp.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for event in events:
        released = dp.GaussianDpEvent(event.noise_multiplier)
        if event.sample_rate < 1:
            released = dp.PoissonSampledDpEvent(event.sample_rate, released)
        accountant.compose(released, event.steps)
    return accountant


def accountant_versions() -> dict[str, str]:
    """Which releases of the accountants spoke."""
    return {"opacus": metadata.version("opacus"), "dp_accounting": metadata.version("dp-accounting")}


def _asked(name: str, question: Callable[[], float]) -> float:
    try:
        answer = float(question())
    except (RuntimeError, ValueError, FloatingPointError, OverflowError, MemoryError) as error:
        raise IntegrityError(
            f"the {name} accountant cannot bound these numbers: {error}",
            next_step="No epsilon can be stated. Use a larger noise multiplier, or fewer steps.",
        ) from None
    if not math.isfinite(answer):
        raise UsageError(f"the {name} accountant gives epsilon {answer}", next_step="Use a larger noise multiplier.")
    return max(0.0, answer)
