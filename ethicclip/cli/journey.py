"""The whole journey: every verb once, on a simulated population or on a cohort of the user's.

It audits twice. The honest set is what the generator made; the second is the same set with copies of reference
patients planted in it, so that a user sees what a caught leak looks like, and that the audit can fail.
"""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ethicclip.audits import AuditSettings
from ethicclip.cli import audit_leakage, evaluate, generate, report, split, train
from ethicclip.cohorts import Cohort, SplitSettings, read_cohort
from ethicclip.errors import BadInputError
from ethicclip.evaluation import EvaluateSettings
from ethicclip.files import read_json, write_bytes, write_json, write_text
from ethicclip.generation import GenerateSettings, simulate_cohort
from ethicclip.imaging import Pixels
from ethicclip.pairs import PairSet
from ethicclip.progress import SILENT, Progress
from ethicclip.reports import ReportSettings
from ethicclip.settings import Settings
from ethicclip.training import TrainSettings

MARK = "demo.json"
PLANTED = "planted-set"
SCHEMA = "ethicclip/demo/1"


class DemoSettings(Settings):
    """Sizes of the journey; the defaults fit a laptop's few minutes.

    Attributes:
        count: Pairs to generate and train on.
        size: Side of a generated image in pixels.
        seed: Of everything.
        patients: Of the simulated population, when no cohort is given.
        planted: Reference patients whose copies are planted in the second set.
        epochs: Of training.
    """

    count: int = 1000
    size: int = 224
    seed: int = 0
    patients: int = 300
    planted: int = 40
    epochs: int = 16


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Where everything lies and whether the audits said what they should."""

    out: Path
    summary: dict[str, Any]
    text: tuple[str, ...]

    @property
    def as_expected(self) -> bool:
        """The honest set did not leak and the planted one was caught."""
        return bool(self.summary["as_expected"])

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints; also in ``demo.json``."""
        return self.summary

    def lines(self) -> tuple[str, ...]:
        """A few lines for a person."""
        return self.text


def run_demo(
    settings: DemoSettings,
    out: Path,
    *,
    cohort: Path | None = None,
    ledger: Path,
    workers: int = 1,
    progress: Progress = SILENT,
) -> DemoResult:
    """Run the journey into `out`.

    Args:
        settings: Sizes.
        out: New, empty, or an earlier demo's folder, which is replaced.
        cohort: Real eyes; None simulates a population.
        ledger: Where every step is recorded.
        workers: Processes or threads; changes no result.
        progress: Where to report.

    Raises:
        BadInputError: `out` holds something that is not a demo, or the cohort is too small to plant from.
    """
    _claim(out)
    out.mkdir(parents=True, exist_ok=True)
    if cohort is not None:
        out.chmod(0o700)
    write_json(out / MARK, {"schema": SCHEMA, "finished": False})
    if cohort is None:
        progress.say("1/8 simulating a population in place of real patients")
        cohort = simulate_cohort(out / "population", patients=settings.patients, seed=settings.seed, progress=progress)
    population = read_cohort(cohort)
    progress.say(f"2/8 splitting {len(population)} images by patient")
    split.perform(SplitSettings(seed=settings.seed), population, out / "split", ledger=ledger, progress=progress)
    reference, control, test = (
        read_cohort(out / "split" / part, alias=f"{population.alias}/{part}")
        for part in ("reference", "control", "test")
    )
    progress.say(f"3/8 generating {settings.count} pairs")
    generate.perform(
        GenerateSettings(count=settings.count, size=settings.size, seed=settings.seed),
        out / "pairs",
        workers=workers,
        ledger=ledger,
        progress=progress,
    )
    audits = {}
    audit_settings = AuditSettings(seed=settings.seed, exchangeable=True)
    progress.say("4/8 auditing the honest set")
    audits["honest"] = audit_leakage.perform(
        audit_settings,
        out / "pairs",
        reference,
        control,
        out / "audit",
        workers=workers,
        ledger=ledger,
        progress=progress,
    )
    progress.say(f"5/8 planting copies of {settings.planted} reference patients, and auditing that")
    planted = plant(reference, PairSet.open(out / "pairs"), out, settings.planted, settings.seed)
    audits["planted"] = audit_leakage.perform(
        audit_settings,
        out / PLANTED,
        reference,
        control,
        out / "audit-planted",
        workers=workers,
        ledger=ledger,
        progress=progress,
        positive_control=f"copies of {settings.planted} reference patients were planted in this set on purpose",
    )
    progress.say("6/8 training CLIP on the honest set")
    train.perform(
        TrainSettings(seed=settings.seed, epochs=settings.epochs),
        [PairSet.open(out / "pairs")],
        out / "run",
        resume=False,
        workers=0,
        ledger=ledger,
        progress=progress,
    )
    progress.say("7/8 evaluating on the test eyes")
    scored = evaluate.perform(
        EvaluateSettings(seed=settings.seed), out / "run", test, out / "evaluation", ledger=ledger, progress=progress
    )
    progress.say("8/8 writing the report")
    audience = "shareable" if population.simulated else "restricted"
    report.perform(ReportSettings(audience=audience), out / "report", ledger=ledger)
    found = _compare(out / "audit-planted" / "flagged.csv", planted)
    summary = {
        "schema": SCHEMA,
        "finished": True,
        "simulated": population.simulated,
        "audits": {
            name: {"verdict": result.verdict, "exit_code": int(result.exit_code)} for name, result in audits.items()
        },
        "planted": found,
        "balanced_accuracy": scored.metrics["balanced_accuracy"],
        "report": str(out / "report" / "report.html"),
        "ledger": str(ledger),
        "as_expected": audits["honest"].verdict != "LEAK" and audits["planted"].verdict == "LEAK",
    }
    write_json(out / MARK, summary)
    return DemoResult(out=out, summary=summary, text=_lines(summary, out, ledger))


