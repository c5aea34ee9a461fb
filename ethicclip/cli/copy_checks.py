"""The leakage audit as a check that generators are given: cheap while one learns, whole as a guard."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ethicclip.errors import UsageError

if TYPE_CHECKING:
    from ethicclip.audits import AuditResult
    from ethicclip.audits.leakage import RealSide
    from ethicclip.cohorts import Cohort
    from ethicclip.pairs import ImageSource
    from ethicclip.progress import Progress

_IMPOSTORS = 150
"""Real pictures that set the thresholds of a check on the way: fewer than a final audit's 400."""


def real_sides(reference: Path, control: Path) -> tuple[Cohort, Cohort]:
    """Read both sides of a check.

    Raises:
        UsageError: A pair set in place of a cohort: patients are told apart by a cohort's table.
        BadInputError: A cohort that cannot be read.
    """
    from ethicclip.cohorts import read_cohort

    for path in (reference, control):
        if (path / "manifest.json").is_file():
            raise UsageError(
                f"{path} is a pair set, and samples are checked against cohorts",
                next_step="Give --reference and --control as cohorts.",
            )
    return read_cohort(reference), read_cohort(control)


def copy_check(reference: Cohort, control: Cohort, folder: Path, *, seed: int) -> Callable[[Path, int], int]:
    """A check for a folder of samples: the audit without measured power and without words; gives the images flagged.

    It screens: the same rule of flagging as `audit-leakage`, with thresholds from fewer pairs of other patients. The
    audit of each step stays in `folder`, which shows patients. Reference and control are prepared at the first check
    and kept in memory: a later one describes and compares its samples only.
    """
    from ethicclip.audits import AuditSettings, audit_leakage, prepare_real
    from ethicclip.pairs import open_images

    settings = AuditSettings(
        power_copies=0, text=False, impostor_pictures=_IMPOSTORS, seed=seed, descriptor="local,copy"
    )

    @cache
    def real() -> RealSide:
        return prepare_real(settings, reference, control)

    def look(samples: Path, step: int) -> int:
        out = folder / f"step_{step:06d}"
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        result = audit_leakage(settings, open_images(samples), reference, control, out, real=real())
        return int(result.document["counts"]["flagged_images"])

    return look


def flagged_numbers(result: AuditResult, images: ImageSource) -> dict[int, str]:
    """Numbers of the images that an audit flagged, with the rule that flagged each."""
    with (result.out / "flagged.csv").open(encoding="utf-8", newline="") as stream:
        rules = {row["file"]: row["rule"] for row in csv.DictReader(stream)}
    return {number: rules[name] for number in range(len(images)) if (name := images.name(number)) in rules}


def guard(
    images: ImageSource, reference: Cohort, control: Cohort, out: Path, *, seed: int, workers: int, progress: Progress
) -> tuple[AuditResult, dict[int, str]]:
    """Audit a set with the settings of a final audit, but for words; the verdict, and what it flagged and why."""
    from ethicclip.audits import AuditSettings, audit_leakage

    settings = AuditSettings(text=False, seed=seed, power_copies=0, descriptor="local,copy")
    result = audit_leakage(settings, images, reference, control, out, workers=workers, progress=progress)
    return result, flagged_numbers(result, images)
