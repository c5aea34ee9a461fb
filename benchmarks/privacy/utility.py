"""What epsilon costs in accuracy: zero-shot on real eyes after private training on real pairs of other patients.

    python benchmarks/privacy/utility.py [--quick] [--cohort ../shared/data/odir] [--epochs 20] [--batch 256]

A start model is trained on phantoms (public). Real patients are split 70 : 30; the model goes on, by the prompt-bank
mechanism with the patient as unit, on pairs of the first part, labels turned to captions, at epsilon 1, 3, 8 and
without noise or accounting ("inf": the same steps and clipping). A class prior is stated; with --no-prior the loss
learns that most eyes are normal, and balanced accuracy falls to chance the faster, the less noise hinders it. Scores
are balanced accuracies on the second part with intervals by patient, beside the start model's own. One seed a row.
Prints a table and writes benchmarks/results/privacy-utility.json; pictures stay in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from ethicclip import clip
from ethicclip.cohorts import Cohort, SplitSettings, read_cohort, split_cohort
from ethicclip.evaluation import EvaluateSettings, evaluate
from ethicclip.generation import GenerateSettings, generate
from ethicclip.pairs import Description, Origin, Pair, PairSet, write_pair_set
from ethicclip.privacy.units import PoissonSampler
from ethicclip.provenance import KeyStore
from ethicclip.terms import condition_for, name
from ethicclip.training import TrainSettings, train, train_private
from ethicclip.training.bank import public_bank
from ethicclip.training.loading import Batch, Loader
from ethicclip.training.loop import recipe_of
from ethicclip.training.optimisation import build_optimizer, learning_rate_at
from ethicclip.training.private_data import ChunkOrder, ChunkReader, units_of_sources
from ethicclip.training.private_steps import PromptBankContributions, choose_parameters, private_gradient

RESULTS = Path(__file__).parents[1] / "results"
CLASSES = ("normal", "dr", "amd", "glaucoma", "cataract", "myopia")
SIDE = 224
PRIOR = {
    "normal": 0.5,
    "diabetic_retinopathy": 0.3,
    "age_related_macular_degeneration": 0.05,
    "glaucoma": 0.05,
    "cataract": 0.05,
    "pathologic_myopia": 0.05,
}
"""Round shares from the label table that the collection's publishers print; nothing was counted on the pairs."""


def real_pairs(cohort: Cohort, out: Path) -> PairSet:
    """The cohort's eyes of the classes as a restricted pair set."""
    rows = [row for row, label in enumerate(cohort.column("label")) if label in CLASSES]
    patients, labels = cohort.patients(), cohort.column("label")

    def make(number: int) -> Pair:
        row = rows[number]
        pixels = cohort.image(row)
        scale = SIDE / max(pixels.shape[:2])
        small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        path = out.with_suffix(".jpg")
        Image.fromarray(small).save(path, quality=95)
        condition = condition_for(labels[row])
        record = {"labels": [str(condition)], "patient_id": patients[row]}
        caption = f"A fundus photograph of {name(condition)}."
        return Pair(key=f"eye-{number:06d}", image=path.read_bytes(), suffix="jpg", caption=caption, record=record)

    said = Description(
        name="real", origin=Origin.REAL, licence="research only", generator={}, settings_digest="0" * 64, marking="none"
    )
    write_pair_set(out, make, len(rows), description=said)
    return PairSet.open(out)


def without_privacy(settings: TrainSettings, pairs: PairSet, start: Path, out: Path) -> None:
    """The private run's steps with no noise: what the mechanism could reach at epsilon infinity."""
    private = settings.privacy
    assert private is not None
    model = clip.load(start)
    device = torch.device("cpu")
    parameters, _ = choose_parameters(model, private, device)
    optimizer = build_optimizer(model.model, weight_decay=settings.weight_decay)
    units = units_of_sources([pairs], private.unit)
    rate = settings.batch_size / len(units)
    steps = max(1, round(settings.epochs / rate))
    sampler = PoissonSampler(len(units), rate, np.random.default_rng(settings.seed).bytes)
    bank = public_bank(settings.languages)
    contributions = PromptBankContributions(model, bank, parameters, device, prior=private.class_prior)
    order = ChunkOrder()
    model.model.train()
    with Loader([pairs], recipe_of(settings, model), order) as loader:
        reader = ChunkReader(loader, order)

        def read(chunks: Sequence[Sequence[int]]) -> Iterator[Batch]:
            return reader(chunks)

        for step in range(steps):
            reader.step = step + 1
            gradient, _ = private_gradient(
                contributions,
                [units[unit][: private.max_unit_pairs] for unit in sampler.draw()],
                read,
                parameters,
                max_grad_norm=private.max_grad_norm,
                noise_std=0.0,
                normaliser=float(settings.batch_size),
            )
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(
                    step, total=steps, peak=settings.learning_rate or 1e-3, warmup=settings.warmup
                )
            for parameter, value in zip(parameters, gradient, strict=True):
                parameter.grad = value
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    model.model.eval()
    clip.save(model, out)


