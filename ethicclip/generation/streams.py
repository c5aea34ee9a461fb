"""Random streams: a picture is a function of (seed, index) and of nothing else."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a stream of random numbers is for. A number once given is never reused: it would change old pictures."""

    CASE = 1
    CAPTION = 2
    PICTURE = 3
    PERSON = 4
    FIXED = 5
    AGAIN = 6
    COMPONENT = 7
    LATENT = 8
    VESSELS = 10
    CHOROID = 11
    TEXTURE = 12
    DISC = 13
    FIBRES = 14
    LESIONS = 15
    DECOYS = 16


GENERATED = 0
"""First word of the key of pictures made by `generate`."""
SIMULATED = 1
"""First word of the key of simulated populations, so that they never share an eye with a generated set."""


def stream(*key: int) -> np.random.Generator:
    """A generator that depends on the key alone, on every machine."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
