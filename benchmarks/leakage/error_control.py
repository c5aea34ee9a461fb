"""Does the audit's false discovery rate hold, and is a generator that fits the reference told from one that copies it?

Simulated generators in a descriptor's space, judged by the package's own rule: ideal and mode-seeking ones with and
without planted copies, a control that holds reference patients under other names, a Gaussian mixture and a kernel
density fitted to the reference, and reference and control swapped. Then the real matcher on real eyes: clean pictures
and planted copies are compared once with a pool of patients, sides unknown as in every audit; the pool is then divided
at random many times. Prints tables and writes JSON.

    python benchmarks/leakage/error_control.py
    python benchmarks/leakage/error_control.py --quick
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring.generators import draw_world, judged
from measuring.worlds import DATA, LADDERS, RESULTS, Planted, divide, people, same_eyes, write_results

from ethicclip.audits.comparison import Comparer, Effort
from ethicclip.audits.decision import Pool, calibrate, find, reveal
from ethicclip.audits.deduplication import impostor_pairs, numbered
from ethicclip.audits.describing import describe
from ethicclip.audits.description.local import Recipe
from ethicclip.audits.retrieval import VoteSettings
from ethicclip.audits.settings import AuditSettings
from ethicclip.audits.verification import Tolerances
from ethicclip.cohorts import read_cohort
from ethicclip.progress import SILENT

ALPHAS = (0.05, 0.1)


def discovery(generator: str, alpha: float, sizes: dict[str, int], seeds: int, leaky: int) -> dict[str, Any]:
    """Realised false discovery and power of one generator over seeds."""
    settings = AuditSettings(alpha=alpha)
    shares, power, verdicts, general, dropped, flags = [], [], [], 0, [], 0
    for seed in range(seeds):
        world = draw_world(generator, np.random.default_rng([31, seed]), **sizes, leaky=leaky)
        outcome = judged(world, settings)
        planted = np.unique(world.copied[world.copied >= 0])
        right = int(np.isin(outcome.rejected, planted).sum())
        flags += len(outcome.rejected)
        shares.append((len(outcome.rejected) - right) / max(1, len(outcome.rejected)))
        power.append(right / max(1, len(planted)))
        verdicts.append(str(outcome.conclusion.verdict))
        general += outcome.findings.fits_in_general
        dropped.append(outcome.dropped)
    error = float(np.std(shares, ddof=1) / np.sqrt(seeds))
    return {
        "generator": generator,
        "alpha": alpha,
        "copies": sizes["copies"],
        "leaky": leaky,
        "seeds": seeds,
        "false_discovery": float(np.mean(shares)),
        "standard_error": error,
        "holds": bool(np.mean(shares) <= alpha + 2 * error),
        "power": float(np.mean(power)) if sizes["copies"] else None,
        "flags": flags,
        "fits_in_general": general,
        "leaks": verdicts.count("LEAK"),
        "dropped": float(np.mean(dropped)),
    }


def mirrored(sizes: dict[str, int], seeds: int) -> int:
    """In how many worlds swapping the sides turns wins and share around and finds no copy."""
    settings, exact = AuditSettings(), 0
    for seed in range(seeds):
        world = draw_world("ideal", np.random.default_rng([37, seed]), **sizes)
        one, other = judged(world, settings), judged(world, settings, swapped=True)
        first, second = one.findings.competition, other.findings.competition
        share = [out.findings.everything.share.estimate for out in (one, other) if out.findings.everything is not None]
        exact += (
            (first.reference_wins, first.control_wins) == (second.control_wins, second.reference_wins)
            and abs(sum(share) - 1) < 1e-9
            and not second.rejected.any()
        )
    return exact


def real_eyes(data: Path, pool_images: int, clean: int, copies: int, divisions: int) -> dict[str, Any]:
    """The real matcher, one comparison, many random divisions of the pool."""
    cohort, linked = read_cohort(data), data / "same_eye_pairs.csv"
    pool_cohort, _, others = divide(cohort, linked, 1, pool_images, clean)
    images = Planted(others, pool_cohort, {"ordinary": copies, "harsh": copies}, 1)
    recipe, effort = Recipe(), Effort()
    real = describe(pool_cohort, recipe, what="the pool", workers=1, progress=SILENT)
    patients = numbered(people(pool_cohort, same_eyes(pool_cohort, linked)))
    comparer = Comparer(real, patients, votes=VoteSettings(), tolerances=Tolerances())
    impostors = impostor_pairs(comparer, effort, count=400, seed=1, workers=1, progress=SILENT)
    asked = describe(images, recipe, what="the set", workers=1, progress=SILENT)
    results = comparer.compare(asked, effort, allowed=~real.empty, workers=1, progress=SILENT, what="the set")
    source = np.array([-1 if kind == "clean" else patients[row] for kind, row, _ in images.items])
    found: dict[str, Any] = {"pool": len(pool_cohort), "patients": int(patients.max()) + 1, "clean": len(others)}
    for alpha in ALPHAS:
        settings = AuditSettings(alpha=alpha)
        shares, power, confirmed_wrong, won = [], [], 0, []
        for division in range(divisions):
            rng = np.random.default_rng([41, division])
            pool = Pool(unit=patients, in_reference=rng.permutation(int(patients.max()) + 1) % 2 == 0, has_control=True)
            # Copies come from reference patients only, and are a tenth of the set at most.
            kept = np.flatnonzero((source < 0) | pool.in_reference[np.maximum(source, 0)])
            scored = reveal([results[i] for i in kept], pool)
            findings = find(scored, pool, calibrate(impostors.scores(patients), settings), settings)
            planted = np.unique(source[kept][source[kept] >= 0])
            rejected = scored.unit[findings.rows[findings.competition.rejected]]
            right = int(np.isin(rejected, planted).sum())
            shares.append((len(rejected) - right) / max(1, len(rejected)))
            power.append(right / len(planted))
            confirmed_wrong += int((findings.confirmed & (source[kept] < 0)).sum())
            is_clean = source[kept] < 0
            won.append(float(pool.in_reference[scored.unit[is_clean & (scored.unit >= 0)]].mean()))
        error = float(np.std(shares, ddof=1) / np.sqrt(divisions))
        found[str(alpha)] = {
            "false_discovery": float(np.mean(shares)),
            "standard_error": error,
            "holds": bool(np.mean(shares) <= alpha + 2 * error),
            "power": float(np.mean(power)),
            "clean_confirmed": confirmed_wrong,
            "clean_won_by_reference": float(np.mean(won)),
        }
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, simulate, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--patients", type=int, default=500, help="simulated patients on each side")
    parser.add_argument(
        "--pool", type=int, default=600, help="real pictures in the pool that is divided; 0 leaves it out"
    )
    parser.add_argument("--clean", type=int, default=300, help="real pictures of other patients under audit")
    parser.add_argument("--copies", type=int, default=3, help="planted copies of each kind, harsh ones included")
    parser.add_argument("--out", type=Path, default=RESULTS / "leakage_error_control.json")
    parser.add_argument("--quick", action="store_true", help="4 seeds, 200 patients, 60 real pictures")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.seeds, arguments.patients, arguments.pool, arguments.clean, arguments.copies = 4, 200, 60, 30, 1
    images = 2 * arguments.patients
    none = {"patients": arguments.patients, "images": images, "copies": 0}
    some = {**none, "copies": max(24, images // 20)}
    cases = [(name, sizes, 0) for name in ("ideal", "mode-seeking") for sizes in (none, some)]
    cases += [
        ("ideal", some, arguments.patients // 10),
        ("mixture", none, 0),
        ("mixture", some, 0),
        ("kernel", none, 0),
    ]
    rows = [discovery(name, alpha, sizes, arguments.seeds, leaky) for alpha in ALPHAS for name, sizes, leaky in cases]
    print(f"{arguments.patients} simulated patients a side, {images} images, {arguments.seeds} seeds")
    head = f"{'generator':14}{'copies':>7}{'leaky':>6}{'alpha':>6}"
    print(f"{head}{'false discovery':>20}{'power':>7}{'fits R':>8}{'LEAK':>6}")
    for row in rows:
        rate = f"{row['false_discovery']:.3f} (se {row['standard_error']:.3f})"
        power = "" if row["power"] is None else f"{row['power']:.2f}"
        print(
            f"{row['generator']:14}{row['copies']:7}{row['leaky']:6}{row['alpha']:6}{rate:>20}{power:>7}"
            f"{row['fits_in_general']:8}{row['leaks']:6}" + (f"   dropped {row['dropped']:.1f}" if row["leaky"] else "")
        )
    swaps = mirrored(some, arguments.seeds)
    print(f"sides swapped: {swaps} of {arguments.seeds} worlds give the mirrored result")
    document: dict[str, Any] = {"simulated": rows, "mirrored": swaps}
    if arguments.pool and arguments.data.is_dir():
        found = real_eyes(arguments.data, arguments.pool, arguments.clean, arguments.copies, arguments.seeds)
        document["real"] = found
        kinds = len(LADDERS["ordinary"]) + len(LADDERS["harsh"])
        print(
            f"real eyes: a pool of {found['pool']} pictures ({found['patients']} patients) divided {arguments.seeds} "
            f"times; {found['clean']} clean pictures, copies of {kinds} kinds"
        )
        for alpha in ALPHAS:
            one = found[str(alpha)]
            print(
                f"  alpha {alpha}: false discovery {one['false_discovery']:.3f} (se {one['standard_error']:.3f}), "
                f"power {one['power']:.2f}, clean pictures confirmed {one['clean_confirmed']}, "
                f"clean pictures nearer to the reference {one['clean_won_by_reference']:.3f}"
            )
    elif arguments.pool:
        print(f"skipped: real eyes are not at hand ({arguments.data} does not exist)")
    leaked = sum(row["leaks"] for row in rows if row["generator"] in {"mixture", "kernel"} and not row["copies"])
    print(f"LEAK called on a fit without copies: {leaked} of {4 * arguments.seeds}")
    write_results(arguments.out, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
