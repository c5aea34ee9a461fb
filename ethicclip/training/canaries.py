"""Puts canaries beside the pairs of a run; their coins stay in the restricted folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ethicclip.pairs.canaries import toss_coins
from ethicclip.training.restricted import CANARIES_FILE
from ethicclip.training.settings import TrainSettings

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource


def with_canaries(
    settings: TrainSettings, sources: Sequence[PairSource], folder: Path, *, seed: int | None
) -> list[PairSource]:
    """The sources, and the canaries whose coin said so as one more; nothing changes when none are asked for.

    Args:
        settings: Number of canaries; their family is the run's seed.
        sources: Pair sets.
        folder: The restricted folder; a resumed run finds its coins there.
        seed: Of the coins; None takes them from the operating system.
    """
    if settings.canaries == 0:
        return list(sources)
    return [*sources, toss_coins(folder / CANARIES_FILE, settings.canaries, family=settings.seed, seed=seed)]
