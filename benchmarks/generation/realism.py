"""How near phantoms come to real photographs: distributions, and a network that tries to tell them apart.

    python benchmarks/generation/realism.py [--conditions normal dr ...] [--count 200] [--quick] [--cohort FOLDER]

Per measurement: Wasserstein distance between phantoms and real pictures of the same label, in standard deviations of
the real ones, with a bootstrap interval (patients drawn with replacement, its bias taken off); beside it the same
distance between two halves of the real patients, which is what chance alone gives; and the AUROC with which this one
number tells a drawn picture from a photograph ("alone").
Without a cohort of real eyes it says so and measures nothing. Only aggregates are kept: no real picture and no value
of a single one is written. Patients whose int(sha256(patient_id)) mod 5 == 0 are left out: they are kept for reporting.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pandas as pd
from measuring.picture import SIDE, disc, measure, squared
from measuring.telling import SIDE as SMALL
from measuring.telling import gaze_picture, tell_apart
from scipy.stats import rankdata, wasserstein_distance

from ethicclip.clip.preprocessing import FundusPreprocess
from ethicclip.generation import FindingsRecipe, GenerateSettings, PhantomEngine
from ethicclip.generation.rendering.view import View
from ethicclip.imaging import Pixels, read_image

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
LABELS = {
    "normal": "normal",
    "dr": "diabetic_retinopathy",
    "amd": "age_related_macular_degeneration",
    "glaucoma": "glaucoma",
    "cataract": "cataract",
    "myopia": "pathologic_myopia",
}
DRAWS = 200
_FEWEST = 12
"""A measurement that fewer pictures have is left out: a cataract may show neither disc nor vessels."""


def kept(patient: str) -> bool:
    """Whether a patient may be looked at while constants are chosen."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 5 != 0


def _distance(real: np.ndarray, drawn: np.ndarray) -> float:
    return float(wasserstein_distance(real, drawn) / max(float(real.std()), 1e-9))


def compare(real: pd.DataFrame, drawn: pd.DataFrame, random: np.random.Generator) -> dict[str, dict[str, float]]:
    """Distances by measurement; `real` has a column `patient`."""
    table = {}
    patients = real.patient.to_numpy()
    for name in (column for column in drawn.columns if column in real):
        here, there = real[name].to_numpy(), drawn[name].to_numpy()
        owner, there = patients[~np.isnan(here)], there[~np.isnan(there)]
        here = here[~np.isnan(here)]
        if min(len(here), len(there)) < _FEWEST:
            continue
        names = np.unique(owner)
        by_patient = [here[owner == patient] for patient in names]
        draws, floor = [], []
        for _ in range(DRAWS):
            chosen = random.integers(0, len(names), len(names))
            again = np.concatenate([by_patient[number] for number in chosen])
            draws.append(_distance(again, random.choice(there, len(there))))
            halves = random.permutation(len(names))
            first, second = (
                np.concatenate([by_patient[number] for number in half]) for half in np.array_split(halves, 2)
            )
            floor.append(_distance(first, second))
        distance = _distance(here, there)
        # Drawing again makes two samples differ more than they do: the interval is moved back by that much.
        moved = np.array(draws) - (np.mean(draws) - distance)
        ranks = rankdata(np.concatenate([there, here]))[: len(there)].sum()
        alone = (ranks - len(there) * (len(there) + 1) / 2) / (len(there) * len(here))
        table[name] = {
            "distance": distance,
            "low": max(0.0, float(np.percentile(moved, 2.5))),
            "high": float(np.percentile(moved, 97.5)),
            "real_halves": float(np.median(floor)),
            "auroc": float(alone),
            "real": float(np.median(here)),
            "phantom": float(np.median(there)),
            "real_sd": float(here.std()),
            "phantom_sd": float(there.std()),
            "n_real": len(here),
            "n_phantom": len(there),
        }
    return table


def check_disc(engine: PhantomEngine, count: int) -> dict[str, float]:
    """How often the disc finder is right where the truth is known: centre within half a disc's radius."""
    right, asked = 0, 0
    for index in range(count):
        eye, photograph = engine.case(index)
        view = View.of(eye, photograph, SIDE)
        truth = view.to_pixels(np.array(eye.anatomy.disc_centre_um))
        if np.hypot(*(truth - SIDE / 2)) > 0.85 * SIDE / 2 or photograph.stretch != 1 or photograph.radius < 0.98:
            continue
        asked += 1
        found = disc(*squared(engine.image(index)))
        radius = eye.anatomy.disc_height_um / 2 / view.um_per_px
        right += found is not None and bool(np.hypot(found[0] - truth[0], found[1] - truth[1]) < radius / 2)
    return {"right": right / max(asked, 1), "n": asked}


