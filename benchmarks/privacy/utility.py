"""What epsilon costs in accuracy: zero-shot on real eyes after private training on real pairs of other patients.

    python benchmarks/privacy/utility.py [--quick] [--eyes development|report-only] [--cohort ../shared/data/odir]

The start is the built-in model, which saw phantoms only. Its last projection goes on, by the prompt-bank mechanism with
the patient as unit, on real pairs, labels turned to captions, at epsilon 1, 3, 8 and without noise or accounting
("inf": the same steps and clipping). A class prior is stated; nothing was counted on the pairs.

Patients with int(sha256(patient_id)) mod 5 == 0 are report-only: settings were chosen without them ("development":
trained on 70 % of the others, scored on 30 %), and "report-only" trains on all others and scores them, once. Figures:
AUROC of diabetic retinopathy against the other five classes, and balanced accuracy over six, with intervals by patient,
beside the start model's own. One run and one draw of noise a row. Prints a table and writes
benchmarks/results/privacy-utility-EYES.json; pictures stay in a temporary folder.
"""

from __future__ import annotations

import argparse
import hashlib
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
from ethicclip.clip.shipped import builtin_folder
from ethicclip.cohorts import Cohort, SplitSettings, read_cohort, split_cohort
from ethicclip.evaluation import EvaluateSettings, evaluate
from ethicclip.pairs import Description, Origin, Pair, PairSet, write_pair_set
from ethicclip.privacy.units import PoissonSampler
from ethicclip.provenance import KeyStore
from ethicclip.terms import condition_for, name
from ethicclip.training import TrainSettings, train_private
from ethicclip.training.bank import public_bank
from ethicclip.training.frozen import KeptFeatures
from ethicclip.training.loading import Batch, Loader
from ethicclip.training.loop import recipe_of
from ethicclip.training.optimisation import build_optimizer, learning_rate_at
from ethicclip.training.private_data import ChunkOrder, ChunkReader, units_of_sources
from ethicclip.training.private_steps import PromptBankContributions, private_gradient
from ethicclip.training.trained_part import choose_parameters, set_mode

RESULTS = Path(__file__).parents[1] / "results"
CLASSES = ("normal", "dr", "amd", "glaucoma", "cataract", "myopia")
SIDE = 288
"""Longest side of the pairs' pictures; the model reads 256."""

RATE, EPOCHS, LEARNING_RATE = 0.25, 20, 0.03
"""Chosen on development eyes: a quarter of the patients a step, 80 steps."""

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


def without_privacy(settings: TrainSettings, pairs: PairSet, start: Path, out: Path, features: KeptFeatures) -> None:
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
    contributions = PromptBankContributions(
        model, bank, parameters, device, prior=private.class_prior, head_only=True, kept=features
    )
    order = ChunkOrder()
    set_mode(model, private.part)
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


def report_only(patient: str) -> bool:
    """Whether a patient is kept for the last look; the same rule as in benchmarks/training/usefulness.py."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 5 == 0


def parts(cohort: Cohort, eyes: str, folder: Path) -> tuple[Cohort, Cohort]:
    """Eyes to train on and eyes to score, of different patients; both hold the six classes only."""
    known = [label in CLASSES for label in cohort.column("label")]
    kept = [report_only(patient) for patient in cohort.patients()]

    def part(last: bool) -> Cohort:
        return cohort.subset(
            [row for row, use in enumerate(known) if use and kept[row] == last],
        )

    if eyes == "report-only":
        return part(False), part(True)
    split_cohort(SplitSettings(parts={"train": 0.7, "test": 0.3}, stratify="label"), part(False), folder / "split")
    return read_cohort(folder / "split" / "train"), read_cohort(folder / "split" / "test")


def score(model: Path, eyes: Cohort, out: Path) -> dict[str, Any]:
    """AUROC of retinopathy against the other classes, and balanced accuracy over the classes that the eyes have."""
    classes = tuple(label for label in CLASSES if label in eyes.column("label"))
    settings = EvaluateSettings(
        classes=classes, figures=False, single_statistics=False, bootstrap=1000, prompt_kind="both"
    )
    metrics = evaluate(settings, clip.load(model), eyes, out).metrics
    by_class = metrics["auroc_one_vs_rest"]
    retinopathy = next(name for name in by_class if name in ("dr", "diabetic_retinopathy"))
    return {"auroc": by_class[retinopathy], "balanced_accuracy": metrics["balanced_accuracy"]}


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few patients and epochs: shows that it runs")
    parser.add_argument("--eyes", choices=("development", "report-only"), default="development")
    parser.add_argument("--cohort", type=Path, default=Path("../shared/data/odir"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.cohort.exists():
        print(f"not run: {options.cohort} is not there")
        return
    epochs = 4 if options.quick else EPOCHS
    whole = read_cohort(options.cohort)
    if options.quick:
        seen = set(sorted(patient for patient in set(whole.patients()) if not report_only(patient))[:200])
        whole = whole.subset([row for row, patient in enumerate(whole.patients()) if patient in seen])
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o700)
        training, eyes = parts(whole, "development" if options.quick else options.eyes, folder)
        pairs = real_pairs(training, folder / "pairs")
        units = len(set(training.patients()))
        batch = round(RATE * units)
        features = KeptFeatures()
        print(
            f"{units} real patients, {len(pairs)} pairs; {batch} patients a step, {epochs} epochs; "
            f"scored on {len(eyes)} eyes of {len(set(eyes.patients()))} others ({options.eyes})"
        )
        print(f"{'epsilon':>9s} {'sigma':>7s} {'AUROC, retinopathy':>24s} {'balanced accuracy, 6':>24s}")
        for epsilon in ("start", 1.0, 3.0, 8.0, "inf"):
            out = folder / f"run-{epsilon}"
            sigma = 0.0
            settings = TrainSettings.build(
                {
                    "epochs": epochs,
                    "batch_size": batch,
                    "learning_rate": LEARNING_RATE,
                    "augment": False,
                    "privacy": {
                        "epsilon": epsilon if isinstance(epsilon, float) else 1.0,
                        "start": "builtin",
                        "class_prior": PRIOR,
                        "tuning": "on private data, unaccounted",
                    },
                }
            )
            if epsilon == "start":
                out = builtin_folder()
            elif epsilon == "inf":
                without_privacy(settings, pairs, builtin_folder(), out, features)
            else:
                result = train_private(settings, [pairs], out, keys=KeyStore(folder / "keys"), features=features)
                sigma = result.statement.noise.noise_multiplier
            found = score(out, eyes, folder / f"score-{epsilon}")
            rows.append({"epsilon": epsilon, "sigma": sigma, **found})
            shown = "".join(
                f"{value['estimate']:10.3f} [{value['low']:.3f}, {value['high']:.3f}]" for value in found.values()
            )
            print(f"{epsilon!s:>9s} {sigma:7.3f} {shown}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "eyes": options.eyes,
        "quick": options.quick,
        "units": units,
        "pairs": len(pairs),
        "scored_eyes": len(eyes),
        "scored_patients": len(set(eyes.patients())),
        "epochs": epochs,
        "batch": batch,
        "class_prior": PRIOR,
        "classes": [label for label in CLASSES if label in eyes.column("label")],
        "whose": "patients of the training part; the start model saw phantoms only",
        "rows": rows,
    }
    name = "quick" if options.quick else options.eyes
    (RESULTS / f"privacy-utility-{name}.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