def score(model: Path, eyes: Cohort, out: Path) -> dict[str, Any]:
    """Balanced accuracy with its interval by patient, over the classes that the eyes have."""
    classes = tuple(label for label in CLASSES if label in eyes.column("label"))
    settings = EvaluateSettings(classes=classes, figures=False, single_statistics=False, bootstrap=1000)
    found: dict[str, Any] = evaluate(settings, clip.load(model), eyes, out).to_json()["balanced_accuracy"]
    return found


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few phantoms, patients and epochs: shows that it runs")
    parser.add_argument("--cohort", type=Path, default=Path("../shared/data/odir"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--phantoms", type=int, default=2000)
    parser.add_argument("--no-prior", action="store_true", help="let the loss learn how common the classes are")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.cohort.exists():
        print(f"not run: {options.cohort} is not there")
        return
    phantoms, epochs, batch = (120, 4, 64) if options.quick else (options.phantoms, options.epochs, options.batch)
    whole = read_cohort(options.cohort)
    if options.quick:
        seen = sorted(set(whole.patients()))[:240]
        whole = whole.subset([row for row, patient in enumerate(whole.patients()) if patient in set(seen)])
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o700)
        split_cohort(SplitSettings(parts={"train": 0.7, "test": 0.3}, stratify="label"), whole, folder / "split")
        pairs = real_pairs(read_cohort(folder / "split" / "train"), folder / "pairs")
        eyes = read_cohort(folder / "split" / "test")
        generate(GenerateSettings(count=phantoms, size=SIDE, seed=5), folder / "phantoms")
        start = folder / "start"
        train(TrainSettings(epochs=2 if options.quick else 16), [PairSet.open(folder / "phantoms")], start)
        units = len({pairs.patient_id(index) for index in range(len(pairs))})
        print(
            f"{units} real patients, {len(pairs)} pairs; {batch} patients a step, {epochs} epochs; {phantoms} phantoms"
        )
        print(f"{'epsilon':>9s} {'sigma':>7s} {'balanced accuracy':>28s}")
        for epsilon in ("start", 1.0, 3.0, 8.0, "inf"):
            out = folder / f"run-{epsilon}"
            sigma = 0.0
            privacy: dict[str, Any] = {"epsilon": epsilon if isinstance(epsilon, float) else 1.0, "start": str(start)}
            if not options.no_prior:
                privacy["class_prior"] = PRIOR
            settings = TrainSettings.build({"epochs": epochs, "batch_size": batch, "privacy": privacy})
            if epsilon == "start":
                out = start
            elif epsilon == "inf":
                without_privacy(settings, pairs, start, out)
            else:
                result = train_private(settings, [pairs], out, keys=KeyStore(folder / "keys"))
                sigma = result.statement.noise.noise_multiplier
            found = score(out, eyes, folder / f"score-{epsilon}")
            rows.append({"epsilon": epsilon, "sigma": sigma, "balanced_accuracy": found})
            print(
                f"{epsilon!s:>9s} {sigma:7.3f} {found['estimate']:8.3f} [{found['low']:.3f}, {found['high']:.3f}]",
                flush=True,
            )
    RESULTS.mkdir(exist_ok=True)
    result = {
        "units": units,
        "pairs": len(pairs),
        "epochs": epochs,
        "batch": batch,
        "phantoms": phantoms,
        "class_prior": None if options.no_prior else PRIOR,
        "classes": [label for label in CLASSES if label in eyes.column("label")],
        "whose": "patients of the training part; the start model saw phantoms only",
        "rows": rows,
    }
    (RESULTS / "privacy-utility.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
