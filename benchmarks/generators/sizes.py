"""From which size on a copy can be caught: pictures of the reference, reduced, among a set under audit.

    python benchmarks/generators/sizes.py [--quick] [--cohort ../shared/data/odir] [--copies 10] [--patients 24]

Generators on small machines draw small pictures, and the audit looks at vessels. For each side, copies of reference
pictures are reduced to it, once as they are and once with noise (standard deviation 6 levels, then a blur of 0.6 px),
as a generator that knows a picture by heart gives it back. One audit (descriptor local, no measured power) holds all;
printed is how many of each kind are confirmed on their own. With so few real pictures the threshold is the rule's
fixed one, not learnt from the cohort. Writes benchmarks/results/generators-sizes.json; pictures are temporary.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ethicclip.audits import AuditSettings, audit_leakage
from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.imaging import Pixels
from ethicclip.pairs import open_images

RESULTS = Path(__file__).parents[1] / "results"
SIDES = (32, 48, 64, 96, 128)


def reduced(picture: Pixels, side: int) -> Pixels:
    """The picture in a black square, at `side` pixels."""
    height, width = picture.shape[:2]
    most = max(height, width)
    square = np.zeros((most, most, 3), np.uint8)
    top, left = (most - height) // 2, (most - width) // 2
    square[top : top + height, left : left + width] = picture
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def worn(picture: Pixels, seed: int) -> Pixels:
    """The picture with a generator's noise and softness."""
    noise = np.random.default_rng(seed).normal(0, 6, picture.shape)
    return np.clip(cv2.GaussianBlur(picture.astype(np.float32) + noise, (0, 0), 0.6), 0, 255).astype(np.uint8)


def sides_of(cohort: Cohort, patients: int) -> tuple[Cohort, Cohort]:
    """Reference and control."""
    names = sorted(set(cohort.patients()))
    np.random.default_rng(0).shuffle(names)
    parts = (set(names[:patients]), set(names[patients : 2 * patients]))
    rows = [[row for row, name in enumerate(cohort.patients()) if name in part] for part in parts]
    return cohort.subset(rows[0]), cohort.subset(rows[1])


def main() -> None:
    """Plant, audit, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few copies and patients: shows that it runs")
    parser.add_argument("--cohort", type=Path, default=Path("../shared/data/odir"))
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--patients", type=int, default=24)
    options = parser.parse_args()
    if not options.cohort.exists():
        print(f"not run: {options.cohort} is not there")
        return
    copies, patients = (2, 8) if options.quick else (options.copies, options.patients)
    reference, control = sides_of(read_cohort(options.cohort), patients)
    with tempfile.TemporaryDirectory() as temporary:
        samples = Path(temporary) / "samples"
        samples.mkdir()
        for number in range(copies):
            picture = reference.image(number * 4 % len(reference))
            for side in SIDES:
                small = reduced(picture, side)
                Image.fromarray(small).save(samples / f"{side:03d}_{number:02d}.png")
                Image.fromarray(worn(small, number)).save(samples / f"{side:03d}n_{number:02d}.png")
        settings = AuditSettings(power_copies=0, text=False, impostor_pictures=200)
        result = audit_leakage(settings, open_images(samples), reference, control, Path(temporary) / "audit", workers=1)
        with (result.out / "flagged.csv").open(newline="") as stream:
            found = Counter(row["file"].split("_")[0] for row in csv.DictReader(stream) if row["verified"] == "yes")
    print(
        f"{len(reference)} reference, {len(control)} control pictures; {copies} copies of each kind: {result.verdict}"
    )
    print(f"{'side':>6s} {'as it is':>9s} {'worn':>6s}")
    for side in SIDES:
        print(f"{side:6d} {found[f'{side:03d}']:9d} {found[f'{side:03d}n']:6d}")
    RESULTS.mkdir(exist_ok=True)
    document = {"copies": copies, "confirmed": dict(sorted(found.items()))}
    (RESULTS / "generators-sizes.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
