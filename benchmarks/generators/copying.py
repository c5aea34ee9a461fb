"""How often a diffusion model gives its pictures back: share of samples that are copies, by steps and by set size.

    python benchmarks/generators/copying.py [--quick] [--cohort ../shared/data/odir] [--work DIR]
        [--pictures 1,4,16,64] [--steps 480] [--checks 3] [--batch 4] [--samples 16] [--patients 40] [--side 48]

One network (UNet, 16 channels, 48 px), one schedule, one seed; only the number of reference pictures that it learns
from differs. No phantoms come first, nothing is mirrored, repeats are kept: the shortest way to learning by heart. At
each check samples are drawn as `fit-generator --control` draws them. All samples of all checks are then audited
together, once, by the rule of `audit-leakage` (descriptor local, no measured power) against reference and control: both
cohorts are described once, and the bound on false confirmations holds for the whole table. A sample counts where
`flagged.csv` names it. Intervals: Wilson, 95 %, over samples of one network; they say nothing of another seed.

Samples are drawn for what is known of the pictures learnt from. Prints a table, writes
benchmarks/results/generators-copying.json and a figure beside it. The work folder (mode 0700, temporary by default)
shows patients; the same command goes on from it.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from memorising import SHAPE, sides

from ethicclip.audits import AuditSettings, audit_leakage
from ethicclip.audits.statistics import wilson
from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.generation.diffusion import FitSettings, fit
from ethicclip.generation.diffusion.folder import MANIFEST
from ethicclip.generation.learning import from_cohort
from ethicclip.imaging import list_images
from ethicclip.pairs import open_images

RESULTS = Path(__file__).parents[1] / "results"


def learn(learnt: Cohort, out: Path, settings: FitSettings) -> list[int]:
    """Fit, or go on; the steps at which samples were drawn into the restricted folder."""
    manifest = out / MANIFEST
    if not manifest.is_file() or not json.loads(manifest.read_text())["finished"]:
        fit(settings, from_cohort(learnt), out, watch=lambda samples, step: 0, resume=manifest.is_file())
    return [int(row["step"]) for row in json.loads(manifest.read_text())["watched"]]


def flagged(cells: dict[tuple[int, int], Path], reference: Cohort, control: Cohort, work: Path) -> dict[str, Any]:
    """Audit the samples of every cell together; verdict, and flagged samples by cell."""
    together, out = work / "samples", work / "audit"
    for folder in (together, out):
        shutil.rmtree(folder, ignore_errors=True)
    together.mkdir(parents=True)
    for (pictures, step), folder in cells.items():
        for path in list_images(folder):
            shutil.copyfile(path, together / f"{pictures:04d}_{step:06d}_{path.name}")
    asked = AuditSettings(power_copies=0, text=False, impostor_pictures=150)
    result = audit_leakage(asked, open_images(together), reference, control, out, workers=1)
    with (result.out / "flagged.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = {row["file"] for row in rows}
    return {
        "verdict": str(result.verdict),
        "reason": result.reason,
        "by_cell": Counter(tuple(int(part) for part in name.split("_")[:2]) for name in names),
        "patients": len({row["reference_file"] for row in rows}),
    }


def draw(rows: Sequence[dict[str, Any]], samples: int, out: Path) -> None:
    """Copy rate against steps, a line for each set size, and against set size, a line for each step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    steps = sorted({row["step"] for row in rows})
    for axes, across, by in ((left, "step", "pictures"), (right, "pictures", "step")):
        lines = sorted({row[by] for row in rows})
        for place, value in enumerate(lines):
            line = sorted((row for row in rows if row[by] == value), key=lambda row: row[across])
            share = [row["share"] for row in line]
            # A little apart, or intervals of equal shares hide each other: by a share on the axis that is logarithmic.
            apart = place - (len(lines) - 1) / 2
            factor, offset = (1 + 0.03 * apart, 0.0) if across == "pictures" else (1.0, 0.008 * steps[-1] * apart)
            axes.errorbar(
                [row[across] * factor + offset for row in line],
                share,
                yerr=[
                    [max(0.0, one - row["low"]) for one, row in zip(share, line, strict=True)],
                    [max(0.0, row["high"] - one) for one, row in zip(share, line, strict=True)],
                ],
                fmt="o-",
                capsize=3,
                label=f"{value} picture{'s' if value > 1 else ''}" if by == "pictures" else f"step {value}",
            )
        axes.set(xlabel={"step": "steps", "pictures": "pictures learnt from"}[across], ylim=(-0.03, 1.03))
        axes.legend(frameon=False)
    left.set_ylabel(f"share flagged of {samples} samples")
    right.set_xscale("log", base=4)
    left.set_xticks(steps)
    pictures = sorted({row["pictures"] for row in rows})
    right.set_xticks(pictures, [str(one) for one in pictures])
    figure.savefig(out, dpi=130)


