"""Splits of real eyes by person, and sets of clean and planted pictures that are made when they are asked for."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ethicclip.audits.ladder import HARSH, ORDINARY, plant
from ethicclip.cohorts import Cohort
from ethicclip.imaging import Pixels
from measuring.foreign import FOREIGN, foreign

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data" / "odir"
RESULTS = ROOT / "benchmarks" / "results"
LADDERS: dict[str, tuple[str, ...]] = {"ordinary": tuple(ORDINARY), "harsh": tuple(HARSH), "foreign": tuple(FOREIGN)}


def write_results(out: Path, document: dict[str, Any]) -> None:
    """Write a benchmark's JSON and say so."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"schema": "ethicclip/benchmark/1", **document}, indent=2) + "\n")
    print(f"written: {out.name}")


def same_eyes(cohort: Cohort, linked: Path) -> list[tuple[int, int]]:
    """Rows of the cohort that are listed as one eye under two patient ids; none where there is no list."""
    if not linked.is_file():
        return []
    row_of = {file.name: row for row, file in enumerate(cohort.files)}
    with linked.open(newline="") as stream:
        pairs = [(Path(row["file_a"]).name, Path(row["file_b"]).name) for row in csv.DictReader(stream)]
    return [(row_of[a], row_of[b]) for a, b in pairs if a in row_of and b in row_of]


def people(cohort: Cohort, pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Whose each picture is, ids that share an eye taken as one person."""
    patients = cohort.patients()
    parent = {patient: patient for patient in patients}

    def root(patient: str) -> str:
        while parent[patient] != patient:
            patient = parent[patient]
        return patient

    for i, j in pairs:
        first, second = sorted((root(patients[i]), root(patients[j])))
        parent[second] = first
    return [root(patient) for patient in patients]


def divide(
    cohort: Cohort, linked: Path, seed: int, reference: int, clean: int, control: int | None = None
) -> tuple[Cohort, Cohort, Cohort]:
    """Reference, control and clean of at least so many images as far as they last; people stay together.

    The control is as large as the reference unless it is said otherwise.
    """
    whose = np.array(people(cohort, same_eyes(cohort, linked)))
    names, counts = np.unique(whose, return_counts=True)
    order = np.random.default_rng([seed, 9]).permutation(len(names))
    ends = np.cumsum(counts[order])
    first = int(np.searchsorted(ends, reference)) + 1
    second = int(np.searchsorted(ends, ends[first - 1] + clean)) + 1
    rest = reference if control is None else control
    third = int(np.searchsorted(ends, ends[min(second, len(ends)) - 1] + rest)) + 1
    parts = (order[:first], order[second:third], order[first:second])
    found = [cohort.subset(np.flatnonzero(np.isin(whose, names[part])).tolist()) for part in parts]
    return found[0], found[1], found[2]


class Planted:
    """Clean images and planted copies, made when they are asked for.

    Args:
        clean: Pictures of patients who are in neither side.
        reference: Where the copies come from; distinct patients within a kind.
        copies: Of each kind, by ladder.
        seed: Source of every choice.
    """

    digest = "0" * 64

    def __init__(self, clean: Cohort, reference: Cohort, copies: dict[str, int], seed: int) -> None:
        rng = np.random.default_rng([seed, 7])
        patients = np.array(reference.patients())
        self.clean, self.reference, self.seed = clean, reference, seed
        self.items: list[tuple[str, int, int]] = [("clean", i, -1) for i in range(len(clean))]
        for ladder, count in copies.items():
            for kind in LADDERS[ladder]:
                shuffled = rng.permutation(len(reference))
                _, first = np.unique(patients[shuffled], return_index=True)
                rows = shuffled[np.sort(first)][:count]
                others = rng.integers(0, len(clean), size=len(rows))
                name = f"{ladder}/{kind}"
                self.items += [(name, int(row), int(other)) for row, other in zip(rows, others, strict=True)]
        self.kinds = np.array([kind for kind, _, _ in self.items])

    def __len__(self) -> int:
        return len(self.items)

    def name(self, index: int) -> str:
        """A name that sorts by number and gives the source away to the scorer only."""
        kind, row, _ = self.items[index]
        return f"{index:06d}:{kind}:{row}"

    def image(self, index: int, max_side: int | None = None) -> Pixels:
        """The clean image or the planted copy."""
        kind, row, other = self.items[index]
        if kind == "clean":
            return self.clean.image(row, max_side=max_side)
        rng = np.random.default_rng([self.seed, 8, index])
        source, second = self.reference.image(row, max_side=max_side), self.clean.image(other, max_side=max_side)
        ladder, _, rung = kind.partition("/")
        return foreign(rung, source, second, rng) if ladder == "foreign" else plant(rung, source, rng, other=second)

    def caption(self, index: int) -> str | None:
        """No caption."""
        return None

    def sha256(self, index: int) -> str:
        """Stands for the picture's hash; nothing is cached across runs."""
        return f"{index:064d}"
