"""Planted copies of real eyes: how many does the audit find, and how many do its peers, on the same images in one run.

Reference, control and clean images come from disjoint people. Every kind is planted the same number of times, from
distinct patients; all detectors rank the same images against the same reference, the mirror asked too. Ours is the
ranking of ``scores.csv``. A detector's threshold is the score that the stated share of clean images passes. The third
ladder is of another hand (`measuring.foreign`): the detector was not built beside it. Prints tables and writes JSON.

    python benchmarks/leakage/planted.py
    python benchmarks/leakage/planted.py --reference 240 --clean 240 --copies 6 --foreign 6 --descriptor local,copy
    python benchmarks/leakage/planted.py --quick
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring.peers import peer_scores
from measuring.worlds import DATA, LADDERS, RESULTS, Planted, divide, write_results

from ethicclip.audits import AuditSettings, audit_leakage
from ethicclip.audits.statistics import clopper_pearson
from ethicclip.cohorts import Cohort, read_cohort

RATES = (1e-3, 5e-3)
OURS = "ethicclip"


def average_precision(scores: np.ndarray, copies: np.ndarray) -> float:
    """Mean of the precision at each copy, equal scores taken at their worst."""
    order = np.lexsort((copies, -scores))
    hits = copies[order]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def summary(scores: np.ndarray, kinds: np.ndarray) -> dict[str, Any]:
    """Recall at the false-positive rates and average precision, for each ladder and kind."""
    clean = np.sort(scores[kinds == "clean"])[::-1]
    result: dict[str, Any] = {}
    for ladder, members in LADDERS.items():
        names = [f"{ladder}/{kind}" for kind in members]
        chosen = np.isin(kinds, names)
        if not chosen.any():
            continue
        both = chosen | (kinds == "clean")
        entry: dict[str, Any] = {"average_precision": average_precision(scores[both], chosen[both])}
        for rate in RATES:
            hits = scores > clean[min(int(np.floor(rate * len(clean))), len(clean) - 1)]
            entry[f"recall@{rate:g}"] = clopper_pearson(int(hits[chosen].sum()), int(chosen.sum())).to_json()
            entry[f"kinds@{rate:g}"] = {
                name: clopper_pearson(int(hits[kinds == name].sum()), int((kinds == name).sum())).to_json()
                for name in names
            }
        result[ladder] = entry
    return result


def one_seed(arguments: argparse.Namespace, cohort: Cohort, seed: int) -> dict[str, Any]:
    """One split, one set of planted copies, all detectors."""
    linked = arguments.data / "same_eye_pairs.csv"
    reference, control, clean = divide(cohort, linked, seed, arguments.reference, arguments.clean, arguments.control)
    copies = {"ordinary": arguments.copies, "harsh": arguments.copies, "foreign": arguments.foreign}
    clean = clean.subset([number for number in range(len(clean)) if number not in arguments.set_aside])
    images = Planted(clean, reference, copies, seed)
    settings = AuditSettings(
        scores=True,
        power_copies=0,
        exchangeable=True,
        seed=seed,
        sheet_pairs=1,
        text=False,
        descriptor=arguments.descriptor,
    )
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        folder = Path(name) / "audit"
        start, start_cpu = time.perf_counter(), time.process_time()
        result = audit_leakage(settings, images, reference, control, folder, workers=arguments.workers)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
        with (folder / "scores.csv").open(newline="") as stream:
            ours = np.array([float(row["score"]) for row in csv.DictReader(stream)])
        with (folder / "flagged.csv").open(newline="") as stream:
            flagged = list(csv.DictReader(stream))
    right = wrong = 0
    for row in flagged:
        _, kind, source = row["file"].split(":")
        good = kind != "clean" and row["reference_file"] == str(reference.files[int(source)])
        right, wrong = right + good, wrong + (not good)
    detectors = {OURS: ours, **({} if arguments.alone else peer_scores(images, reference))}
    return {
        "seed": seed,
        "descriptor": arguments.descriptor,
        "counts": result.document["counts"],
        "clean": len(clean),
        "set_aside": arguments.set_aside,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "verdict": str(result.verdict),
        "flagged": {
            "right": right,
            "wrong": wrong,
            "false_discovery": clopper_pearson(wrong, right + wrong).to_json(),
            "recall": clopper_pearson(right, int((images.kinds != "clean").sum())).to_json(),
        },
        "highest_clean": np.sort(ours[images.kinds == "clean"])[::-1][:5].tolist(),
        "detectors": {name: summary(scores, images.kinds) for name, scores in detectors.items()},
    }


def interval(one: dict[str, Any]) -> str:
    """A share with its interval as text."""
    return f"{one['estimate']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def show(run: dict[str, Any]) -> None:
    """Print one seed's tables."""
    counts, flagged = run["counts"], run["flagged"]
    print(
        f"seed {run['seed']}, descriptor {run['descriptor']}: {counts['reference_images']} reference, "
        f"{counts['control_images']} control, {run['clean']} clean images and "
        f"{counts['synthetic'] - run['clean']} planted copies; {run['seconds']:.0f} s "
        f"({run['cpu_seconds']:.0f} s of processor)"
    )
    print(f"  {'detector':24}{'ladder':10}{'recall at 1e-3':>24}{'recall at 5e-3':>24}{'AP':>8}")
    for name, ladders in run["detectors"].items():
        for ladder, entry in ladders.items():
            cells = [interval(entry[f"recall@{rate:g}"]) for rate in RATES]
            print(f"  {name:24}{ladder:10}{cells[0]:>24}{cells[1]:>24}{entry['average_precision']:8.3f}")
    print(
        f"  flagged: {flagged['right']} copies with the right source, {flagged['wrong']} others "
        f"(false discovery {interval(flagged['false_discovery'])}), verdict {run['verdict']}"
    )
    for ladder, entry in run["detectors"][OURS].items():
        missed = {kind: one for kind, one in entry["kinds@0.001"].items() if one["estimate"] < 1}
        print(
            f"  {ladder}: {len(entry['kinds@0.001']) - len(missed)} of {len(entry['kinds@0.001'])} kinds without a miss"
        )
        for kind, one in missed.items():
            print(f"    {kind:32}{interval(one)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run every seed, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="cohort of real eyes")
    parser.add_argument("--reference", type=int, default=1000, help="reference images")
    parser.add_argument("--clean", type=int, default=1000, help="clean images of other patients")
    parser.add_argument(
        "--control", type=int, default=None, help="control images; as many as reference ones by default"
    )
    parser.add_argument("--copies", type=int, default=20, help="planted copies of each kind of the package's ladders")
    parser.add_argument("--foreign", type=int, default=4, help="planted copies of each kind of the other hand's ladder")
    parser.add_argument(
        "--set-aside",
        type=int,
        nargs="*",
        default=[],
        help="numbers of clean images that were looked at and show an eye of the reference under another patient id",
    )
    parser.add_argument("--descriptor", default="local")
    parser.add_argument("--alone", action="store_true", help="leave the peers out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "leakage_planted.json")
    parser.add_argument("--quick", action="store_true", help="100 reference and clean images, one copy of each kind")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.reference, arguments.clean, arguments.copies, arguments.foreign = 100, 100, 1, 1
    if not arguments.data.is_dir():
        print(f"skipped: real eyes are not at hand ({arguments.data} does not exist)")
        return 0
    cohort = read_cohort(arguments.data)
    runs = []
    for seed in arguments.seeds:
        runs.append(one_seed(arguments, cohort, seed))
        show(runs[-1])
    write_results(arguments.out, {"runs": runs})
    return 0


if __name__ == "__main__":
    sys.exit(main())