def plant(reference: Cohort, pairs: PairSet, out: Path, patients: int, seed: int) -> dict[str, str]:
    """Write the set's images and disguised copies of reference patients to ``out/planted-set``, names telling nothing.

    The disguises are the ones a careless pipeline makes: JPEG, mirror, a small rotation, a crop.

    Returns:
        Planted file name -> its disguise; also in ``out/planted.csv`` (restricted, as the folder is).
    """
    rows_by_patient: dict[str, int] = {}
    for number, patient in enumerate(reference.patients()):
        rows_by_patient.setdefault(patient, number)
    if len(rows_by_patient) < patients:
        raise BadInputError(
            f"the reference part has {len(rows_by_patient)} patients; {patients} are to be planted",
            next_step="Give a larger cohort, or --set planted=N with a smaller N.",
        )
    generator = np.random.default_rng([seed, 0x51A7])
    chosen = generator.choice(sorted(rows_by_patient), size=patients, replace=False)
    images = out / PLANTED
    images.mkdir(parents=True)
    images.chmod(0o700)
    places = generator.permutation(len(pairs) + patients)
    for number in range(len(pairs)):
        pair = pairs.read(number)
        write_bytes(images / f"{places[number]:06d}.{pair.suffix}", pair.image)
    disguises = list(DISGUISES)
    planted: dict[str, str] = {}
    key = io.StringIO()
    writer = csv.writer(key)
    writer.writerow(["file", "reference_file", "disguise"])
    for number, patient in enumerate(chosen):
        disguise = disguises[number % len(disguises)]
        row = rows_by_patient[patient]
        name = f"{places[len(pairs) + number]:06d}.jpg"
        picture = DISGUISES[disguise](reference.image(row), generator)
        quality = 30 if disguise == "jpeg" else 90
        _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        write_bytes(images / name, data.tobytes())
        planted[name] = disguise
        writer.writerow([name, str(reference.files[row]), disguise])
    write_text(out / "planted.csv", key.getvalue())
    (out / "planted.csv").chmod(0o600)
    return planted


def _rotated(image: Pixels, generator: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    angle = float(generator.uniform(3, 8) * generator.choice([-1, 1]))
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_CUBIC), np.uint8)


def _cropped(image: Pixels, generator: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    share = float(generator.uniform(0.75, 0.9))
    tall, wide = round(height * share), round(width * share)
    top = int(generator.integers(0, height - tall + 1))
    left = int(generator.integers(0, width - wide + 1))
    part = image[top : top + tall, left : left + wide]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


DISGUISES = {
    "jpeg": lambda image, _: image,
    "flip": lambda image, _: np.ascontiguousarray(image[:, ::-1]),
    "rotation": _rotated,
    "crop": _cropped,
}
"""How a planted copy is disguised; the audit's own ladder is wider."""


def _compare(flagged: Path, planted: dict[str, str]) -> dict[str, Any]:
    with flagged.open(encoding="utf-8", newline="") as stream:
        names = {row["file"] for row in csv.DictReader(stream)}
    by_kind: dict[str, dict[str, int]] = {}
    for name, disguise in planted.items():
        count = by_kind.setdefault(disguise, {"planted": 0, "flagged": 0})
        count["planted"] += 1
        count["flagged"] += name in names
    return {
        "patients": len(planted),
        "flagged": len(names & set(planted)),
        "others_flagged": len(names - set(planted)),
        "by_disguise": by_kind,
    }


def _claim(out: Path) -> None:
    """A folder of an earlier demo is replaced; anything else is refused."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    mark = out / MARK
    if not mark.exists() or read_json(mark).get("schema") != SCHEMA:
        raise BadInputError(
            f"the output folder {out} holds something that is not a demo", next_step="Choose a new folder with --out."
        )
    shutil.rmtree(out)


def _lines(summary: dict[str, Any], out: Path, ledger: Path) -> tuple[str, ...]:
    audits, planted, score = summary["audits"], summary["planted"], summary["balanced_accuracy"]
    eyes = (
        "simulated eyes: no real patient is in this demo"
        if summary["simulated"]
        else "real eyes: this folder is restricted"
    )
    value = "could not be computed"
    if score["estimate"] is not None:
        value = f"{score['estimate']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"
    return (
        f"eyes            {eyes}",
        f"honest set      {audits['honest']['verdict']} (exit {audits['honest']['exit_code']})",
        f"planted set     {audits['planted']['verdict']} (exit {audits['planted']['exit_code']}): "
        f"{planted['flagged']} of {planted['patients']} planted copies flagged, {planted['others_flagged']} others",
        f"zero-shot       balanced accuracy {value}",
        f"caught copies   {out / 'audit-planted' / 'contact_sheet.png'}",
        f"report          {out / 'report' / 'report.html'}",
        f"check it        ethicclip verify {ledger}   and   ethicclip verify {out / 'report'}",
    )
