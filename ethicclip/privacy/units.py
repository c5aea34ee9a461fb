"""Privacy units and their Poisson sampling: which pairs belong to one patient, and who enters a step."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ethicclip.errors import BadInputError
from ethicclip.privacy.mechanisms import Unit, check_rate

Entropy = Callable[[int], bytes]
"""Gives that many random bytes; `os.urandom` in earnest, something repeatable in a test."""


def units_of(patients: Sequence[str | None], unit: Unit) -> list[list[int]]:
    """The pairs of each unit, by number: one list a patient, or one list a pair.

    Args:
        patients: The patient behind each pair; None where it is not known.
        unit: What to protect.

    Returns:
        Units in the order of their first pair.

    Raises:
        BadInputError: Patients are to be protected, and a pair has no patient id.
    """
    if unit is Unit.PAIR:
        return [[number] for number in range(len(patients))]
    unknown = sum(1 for patient in patients if patient is None)
    if unknown:
        raise BadInputError(
            f"{unknown} of {len(patients)} pairs have no patient id, so patients cannot be told apart",
            next_step="Give the pairs patient ids (`ethicclip import cohort` takes them from the table), or use "
            "--unit pair, which protects single photographs and not the people behind several of them.",
        )
    grouped: dict[str, list[int]] = {}
    for number, patient in enumerate(patients):
        grouped.setdefault(str(patient), []).append(number)
    return list(grouped.values())


class PoissonSampler:
    """Each unit enters each step by its own coin, which nobody can repeat: amplification needs the coins secret.

    Args:
        units: How many there are.
        rate: Probability q that a unit enters.
        entropy: Where the coins come from.
    """

    def __init__(self, units: int, rate: float, entropy: Entropy = os.urandom) -> None:
        self._units = units
        self._rate = check_rate(rate)
        self._entropy = entropy

    def draw(self) -> npt.NDArray[np.int64]:
        """The units of the next step, ascending; often fewer or more than expected, sometimes none."""
        return np.flatnonzero(self._generator().random(self._units) < self._rate)

    def labels(self, count: int, groups: int) -> npt.NDArray[np.int64]:
        """An independent uniform group in 0 ... groups - 1 for each of `count` units."""
        return self._generator().integers(0, groups, size=count)

    def _generator(self) -> np.random.Generator:
        # Fresh entropy for every draw: what one step reveals says nothing of another.
        return np.random.Generator(np.random.Philox(int.from_bytes(self._entropy(32), "little")))
