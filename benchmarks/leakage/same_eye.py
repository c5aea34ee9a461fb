"""The same eye at another visit: is the partner of a repeat photograph found, at a false-match rate of 1e-3?

Each photograph of a listed pair (one eye under two patient ids) is asked about as a synthetic image would be, among its
partner and many photographs of other people; the partner is found when it is the best match and its score passes the
threshold. The threshold is what one in a thousand photographs of other people reach with strangers, its upper limit by
bootstrap over people. The pairs were found by a matcher: an optimistic set. Prints counts and writes JSON.

    python benchmarks/leakage/same_eye.py
    python benchmarks/leakage/same_eye.py --quick
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring.worlds import DATA, RESULTS, people, same_eyes, write_results

from ethicclip.audits.comparison import Comparer, Effort
from ethicclip.audits.deduplication import numbered
from ethicclip.audits.describing import describe
from ethicclip.audits.description.local import Recipe
from ethicclip.audits.naming import ANOTHER_PHOTOGRAPH, name_relation
from ethicclip.audits.retrieval import VoteSettings
from ethicclip.audits.statistics import clopper_pearson, upper_limit
from ethicclip.audits.verification import Tolerances
from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.progress import SILENT

RATE = 1e-3
REPETITIONS = 4000


def repeat_photographs(cohort: Cohort, linked: Path) -> list[tuple[int, int]]:
    """The listed pairs that are two photographs, not one file twice."""
    with linked.open(newline="") as stream:
        kinds = [row["kind"] for row in csv.DictReader(stream)]
    return [pair for pair, kind in zip(same_eyes(cohort, linked), kinds, strict=True) if kind == "repeat_photo"]


def bootstrapped(hits: np.ndarray, whose: np.ndarray, rng: np.random.Generator) -> float:
    """One-sided 95 % upper limit of a rate by bootstrap over people."""
    _, place = np.unique(whose, return_inverse=True)
    sums, sizes = np.bincount(place, weights=hits), np.bincount(place)
    drawn = rng.integers(0, len(sizes), size=(REPETITIONS, len(sizes)))
    return float(np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), 0.95))


def measure(data: Path, others: int) -> dict[str, Any]:
    """Partners found and false matches, one comparison."""
    cohort, linked = read_cohort(data), data / "same_eye_pairs.csv"
    pairs, whose = repeat_photographs(cohort, linked), numbered(people(cohort, same_eyes(cohort, linked)))
    paired = sorted({row for pair in same_eyes(cohort, linked) for row in pair})
    strangers = np.flatnonzero(~np.isin(whose, whose[paired]))
    strangers = np.random.default_rng(3).permutation(strangers)[:others]
    rows = np.concatenate([paired, np.sort(strangers)]).astype(np.int64)
    place = {int(row): i for i, row in enumerate(rows)}
    part = cohort.subset(rows.tolist())
    described = describe(part, Recipe(), what="photographs", workers=1, progress=SILENT)
    # Ids are taken as they stand for the pairs (the partner has another), and as people for the strangers.
    patients = np.where(np.isin(rows, paired), numbered(cohort.patients())[rows], whose[rows] + len(cohort))
    comparer = Comparer(described, patients, votes=VoteSettings(), tolerances=Tolerances())
    results = comparer.compare(described, Effort(), exclude=patients, workers=1, progress=SILENT, what="photographs")
    scores = np.array([found[0].score if found else 0.0 for found in results])
    strange = np.arange(len(rows)) >= len(paired)
    ranked = np.sort(scores[strange])[::-1]
    threshold = float(ranked[int(RATE * len(ranked))])
    hits, named = [], []
    for pair in pairs:
        for asked, wanted in (pair, pair[::-1]):
            best = results[place[asked]][:1]
            eye = whose[rows[best[0].picture]] == whose[wanted] if best else False
            hits.append(bool(eye and best[0].score > threshold))
            named.append(bool(hits[-1] and name_relation(best[0]) == ANOTHER_PHOTOGRAPH))
    both = np.array(hits).reshape(-1, 2)
    false = (scores[strange] > threshold).astype(float)
    limit = bootstrapped(false, patients[strange], np.random.default_rng(4))
    return {
        "photographs": len(rows),
        "pairs": len(pairs),
        "found": clopper_pearson(int(both[:, 0].sum()), len(both)).to_json(),
        "found_either_way": int(both.any(axis=1).sum()),
        "named_another_photograph": int(np.sum(named)),
        "asked": len(hits),
        "threshold": threshold,
        "false_match_rate": float(false.mean()),
        "false_match_upper": limit,
        "false_match_upper_exact": upper_limit(len(set(patients[strange][false > 0])), len(set(patients[strange]))),
        "strangers": int(strange.sum()),
        "highest_strangers": ranked[:5].tolist(),
        "lowest_partners": np.sort([scores[place[asked]] for asked, _ in pairs])[:5].tolist(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--others", type=int, default=1000, help="photographs of other people")
    parser.add_argument("--out", type=Path, default=RESULTS / "leakage_same_eye.json")
    parser.add_argument("--quick", action="store_true", help="100 photographs of other people")
    arguments = parser.parse_args(argv)
    if not (arguments.data / "same_eye_pairs.csv").is_file():
        print(f"skipped: real eyes are not at hand ({arguments.data} does not exist)")
        return 0
    found = measure(arguments.data, 100 if arguments.quick else arguments.others)
    one = found["found"]
    print(
        f"partner found for {round(one['estimate'] * one['n'])} of {one['n']} repeat photographs "
        f"[{one['low']:.3f}, {one['high']:.3f}], {found['found_either_way']} asked either way; "
        f"{found['named_another_photograph']} of {found['asked']} questions end in 'another photograph'"
    )
    print(
        f"false matches among {found['strangers']} photographs of other people: {found['false_match_rate']:.4f} "
        f"(95 % upper limit by bootstrap over people {found['false_match_upper']:.4f}, "
        f"exact {found['false_match_upper_exact']:.4f}), "
        f"threshold {found['threshold']:.1f}"
    )
    print(f"highest strangers {[round(x, 1) for x in found['highest_strangers']]}, lowest partners ", end="")
    print([round(x, 1) for x in found["lowest_partners"]])
    write_results(arguments.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
