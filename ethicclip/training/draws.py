"""Random numbers that belong to a pair and an epoch, so that order, workers and resume change nothing."""

from __future__ import annotations

import hashlib

import numpy as np


def generator_for(*parts: int | str) -> np.random.Generator:
    """A generator that depends on `parts` only (seed, epoch, key, purpose)."""
    text = "\x1f".join(str(part) for part in parts)
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little"))
