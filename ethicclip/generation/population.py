"""A simulated population in the form of a real cohort, for demonstrations and tests where no real eyes may lie.

Two eyes a person, who share pigment, age and camera; every eye has its own vessel tree. Its random streams are apart
from those of generated sets, so no generated eye is ever one of a simulated person's.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ethicclip.files import require_empty_or_absent, write_bytes, write_json, write_text
from ethicclip.generation import grading
from ethicclip.generation.cameras import CAMERAS, draw_camera, draw_photograph
from ethicclip.generation.findings import Anatomy, Eye, Laterality
from ethicclip.generation.marking import MARKING, encode_marked
from ethicclip.generation.phantom import GENERATOR
from ethicclip.generation.recipes import FindingsRecipe
from ethicclip.generation.rendering.acquisition import take_photograph
from ethicclip.generation.rendering.scene import render_scene
from ethicclip.generation.rendering.vessels import grow
from ethicclip.generation.sampling import Plan, draw_anatomy, draw_eye, draw_plan
from ethicclip.generation.settings import SimulateSettings
from ethicclip.generation.streams import SIMULATED, Stream, stream
from ethicclip.progress import SILENT, Progress
from ethicclip.terms import Condition

COLUMNS = (
    "file",
    "patient_id",
    "eye",
    "label",
    "dr_grade",
    "glaucoma",
    "amd",
    "cataract",
    "myopia",
    "hypertensive",
    "age",
)

_LABELS = {
    Condition.NORMAL: "normal",
    Condition.DIABETIC_RETINOPATHY: "dr",
    Condition.GLAUCOMA: "glaucoma",
    Condition.AGE_RELATED_MACULAR_DEGENERATION: "amd",
    Condition.CATARACT: "cataract",
    Condition.PATHOLOGIC_MYOPIA: "myopia",
    Condition.HYPERTENSIVE_RETINOPATHY: "hypertensive",
}

_NOTICE = """# A simulated population

