"""Attack risk against a control (Giomi et al. 2023, anonymeter), for linkability of image and report.

A real record is linked when the neighbours of its image and of its report meet in the synthetic set. How often that
succeeds with patients that the generator never saw is the control; the risk is the success beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from ethicclip.audits.aggregates.value import Aggregate

Indices = npt.NDArray[np.int64]

SOURCE = "Giomi et al. 2023"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Success rate of an attack: Wilson's centre and half-width."""

    value: float
    error: float


def success_rate(successes: int, attacks: int, *, level: float = 0.95) -> Rate:
    """R = (s + z²/2) / (n + z²) with Wilson's half-width (Giomi et al. 2023, section 4.3).

    Raises:
        ValueError: There was no attack.
    """
    if attacks < 1:
        raise ValueError("a success rate needs at least one attack")
    z = float(norm.ppf(0.5 * (1 + level)))
    centre = (successes + z * z / 2) / (attacks + z * z)
    error = z / (attacks + z * z) * float(np.sqrt(successes * (attacks - successes) / attacks + z * z / 4))
    return Rate(value=centre, error=error)


def residual_risk(attack: Rate, control: Rate) -> Rate:
    """R = (r_attack - r_control) / (1 - r_control), errors propagated, not clipped to [0, 1].

    Wilson's centre is below 1 for any number of attacks, so the quotient exists even when all succeed.
    """
    rest = 1 - control.value
    by_attack = attack.error / rest
    by_control = control.error * (attack.value - 1) / rest**2
    return Rate(value=(attack.value - control.value) / rest, error=float(np.hypot(by_attack, by_control)))


def linked(by_image: Indices, by_text: Indices) -> npt.NDArray[np.bool_]:
    """Which records are linked: a synthetic pair stands in both lists, int64 (records, k) each."""
    return np.asarray((by_image[:, :, None] == by_text[:, None, :]).any(axis=(1, 2)))


def linkability(reference: tuple[Indices, Indices], control: tuple[Indices, Indices], *, synthetic: int) -> Aggregate:
    """Linkability risk; one record a patient on each side.

    Args:
        reference: Synthetic neighbours by image and by text of each reference record, int64 (records, k).
        control: The same of the control's.
        synthetic: Number of synthetic pairs, for what guessing gives.
    """
    hits, beside = linked(*reference), linked(*control)
    attack, base = success_rate(int(hits.sum()), len(hits)), success_rate(int(beside.sum()), len(beside))
    risk = residual_risk(attack, base)
    k = reference[0].shape[1]
    guess = 1 - (1 - k / max(k, synthetic)) ** k
    return Aggregate(
        name=f"linkability risk against control ({k} neighbours)",
        source=SOURCE,
        estimate=risk.value,
        low=risk.value - risk.error,
        high=risk.value + risk.error,
        n=len(hits) + len(beside),
        unit="records, one a patient",
        control=base.value,
        control_means="success rate against the control's records",
        method="Wilson rates, errors propagated, not clipped",
        note=f"{int(hits.sum())} of {len(hits)} reference and {int(beside.sum())} of {len(beside)} control records "
        f"were linked; guessing links {guess:.3f}. Below 0 when the control is linked more often.",
    )
