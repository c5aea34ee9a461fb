"""What each engine's pairs are worth: as many pairs, one CLIP recipe, zero-shot on real eyes of other patients.

    python benchmarks/generators/engines.py [--quick] [--data DIR] [--work DIR] [--count 2000] [--epochs 16] [--side 64]
        [--engines phantom,reduced,base,diffusion,private,attention,evolution-1,evolution-3,evolution-8]

Engines: phantoms of the prior at 128 px ("phantom") and the same pictures reduced to the learned generators' side
("reduced": what resolution alone costs); a diffusion model that learnt these phantoms ("base": what a learned generator
costs); the base gone on with the cohort ("diffusion"), with DP-SGD at epsilon 8 on all weights ("private") or on
attention alone ("attention"); recipes by votes at epsilon 1, 3 and 8 ("evolution-...", phantoms at 128 px). Epsilons
are of patients, delta 1e-5. The generators saw patients with sha256 mod 5 of 2, 3 or 4; validation patients
(mod 5 == 1) are scored; report-only ones (mod 5 == 0) take no part.

The CLIP model is `small` reading 128 px, without masks for anybody. A learned picture of 64 px is a poor picture: it
has no microaneurysm and hardly a vessel, and it is enlarged for training. Resolution and few minutes of learning are
part of the result; a larger generator on a GPU is another experiment. Distances to validation eyes are those of
`evolution.py` (KID in the built-in model's space and the `copy` descriptor's). Two hours of one core and more: training
CLIP takes a quarter of an hour an engine, and drawing 2,000 learned pictures as long.

One seed each. Prints tables of scores, distances and processor seconds, and writes
benchmarks/results/generators-engines.json. The work folder (mode 0700, temporary by default) is patients' data; the
same command goes on from it, and sheets of each engine's pictures lie in it (sheet-ENGINE.png).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from evolution import interval, spaces
from gap import trained
from usefulness import QUESTIONS, ask

from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.generation import GenerateSettings, generate
from ethicclip.generation.diffusion import DiffusionSettings, FitSettings, fit, generate_learned
from ethicclip.generation.diffusion.folder import MANIFEST
from ethicclip.generation.evolution import EvolutionSettings, evolve
from ethicclip.generation.evolution.evolving import RECIPE_FILE
from ethicclip.generation.learning import from_cohort, from_pairs
from ethicclip.pairs import Description, Origin, Pair, PairSet, write_pair_set
from ethicclip.provenance import KeyStore
from ethicclip.settings import resolve
from ethicclip.training import TrainSettings

RESULTS = Path(__file__).parents[1] / "results"
LEARNED = ("base", "diffusion", "private", "attention")
ENGINES = ("phantom", "reduced", *LEARNED, "evolution-1", "evolution-3", "evolution-8")
PIXELS = 128
"""Side of phantoms, and of what CLIP reads."""
SHAPE = {"channels": 16, "layers": 1, "multipliers": (1, 2, 4, 4)}
COMMON = {"checkpoint_steps": 25, "sheet_steps": 10**6, "deduplicate": False, "pretrain_steps": 0, "seed": 1}
PLAIN = {"batch_size": 8, "steps": 1200, "warmup": 20, "ema_decay": 0.99}
PROMISE = {"epsilon": 8.0, "delta": 1e-5, "multiplicity": 1, "tuning": "not on private data"}
PRIVATE = {"batch_size": 128, "steps": 40, "warmup": 1, "ema_decay": 0.9, "learning_rate": 3e-4}
FITS = {
    "base": {**SHAPE, **COMMON, **PLAIN, "learning_rate": 1e-3},
    "diffusion": {**COMMON, **PLAIN, "learning_rate": 5e-4},
    "private": {**COMMON, **PRIVATE, "privacy": PROMISE},
    "attention": {**COMMON, **PRIVATE, "privacy": {**PROMISE, "trained": "attention"}},
}
ASKED = tuple(question for question in QUESTIONS if question.collection == "odir")


def mod5(patient: str) -> int:
    """The patient's part, as in benchmarks/training/usefulness.py."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 5


