"""The near-duplicate threshold, held against real photographs where they are at hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ethicclip.cohorts import find_near_duplicates, read_cohort
from ethicclip.cohorts.joining import units

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "odir"


@pytest.mark.skipif(not DATA.is_dir(), reason="no real eyes beside the project (../shared/data/odir)")
def test_repeats_under_other_patient_ids_are_kept_together():
    """On the patients of the listed repeats and 300 other images: most repeats found, nothing else joined."""
    cohort = read_cohort(DATA)
    row = {f"images/{file.name}": i for i, file in enumerate(cohort.files)}
    with (DATA / "same_eye_pairs.csv").open(encoding="utf-8", newline="") as stream:
        listed = [(row[pair["file_a"]], row[pair["file_b"]]) for pair in csv.DictReader(stream)]
    known = {cohort.patients()[i] for pair in listed for i in pair}
    rows = [i for i, patient in enumerate(cohort.patients()) if patient in known]
    rows += [i for i, patient in enumerate(cohort.patients()) if patient not in known][:300]
    part = cohort.subset(rows)
    found = [(near.first, near.second) for near in find_near_duplicates(part)]
    # Repeats chain people: whoever is linked through listed pairs, by either eye, is one person.
    person = {i: n for n, group in enumerate(units(cohort.patients(), listed)) for i in group}
    assert all(person[rows[a]] == person[rows[b]] for a, b in found)
    unit = {rows[i]: n for n, group in enumerate(units(part.patients(), found)) for i in group}
    together = sum(unit[a] == unit[b] for a, b in listed)
    assert together >= 28, f"{together} of {len(listed)} listed repeats stay together"
