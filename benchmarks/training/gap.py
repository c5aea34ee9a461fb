"""The synthetic-to-real gap: one model, one recipe, as many pictures and steps; once real eyes, once phantoms.

    python benchmarks/training/gap.py [--eyes validation|report-only] [--epochs 8] [--data DIR] [--work DIR] [--quick]

The real pairs are `import cohort` of ODIR without the patients that are scored; captions come from their labels. The
phantoms are as many, drawn evenly over the conditions. Both runs have the same settings, seed and number of steps; the
phantoms have masks, which the dense term uses, and the photographs have none. The five questions are those of
`usefulness.py`; each figure has an interval that resamples patients. Report-only patients are for one last look: by
default the validation patients (sha256 mod 5 == 1) are scored, and left out of training too.

Prints a table and writes benchmarks/results/gap-EYES.json. Real pairs and what was trained on them lie in the work
folder (a temporary one by default, removed at the end): they are patients' data and are never shipped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from usefulness import EYES, QUESTIONS, RESULTS, Question, ask, belongs, line

from ethicclip.cli.console import console_progress
from ethicclip.cohorts import read_cohort
from ethicclip.generation import GenerateSettings, generate
from ethicclip.importing import CohortSettings, import_cohort
from ethicclip.pairs import PairSet
from ethicclip.training import TrainSettings, train

KEPT_OUT = {"validation": ("validation", "report-only"), "report-only": ("report-only",)}
"""The report-only patients never train, whoever is scored."""


def real_pairs(data: Path, eyes: str, out: Path, limit: int | None) -> PairSet:
    """ODIR without the patients that are scored, as a restricted pair set."""
    if not (out / "manifest.json").exists():
        cohort = read_cohort(data / "odir")
        kept = [
            row
            for row, patient in enumerate(cohort.patients())
            if not any(belongs(patient, part) for part in KEPT_OUT[eyes])
        ][:limit]
        settings = CohortSettings(licence="research data, not to be shared")
        import_cohort(cohort.subset(kept), out, settings, progress=console_progress())
    pairs = PairSet.open(out)
    trained = {pairs.patient_id(number) for number in range(len(pairs))}
    if any(patient is None or belongs(patient, eyes) for patient in trained):
        raise SystemExit(f"{out} holds patients that would be scored: use another work folder")
    return pairs


def phantom_pairs(count: int, out: Path, seed: int) -> PairSet:
    """As many phantoms, each a drawn eye of its own."""
    generate(GenerateSettings(count=count, size=288, seed=seed), out, progress=console_progress())
    return PairSet.open(out)


def trained(pairs: PairSet, settings: TrainSettings, out: Path) -> dict[str, Any]:
    """Train, or go on where a killed call stopped; what the run says of itself."""
    record = out / "run.json"
    if not record.exists() or not json.loads(record.read_text(encoding="utf-8")).get("finished"):
        train(settings, [pairs], out, resume=record.exists(), progress=console_progress())
    found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return found


def compare(questions: tuple[Question, ...], options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Both runs and their scores."""
    real = real_pairs(options.data, options.eyes, work / "real", 96 if options.quick else None)
    sets = {"real": real, "phantoms": phantom_pairs(len(real), work / "phantoms", options.seed + 29)}
    settings = TrainSettings(
        model="tiny" if options.quick else "small",
        epochs=1 if options.quick else options.epochs,
        learning_rate=0.002,
        seed=options.seed,
        device="cpu",
    )
    runs = {name: trained(pairs, settings, work / f"run-{name}") for name, pairs in sets.items()}
    if len({run["steps"] for run in runs.values()}) != 1:
        raise SystemExit(f"the runs have different numbers of steps: {[run['steps'] for run in runs.values()]}")
    rows = []
    for question in questions:
        for name in sets:
            row = ask(question, work / f"run-{name}", options.data, options.eyes, "en")
            rows.append({"trained_on": name, **row})
            print(f"{name:<9} {line(row)}", flush=True)
    facts = {
        name: {"pairs": len(sets[name]), "steps": run["steps"], "seconds": run["seconds"]} for name, run in runs.items()
    }
    return {"eyes": options.eyes, "settings": settings.resolved(), "runs": facts, "rows": rows}


def main() -> None:
    """Train both, ask every question, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eyes", choices=[name for name in EYES if name in KEPT_OUT], default="validation")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--work", type=Path, help="keep sets and runs here; a second call goes on from them")
    parser.add_argument("--quick", action="store_true", help="a tiny model, 96 pairs, one question; says nothing")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"not run: there are no real eyes at {options.data} (give --data)")
        return
    questions = QUESTIONS[:1] if options.quick else QUESTIONS
    if options.work is not None:
        found = compare(questions, options, options.work)
    else:
        with tempfile.TemporaryDirectory() as work:
            found = compare(questions, options, Path(work))
    for name, run in found["runs"].items():
        print(f"{name}: {run['pairs']} pairs, {run['steps']} steps, {run['seconds']:.0f} s")
    RESULTS.mkdir(parents=True, exist_ok=True)
    out = RESULTS / f"gap-{'quick' if options.quick else options.eyes}.json"
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"written to {out}")


if __name__ == "__main__":
    main()
