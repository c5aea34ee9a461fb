"""Can a patient be told to have been learnt from: by a set of samples, and by the weights of a diffusion model.

    python benchmarks/generators/membership.py [--quick] [--kinds young,overfitted,moderate,private,evolution]
        [--cohort ../shared/data/odir] [--work DIR] [--samples 64] [--side 32]

Of each kind several generators are fitted, each to a random half of one pool of patients (one picture each), and each
is attacked in turn with the others as shadows, so that every patient has a reference of its own. Kinds:

  young       diffusion, half of 16 patients, no phantoms, 200 steps of 4: knows colours, not yet pictures
  overfitted  the same after 800 steps, four generators: on the way to learning by heart
  moderate    diffusion, half of 96 patients, phantoms first, then 200 steps of 8
  private     the same phantoms, then DP-SGD at epsilon 8 with the patient as unit
  evolution   a recipe by votes at epsilon 3 (patient), attacked through its phantoms

Attacks on samples: nearness to the nearest sample; a Gaussian kernel density of the samples, less that of the samples
of generators that did not see the patient (calibrated); LiRA's ratio on that density. Attacks on weights: the denoising
loss at fixed times and fixed noise (Carlini et al. 2023, 2301.13188; Matsumoto et al. 2023, 2302.03262), plain,
calibrated, and as LiRA's ratio. Control: members against members. SecMI and attacks that train a classifier are not
run. Intervals: 95 %, patients resampled; the generators are few and are not resampled. An attack at chance shows
that these attacks at this strength found nothing: epsilon is the promise, not this table.

Pictures are of 32 px, small enough to fit two dozen networks on one core; a larger network on larger pictures remembers
more. Patients with sha256 mod 5 == 0 take no part. The work folder (mode 0700, temporary by default) shows patients;
the same command goes on from it. Writes benchmarks/results/generators-membership.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from measuring.attacks import control, difference, figures, log_density, ratios, squared_distances

from ethicclip.audits.models.membership import Scores
from ethicclip.audits.models.shadows import shadow_halves
from ethicclip.cohorts import read_cohort
from ethicclip.generation import GenerateSettings, PhantomEngine
from ethicclip.generation.diffusion import DiffusionSettings, FitSettings, fit
from ethicclip.generation.diffusion.conditions import vector
from ethicclip.generation.diffusion.folder import MANIFEST
from ethicclip.generation.diffusion.making import DiffusionEngine
from ethicclip.generation.diffusion.network import build_schedule, denoising_losses
from ethicclip.generation.diffusion.pictures import squared
from ethicclip.generation.evolution import EvolutionSettings, evolve
from ethicclip.generation.evolution.evolving import RECIPE_FILE
from ethicclip.generation.learning import LearningSet, from_cohort
from ethicclip.provenance import KeyStore
from ethicclip.settings import resolve

RESULTS = Path(__file__).parents[1] / "results"
TIMES = (50, 100, 200, 400)
"""Of 1,000: early enough that the picture is still there to be remembered."""
NOISES = 2
SOLVER_STEPS = 10
SHAPE = {"channels": 16, "layers": 1, "multipliers": (1, 2, 4), "warmup": 20, "checkpoint_steps": 50}
QUIET = {"sheet_steps": 10**6, "deduplicate": False}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of generator, and how many are fitted to halves of how many patients."""

    name: str
    patients: int
    generators: int
    settings: dict[str, Any] = field(default_factory=dict)
    evolution: dict[str, Any] | None = None


PHANTOMS = {"pretrain_steps": 100, "pretrain_phantoms": 100, "learning_rate": 1e-3, "ema_decay": 0.98, "batch_size": 8}
FEW = {"pretrain_steps": 0, "batch_size": 4, "learning_rate": 2e-3, "ema_decay": 0.95, "flip": False}
KINDS = (
    Kind(name="young", patients=16, generators=8, settings={**FEW, "steps": 200}),
    Kind(name="overfitted", patients=16, generators=4, settings={**FEW, "steps": 800}),
    Kind(name="moderate", patients=96, generators=4, settings={**PHANTOMS, "steps": 200}),
    Kind(
        name="private",
        patients=96,
        generators=4,
        settings={**PHANTOMS, "steps": 16, "batch_size": 24,
                  "privacy": {"epsilon": 8.0, "multiplicity": 1, "tuning": "not on private data"}},
    ),
    Kind(name="evolution", patients=96, generators=4, evolution={"epsilon": 3.0, "votes": 2, "candidates": 32}),
)  # fmt: skip


