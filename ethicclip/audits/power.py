"""The audit's power on the user's own data: how many planted copies of a kind the complete rule would notice.

For each kind, copies of reference pictures are made, described and compared exactly as the synthetic set is. The
rule is then run many times on the synthetic set with m of these copies added, drawn from the precomputed scores. A
small number of copies says only so much about the recall: each repetition first draws the recall from its Jeffreys
posterior, so that 24 hits of 24 do not count as certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from ethicclip.audits.statistics import Estimate, clopper_pearson, target_decoy, upper_limit

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SILENCE = 0.05
"""The rule may stay silent with at most this probability, at one-sided 95 % confidence."""


@dataclass(frozen=True, kw_only=True)
class Background:
    """The synthetic set without what it was flagged for, one row a distinct nearest patient.

    Attributes:
        scores, in_reference: As target-decoy takes them.
        reference_patients, control_patients: Sizes of the sides.
        alpha, floor: As target-decoy takes them.
        images: Number of synthetic images.
        competes: Whether target-decoy may conclude (a control, and a far half at its null share).
    """

    scores: Doubles
    in_reference: Flags
    reference_patients: int
    control_patients: int
    alpha: float
    floor: float
    images: int
    competes: bool


@dataclass(frozen=True, kw_only=True)
class Copies:
    """What the comparison said of the planted copies of one kind.

    Attributes:
        scores: Score of each copy's nearest pair, float64 (copies,).
        in_reference: Whether that pair's patient is of the reference, bool (copies,).
        confirmed: Whether a reference pair of it passes confirmation, bool (copies,).
        found: Whether it is flagged, with the right patient, bool (copies,).
    """

    scores: Doubles
    in_reference: Flags
    confirmed: Flags
    found: Flags


@dataclass(frozen=True, kw_only=True)
class KindPower:
    """The power against one kind.

    Attributes:
        kind: Name on the ladder.
        recall: Share of planted copies confirmed with the right patient.
        fewest_noticed: m_k, None when even one copy for each image would not be noticed.
        images: Size of the synthetic set.
        rate: The generator's rate of copies at which the rule is silent with probability 0.05; None as above.
        curve: (m, silent repetitions, repetitions) at each m that was tried.
    """

    kind: str
    recall: Estimate
    fewest_noticed: int | None
    images: int
    rate: float | None
    curve: tuple[tuple[int, int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "kind": self.kind,
            "m": self.fewest_noticed,
            "n": self.images,
            "rate": self.rate,
            "recall": self.recall.to_json(),
            "curve": [{"m": m, "silent": silent, "repetitions": total} for m, silent, total in self.curve],
        }


def hardest_of(power: Sequence[KindPower]) -> KindPower:
    """The kind of which the most copies go unnoticed; among equals the one that a generator may make most often.

    Asked where every kind is noticed at some number, as a PASS requires.
    """
    return max(power, key=lambda one: (one.fewest_noticed or 0, one.rate or 0.0, one.kind))


def measure(
    kind: str, copies: Copies, background: Background, *, repetitions: int, rng: np.random.Generator
) -> KindPower:
    """Find the fewest copies of a kind that the complete rule notices (see the module)."""
    curve: list[tuple[int, int, int]] = []
    fewest: int | None = None
    for count in _numbers(background.images):
        silent = sum(_silent(count, copies, background, rng) for _ in range(repetitions))
        curve.append((count, silent, repetitions))
        if upper_limit(silent, repetitions) < SILENCE:
            fewest = count
            break
    if fewest is not None and len(curve) > 1:
        fewest = _sharpened(curve, copies, background, repetitions, rng)
    curve.sort()
    return KindPower(
        kind=kind,
        recall=clopper_pearson(int(copies.found.sum()), len(copies.found)),
        fewest_noticed=fewest,
        images=background.images,
        rate=None if fewest is None else _rate(curve, background.images),
        curve=tuple(curve),
    )


def _numbers(images: int) -> list[int]:
    numbers = list(range(1, min(images, 6) + 1))
    while numbers and numbers[-1] < images:
        numbers.append(min(images, max(numbers[-1] + 2, round(numbers[-1] * 1.4))))
    return numbers


def _sharpened(
    curve: list[tuple[int, int, int]],
    copies: Copies,
    background: Background,
    repetitions: int,
    rng: np.random.Generator,
) -> int:
    """The smallest m between the last number that was not noticed and the first that was."""
    low, high = curve[-2][0], curve[-1][0]
    while high - low > 1:
        middle = (low + high) // 2
        silent = sum(_silent(middle, copies, background, rng) for _ in range(repetitions))
        curve.append((middle, silent, repetitions))
        if upper_limit(silent, repetitions) < SILENCE:
            high = middle
        else:
            low = middle
    return high


def _silent(count: int, copies: Copies, background: Background, rng: np.random.Generator) -> bool:
    hits, misses = int(copies.confirmed.sum()), int((~copies.confirmed).sum())
    recall = rng.beta(hits + 0.5, misses + 0.5)
    if rng.binomial(count, recall) > 0:
        return False
    if not background.competes:
        return True
    # No copy was confirmed: all have scores of the unconfirmed or, when every planted copy was, of the set itself.
    if misses:
        drawn = rng.choice(np.flatnonzero(~copies.confirmed), size=count)
        scores, sides = copies.scores[drawn], copies.in_reference[drawn]
    elif len(background.scores):
        drawn = rng.integers(0, len(background.scores), size=count)
        scores, sides = background.scores[drawn], background.in_reference[drawn]
    else:
        return True
    outcome = target_decoy(
        np.concatenate([background.scores, scores]),
        np.concatenate([background.in_reference, sides]),
        reference_patients=background.reference_patients,
        control_patients=background.control_patients,
        alpha=background.alpha,
        floor=background.floor,
    )
    return not bool(outcome.rejected.any())


def _rate(curve: list[tuple[int, int, int]], images: int) -> float:
    """The rate p with P(silent | Binomial(images, p) copies) = 0.05, silence interpolated between the m tried."""
    numbers = np.array([0] + [m for m, _, _ in curve], dtype=np.float64)
    silence = np.array([1.0] + [(silent + 1) / (total + 2) for _, silent, total in curve])
    every = np.arange(images + 1)
    chance = np.interp(every, numbers, silence)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if float((binom.pmf(every, images, middle) * chance).sum()) > SILENCE:
            low = middle
        else:
            high = middle
    return high