def main() -> None:
    """Fit each, audit all, print, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two sizes, few steps: shows that it runs, copies nothing")
    parser.add_argument("--cohort", type=Path, default=Path("../shared/data/odir"))
    parser.add_argument("--work", type=Path, help="keep generators and audit here, and go on from it")
    parser.add_argument("--pictures", default="1,4,16,64", help="set sizes")
    parser.add_argument("--steps", type=int, default=480)
    parser.add_argument("--checks", type=int, default=3, help="checks of each generator")
    parser.add_argument("--batch", type=int, default=4, help="pictures a step")
    parser.add_argument("--samples", type=int, default=16, help="samples a check")
    parser.add_argument("--patients", type=int, default=40, help="patients on each side of the audit")
    parser.add_argument("--side", type=int, default=48, help="pixels; under 48 the audit misses worn copies (sizes.py)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.cohort.exists():
        print(f"not run: {options.cohort} is not there")
        return
    side = 32 if options.quick else options.side
    sizes = [int(one) for one in options.pictures.split(",")]
    steps, checks, samples, patients = options.steps, options.checks, options.samples, options.patients
    if options.quick:
        sizes, steps, checks, samples, patients = [1, 4], 2, 1, 8, 6
    reference, control = sides(read_cohort(options.cohort), patients)
    if max(sizes) > len(reference):
        parser.error(f"{patients} patients have {len(reference)} pictures, not {max(sizes)}: give more --patients")
    settings = FitSettings.build(
        {
            **SHAPE,
            "size": side,
            "batch_size": options.batch,
            "pretrain_steps": 0,
            "steps": steps,
            "learning_rate": 2e-3,
            "warmup": 20,
            "ema_decay": 0.95,
            "flip": False,
            "deduplicate": False,
            "watch_steps": max(1, steps // checks),
            "watch_samples": samples,
            "checkpoint_steps": 50,
            "sheet_steps": 10**6,
        }
    )
    began = time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        work.chmod(0o700)
        cells: dict[tuple[int, int], Path] = {}
        for size in sizes:
            out = work / f"pictures-{size:04d}"
            for step in learn(reference.subset(range(size)), out, settings):
                cells[size, step] = out / "restricted" / "watched" / f"step_{step:06d}"
            print(f"fitted to {size}: {time.process_time() - began:.0f} processor seconds so far", flush=True)
        found = flagged(cells, reference, control, work)
    rows = []
    for (size, step), count in sorted((cell, found["by_cell"][cell]) for cell in cells):
        share = wilson(count, samples)
        seen = step * options.batch / size
        rows.append({"pictures": size, "step": step, "views": seen, "flagged": count, "share": count / samples,
                     "low": share.low, "high": share.high})  # fmt: skip
    print(
        f"{len(reference)} reference and {len(control)} control pictures, {patients} patients each; {samples} samples"
    )
    print(f"all {len(cells) * samples} samples together: {found['verdict']}, {found['reason']}")
    print(f"{'pictures':>8s} {'step':>6s} {'views a picture':>15s} {'flagged':>8s}  share")
    for row in rows:
        print(
            f"{row['pictures']:8d} {row['step']:6d} {row['views']:15.0f} {row['flagged']:8d}  "
            f"{row['share']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        )
    RESULTS.mkdir(exist_ok=True)
    name = f"generators-copying{'-quick' if options.quick else ''}"
    draw(rows, samples, RESULTS / f"{name}.png")
    document = {
        "settings": settings.resolved(), "patients": patients, "samples": samples, "verdict": found["verdict"],
        "reason": found["reason"], "patients_flagged": found["patients"], "rows": rows,
    }  # fmt: skip
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