def part_of(cohort: Cohort, parts: tuple[int, ...], patients: int) -> Cohort:
    """Pictures of at most so many patients of these parts, drawn at random."""
    names = sorted({name for name in cohort.patients() if mod5(name) in parts})
    np.random.default_rng(11).shuffle(names)
    kept = set(names[:patients])
    return cohort.subset([row for row, name in enumerate(cohort.patients()) if name in kept])


def reduced(pairs: PairSet, side: int, out: Path) -> None:
    """The same pairs with pictures of `side` pixels."""

    def make(number: int) -> Pair:
        pair = pairs.read(number)
        small = cv2.resize(pairs.image(number), (side, side), interpolation=cv2.INTER_AREA)
        path = out.with_suffix(".png")
        Image.fromarray(small).save(path)
        record = {name: value for name, value in pair.record.items() if name not in ("sha256", "masks")}
        return Pair(key=pair.key, image=path.read_bytes(), suffix="png", caption=pair.caption, record=record)

    said = Description(name="reduced", origin=Origin.SYNTHETIC, licence="Apache-2.0", generator={},
                       settings_digest="0" * 64, marking="none: a measurement's own")  # fmt: skip
    write_pair_set(out, make, len(pairs), description=said)


def make_set(engine: str, learning: Cohort, options: Any) -> PairSet:
    """The engine's pairs, or those that an earlier call left."""
    work, out = options.work, options.work / f"pairs-{engine}"
    if (out / "manifest.json").exists():
        return PairSet.open(out)
    flags = {"count": options.count, "size": PIXELS, "seed": 41, "masks": False}
    keys = KeyStore(work / "keys")
    if engine == "phantom":
        generate(GenerateSettings(**flags), out)
    elif engine == "reduced":
        reduced(make_set("phantom", learning, options), options.side, out)
    elif engine.startswith("evolution"):
        folder = work / engine
        if not (folder / RECIPE_FILE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            asked = EvolutionSettings(epsilon=float(engine.split("-")[1]), delta=1e-5, votes=options.votes,
                                      candidates=options.candidates, renders=1)  # fmt: skip
            evolve(asked, from_cohort(learning), folder, keys=keys)
        generate(resolve(GenerateSettings, verb="generate", config=folder / RECIPE_FILE, flags=flags), out)
    else:
        generator = fitted(engine, learning, options, keys)
        generate_learned(
            DiffusionSettings(generator=str(generator), count=options.count, steps=options.solver_steps, seed=41), out
        )
    return PairSet.open(out)


def fitted(engine: str, learning: Cohort, options: Any, keys: KeyStore) -> Path:
    """Folder of the engine's network; a fit that was cut off goes on."""
    folder: Path = options.work / engine
    manifest = folder / MANIFEST
    if manifest.is_file() and json.loads(manifest.read_text())["finished"]:
        return folder
    first = engine == "base"
    seen = from_pairs(make_set("phantom", learning, options)) if first else from_cohort(learning)
    where = {"size": options.side} if first else {"start": str(fitted("base", learning, options, keys))}
    short = {"steps": 2, "batch_size": 4} if options.quick else {}
    fit(FitSettings.build({**FITS[engine], **where, **short}), seen, folder, resume=manifest.is_file(), keys=keys)
    return folder


def sheet(pairs: PairSet, out: Path) -> None:
    """The first 24 pictures, for a person."""
    tiles = [cv2.resize(pairs.image(number), (PIXELS, PIXELS)) for number in range(min(24, len(pairs)))]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 8)
    Image.fromarray(np.concatenate([np.concatenate(tiles[at : at + 8], 1) for at in range(0, len(tiles), 8)])).save(out)