def pool_of(cohort_path: Path, patients: int) -> LearningSet:
    """One picture of each of so many patients, drawn at random; report-only patients stay out."""
    cohort = read_cohort(cohort_path)
    first: dict[str, int] = {}
    for row, name in enumerate(cohort.patients()):
        if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5:
            first.setdefault(name, row)
    names = sorted(first)
    np.random.default_rng(7).shuffle(names)
    return from_cohort(cohort.subset([first[name] for name in names[:patients]]))


def conditions_of(pool: LearningSet) -> dict[Any, float]:
    """Shares of the pool's conditions, members and non-members alike: what samples are asked for."""
    counts = Counter(known.conditions[0] for known in pool.known if known.conditions)
    return {condition: count / sum(counts.values()) for condition, count in counts.items()}


def samples_of_network(out: Path, pool: LearningSet, count: int, seed: int) -> Any:
    """Pictures drawn from a fitted network, uint8 (count, side, side, 3)."""
    asked = DiffusionSettings(
        generator=str(out), count=count, steps=SOLVER_STEPS, guidance=1.0, seed=seed, sampling=conditions_of(pool)
    )
    engine = DiffusionEngine(asked)
    return np.stack([engine.image(number) for number in range(count)])


def losses_of_network(out: Path, pool: LearningSet, pictures: Any) -> Scores:
    """Minus the mean log loss of each picture, over fixed times and noise; float64 (pictures,)."""
    from diffusers import UNet2DModel

    network = UNet2DModel.from_pretrained(out / "unet", use_safetensors=True, low_cpu_mem_usage=False).eval()
    schedule = build_schedule()
    given = torch.from_numpy(pictures.transpose(0, 3, 1, 2)).float().div(127.5).sub(1.0)
    said = torch.from_numpy(np.stack([vector(known) for known in pool.known]))
    total = torch.zeros(len(given), dtype=torch.float64)
    with torch.inference_mode():
        for number in range(NOISES):
            noise = torch.randn(given.shape, generator=torch.Generator().manual_seed(number))
            for at in TIMES:
                times = torch.full((len(given),), at)
                losses = [
                    denoising_losses(network, schedule, *(one[start : start + 32] for one in
                                     (given, said, times, noise)), 5.0)
                    for start in range(0, len(given), 32)
                ]  # fmt: skip
                total -= torch.cat(losses).double().log()
    return np.asarray((total / (NOISES * len(TIMES))).numpy())


def attacked(kind: Kind, number: int, pool: LearningSet, inside: Any, pictures: Any, options: Any) -> dict[str, Any]:
    """Fit one generator to its half; its samples and, of a network, its losses. Kept beside it."""
    out = options.work / kind.name / f"generator-{number}"
    kept = out.with_suffix(".npz")
    if kept.is_file():
        return dict(np.load(kept))
    learning = pool.subset([int(row) for row in np.flatnonzero(inside)])
    keys = KeyStore(options.work / "keys")
    side = options.side
    if kind.evolution is not None:
        shutil.rmtree(out, ignore_errors=True)
        evolve(EvolutionSettings(**{"renders": 1, "seed": number, **kind.evolution}), learning, out, keys=keys)
        flags = {"count": options.samples, "size": 128, "seed": 100 + number, "masks": False}
        engine = PhantomEngine(resolve(GenerateSettings, verb="generate", config=out / RECIPE_FILE, flags=flags))
        found = {"samples": np.stack([squared(engine.image(row), side) for row in range(options.samples)])}
    else:
        settings = FitSettings.build({**SHAPE, **QUIET, "size": side, "seed": 1 + number, **kind.settings})
        manifest = out / MANIFEST
        if not manifest.is_file() or not json.loads(manifest.read_text())["finished"]:
            fit(settings, learning, out, resume=manifest.is_file(), keys=keys)
        found = {
            "samples": samples_of_network(out, pool, options.samples, 100 + number),
            "losses": losses_of_network(out, pool, pictures),
        }
    np.savez(kept, **found)
    return found


