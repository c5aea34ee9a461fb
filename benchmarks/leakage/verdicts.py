"""The three verdicts with their exit codes, through the command line: PASS, LEAK and twice INCONCLUSIVE.

Phantoms against real eyes: a clean set passes with a bound; with 0.5 % planted copies it leaks by confirmed pairs; too
few images for the rate, and a control of five patients, stay open. Prints each verdict with its exit code.

    python benchmarks/leakage/verdicts.py --phantoms 2000
    python benchmarks/leakage/verdicts.py --quick
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from measuring.worlds import DATA, RESULTS, write_results

from ethicclip.audits.ladder import plant
from ethicclip.cli.main import run
from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.generation import GenerateSettings, generate
from ethicclip.imaging import read_image
from ethicclip.pairs import open_images
from ethicclip.progress import SILENT

KINDS = ("rotation15", "flip", "crop70", "combination", "noise")


def divide(cohort: Cohort, patients: int, folder: Path) -> tuple[Path, Path, Cohort]:
    """Two disjoint tables of so many patients each, and the reference as a cohort."""
    names = sorted(set(cohort.patients()))
    order = np.random.default_rng(1).permutation(len(names))
    parts = []
    for number, part in enumerate(("reference", "control")):
        chosen = {names[i] for i in order[number * patients : (number + 1) * patients]}
        rows = [i for i, patient in enumerate(cohort.patients()) if patient in chosen]
        table = pd.DataFrame(
            {"file": [str(cohort.files[i]) for i in rows], "patient_id": [cohort.patients()[i] for i in rows]}
        )
        (folder / part).mkdir()
        table.to_csv(folder / part / "cohort.csv", index=False)
        parts.append(folder / part)
    return parts[0], parts[1], read_cohort(parts[0])


def few_of(control: Path, patients: int) -> Path:
    """The control cut down to so many patients."""
    table = pd.read_csv(control / "cohort.csv", dtype=str)
    kept = sorted(table["patient_id"].unique())[:patients]
    target = control.with_name("few")
    target.mkdir()
    table[table["patient_id"].isin(kept)].to_csv(target / "cohort.csv", index=False)
    return target


def as_folder(phantoms: Path, target: Path, count: int, copies: int, reference: Cohort) -> Path:
    """A plain folder of phantoms, the last of which are replaced by planted copies of distinct reference patients."""
    target.mkdir()
    source = open_images(phantoms)
    _, first = np.unique(np.array(reference.patients()), return_index=True)
    for i in range(count):
        planted = i - (count - copies)
        if planted >= 0:
            rng = np.random.default_rng([9, planted])
            original = read_image(reference.files[int(first[planted])], max_side=384)
            image = plant(KINDS[planted % len(KINDS)], original, rng)
        else:
            image = source.image(i)
        cv2.imwrite(str(target / f"{i:06d}.png"), np.ascontiguousarray(image[..., ::-1]))
    return target


def audit(name: str, synthetic: Path, sides: tuple[Path, Path], folder: Path, *more: str) -> dict[str, Any]:
    """Run the verb, print what it says and with which code it ends."""
    out = folder / f"audit-{name}"
    arguments = ["audit-leakage", str(synthetic), "--reference", str(sides[0]), "--control", str(sides[1])]
    arguments += ["--out", str(out), "--ledger", str(folder / "ledger.duckdb"), "--workers", "1"]
    print(f"== {name}", flush=True)
    code = int(run([*arguments, "--set", "exchangeable=true", *more]))
    document = json.loads((out / "verdict.json").read_text())
    print(f"   exit code {code}", flush=True)
    keys = ("verdict", "reason", "bound", "counts")
    return {"exit_code": code, **{key: document[key] for key in keys}, "confirmed": document["confirmed"]["images"]}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, audit four sets, check the verdicts, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--phantoms", type=int, default=2000, help="images in the clean set")
    parser.add_argument("--leaking", type=int, default=0, help="images in the leaking set; as the clean one by default")
    parser.add_argument("--patients", type=int, default=300, help="on each side")
    parser.add_argument("--from", dest="source", type=Path, default=None, help="a pair set of phantoms to take")
    parser.add_argument("--out", type=Path, default=RESULTS / "leakage_verdicts.json")
    parser.add_argument("--quick", action="store_true", help="60 phantoms, 40 patients, three kinds")
    arguments = parser.parse_args(argv)
    power: tuple[str, ...] = ()
    if arguments.quick:
        arguments.phantoms, arguments.leaking, arguments.patients = 60, 200, 40
        power = ("--set", "power_copies=8", "--set", "required_kinds=[flip, jpeg30]", "--set", "max_leak_rate=0.05")
    if not arguments.data.is_dir():
        print(f"skipped: real eyes are not at hand ({arguments.data} does not exist)")
        return 0
    leaking = arguments.leaking or arguments.phantoms
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o700)
        phantoms = arguments.source
        if phantoms is None:
            phantoms = folder / "phantoms"
            settings = GenerateSettings(count=max(arguments.phantoms, leaking), seed=5)
            generate(settings, phantoms, workers=1, progress=SILENT)
        reference, control, seen = divide(read_cohort(arguments.data), arguments.patients, folder)
        sides = (reference, control)
        small = as_folder(phantoms, folder / "small", 30, 0, seen)
        clean = as_folder(phantoms, folder / "clean", arguments.phantoms, 0, seen)
        copies = max(1, round(0.005 * leaking))
        planted = as_folder(phantoms, folder / "planted", leaking, copies, seen)
        found = {
            "too few images": audit("too few images", small, sides, folder, "--set", "power_copies=6"),
            "control of five": audit(
                "control of five", small, (reference, few_of(control, 5)), folder, "--set", "power_copies=0"
            ),
            "planted 0.5 %": audit("planted", planted, sides, folder, "--set", "power_copies=0"),
            "clean": audit("clean", clean, sides, folder, *power),
        }
    expected = {"too few images": 11, "control of five": 11, "planted 0.5 %": 10, "clean": 0}
    wrong = [name for name, code in expected.items() if found[name]["exit_code"] != code]
    for name, one in found.items():
        print(f"{name:18}{one['verdict']:14}exit {one['exit_code']:3}  confirmed {one['confirmed']}  {one['reason']}")
    print("as expected" if not wrong else f"not as expected: {', '.join(wrong)}")
    write_results(arguments.out, {"sets": found})
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
