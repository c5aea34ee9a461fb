"""Planted copies of real eyes: how many does the audit find, and how many do a perceptual hash and pixels find.

Reference, control and clean images come from disjoint patients. Every kind is planted the same number of times;
all detectors rank the same images against the same reference, the mirror asked too. A detector's threshold is the score
that the stated share of clean images passes. Prints a table and writes JSON.

    python benchmarks/leakage/planted.py --copies 20 --seeds 0
    python benchmarks/leakage/planted.py --quick
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ethicclip.audits import AuditSettings, audit_leakage
from ethicclip.audits.ladder import HARSH, KINDS, ORDINARY, plant
from ethicclip.audits.statistics import clopper_pearson
from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.imaging import Pixels, read_image

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "odir"
RESULTS = ROOT / "benchmarks" / "results" / "leakage_planted.json"
RATES = (1e-3, 5e-3)


class Planted:
    """Clean images and planted copies, made when they are asked for."""

    digest = "0" * 64

    def __init__(self, clean: Cohort, reference: Cohort, copies: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 7])
        _, first = np.unique(reference.patients(), return_index=True)
        self.clean, self.reference, self.seed = clean, reference, seed
        self.items: list[tuple[str, int, int]] = [("clean", i, -1) for i in range(len(clean))]
        for kind in KINDS:
            rows = rng.choice(first, size=min(copies, len(first)), replace=False)
            others = rng.integers(0, len(clean), size=len(rows))
            self.items += [(kind, int(row), int(other)) for row, other in zip(rows, others, strict=True)]
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
        return plant(kind, self.reference.image(row, max_side=max_side), rng, other=self.clean.image(other))

    def caption(self, index: int) -> str | None:
        """No caption."""
        return None

    def sha256(self, index: int) -> str:
        """Not used."""
        return f"{index:064d}"


def divide(cohort: Cohort, linked: Path, seed: int, share: float) -> tuple[Cohort, Cohort, Cohort]:
    """Reference .4, control .4, clean .2 of the patients, known repeat photographs kept together."""
    parent = {patient: patient for patient in cohort.patients()}

    def root(patient: str) -> str:
        while parent[patient] != patient:
            patient = parent[patient]
        return patient

    if linked.is_file():
        by_name = {file.name: patient for file, patient in zip(cohort.files, cohort.patients(), strict=True)}
        with linked.open(newline="") as stream:
            for row in csv.DictReader(stream):
                first, second = (root(by_name[Path(row[name]).name]) for name in ("file_a", "file_b"))
                parent[first] = second
    units = [root(patient) for patient in cohort.patients()]
    names = sorted(set(units))
    order = np.random.default_rng([seed, 9]).permutation(len(names))[: round(share * len(names))]
    place = {names[i]: rank / len(order) for rank, i in enumerate(order)}
    where = [place.get(unit, 2.0) for unit in units]
    return (
        cohort.subset([i for i, at in enumerate(where) if at < 0.4]),
        cohort.subset([i for i, at in enumerate(where) if 0.4 <= at < 0.8]),
        cohort.subset([i for i, at in enumerate(where) if 0.8 <= at < 1.0]),
    )


def perceptual_hash(image: Pixels) -> np.ndarray:
    """The 64 signs of the lowest frequencies of a 32-pixel picture (pHash)."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:8, :8].ravel()
    return low > np.median(low[1:])