def scored(engine: str, pairs: PairSet, real: dict[str, Any], patients: list[str], options: Any) -> dict[str, Any]:
    """Distances, training, scores; kept, so that a second call asks nothing twice."""
    kept = options.work / f"scores-{engine}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    began = time.process_time()
    few = range(min(len(pairs), options.pictures))
    made = spaces([pairs.image(number) for number in few])
    distances = {space: interval(made[space], real[space], patients, options.rounds) for space in real}
    settings = TrainSettings(model="nano" if options.quick else "small", image_size=64 if options.quick else PIXELS,
                             epochs=1 if options.quick else options.epochs, learning_rate=0.002, seed=0,
                             device="cpu")  # fmt: skip
    run = options.work / f"run-{engine}"
    steps = trained(pairs, settings, run)["steps"]
    rows = [
        ask(question, run, options.data, "validation", "en", single_statistics=False)
        for question in (ASKED[1:2] if options.quick else ASKED)
    ]
    found = {"engine": engine, "pairs": len(pairs), "steps": steps, "distances": distances, "rows": rows,
             "scoring_seconds": time.process_time() - began}  # fmt: skip
    kept.write_text(json.dumps(found, indent=2))
    return found


def main() -> None:
    """Make, train, score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few pairs, a nano model, one question; says nothing")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--work", type=Path, help="keep everything here; a second call goes on from it")
    parser.add_argument("--count", type=int, default=2000, help="pairs of each engine")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--side", type=int, default=64, help="pixels of learned pictures")
    parser.add_argument("--solver-steps", type=int, default=8, help="of drawing learned pictures")
    parser.add_argument("--patients", type=int, default=2000, help="that generators learn from or that vote")
    parser.add_argument("--candidates", type=int, default=48, help="of evolution")
    parser.add_argument("--votes", type=int, default=4, help="of evolution")
    parser.add_argument("--pictures", type=int, default=150, help="of a set and of real eyes, for distances")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.data.is_dir():
        print(f"not run: there are no real eyes at {options.data} (give --data)")
        return
    engines, options.rounds = options.engines.split(","), 300
    if options.quick:
        engines = ["phantom", "reduced", "base", "diffusion", "attention", "evolution-8"]
        options.count, options.side, options.patients, options.pictures, options.rounds = 32, 32, 20, 16, 20
        options.candidates, options.votes, options.solver_steps = 16, 1, 2
    cohort = read_cohort(options.data / "odir")
    learning = part_of(cohort, (2, 3, 4), options.patients)
    others = part_of(cohort, (1,), options.pictures)
    others = others.subset(range(min(len(others), options.pictures)))
    results, seconds = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        options.work = options.work or Path(temporary)
        options.work.mkdir(parents=True, exist_ok=True)
        options.work.chmod(0o700)
        real = spaces([others.image(row, 2 * PIXELS) for row in range(len(others))])
        for engine in engines:
            began = time.process_time()
            pairs = make_set(engine, learning, options)
            seconds[engine] = time.process_time() - began
            sheet(pairs, options.work / f"sheet-{engine}.png")
            results.append(scored(engine, pairs, real, list(others.patients()), options))
            print(
                f"{engine}: made in {seconds[engine]:.0f}, scored in {results[-1]['scoring_seconds']:.0f} s", flush=True
            )
    print(
        f"{options.count} pairs an engine, {len(learning)} pictures of {len(set(learning.patients()))} patients learnt"
    )
    for one in results:
        for row in one["rows"]:
            what = "ACA" if row["metric"] == "balanced_accuracy" else "AUROC"
            figure = f"{row['estimate']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
            on = f"{row['images']} images, {row['patients']} patients"
            print(f"{one['engine']:>12s} {row['question']:<40s} {what:<5s} {figure}  {on}")
    print(f"{'engine':>12s} {'KID builtin':>26s} {'KID copy':>26s}")
    for one in results:
        cells = [f"{far['estimate']:8.3f} [{far['low']:.3f}, {far['high']:.3f}]" for far in one["distances"].values()]
        print(f"{one['engine']:>12s} {' '.join(f'{text:>26s}' for text in cells)}")
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / f"generators-engines{'-quick' if options.quick else ''}.json"
    asked = {name: value for name, value in vars(options).items() if not isinstance(value, Path)}
    out.write_text(json.dumps({"options": asked, "seconds": seconds, "engines": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
