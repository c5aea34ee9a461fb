"""Votes of privacy units, and the noise on their sum: the part of Private Evolution that a guarantee rests on.

A unit spreads one vote over its pictures and, where a picture's eye has several conditions, over these: what it adds
to the sum is a vector that is not negative and sums to at most 1. Its L2 norm is therefore at most its L1 norm, at most
1, and adding or removing the unit moves the sum by at most 1: the sensitivity. Candidates do not depend on the present
round's votes but through what earlier rounds released.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ethicclip.generation.evolution.candidates import Candidate
from ethicclip.generation.learning import Known
from ethicclip.privacy.units import Entropy
from ethicclip.terms import Condition

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

SENSITIVITY = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Electorate:
    """The pictures of the units as points of the embedding space; private.

    Attributes:
        points: float32 (pictures, d).
        known: What is known of each picture.
        units: Picture numbers of each unit.
    """

    points: Floats
    known: Sequence[Known]
    units: Sequence[Sequence[int]]

    def votes_of(self, unit: Sequence[int], candidates: Sequence[Candidate], places: Floats) -> Doubles:
        """One unit's votes: not negative, of sum at most 1, float64 (candidates,).

        Args:
            unit: Its pictures.
            candidates: Who stands for election.
            places: Where they are in the embedding space, float32 (candidates, d).
        """
        votes = np.zeros(len(candidates))
        for picture in unit:
            offsets = places - self.points[picture]
            distance = np.einsum("ij,ij->i", offsets, offsets)
            wanted = [item for item in self.known[picture].conditions if item is not Condition.DIABETIC_MACULAR_OEDEMA]
            eligible = [
                rows for item in wanted if (rows := [i for i, one in enumerate(candidates) if one.condition is item])
            ] or [list(range(len(candidates)))]
            for rows in eligible:
                nearest = rows[int(np.argmin(distance[rows]))]
                votes[nearest] += 1 / (len(unit) * len(eligible))
        return votes

    def noisy_votes(
        self, candidates: Sequence[Candidate], places: Floats, noise_multiplier: float, entropy: Entropy = os.urandom
    ) -> Doubles:
        """The sum over all units plus Gaussian noise: what may be released, float64 (candidates,).

        The noise's generator is seeded from the operating system for each round and never kept.
        """
        total = np.zeros(len(candidates))
        for unit in self.units:
            total += self.votes_of(unit, candidates, places)
        random = np.random.Generator(np.random.Philox(int.from_bytes(entropy(32), "little")))
        return total + random.normal(0, noise_multiplier * SENSITIVITY, len(total))


def thresholded(votes: Doubles, noise_multiplier: float) -> Doubles:
    """Votes above one standard deviation of the noise, less it; the others none. Of released votes only."""
    return np.maximum(votes - noise_multiplier * SENSITIVITY, 0.0)
