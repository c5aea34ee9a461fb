"""Is a diffusion model that learnt its pictures by heart caught, and one that did not left in peace?

    python benchmarks/generators/memorising.py [--quick] [--cohort ../shared/data/odir] [--folder DIR]
        [--kinds overfitted,behaved] [--released 200]

Two generators of one shape (UNet, 16 channels, 64 px). "overfitted": few pictures of few patients, many steps, no
phantoms, no mirroring, repeats kept. "behaved": phantoms first, then some steps on many pictures of the reference. Both
are watched while they learn: every so often 32 samples are audited (the rule of `audit-leakage`, descriptors local and
copy, without measured power) against the same reference and control patients. Printed for each check: step, samples
flagged as copies, verdict; and for the last samples, membership by the nearest sample: the AUC of (minus) the smallest
distance between a real picture and any sample, at 64 px, for pictures learnt from against pictures of the control, with
a bootstrap interval by picture. With so few pictures an AUC says little; it is printed because it is asked for, and
`membership.py` asks better.

"Not flagged" is no PASS. So --released samples of the behaved generator are drawn, as a set to be released, and audited
with measured power: of every kind that a PASS requires, and of `resize64`, a copy that went through 64 px, since copies
by a generator of 64 px cannot be finer. Verdict, reason and each kind's fewest noticed copies are printed.

Contact sheets of audits stay in --folder, which shows patients (mode 0700; a temporary folder by default). The same
command goes on where it was interrupted. Writes benchmarks/results/generators-memorising.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ethicclip.audits import AuditSettings, audit_leakage, prepare_real
from ethicclip.audits.leakage import RealSide
from ethicclip.audits.settings import REQUIRED_KINDS
from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.errors import BadInputError
from ethicclip.generation.diffusion import DiffusionSettings, FitSettings, fit
from ethicclip.generation.diffusion.folder import MANIFEST
from ethicclip.generation.diffusion.making import DiffusionEngine
from ethicclip.generation.diffusion.pictures import squared
from ethicclip.generation.learning import LearningSet, from_cohort
from ethicclip.imaging import list_images, read_image
from ethicclip.pairs import open_images

RESULTS = Path(__file__).parents[1] / "results"
SIDE = 64
AUDIT = AuditSettings(power_copies=0, text=False, impostor_pictures=150, descriptor="local,copy")
SHAPE = {"size": SIDE, "channels": 16, "layers": 1, "multipliers": (1, 2, 4, 4), "batch_size": 4, "seed": 1}


def sides(cohort: Cohort, patients: int) -> tuple[Cohort, Cohort]:
    """Reference and control: so many patients each, drawn at random."""
    names = sorted(set(cohort.patients()))
    np.random.default_rng(0).shuffle(names)
    chosen = [set(names[:patients]), set(names[patients : 2 * patients])]
    rows = [[row for row, name in enumerate(cohort.patients()) if name in part] for part in chosen]
    return cohort.subset(rows[0]), cohort.subset(rows[1])


def settings_of(kind: str, steps: int, every: int, samples: int) -> FitSettings:
    """The two recipes."""
    common = {**SHAPE, "watch_steps": every, "checkpoint_steps": 50, "sheet_steps": 10**6, "watch_samples": samples}
    if kind == "overfitted":
        more = {"pretrain_steps": 0, "steps": steps, "learning_rate": 2e-3, "ema_decay": 0.95, "flip": False}
        return FitSettings.build({**common, **more, "warmup": 20, "deduplicate": False})
    more = {"pretrain_steps": steps // 2, "pretrain_phantoms": 200, "steps": steps // 2, "learning_rate": 1e-3}
    return FitSettings.build({**common, **more, "warmup": 20, "ema_decay": 0.98})


def run(
    kind: str,
    learnt: Cohort,
    reference: Cohort,
    control: Cohort,
    folder: Path,
    settings: FitSettings,
    real: Callable[[], RealSide],
) -> list[dict[str, Any]]:
    """Fit one generator, audited on the way; one row a check."""
    audits = folder / f"{kind}-audits"
    audits.mkdir(parents=True, exist_ok=True)

    def check(samples: Path, step: int) -> int:
        out = audits / f"step_{step:06d}"
        images = open_images(samples)
        document = audit_leakage(AUDIT, images, reference, control, out, real=real(), workers=1).document
        counts = document["counts"]
        print(
            f"{kind:>11s} {step:6d} {counts['flagged_images']:4d} of {counts['synthetic']} {document['verdict']}",
            flush=True,
        )
        return int(counts["flagged_images"])

    out = folder / kind
    if not (out / MANIFEST).is_file() or not json.loads((out / MANIFEST).read_text())["finished"]:
        fit(settings, from_cohort(learnt), out, watch=check, resume=(out / MANIFEST).is_file())
    rows = []
    for watched in json.loads((out / MANIFEST).read_text())["watched"]:
        verdict = json.loads((audits / f"step_{watched['step']:06d}" / "verdict.json").read_text())
        rows.append({**watched, "verdict": verdict["verdict"], "reason": verdict["reason"]})
    return rows


def membership(learnt: Cohort, control: Cohort, samples: Path) -> dict[str, float]:
    """AUC of nearness to the nearest sample, members against pictures of the control."""
    drawn = (
        np.stack([read_image(path) for path in list_images(samples)]).reshape(-1, SIDE * SIDE * 3).astype(np.float32)
    )

    def nearness(cohort: Cohort) -> np.ndarray[Any, Any]:
        pictures = [
            squared(cohort.image(row, 4 * SIDE), SIDE).reshape(-1).astype(np.float32) for row in range(len(cohort))
        ]
        return np.array([-np.sqrt(((drawn - one) ** 2).mean(1)).min() for one in pictures])

    def auc(inside: np.ndarray[Any, Any], outside: np.ndarray[Any, Any]) -> float:
        return float((inside[:, None] > outside[None, :]).mean() + 0.5 * (inside[:, None] == outside[None, :]).mean())

    members, others = nearness(learnt), nearness(control)
    random = np.random.default_rng(0)
    boot = [auc(random.choice(members, len(members)), random.choice(others, len(others))) for _ in range(1000)]
    low, high = np.quantile(boot, (0.025, 0.975))
    found = {"auc": auc(members, others), "low": float(low), "high": float(high)}
    return {**found, "members": len(members), "others": len(others)}


def shares(learning: LearningSet) -> dict[Any, float]:
    """How common each leading condition is: what samples are asked for, so that they are like what was learnt."""
    counts = Counter(known.conditions[0] for known in learning.known if known.conditions)
    return {condition: count / counts.total() for condition, count in counts.items()}


def released(generator: Path, reference: Cohort, control: Cohort, count: int, copies: int) -> dict[str, Any]:
    """Draw a set and audit it with measured power; what the audit concludes, and from what."""
    samples, out = generator.parent / "released", generator.parent / "released-audit"
    if not (out / "verdict.json").is_file():
        shutil.rmtree(samples, ignore_errors=True)
        samples.mkdir()
        asked = DiffusionSettings(
            generator=str(generator), count=count, steps=10, guidance=1.0, sampling=shares(from_cohort(reference))
        )
        engine = DiffusionEngine(asked)
        for number in range(count):
            Image.fromarray(engine.image(number)).save(samples / f"{number:06d}.png")
        settings = AuditSettings(
            power_copies=copies,
            required_kinds=(*REQUIRED_KINDS, f"resize{SIDE}"),
            exchangeable=True,
            text=False,
            impostor_pictures=150,
        )
        audit_leakage(settings, open_images(samples), reference, control, out, workers=1)
    document = json.loads((out / "verdict.json").read_text())
    kept = {name: document[name] for name in ("verdict", "reason", "counts", "power")}
    return {**kept, "samples": count, "copies_of_each_kind": copies}


def main() -> None:
    """Fit both, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few steps: shows that it runs, catches nothing")
    parser.add_argument("--cohort", type=Path, default=Path("../shared/data/odir"))
    parser.add_argument("--folder", type=Path, help="keep generators and audits here, and go on from it")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--behaved-steps", type=int, default=1200, help="half of them on phantoms")
    parser.add_argument("--checks", type=int, default=4, help="audits of samples on the way")
    parser.add_argument("--kinds", default="overfitted,behaved")
    parser.add_argument("--released", type=int, default=200, help="samples of the behaved one audited with power")
    parser.add_argument("--copies", type=int, default=16, help="planted copies of each kind for the power")
    parser.add_argument("--pictures", type=int, default=4, help="pictures of the overfitted generator")
    parser.add_argument("--patients", type=int, default=32, help="patients on each side; a PASS needs 30")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.cohort.exists():
        print(f"not run: {options.cohort} is not there")
        return
    samples, patients = (8, 6) if options.quick else (32, options.patients)
    lengths = {"overfitted": options.steps, "behaved": options.behaved_steps}
    if options.quick:
        options.checks = 1
        lengths = dict.fromkeys(lengths, 12)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        reference, control = sides(read_cohort(options.cohort), patients)
        print(f"{len(reference)} reference and {len(control)} control pictures, {patients} patients each, {SIDE} px")

        @cache
        def real() -> RealSide:
            return prepare_real(AUDIT, reference, control, workers=1)

        result: dict[str, Any] = {"side": SIDE, "patients": patients, "steps": lengths}
        for kind in options.kinds.split(","):
            learnt = reference.subset(range(options.pictures)) if kind == "overfitted" else reference
            settings = settings_of(kind, lengths[kind], max(1, lengths[kind] // options.checks), samples)
            try:
                rows = run(kind, learnt, reference, control, folder, settings, real)
            except BadInputError as error:
                raise SystemExit(f"{error}") from None
            last = folder / kind / "restricted" / "watched" / f"step_{rows[-1]['step']:06d}"
            found = membership(learnt, control, last)
            result[kind] = {"pictures": len(learnt), "checks": rows, "membership": found}
            print(
                f"{kind:>11s} membership by the nearest sample: AUC {found['auc']:.2f} "
                f"[{found['low']:.2f}, {found['high']:.2f}], {found['members']} members, {found['others']} others"
            )
            for row in rows:
                print(f"{kind:>11s} step {row['step']}: {row['copies']} of {row['samples']} flagged, {row['verdict']}")
        if "behaved" in result:
            count, copies = (24, 2) if options.quick else (options.released, options.copies)
            found = result["behaved"]["released"] = released(folder / "behaved", reference, control, count, copies)
            print(f"{count} samples of the behaved generator: {found['verdict']}, {found['reason']}")
            for one in found["power"]:
                seen = one["recall"]
                fewest = "none" if one["m"] is None else f"{one['m']} of {one['n']}"
                print(
                    f"{one['kind']:>14s}  recall {seen['estimate']:.2f} [{seen['low']:.2f}, {seen['high']:.2f}], "
                    f"fewest noticed {fewest}"
                )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "generators-memorising.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
