"""Do the intervals and alarms of the aggregates mean what they say? Simulated worlds whose truth is known.

Patients with two alike eyes each; synthetic sets that are fresh people (no copy) or hold copies of reference eyes. For
each aggregate: how often its 95 % interval holds the true value (coverage), and how often a test alarms without a copy
(size) and with 1 % and 30 % of copies (power). Prints a table and writes JSON.

    python benchmarks/leakage/aggregates.py --worlds 400
    python benchmarks/leakage/aggregates.py --quick
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring.worlds import RESULTS, write_results

from ethicclip.audits.aggregates.data_copying import ALARM, data_copying
from ethicclip.audits.aggregates.likelihood import likelihood_divergence
from ethicclip.audits.aggregates.linkability import residual_risk, success_rate
from ethicclip.audits.aggregates.nearest_ratios import authenticity, distance_ratio
from ethicclip.audits.search import nearest
from ethicclip.audits.statistics import clopper_pearson, reference_share

DIMENSIONS = 8
PATIENTS = 100
IMAGES = 200
COPIES = (0.0, 0.01, 0.3)
ALIKE = 0.35


def people(rng: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray]:
    """Two alike eyes a patient: float32 (2 * patients, d) and whose they are."""
    centres = rng.normal(size=(patients, DIMENSIONS))
    eyes = np.repeat(centres, 2, axis=0) + ALIKE * rng.normal(size=(2 * patients, DIMENSIONS))
    return eyes.astype(np.float32), np.repeat(np.arange(patients), 2)


def world(rng: np.random.Generator, share: float) -> tuple[np.ndarray, tuple[Any, Any], tuple[Any, Any]]:
    """A synthetic set with a share of copies, reference and control."""
    reference, control = people(rng, PATIENTS), people(rng, PATIENTS)
    synthetic = people(rng, IMAGES)[0][::2]
    copied = rng.uniform(size=IMAGES) < share
    sources = reference[0][rng.integers(0, 2 * PATIENTS, size=IMAGES)]
    noise = 0.02 * rng.normal(size=synthetic.shape).astype(np.float32)
    return np.where(copied[:, None], sources + noise, synthetic), reference, control


def measured(rng: np.random.Generator, share: float) -> dict[str, tuple[float, float, float, float | None]]:
    """Value, interval and control value of every aggregate in one world."""
    synthetic, reference, control = world(rng, share)
    found = [
        data_copying(synthetic, reference, control, rng=rng),
        authenticity(synthetic, reference, control, rng=rng),
        distance_ratio(synthetic, reference, control, rng=rng),
        *likelihood_divergence(synthetic, reference, control, rng=rng),
    ]
    return {one.name: (one.estimate, one.low, one.high, one.control) for one in found}  # type: ignore[misc]


def rate(hits: int, trials: int) -> str:
    """A share with its interval as text."""
    one = clopper_pearson(hits, trials)
    return f"{one.estimate:.3f} [{one.low:.3f}, {one.high:.3f}]"


def coverage(worlds: int, share: float, seed: int) -> dict[str, Any]:
    """How often the interval of each aggregate holds its mean over the worlds."""
    rng = np.random.default_rng([seed, int(1000 * share)])
    many = [measured(rng, share) for _ in range(worlds)]
    truth = {name: float(np.mean([one[name][0] for one in many])) for name in many[0]}
    hits = {name: sum(one[name][1] <= truth[name] <= one[name][2] for one in many) for name in truth}
    return {name: {"truth": truth[name], "covered": hits[name], "worlds": worlds} for name in truth}


def alarms(worlds: int, share: float, seed: int) -> dict[str, int]:
    """How often each test says "copying": C_T under -3, the share's interval off chance, and the naive binomial's."""
    rng = np.random.default_rng([seed, 7, int(1000 * share)])
    counts = {"C_T below -3": 0, "share, patient labels permuted": 0, "share, binomial (for comparison)": 0}
    for _ in range(worlds):
        synthetic, reference, control = world(rng, share)
        value = data_copying(synthetic, reference, control, rng=rng).estimate
        counts["C_T below -3"] += value is not None and value < ALARM
        real = np.concatenate([reference[0], control[0]])
        owners = np.concatenate([reference[1], PATIENTS + control[1]])
        sides = np.arange(2 * PATIENTS) < PATIENTS
        nearby = owners[nearest(synthetic, real, 1)[1][:, 0]]
        share_of = reference_share(nearby, sides, rng=rng, level=0.95, repetitions=400)
        counts["share, patient labels permuted"] += share_of.excludes
        plain = clopper_pearson(int(sides[nearby].sum()), IMAGES)
        counts["share, binomial (for comparison)"] += not plain.low <= 0.5 <= plain.high
    return counts


def linkability(worlds: int, seed: int) -> dict[str, int]:
    """Coverage of the risk against control at several true rates."""
    rng = np.random.default_rng([seed, 11])
    hits: dict[str, int] = {}
    for attack, control in ((0.05, 0.05), (0.3, 0.1), (0.9, 0.5), (0.02, 0.2)):
        true = (attack - control) / (1 - control)
        name = f"risk {true:+.2f} (attack {attack}, control {control})"
        hits[name] = 0
        for _ in range(worlds):
            risk = residual_risk(
                success_rate(int(rng.binomial(150, attack)), 150), success_rate(int(rng.binomial(150, control)), 150)
            )
            hits[name] += abs(risk.value - true) <= risk.error
    return hits


def show(title: str, rows: dict[str, Any], text: Callable[[Any], str]) -> None:
    """Print one block."""
    print(title)
    for name, value in rows.items():
        print(f"  {name:52}{text(value)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "leakage_aggregates.json")
    parser.add_argument("--quick", action="store_true", help="40 worlds")
    arguments = parser.parse_args(argv)
    worlds = 40 if arguments.quick else arguments.worlds
    document: dict[str, Any] = {"worlds": worlds, "coverage": {}, "alarms": {}}
    for share in (0.0, 0.3):
        found = coverage(worlds, share, arguments.seed)
        document["coverage"][str(share)] = found
        show(
            f"coverage of nominal 95 % intervals, {share:.0%} copies",
            found,
            lambda one: f"{rate(one['covered'], one['worlds'])}   truth {one['truth']:.3f}",
        )
    for share in COPIES:
        counts = alarms(worlds, share, arguments.seed)
        document["alarms"][str(share)] = counts
        show(f"alarms with {share:.0%} copies", counts, lambda hits: rate(hits, worlds))
    risks = linkability(20 * worlds, arguments.seed)
    document["linkability"] = {"trials": 20 * worlds, "covered": risks}
    show("coverage of the linkability risk", risks, lambda hits: rate(hits, 20 * worlds))
    write_results(arguments.out, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
