"""Does the audit bite? White-box one-run bounds on epsilon for right mechanisms and for broken ones.

    python benchmarks/privacy/audit_teeth.py [--quick]

Every canary is in by a fair coin and owns one coordinate of the released sum; the auditor sees the release and guesses
(Steinke, Nasr, Jagielski 2023, at 99.9 %). Releases are made by this package's own sampler, clipping, grouping and
noise; only the gradients are the adversary's. Rows: prompt-bank as it is, and with a tenth of the noise; grouped as it
is, with a tenth, and with noise for C where 2C is right; Poisson sampling replaced by shuffling. A right one must stay
under its epsilon, a broken one should be over it; where a fault does not show, the table says so. Prints a table and
writes benchmarks/results/privacy-audit-teeth.json.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ethicclip.audits.models import one_run_bound
from ethicclip.privacy import SampledGaussian, epsilon_of
from ethicclip.privacy.clipping import ClippedSum, clip_factors
from ethicclip.privacy.per_unit import PerUnitGradients
from ethicclip.privacy.units import Entropy, PoissonSampler

RESULTS = Path(__file__).parents[1] / "results"
DELTA = 1e-7
"""Small, since the bound pays 2 m delta; the accountants state an epsilon for it as for any other."""

CONFIDENCE = 0.999
C = 1.5

Scores = npt.NDArray[np.float64]
Coins = npt.NDArray[np.bool_]


def repeatable(seed: int) -> Entropy:
    """Entropy that is the same every time: an audit of the implementation may be repeated, a run may not."""
    return np.random.default_rng(seed).bytes


def prompt_bank_scores(coins: Coins, *, sigma: float, rate: float, steps: int, entropy: Entropy = os.urandom) -> Scores:
    """Scores of canaries whose gradients are long and each along its own coordinate: float64 (m,).

    The engine clips them to C; the sum is released with noise of standard deviation C sigma.
    """
    layer = nn.Linear(len(coins), 1, bias=False)
    parameters = [layer.weight]
    present = np.flatnonzero(coins)
    sampler = PoissonSampler(len(present), rate, entropy)
    engine = PerUnitGradients(parameters)
    inputs = torch.eye(len(coins))
    total = np.zeros(len(coins))
    for _ in range(steps):
        drawn = present[sampler.draw()]
        added = ClippedSum(parameters, C)
        if len(drawn):
            chosen = inputs[torch.from_numpy(drawn)]
            engine.add(lambda chosen=chosen: 1e3 * layer(chosen)[:, 0], units=len(drawn), into=added)
        total += added.release(sigma * C, entropy)[0].flatten().double().numpy()
    return total


def grouped_scores(coins: Coins, *, noise_std: float, rate: float, steps: int, entropy: Entropy = os.urandom) -> Scores:
    """Scores of canaries that turn their group's gradient round: float64 (m,).

    Every group holds units that the auditor knows; their loss gives a long gradient along a coordinate of the group's
    own, and a canary in it turns the sign, so that its presence moves the clipped sum by 2C. The auditor knows each
    canary's label, drawn whether or not the canary is in, but not who was sampled; the score is the likelihood ratio of
    "in" over all steps.
    """
    canaries = len(coins)
    groups = 4 * canaries
    sampler = PoissonSampler(canaries, rate, entropy)
    spread = noise_std / (2 * C)
    # Another canary may turn the group as well.
    other = rate / 8
    certain, possible = rate + (1 - rate) * other, other
    total = np.zeros(canaries)
    for _ in range(steps):
        labels = sampler.labels(canaries, groups)
        drawn = sampler.draw()
        gradients = torch.full((groups,), 1e3)
        gradients[torch.from_numpy(labels[drawn[coins[drawn]]])] = -1e3
        added = ClippedSum([gradients], C)
        # One coordinate a group: each group's clipped gradient has one entry.
        added.total[0] += clip_factors(gradients.abs(), C) * gradients
        released = added.release(noise_std, entropy)[0].double().numpy()
        ratio = (0.5 - released[labels] / (2 * C) - 0.5) / spread**2
        total += np.logaddexp(np.log1p(-certain), np.log(certain) + ratio)
        total -= np.logaddexp(np.log1p(-possible), np.log(possible) + ratio)
    return total


def sampled_scores(coins: Coins, *, sigma: float, steps: int, shuffled: bool, generator: np.random.Generator) -> Scores:
    """Scores after `steps` releases in which each canary enters once (shuffled) or by coins of rate 1/steps (Poisson).

    Per coordinate the best test, the likelihood ratio of the whole history, is known in closed form.
    """
    entered = generator.random((steps, len(coins))) < 1 / steps
    if shuffled:
        entered = np.arange(steps)[:, None] == generator.integers(0, steps, size=len(coins))
    seen = entered * coins + sigma * generator.normal(size=entered.shape)
    ratios = (seen - 0.5) / sigma**2
    if shuffled:
        return np.asarray(np.logaddexp.reduce(ratios, axis=0) - np.log(steps))
    return np.asarray(np.logaddexp(np.log1p(-1 / steps), ratios - np.log(steps)).sum(0))


def bound(scores: Scores, coins: Coins) -> float:
    """The lower bound on epsilon at 99.9 %."""
    return one_run_bound(scores, coins, delta=DELTA, confidence=CONFIDENCE).epsilon


def claimed(sigma: float, rate: float, steps: int) -> float:
    """What the accountants say."""
    return epsilon_of([SampledGaussian(noise_multiplier=sigma, sample_rate=rate, steps=steps)], DELTA).value


def coins_of(canaries: int, generator: np.random.Generator) -> Coins:
    """Fair coins."""
    return generator.random(canaries) < 0.5


def _rows(quick: bool) -> list[dict[str, Any]]:
    generator = np.random.default_rng(11)
    rows: list[dict[str, Any]] = []

    def row(name: str, right: bool, stated: float, scores: Scores, coins: Coins) -> None:
        found = bound(scores, coins)
        rows.append({"mechanism": name, "right": right, "stated": stated, "bound": found})
        shown = "under" if found <= stated else "OVER"
        print(f"{name:46s} {'right' if right else 'broken':7s} {stated:8.3f} {found:8.3f}  {shown}", flush=True)

    print(f"{'mechanism':46s} {'':7s} {'stated':>8s} {'bound':>8s}")
    canaries = 1000 if quick else 2000
    coins = coins_of(canaries, generator)
    for rate, steps, sigma in ((1.0, 1, 2.0), (0.5, 4, 2.5)):
        stated = claimed(sigma, rate, steps)
        for share, right in ((1.0, True), (0.1, False)):
            scores = prompt_bank_scores(coins, sigma=share * sigma, rate=rate, steps=steps, entropy=repeatable(steps))
            noise = "sigma" if right else "sigma / 10"
            row(f"prompt-bank, q {rate:g}, {steps} step(s), {noise}", right, stated, scores, coins)
    coins = coins_of(2000 if quick else 20_000, generator)
    rate, steps, sigma = (0.1, 50, 1.5) if quick else (0.02, 1000, 1.2)
    for factor, right in ((2.0, True), (0.2, False), (1.0, False)):
        scores = grouped_scores(
            coins, noise_std=factor * C * sigma, rate=rate, steps=steps, entropy=repeatable(int(10 * factor))
        )
        words = {2.0: "noise 2C sigma", 0.2: "noise 2C sigma / 10", 1.0: "noise C sigma"}[factor]
        row(f"grouped, q {rate:g}, {steps} steps, {words}", right, claimed(sigma, rate, steps), scores, coins)
    many = coins_of(20_000 if quick else 100_000, generator)
    for sigma, steps in ((0.6, 10), (1.0, 10)):
        stated = claimed(sigma, 1 / steps, steps)
        for shuffled in (False, True):
            scores = sampled_scores(many, sigma=sigma, steps=steps, shuffled=shuffled, generator=generator)
            words = "shuffled, called Poisson" if shuffled else "Poisson"
            row(f"one pass of {steps} steps, sigma {sigma:g}, {words}", not shuffled, stated, scores, many)
    return rows


def main() -> None:
    """Audit right and broken mechanisms and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer canaries: a fault of a factor two does not show")
    options = parser.parse_args()
    rows = _rows(options.quick)
    wrong = [row["mechanism"] for row in rows if row["right"] and row["bound"] > row["stated"]]
    silent = [row["mechanism"] for row in rows if not row["right"] and row["bound"] <= row["stated"]]
    print(f"right mechanisms over their epsilon: {wrong or 'none'}")
    print(f"faults that did not show: {silent or 'none'}")
    RESULTS.mkdir(exist_ok=True)
    result = {"delta": DELTA, "confidence": CONFIDENCE, "quick": options.quick, "rows": rows}
    (RESULTS / "privacy-audit-teeth.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
