"""How useful phantoms are: zero-shot scores on real eyes of a CLIP that was trained on phantoms alone.

    python benchmarks/training/usefulness.py [RUN] [--eyes development|validation|report-only|all] [--quick]

Five questions are asked of two public collections: normal, cataract or pathologic myopia (ODIR); diabetic retinopathy
of grade 2 and above against none (ODIR, EyePACS); glaucoma against normal; macular degeneration against normal (ODIR).
Every figure has an interval that resamples patients; beside it stands what sharpness, contrast or darkness alone would
score. Patients with int(sha256(patient_id)) mod 5 == 0 are report-only: no choice was made by looking at them.
Prints a table and writes benchmarks/results/usefulness-EYES.json. No image is copied.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ethicclip.cli.console import console_progress
from ethicclip.clip import load
from ethicclip.clip.shipped import builtin_folder
from ethicclip.cohorts import read_cohort
from ethicclip.evaluation import EvaluateSettings, evaluate

RESULTS = Path(__file__).parents[1] / "results"
MODULUS = 5


@dataclass(frozen=True, kw_only=True)
class Question:
    """One line of the table."""

    name: str
    collection: str
    classes: tuple[str, ...]
    metric: str
    graded: bool = False

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows that have an answer, their answer in the column `answer`."""
        if self.graded:
            grade = pd.to_numeric(table["dr_grade"], errors="coerce")
            answer = grade.map(lambda value: "dr" if value >= 2 else "normal" if value == 0 else None)
        else:
            answer = table["label"].where(table["label"].isin(self.classes))
        return table.assign(answer=answer).dropna(subset=["answer"])


QUESTIONS = (
    Question(
        name="normal / cataract / pathologic myopia",
        collection="odir",
        classes=("normal", "cataract", "myopia"),
        metric="balanced_accuracy",
    ),
    Question(name="DR grade >= 2 against 0", collection="odir", classes=("normal", "dr"), metric="auroc", graded=True),
    Question(
        name="DR grade >= 2 against 0", collection="eyepacs", classes=("normal", "dr"), metric="auroc", graded=True
    ),
    Question(name="glaucoma against normal", collection="odir", classes=("normal", "glaucoma"), metric="auroc"),
    Question(name="AMD against normal", collection="odir", classes=("normal", "amd"), metric="auroc"),
)


EYES = ("development", "validation", "report-only", "all")


def belongs(patient: str, eyes: str) -> bool:
    """Whether a patient is of these eyes; the validation patients are a fifth of all, among the development ones."""
    part = int(hashlib.sha256(patient.encode()).hexdigest(), 16) % MODULUS
    return {"development": part != 0, "validation": part == 1, "report-only": part == 0, "all": True}[eyes]


def ask(
    question: Question, run: Path, data: Path, eyes: str, language: str, *, single_statistics: bool = True
) -> dict[str, Any]:
    """One question's figure, its interval and, where asked for, what single statistics score."""
    folder = data / question.collection
    table = question.rows(pd.read_csv(folder / "cohort.csv", dtype=str))
    table = table[[belongs(patient, eyes) for patient in table["patient_id"]]]
    table = table.assign(file=[str((folder / file).resolve()) for file in table["file"]])
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "cohort.csv"
        table.to_csv(path, index=False)
        settings = EvaluateSettings(
            label_column="answer",
            classes=question.classes,
            figures=False,
            language=language,
            prompt_kind="both",
            single_statistics=single_statistics,
        )
        metrics = evaluate(
            settings, load(run), read_cohort(path), Path(scratch) / "out", progress=console_progress()
        ).metrics
    found = metrics[question.metric]
    singles = {
        name: one[question.metric]["estimate"]
        for name, one in metrics.get("single_statistics", {}).get("by_statistic", {}).items()
        if question.metric in one
    }
    return {
        "question": question.name,
        "collection": question.collection,
        "metric": question.metric,
        **{name: found[name] for name in ("estimate", "low", "high")},
        "images": metrics["counts"]["images"],
        "patients": metrics["counts"]["patients"],
        "single_statistics": singles,
    }


def line(row: dict[str, Any]) -> str:
    """A row for a person."""
    best = max(row["single_statistics"].items(), key=lambda item: item[1], default=("none", float("nan")))
    what = "ACA" if row["metric"] == "balanced_accuracy" else "AUROC"
    return (
        f"{row['question']:<40} {row['collection']:<8} {what:<6} {row['estimate']:.2f} "
        f"[{row['low']:.2f}, {row['high']:.2f}]  {row['images']:>5} images, {row['patients']:>5} patients   "
        f"{best[0]} alone {best[1]:.2f}"
    )


def main() -> None:
    """Ask every question and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=builtin_folder(), help="the built-in model by default")
    parser.add_argument("--eyes", choices=EYES, default="development")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--quick", action="store_true", help="one question, of the smaller collection")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"not run: there are no real eyes at {options.data} (give --data)")
        return
    rows = []
    for question in QUESTIONS[2:3] if options.quick else QUESTIONS:
        rows.append(ask(question, options.run, options.data, options.eyes, options.language))
        print(line(rows[-1]), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    out = RESULTS / f"usefulness-{'quick' if options.quick else options.eyes}.json"
    out.write_text(json.dumps({"run": options.run.name, "eyes": options.eyes, "rows": rows}, indent=2) + "\n")
    print(f"written to {out}")


if __name__ == "__main__":
    main()
