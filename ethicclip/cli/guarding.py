"""A guard over a learned generator: what the audit flags is never written to the set, and the set says so."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort
    from ethicclip.generation.diffusion import DiffusionSettings
    from ethicclip.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """What a guard dropped.

    Attributes:
        drawn: Pictures that were audited.
        dropped: Their numbers, with the rule that flagged each.
        verdict: Of the audit before anything was dropped.
        reference, control: Its two sides.
        private: Whether the generator had a privacy statement, whose epsilon this guard ends.
    """

    drawn: int
    dropped: dict[int, str]
    verdict: str
    reference: Cohort
    control: Cohort
    private: bool

    def reasons(self) -> dict[str, int]:
        """Pictures dropped by rule."""
        return dict(sorted(Counter(self.dropped.values()).items()))

    def notes(self) -> tuple[str, ...]:
        """Sentences for the manifest."""
        listed = ", ".join(f"{count} by {rule}" for rule, count in self.reasons().items()) or "none"
        cost = (
            "Which pictures are left depends on patients' pictures: the filter is itself a release about them. "
            "No epsilon holds for this set"
            + (", although its generator had one." if self.private else ".")
            + " Its measured recall is not 1: what it missed is still in the set."
        )
        return (
            f"A guard dropped {len(self.dropped)} of {self.drawn} pictures that resembled patients ({listed}).",
            cost,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON types, for the ledger: counts, and no number of a picture."""
        return {
            "drawn": self.drawn,
            "dropped": len(self.dropped),
            "reasons": self.reasons(),
            "verdict_before": self.verdict,
            "ends_epsilon": self.private,
            "statement": self.notes()[1],
        }


def guarded_numbers(
    settings: DiffusionSettings, out: Path, reference: Path, control: Path, *, workers: int, progress: Progress
) -> Guarded:
    """Draw the set into a restricted folder beside `out`, audit it, and say what must not be written.

    The folder ``OUT.guard`` (mode 0700) keeps the audit, which shows patients; the pictures drawn are removed.
    """
    from ethicclip.cli.copy_checks import guard, real_sides
    from ethicclip.files import storage_errors
    from ethicclip.generation.diffusion import generate_learned
    from ethicclip.generation.diffusion.making import privacy_of
    from ethicclip.pairs import PairSet

    seen, unseen = real_sides(reference, control)
    folder = out.with_name(f"{out.name}.guard")
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    drawn = folder / "drawn"
    generate_learned(settings, drawn, workers=workers, progress=progress)
    images = PairSet.open(drawn)
    shutil.rmtree(folder / "audit", ignore_errors=True)
    result, flagged = guard(
        images, seen, unseen, folder / "audit", seed=settings.seed, workers=workers, progress=progress
    )
    shutil.rmtree(drawn)
    return Guarded(
        drawn=settings.count,
        dropped=flagged,
        verdict=str(result.verdict),
        reference=seen,
        control=unseen,
        private=privacy_of(settings) is not None,
    )
