"""What a recipe by votes gains: how near its phantoms come to real eyes of other patients, at epsilon 1, 3 and 8.

    python benchmarks/generators/evolution.py [--quick] [--cohort ../shared/data/odir] [--candidates 96] [--voters N]

Patients are split in two. The recipe is evolved on the first part (patient-level votes); phantoms drawn from it, and
from the phantom's own prior (no patient), are compared with as many pictures of the second part by the kernel distance
(KID: unbiased squared MMD with the kernel (x.y / d + 1)^3; Binkowski et al. 2018), in two spaces: the built-in CLIP
model's (in which, with colours, patients voted) and the shipped `copy` descriptor's, which took no part. Intervals:
95 % bootstrap of both sets, real pictures by patient. Smaller is nearer; "real" compares the two parts with each other
and is the least one can hope for. One seed each; epsilons are of the patients of the first part, delta 1e-5. Writes
benchmarks/results/generators-evolution.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ethicclip import clip
from ethicclip.audits.description.learned import load_descriptor
from ethicclip.audits.description.names import parse_descriptors
from ethicclip.clip.shipped import NAME, locate
from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.generation import GenerateSettings, PhantomEngine
from ethicclip.generation.evolution import EvolutionSettings, evolve
from ethicclip.generation.evolution.evolving import RECIPE_FILE
from ethicclip.generation.learning import from_cohort
from ethicclip.imaging import Pixels
from ethicclip.provenance import KeyStore
from ethicclip.settings import resolve

RESULTS = Path(__file__).parents[1] / "results"
SIZE = 128
Vectors = Any


def spaces(pictures: Sequence[Pixels]) -> dict[str, Vectors]:
    """Vectors of pictures in both spaces, scaled to length sqrt(d)."""
    model = clip.load(locate(Path(NAME)))
    descriptor = load_descriptor(parse_descriptors("copy")[0])
    copies = []
    for start in range(0, len(pictures), 32):
        prepared = np.stack([descriptor.prepare(one) for one in pictures[start : start + 32]])
        copies.append(descriptor.embed(prepared)[:, 0])
    found = {"builtin": model.encode_images(pictures), "copy": np.concatenate(copies)}
    return {name: one * np.sqrt(one.shape[1]) for name, one in found.items()}


def kid(left: Vectors, right: Vectors) -> float:
    """Unbiased squared MMD under the cubic kernel."""
    wide = left.shape[1]

    def kernel(a: Vectors, b: Vectors) -> Vectors:
        return (a @ b.T / wide + 1) ** 3

    def within(a: Vectors) -> float:
        own = kernel(a, a)
        return float((own.sum() - np.trace(own)) / (len(a) * (len(a) - 1)))

    return within(left) + within(right) - 2 * float(kernel(left, right).mean())


def interval(left: Vectors, right: Vectors, patients: Sequence[str], rounds: int) -> dict[str, float]:
    """KID with a bootstrap interval; `patients` are those of `right`."""
    random = np.random.default_rng(0)
    names = sorted(set(patients))
    rows = {name: [row for row, one in enumerate(patients) if one == name] for name in names}
    estimate = kid(left, right)
    drawn = []
    for _ in range(rounds):
        # A picture drawn twice is no second picture: distinct ones alone enter, or the unbiased sum would not be.
        mine = np.unique(random.integers(0, len(left), len(left)))
        theirs = sorted({row for name in random.choice(names, len(names)) for row in rows[name]})
        drawn.append(kid(left[mine], right[theirs]))
    spread = float(np.std(drawn))
    return {"estimate": estimate, "low": estimate - 1.96 * spread, "high": estimate + 1.96 * spread}


def parts(cohort: Cohort, pictures: int) -> tuple[Cohort, Cohort]:
    """Two parts without a common patient: the first half to vote, at most `pictures` of the second to compare with."""
    names = sorted(set(cohort.patients()))
    np.random.default_rng(1).shuffle(names)
    first = set(names[: len(names) // 2])
    rows = list(enumerate(cohort.patients()))
    voting = [row for row, name in rows if name in first]
    return cohort.subset(voting), cohort.subset([row for row, name in rows if name not in first][:pictures])


def drawn(settings: GenerateSettings) -> list[Pixels]:
    """Phantoms by these settings."""
    engine = PhantomEngine(settings)
    return [engine.image(number) for number in range(settings.count)]


def main() -> None:
    """Evolve, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one epsilon, few votes and pictures: shows that it runs")
    parser.add_argument("--cohort", type=Path, default=Path("../shared/data/odir"))
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--candidates", type=int, default=96)
    parser.add_argument("--votes", type=int, default=8)
    parser.add_argument("--voters", type=int, help="patients of the first part that vote; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.cohort.exists():
        print(f"not run: {options.cohort} is not there")
        return
    count, candidates, votes, epsilons = options.pictures, options.candidates, options.votes, (1.0, 3.0, 8.0)
    voters = options.voters
    if options.quick:
        count, candidates, votes, epsilons, voters = 24, 16, 1, (8.0,), 30
    voting, others = parts(read_cohort(options.cohort), count)
    if voters is not None:
        kept = set(sorted(set(voting.patients()))[:voters])
        voting = voting.subset([row for row, name in enumerate(voting.patients()) if name in kept])
    patients = others.patients()
    rounds = 50 if options.quick else 300
    real = spaces([others.image(row, 2 * SIZE) for row in range(len(others))])
    few = list(range(min(len(voting), count)))
    own = spaces([voting.image(row, 2 * SIZE) for row in few])
    rows: dict[str, Any] = {"real": {name: interval(own[name], real[name], patients, rounds) for name in real}}
    with tempfile.TemporaryDirectory() as temporary:
        sets: dict[str, GenerateSettings] = {"prior": GenerateSettings(count=count, size=SIZE, seed=5, masks=False)}
        learning = from_cohort(voting)
        for epsilon in epsilons:
            out = Path(temporary) / f"epsilon-{epsilon:g}"
            asked = EvolutionSettings(epsilon=epsilon, delta=1e-5, votes=votes, candidates=candidates, renders=1)
            result = evolve(asked, learning, out, keys=KeyStore(Path(temporary) / "keys"))
            flags = {"count": count, "size": SIZE, "seed": 5, "masks": False}
            name = f"epsilon {epsilon:g}"
            sets[name] = resolve(GenerateSettings, verb="generate", config=out / RECIPE_FILE, flags=flags)
            rows[name] = {"sigma": result.statement.noise.noise_multiplier, "shares": result.shares}
        for name, settings in sets.items():
            made = spaces(drawn(settings))
            found = {space: interval(made[space], real[space], patients, rounds) for space in real}
            rows[name] = {**rows.get(name, {}), **found}
    heard = len(set(voting.patients()))
    print(f"{heard} patients vote, {votes} rounds, {candidates} candidates; {count} pictures a set")
    print(f"{'set':>10s} {'KID builtin':>26s} {'KID copy':>26s}")
    for name in ("real", *sets):
        cells = [
            f"{one['estimate']:8.3f} [{one['low']:.3f}, {one['high']:.3f}]"
            for one in (rows[name]["builtin"], rows[name]["copy"])
        ]
        print(f"{name:>10s} {cells[0]:>26s} {cells[1]:>26s}")
    RESULTS.mkdir(exist_ok=True)
    result_json = {"voters": heard, "votes": votes, "candidates": candidates, "rows": rows}
    (RESULTS / "generators-evolution.json").write_text(json.dumps(result_json, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