def _shown(image: Pixels, prepare: FundusPreprocess | None) -> np.ndarray:
    """A picture as the telling network sees it: 96 px, blurred, disc to the right; colours or local contrast."""
    small = prepare.pixels(image) if prepare else squared(image, SMALL)[0]
    found = disc(*squared(image))
    if found is not None and found[0] < SIDE / 2:
        # All discs on one side, so that places mean the same in all pictures.
        small = np.ascontiguousarray(small[:, ::-1])
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0), dtype=np.float32) / 255


def _zones(gaze: np.ndarray) -> dict[str, float]:
    y, x = np.mgrid[:SMALL, :SMALL]
    away = np.hypot(x - SMALL / 2 + 0.5, y - SMALL / 2 + 0.5) / (SMALL / 2)
    edges = {
        "middle": (0, 0.35),
        "between": (0.35, 0.7),
        "outer": (0.7, 0.93),
        "border": (0.93, 1.04),
        "outside": (1.04, 2),
    }
    return {name: float(gaze[(away >= low) & (away < high)].mean()) for name, (low, high) in edges.items()}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="normal eyes only, 40 of each, no network")
    parser.add_argument("--count", type=int, default=200, help="pictures of each kind and condition")
    parser.add_argument("--conditions", nargs="+", choices=list(LABELS), default=list(LABELS))
    parser.add_argument("--cohort", type=Path, default=ROOT.parent / "shared" / "data" / "odir")
    parser.add_argument("--seed", type=int, default=77)
    arguments = parser.parse_args()
    if not (arguments.cohort / "cohort.csv").exists():
        print(f"not measured: no cohort of real eyes at {arguments.cohort}")
        return
    cv2.setNumThreads(1)
    table = pd.read_csv(arguments.cohort / "cohort.csv", dtype={"patient_id": str})
    table = table[[kept(patient) for patient in table.patient_id]]
    most = 40 if arguments.quick else arguments.count
    conditions = ["normal"] if arguments.quick else arguments.conditions
    RESULTS.mkdir(exist_ok=True)
    report: dict[str, object] = {"by_condition": {}, "telling": {}}
    for label in conditions:
        chosen = table[table.label == label]
        chosen = chosen.sample(min(most, len(chosen)), random_state=1)
        photographs = [read_image(arguments.cohort / name) for name in chosen.file]
        engine = PhantomEngine(
            GenerateSettings(
                count=most, seed=arguments.seed, findings=FindingsRecipe.build({"conditions": [LABELS[label]]})
            )
        )
        phantoms = [engine.image(index) for index in range(most)]
        real = pd.DataFrame([measure(image) for image in photographs]).assign(patient=list(chosen.patient_id))
        drawn = pd.DataFrame([measure(image) for image in phantoms])
        rows = compare(real, drawn, np.random.default_rng(0))
        report["by_condition"][label] = rows  # type: ignore[index]
        print(f"\n{label}: {len(real)} real, {len(drawn)} phantom; distances in standard deviations of the real")
        print(f"  {'':18}{'distance':>20}{'real halves':>12}{'alone':>7}{'real':>10}{'phantom':>10}   spreads")
        for name, row in sorted(rows.items(), key=lambda item: -item[1]["distance"]):
            interval = f"{row['distance']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
            print(
                f"  {name:18}{interval:>20}{row['real_halves']:12.2f}{row['auroc']:7.2f}{row['real']:10.3f}"
                f"{row['phantom']:10.3f}   {row['real_sd']:.3f}, {row['phantom_sd']:.3f}"
            )
        print(f"  mean distance {np.mean([row['distance'] for row in rows.values()]):.3f}")
        if label == "normal":
            found = check_disc(engine, min(most, 60))
            report["disc_check"] = found
            print(f"  disc found within half a radius on phantoms: {found['right']:.2f} of {found['n']}")
        if label == "normal" and not arguments.quick:
            kinds = np.array([False] * len(photographs) + [True] * len(phantoms))
            owners = [*chosen.patient_id, *(f"phantom {index}" for index in range(len(phantoms)))]
            for how, prepare in (("colour", None), ("local contrast", FundusPreprocess(size=SMALL))):
                images = np.stack([_shown(image, prepare) for image in (*photographs, *phantoms)])
                told = tell_apart(images, kinds, owners)
                zones = _zones(told.gaze)
                report["telling"][how] = {  # type: ignore[index]
                    "auroc": told.estimate, "low": told.low, "high": told.high, "n": told.n, "gaze_by_zone": zones,
                }  # fmt: skip
                name = f"generation_realism_gaze_{how.split()[0]}.png"
                cv2.imwrite(str(RESULTS / name), gaze_picture(told.gaze))
                where = ", ".join(f"{zone} {value:.2f}" for zone, value in zones.items())
                print(
                    f"  told apart at {SMALL} px by {how}: AUROC {told.estimate:.3f} [{told.low:.3f}, {told.high:.3f}]"
                )
                print(f"    looks (1 = evenly): {where}; {name}")
    (RESULTS / "generation_realism.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
