"""The audit on real fundus photographs, where they are at hand; skipped, with the reason, where not."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ethicclip.audits import AuditSettings, audit_leakage
from ethicclip.audits.ladder import plant
from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.imaging import read_image

from .eyes import Images

EYEPACS = Path(__file__).parents[2].parent / "shared" / "data" / "eyepacs"

pytestmark = pytest.mark.skipif(not EYEPACS.is_dir(), reason=f"real eyes are not at hand: {EYEPACS} does not exist")


def parts() -> tuple[Cohort, Cohort, Cohort]:
    cohort = read_cohort(EYEPACS)
    patients = sorted(set(cohort.patients()))
    order = np.random.default_rng(0).permutation(len(patients))
    place = {patients[i]: rank for rank, i in enumerate(order)}
    rank = [place[patient] for patient in cohort.patients()]
    groups = ((0, 60), (60, 120), (120, 150))
    found = [cohort.subset([i for i, r in enumerate(rank) if low <= r < high]) for low, high in groups]
    return found[0], found[1], found[2]


def test_planted_copies_of_real_eyes_are_found_and_other_patients_are_not(tmp_path: Path) -> None:
    reference, control, others = parts()
    kinds = ("jpeg50", "flip", "rotation5", "crop90")
    pictures = [others.image(i) for i in range(len(others))]
    names = [f"clean{i}" for i in range(len(pictures))]
    for number, row in enumerate(range(0, 40, 4)):
        pictures.append(plant(kinds[number % 4], read_image(reference.files[row]), np.random.default_rng(number)))
        names.append(f"copy{number}")
    settings = AuditSettings(
        side=256, keypoints=400, power_copies=0, impostor_pictures=80, candidates=5, scores=True, exchangeable=True
    )
    result = audit_leakage(settings, Images(pictures, names), reference, control, tmp_path / "out")
    assert result.verdict == "LEAK"
    with (tmp_path / "out" / "flagged.csv").open(newline="") as stream:
        flagged = [row["file"] for row in csv.DictReader(stream)]
    assert sum(name.startswith("copy") for name in flagged) >= 9
    assert sum(name.startswith("clean") for name in flagged) <= 1