def pixels(image: Pixels) -> np.ndarray:
    """A centred, normalised 64-pixel grey picture."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (64, 64), interpolation=cv2.INTER_AREA)
    centred = small.astype(np.float64).ravel() - small.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-9)


def peers(images: Planted, reference: Cohort) -> dict[str, np.ndarray]:
    """Scores of the peers for each image, the mirror asked too; higher is nearer a reference picture."""
    real = [read_image(file) for file in reference.files]
    hashes = np.array([perceptual_hash(one) for one in real])
    planes = np.array([pixels(one) for one in real])
    scores: dict[str, list[float]] = {"perceptual hash": [], "64-px correlation": []}
    for i in range(len(images)):
        one = images.image(i)
        both = (one, np.ascontiguousarray(one[:, ::-1]))
        scores["perceptual hash"].append(-min(int((hashes != perceptual_hash(x)).sum(axis=1).min()) for x in both))
        scores["64-px correlation"].append(max(float((planes @ pixels(x)).max()) for x in both))
    return {name: np.array(values, dtype=float) for name, values in scores.items()}


def average_precision(scores: np.ndarray, copies: np.ndarray) -> float:
    """Mean of the precision at each copy, equal scores taken at their worst."""
    order = np.lexsort((copies, -scores))
    hits = copies[order]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def summary(scores: np.ndarray, kinds: np.ndarray) -> dict[str, Any]:
    """Recall at the false-positive rates and average precision, for each ladder and kind."""
    clean = np.sort(scores[kinds == "clean"])[::-1]
    result: dict[str, Any] = {}
    for ladder, members in (("ordinary", ORDINARY), ("harsh", HARSH)):
        chosen = np.isin(kinds, list(members))
        both = chosen | (kinds == "clean")
        entry: dict[str, Any] = {"average_precision": average_precision(scores[both], chosen[both])}
        for rate in RATES:
            threshold = clean[min(int(np.floor(rate * len(clean))), len(clean) - 1)]
            hits = scores > threshold
            entry[f"recall@{rate:g}"] = clopper_pearson(int(hits[chosen].sum()), int(chosen.sum())).to_json()
            entry[f"kinds@{rate:g}"] = {kind: float(hits[kinds == kind].mean()) for kind in members}
        result[ladder] = entry
    return result


def one_seed(arguments: argparse.Namespace, cohort: Cohort, seed: int) -> dict[str, Any]:
    """One split, one set of planted copies, all detectors."""
    reference, control, clean = divide(cohort, arguments.data / "same_eye_pairs.csv", seed, arguments.share)
    images = Planted(clean, reference, arguments.copies, seed)
    folder = Path(tempfile.mkdtemp(prefix="planted-"))
    try:
        settings = AuditSettings(scores=True, power_copies=0, exchangeable=True, seed=seed, sheet_pairs=1)
        start, start_cpu = time.perf_counter(), time.process_time()
        result = audit_leakage(settings, images, reference, control, folder / "audit", workers=arguments.workers)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
        with (folder / "audit" / "scores.csv").open(newline="") as stream:
            ours = np.array([float(row["score"]) for row in csv.DictReader(stream)])
        with (folder / "audit" / "flagged.csv").open(newline="") as stream:
            flagged = list(csv.DictReader(stream))
    finally:
        shutil.rmtree(folder)
    right = wrong = 0
    for row in flagged:
        _, kind, source = row["file"].split(":")
        good = kind != "clean" and row["reference_file"] == str(reference.files[int(source)])
        right, wrong = right + good, wrong + (not good)
    detectors = {"ethicclip": ours, **peers(images, reference)}
    return {
        "seed": seed,
        "counts": result.document["counts"],
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "verdict": str(result.verdict),
        "flagged": {
            "right": right,
            "wrong": wrong,
            "false_discovery": clopper_pearson(wrong, right + wrong).to_json(),
            "recall": clopper_pearson(right, int((images.kinds != "clean").sum())).to_json(),
        },
        "detectors": {name: summary(scores, images.kinds) for name, scores in detectors.items()},
    }


def show(run: dict[str, Any]) -> None:
    """Print one seed's table."""
    counts, flagged = run["counts"], run["flagged"]
    print(
        f"seed {run['seed']}: {counts['reference_images']} reference, {counts['control_images']} control, "
        f"{counts['synthetic']} under audit; {run['seconds']:.0f} s ({run['cpu_seconds']:.0f} s of processor)"
    )
    print(f"  {'detector':20}{'ladder':10}{'recall at 1e-3':>24}{'recall at 5e-3':>24}{'AP':>8}")
    for name, ladders in run["detectors"].items():
        for ladder, entry in ladders.items():
            cells = []
            for rate in RATES:
                one = entry[f"recall@{rate:g}"]
                cells.append(f"{one['estimate']:.3f} [{one['low']:.3f}, {one['high']:.3f}]")
            print(f"  {name:20}{ladder:10}{cells[0]:>24}{cells[1]:>24}{entry['average_precision']:8.3f}")
    print(
        f"  flagged: {flagged['right']} copies with the right source, {flagged['wrong']} others "
        f"(false discovery {flagged['false_discovery']['estimate']:.3f}), verdict {run['verdict']}"
    )
    weak = {
        kind: share
        for ladder in run["detectors"]["ethicclip"].values()
        for kind, share in ladder["kinds@0.001"].items()
        if share < 0.95
    }
    print("  kinds under 0.95 at 1e-3: " + (", ".join(f"{kind} {share:.2f}" for kind, share in weak.items()) or "none"))


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run every seed, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="cohort of real eyes")
    parser.add_argument("--copies", type=int, default=20, help="planted copies of each kind")
    parser.add_argument("--share", type=float, default=1.0, help="share of the patients used")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the patients, three copies of each kind")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.copies, arguments.share = 3, 0.12
    if not arguments.data.is_dir():
        print(f"skipped: real eyes are not at hand ({arguments.data} does not exist)")
        return 0
    cohort = read_cohort(arguments.data)
    runs = []
    for seed in arguments.seeds:
        runs.append(one_seed(arguments, cohort, seed))
        show(runs[-1])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"schema": "ethicclip/benchmark/1", "runs": runs}, indent=2) + "\n")
    print(f"written: {arguments.out.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
