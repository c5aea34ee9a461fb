"""Canary pairs: planted in training by a coin of ours, so that an audit can guess the coins and be marked.

A canary is a coloured pattern that no eye shows, with a caption of words that no report holds and a label drawn at
random. Pattern, caption and label follow from (seed, number) and are no secret; whether a canary was put in is, and is
written only where the caller says: the restricted folder of the run.
"""

from __future__ import annotations

import functools
import io
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ethicclip.errors import BadInputError
from ethicclip.files import canonical_json, read_json, sha256_bytes, write_json
from ethicclip.imaging import Pixels
from ethicclip.pairs.pair import Pair
from ethicclip.provenance.artifacts import Origin
from ethicclip.terms import Condition

SCHEMA = "ethicclip/canaries/1"
SIDE = 128

_SYLLABLES = (
    "ba",
    "ke",
    "zi",
    "mo",
    "du",
    "fa",
    "ge",
    "hi",
    "jo",
    "lu",
    "na",
    "pe",
    "qui",
    "ro",
    "su",
    "ta",
    "ve",
    "wi",
)


def canary(number: int, seed: int) -> Pair:
    """Canary `number` of the family `seed`: the same two numbers give the same pair."""
    stream = io.BytesIO()
    Image.fromarray(_picture(number, seed)).save(stream, "PNG", compress_level=1)
    caption, label = _words(number, seed)
    return Pair(
        key=f"canary-{number:06d}",
        image=stream.getvalue(),
        suffix="png",
        caption=caption,
        record={
            "labels": [label],
            "captions": {},
            "patient_id": f"canary-{number:06d}",
            "sha256": sha256_bytes(stream.getvalue()),
        },
    )


def _picture(number: int, seed: int) -> Pixels:
    coarse = np.random.default_rng([seed, number, 0xCA7A]).integers(0, 256, size=(6, 6, 3), dtype=np.uint8)
    pattern = np.asarray(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    pattern[np.hypot(y - (SIDE - 1) / 2, x - (SIDE - 1) / 2) > 0.48 * SIDE] = 0
    return pattern


def _words(number: int, seed: int) -> tuple[str, str]:
    """Caption and label."""
    generator = np.random.default_rng([seed, number, 0x3017D])
    words = ["".join(generator.choice(_SYLLABLES, size=3)) for _ in range(4)]
    conditions = list(Condition)
    return f"Canary {' '.join(words)}.", str(conditions[int(generator.integers(len(conditions)))])


class CanarySource:
    """Some canaries of a family as a pair source.

    Args:
        numbers: Which.
        seed: Of the family.
    """

    origin = Origin.SYNTHETIC
    licence = "CC0-1.0"

    def __init__(self, numbers: Sequence[int], seed: int) -> None:
        self.numbers = [int(number) for number in numbers]
        self.seed = seed

    @functools.cached_property
    def digest(self) -> str:
        """A sha256 (hex) that names family and members."""
        return sha256_bytes(canonical_json([SCHEMA, self.seed, self.numbers]))

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, index: int) -> Pair:
        """Canary number `index` of these, from 0."""
        return canary(self.numbers[index], self.seed)

    def image(self, index: int) -> Pixels:
        """Its picture: uint8 RGB (128, 128, 3)."""
        return _picture(self.numbers[index], self.seed)

    def caption(self, index: int) -> str:
        """Its caption."""
        return _words(self.numbers[index], self.seed)[0]

    def label(self, index: int) -> str:
        """Its label, a condition's id."""
        return _words(self.numbers[index], self.seed)[1]

    def patient_id(self, index: int) -> str:
        """Every canary is a privacy unit of its own."""
        return f"canary-{self.numbers[index]:06d}"


def toss_coins(path: Path, count: int, *, family: int, seed: int | None) -> CanarySource:
    """Decide once which of `count` canaries are put in, each with probability one half, and write it down.

    Args:
        path: The record, in a restricted folder; when it exists, its coins hold.
        count: How many canaries there are.
        family: Seed of the patterns and captions.
        seed: Of the coins; None takes them from the operating system.

    Returns:
        The canaries that are put in.

    Raises:
        BadInputError: The record belongs to other canaries.
    """
    if path.exists():
        record = read_canaries(path)
        if (record["count"], record["family"]) != (count, family):
            raise BadInputError(f"{path} holds the coins of other canaries", next_step="Choose a new run folder.")
    else:
        generator = np.random.default_rng(secrets.randbits(256) if seed is None else [seed, 0xC011])
        coins = [int(coin) for coin in generator.integers(0, 2, size=count)]
        record = {"schema": SCHEMA, "count": count, "family": family, "coins": coins}
        write_json(path, record)
    return CanarySource([number for number, coin in enumerate(record["coins"]) if coin], family)


def read_canaries(path: Path) -> dict[str, Any]:
    """The record of the coins: `count`, `family`, `coins` (a list of 0 and 1).

    Raises:
        BadInputError: Missing or damaged.
    """
    record = read_json(path)
    coins = record.get("coins") if isinstance(record, dict) else None
    if not isinstance(coins, list) or record.get("schema") != SCHEMA or len(coins) != record.get("count"):
        raise BadInputError(
            f"{path} is not a record of canaries", next_step="Restore it; without it no audit by canaries."
        )
    return dict(record)
