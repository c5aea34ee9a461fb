"""How near phantoms come to real photographs in aggregate: Wasserstein distances of simple measurements.

Run: python benchmarks/generation/realism.py [--quick] [--cohort FOLDER]. Without a cohort of real eyes it says so and
measures nothing. Only aggregates are kept: no real picture and no value of a single one is written. Patients whose
int(sha256(patient_id)) mod 5 == 0 are left out: they are kept for reporting.
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
from scipy.stats import wasserstein_distance
from skimage.filters import sato

from ethicclip.generation import FindingsRecipe, GenerateSettings, PhantomEngine
from ethicclip.imaging import field_of_view, read_image

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


def measurements(image: np.ndarray) -> dict[str, float]:
    """Colour, light, contrast, sharpness and vessels of one picture of 224 pixels."""
    scale = 224 / max(image.shape[:2])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    field = field_of_view(image)
    values = image[field.mask].astype(np.float64)
    green = image[..., 1].astype(np.float32)
    inner = cv2.erode(field.mask.astype(np.uint8), np.ones((19, 19), np.uint8)) > 0
    local = green - cv2.GaussianBlur(green, (0, 0), 9)
    vessels = sato(cv2.GaussianBlur(green, (0, 0), 0.7), sigmas=[1.2, 2.0], black_ridges=True)
    ridge = vessels[inner] / max(float(green[inner].mean()), 1.0)
    red, green_mean, blue = values.mean(axis=0)
    return {
        "red": red,
        "green": green_mean,
        "blue": blue,
        "red/green": red / max(green_mean, 1),
        "blue/green": blue / max(green_mean, 1),
        "green spread": values[:, 1].std(),
        "brightest": float(np.percentile(values[:, 1], 99)),
        "local contrast": float(local[inner].std()),
        "sharpness": float(cv2.Laplacian(green, cv2.CV_32F)[inner].std()),
        "vessel density": float((ridge > 0.03).mean()),
        "vessel strength": float(np.percentile(ridge, 95)),
    }


def kept(patient: str) -> bool:
    """Whether a patient may be looked at while constants are chosen."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 5 != 0


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer pictures")
    parser.add_argument("--cohort", type=Path, default=ROOT.parent / "shared" / "data" / "odir")
    arguments = parser.parse_args()
    if not (arguments.cohort / "cohort.csv").exists():
        print(f"not measured: no cohort of real eyes at {arguments.cohort}")
        return
    table = pd.read_csv(arguments.cohort / "cohort.csv", dtype={"patient_id": str})
    table = table[[kept(patient) for patient in table.patient_id]]
    most = 25 if arguments.quick else 120
    report: dict[str, dict[str, dict[str, float]]] = {}
    for label, condition in LABELS.items():
        chosen = table[table.label == label]
        chosen = chosen.sample(min(most, len(chosen)), random_state=1)
        real = pd.DataFrame([measurements(read_image(arguments.cohort / name)) for name in chosen.file])
        findings = FindingsRecipe.build({"conditions": [condition]})
        engine = PhantomEngine(GenerateSettings(count=most, seed=77, findings=findings))
        drawn = pd.DataFrame([measurements(engine.image(index)) for index in range(most)])
        report[label] = {
            name: {
                "distance": float(wasserstein_distance(real[name], drawn[name]) / max(real[name].std(), 1e-9)),
                "real": float(real[name].median()),
                "phantom": float(drawn[name].median()),
                "n_real": len(real),
            }
            for name in real
        }
        print(f"\n{label}: {len(real)} real, {len(drawn)} phantom; distance in standard deviations of the real")
        for name, row in report[label].items():
            print(
                f"  {name:16} {row['distance']:5.2f}   median real {row['real']:8.3f}   phantom {row['phantom']:8.3f}"
            )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "generation_realism.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