No person here exists. Every picture was drawn by a program (see simulated.json) and is marked as such in its XMP
metadata. The table has the form of a real cohort's so that tools can be shown and tested without patients.
"""


def _label(eye: Eye) -> str:
    found = [item for item in grading.conditions(eye) if item is not Condition.DIABETIC_MACULAR_OEDEMA]
    if len(found) > 1:
        return "multiple"
    return _LABELS.get(found[0], "other")


def _fellow(random: np.random.Generator, anatomy: Anatomy) -> Anatomy:
    """The other eye of the same person: alike, not the same."""

    def near(value: float, spread: float) -> float:
        return float(value * np.clip(random.normal(1, spread), 0.8, 1.2))

    return replace(
        anatomy,
        disc_fovea_um=near(anatomy.disc_fovea_um, 0.02),
        disc_angle_deg=anatomy.disc_angle_deg + float(random.normal(0, 1.5)),
        disc_height_um=near(anatomy.disc_height_um, 0.03),
        disc_width_um=near(anatomy.disc_width_um, 0.03),
        disc_tilt_deg=-anatomy.disc_tilt_deg + float(random.normal(0, 4)),
        arcade_height_um=near(anatomy.arcade_height_um, 0.05),
        artery_um=near(anatomy.artery_um, 0.05),
        vein_um=near(anatomy.vein_um, 0.05),
        macula_radius_um=near(anatomy.macula_radius_um, 0.05),
    )


def _person(settings: SimulateSettings, number: int) -> tuple[list[Eye], str]:
    """Both eyes of person `number`, and the camera they are seen with."""
    random = stream(SIMULATED, settings.seed, number, Stream.PERSON)
    plan = draw_plan(random, "balanced", FindingsRecipe())
    camera = draw_camera(random)
    # Most disease is in both eyes; a fellow eye without it is common enough.
    alone = random.random() < 0.3
    first = Laterality.LEFT if random.random() < 0.5 else Laterality.RIGHT
    healthy = replace(plan, conditions=(Condition.NORMAL,), dr_grade=0)
    eyes: list[Eye] = []
    anatomy: Anatomy | None = None
    for side in (first, Laterality.RIGHT if first is Laterality.LEFT else Laterality.LEFT):
        own: Plan = replace(healthy if eyes and alone else plan, laterality=side)
        anatomy = draw_anatomy(random, own) if anatomy is None else _fellow(random, anatomy)
        eyes.append(draw_eye(random, own, anatomy))
    return sorted(eyes, key=lambda eye: eye.laterality.value), camera.name


def _row(eye: Eye, file: str, patient: str) -> dict[str, Any]:
    found = grading.conditions(eye)

    def flag(condition: Condition) -> int:
        return int(condition in found)

    return {
        "file": file,
        "patient_id": patient,
        "eye": eye.laterality.value,
        "label": _label(eye),
        "dr_grade": grading.dr_grade(eye),
        "glaucoma": flag(Condition.GLAUCOMA),
        "amd": flag(Condition.AGE_RELATED_MACULAR_DEGENERATION),
        "cataract": flag(Condition.CATARACT),
        "myopia": flag(Condition.PATHOLOGIC_MYOPIA),
        "hypertensive": flag(Condition.HYPERTENSIVE_RETINOPATHY),
        "age": eye.age,
    }


def simulate_cohort(
    out: Path,
    *,
    patients: int,
    seed: int = 0,
    size: int = 224,
    repeat_share: float = 0.0,
    quality: int = 92,
    progress: Progress = SILENT,
) -> Path:
    """Write a simulated population: ``images/``, ``cohort.csv`` as of a real cohort, ``simulated.json``, a README.

    Args:
        out: A new or empty folder.
        patients: People, with two eyes each.
        seed: A stream of its own: no set made by `generate` shares an eye with it, whatever its seed.
        size: Side of a picture in pixels, 128 to 1024.
        repeat_share: Share of eyes photographed a second time, at another visit, as another file of that patient.
        quality: JPEG quality.
        progress: Where to report.

    Returns:
        `out`.

    Raises:
        UsageError: A value outside its range.
        BadInputError: `out` holds something.

    Example:
        >>> from ethicclip.generation import simulate_cohort
        >>> simulate_cohort(Path("people"), patients=40, seed=7, repeat_share=0.2)  # doctest: +SKIP
    """
    settings = SimulateSettings.build(
        {"patients": patients, "seed": seed, "size": size, "repeat_share": repeat_share, "quality": quality}
    )
    require_empty_or_absent(out)
    names = {camera.name: camera for camera in CAMERAS}
    rows: list[dict[str, Any]] = []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with progress.task("simulated people", total=patients, unit="people") as bar:
            for number in range(patients):
                eyes, camera = _person(settings, number)
                patient = f"S{number:06d}"
                for which, eye in enumerate(eyes):
                    key = (SIMULATED, settings.seed, number, which)
                    tree = grow(eye, stream(*key, Stream.VESSELS))
                    visits = stream(*key, Stream.CASE)
                    again = visits.random() < settings.repeat_share
                    for visit in range(2 if again else 1):
                        photograph = draw_photograph(visits, eye, names[camera])
                        scene = render_scene(eye, photograph, settings.size, key, tree=tree)
                        pixels = take_photograph(scene, eye, photograph, stream(*key, Stream.PICTURE, visit))
                        name = f"{patient}_{eye.laterality.value}" + (f"_{visit + 1}" if visit else "")
                        write_bytes(
                            out / "images" / f"{name}.jpg", encode_marked(pixels, "jpg", quality=settings.quality)
                        )
                        rows.append(_row(eye, f"images/{name}.jpg", patient))
                bar.advance()
    finally:
        cv2.setNumThreads(threads)
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "README.md", _NOTICE)
    write_json(
        out / "simulated.json",
        {
            "schema": "ethicclip/simulated/1",
            "simulated": True,
            "generator": GENERATOR,
            "settings": settings.resolved(),
            "patients": patients,
            "images": len(rows),
            "marking": MARKING,
        },
    )
    # Last: a cohort without its table is not a cohort.
    write_text(out / "cohort.csv", table.getvalue())
    return out
