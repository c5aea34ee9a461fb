"""Global descriptors by themselves, on planted copies of real eyes: as detectors, and as retrievers for geometry.

Detector: the cosine to the nearest reference picture, mirror asked too, with the threshold that a share of clean images
of other patients passes. Retriever: how often the source is among the first k, which is what the audit asks of them.
Prints a table and writes JSON.

    python benchmarks/leakage/descriptors.py --descriptors pixel,copy
    python benchmarks/leakage/descriptors.py --descriptors copy,torchscript:sscd.pt --side 288
    python benchmarks/leakage/descriptors.py --quick
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring.worlds import DATA, LADDERS, RESULTS, Planted, divide, write_results
from planted import average_precision

from ethicclip.audits.description import pixel
from ethicclip.audits.description.learned import load_descriptor
from ethicclip.audits.description.names import DescriptorName, parse_descriptors
from ethicclip.audits.embedding import embed_pictures
from ethicclip.audits.statistics import clopper_pearson
from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.progress import SILENT

RATES = (1e-2, 1e-3)
FIRST = (1, 3, 10, 50)


def vectors(name: DescriptorName, pictures: Any, side: int) -> np.ndarray:
    """Vectors of every picture in every orientation asked, float32 (n, orientations, d)."""
    if name.family == "pixel":
        small = np.stack([pixel.thumbnail(pictures.image(i)) for i in range(len(pictures))])
        both = (pixel.global_descriptors(small), pixel.global_descriptors(pixel.mirrored(small)))
        return np.stack(both, axis=1)
    return embed_pictures(
        pictures, load_descriptor(name, side=side), what="pictures", workers=1, progress=SILENT
    )  # fmt: skip


def judged(found: np.ndarray, real: np.ndarray, images: Planted, reference: Cohort) -> dict[str, Any]:
    """Detection and retrieval of one descriptor."""
    centre = real[:, 0].mean(axis=0)
    unit = [(part - centre) / np.linalg.norm(part - centre, axis=-1, keepdims=True) for part in (found, real[:, 0])]
    likeness = np.einsum("nod,md->nom", unit[0], unit[1]).max(axis=1)
    scores = likeness.max(axis=1)
    order = np.argsort(-likeness, axis=1, kind="stable")
    clean = np.sort(scores[images.kinds == "clean"])[::-1]
    sources = np.array([row for _, row, _ in images.items])
    rank = np.array([int(np.flatnonzero(order[i] == sources[i])[0]) for i in range(len(scores))])
    result: dict[str, Any] = {}
    for ladder in ("ordinary", "harsh"):
        members = [f"{ladder}/{kind}" for kind in LADDERS[ladder]]
        chosen = np.isin(images.kinds, members)
        both = chosen | (images.kinds == "clean")
        entry: dict[str, Any] = {"average_precision": average_precision(scores[both], chosen[both])}
        for rate in RATES:
            hits = scores > clean[min(int(np.floor(rate * len(clean))), len(clean) - 1)]
            entry[f"recall@{rate:g}"] = clopper_pearson(int(hits[chosen].sum()), int(chosen.sum())).to_json()
        for k in FIRST:
            entry[f"first{k}"] = clopper_pearson(int((rank[chosen] < k).sum()), int(chosen.sum())).to_json()
        entry["first3_by_kind"] = {kind: float((rank[images.kinds == kind] < 3).mean()) for kind in members}
        result[ladder] = entry
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, describe, judge, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--descriptors", default="pixel,copy")
    parser.add_argument("--side", type=int, default=288, help="input of a TorchScript file")
    parser.add_argument("--copies", type=int, default=12, help="planted copies of each kind")
    parser.add_argument("--reference", type=int, default=1000, help="reference images")
    parser.add_argument("--clean", type=int, default=1000, help="clean images of other patients")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "leakage_descriptors.json")
    parser.add_argument("--quick", action="store_true", help="100 reference and clean images, two copies of each kind")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.copies, arguments.reference, arguments.clean = 2, 100, 100
    if not arguments.data.is_dir():
        print(f"skipped: real eyes are not at hand ({arguments.data} does not exist)")
        return 0
    linked = arguments.data / "same_eye_pairs.csv"
    reference, _, clean = divide(
        read_cohort(arguments.data), linked, arguments.seed, arguments.reference, arguments.clean
    )
    copies = {"ordinary": arguments.copies, "harsh": arguments.copies}
    images = Planted(clean, reference, copies, arguments.seed)
    print(f"{len(reference)} reference, {len(clean)} clean, {len(images) - len(clean)} planted copies")
    head = "".join(f"{f'recall at {rate:g}':>16}" for rate in RATES) + "".join(f"{f'first {k}':>10}" for k in FIRST)
    print(f"{'descriptor':28}{'ladder':10}{head}{'AP':>8}{'ms an image':>13}")
    found: dict[str, Any] = {}
    for name in parse_descriptors(arguments.descriptors):
        start = time.process_time()
        described, real = vectors(name, images, arguments.side), vectors(name, reference, arguments.side)
        cost = 1000 * (time.process_time() - start) / (len(images) + len(reference))
        found[name.public] = judged(described, real, images, reference)
        for ladder, entry in found[name.public].items():
            cells = "".join(f"{entry[f'recall@{rate:g}']['estimate']:16.3f}" for rate in RATES)
            cells += "".join(f"{entry[f'first{k}']['estimate']:10.3f}" for k in FIRST)
            print(f"{name.public:28}{ladder:10}{cells}{entry['average_precision']:8.3f}{cost:13.1f}", flush=True)
    write_results(arguments.out, {"descriptors": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