def measure(kind: Kind, options: Any) -> dict[str, Any]:
    """All generators of a kind, attacked."""
    pool = pool_of(options.cohort, kind.patients)
    pictures = np.stack([squared(pool.image(row, 4 * options.side), options.side) for row in range(len(pool))])
    flat = pictures.reshape(len(pool), -1).astype(np.float32)
    inside = shadow_halves(len(pool), kind.generators, 3)
    found = []
    for number in range(kind.generators):
        found.append(attacked(kind, number, pool, inside[number], pictures, options))
        print(f"{kind.name} {number + 1} of {kind.generators}: {time.process_time():.0f} processor seconds", flush=True)
    apart = [squared_distances(flat, one["samples"].reshape(options.samples, -1).astype(np.float32)) for one in found]
    nearest = np.stack([-np.sqrt(one.min(1)) for one in apart])
    width = float(np.median(-nearest))
    density = np.stack([log_density(one, width) for one in apart])
    scores = {
        "nearest sample": nearest,
        "density, calibrated": difference(density, inside),
        "density, LiRA": ratios(density, inside),
    }
    if "losses" in found[0]:
        losses = np.stack([one["losses"] for one in found])
        scores |= {"loss": losses, "loss, calibrated": difference(losses, inside), "loss, LiRA": ratios(losses, inside)}
    rounds = 200 if options.quick else 1000
    attacks = {name: {**figures(one, inside, rounds=rounds, seed=0), "control": control(one, inside, rounds=rounds,
                      seed=0)} for name, one in scores.items()}  # fmt: skip
    return {"patients": len(pool), "generators": kind.generators, "width": width, "attacks": attacks,
            "settings": kind.settings or kind.evolution}  # fmt: skip


def cell(figure: dict[str, Any]) -> str:
    """A figure for a person."""
    if "estimate" not in figure:
        return "not run"
    return f"{figure['estimate']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"


def main() -> None:
    """Fit, attack, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two kinds, few patients and steps: shows that it runs")
    parser.add_argument("--kinds", default=",".join(kind.name for kind in KINDS))
    parser.add_argument("--cohort", type=Path, default=Path("../shared/data/odir"))
    parser.add_argument("--work", type=Path, help="keep generators here, and go on from them")
    parser.add_argument("--samples", type=int, default=64, help="samples that an attacker sees")
    parser.add_argument("--side", type=int, default=32, help="pixels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.cohort.exists():
        print(f"not run: {options.cohort} is not there")
        return
    kinds = [kind for kind in KINDS if kind.name in options.kinds.split(",")]
    if options.quick:
        options.samples = 16
        short = {"steps": 2, "pretrain_steps": 0, "batch_size": 2}
        kinds = [
            Kind(name=kind.name, patients=12, generators=4, settings=kind.settings and {**kind.settings, **short},
                 evolution=kind.evolution and {**kind.evolution, "votes": 1})
            for kind in kinds if kind.name in ("young", "evolution")
        ]  # fmt: skip
    result: dict[str, Any] = {"side": options.side, "samples": options.samples, "kinds": {}}
    with tempfile.TemporaryDirectory() as temporary:
        options.work = options.work or Path(temporary)
        options.work.mkdir(parents=True, exist_ok=True)
        options.work.chmod(0o700)
        for kind in kinds:
            result["kinds"][kind.name] = measure(kind, options)
    print(f"{options.side} px, {options.samples} samples a generator; intervals by patient")
    print(f"{'generator':>12s} {'attack':<21s} {'AUC':>19s} {'TPR at 10 %':>19s} {'TPR at 1 %':>19s} {'control':>19s}")
    for name, one in result["kinds"].items():
        for attack, figure in one["attacks"].items():
            cells = [cell(figure[which]) for which in ("auc", "tpr_at_0.1", "tpr_at_0.01", "control")]
            print(f"{name:>12s} {attack:<21s} {' '.join(f'{text:>19s}' for text in cells)}")
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / f"generators-membership{'-quick' if options.quick else ''}.json"
    out.write_text(json.dumps(result, indent=2, sort_keys=True, default=str) + "\n")


if __name__ == "__main__":
    main()
