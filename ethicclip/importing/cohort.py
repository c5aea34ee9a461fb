"""A real cohort as pairs: its labels in words, its patients in the index, its folder for the owner's eyes only.

Captions state the diagnosis and the eye and nothing else, because nothing else is known of these pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.cohorts.labelling import conditions_of, grades_of
from ethicclip.importing.rows import ImportResult, Row, write_rows
from ethicclip.importing.settings import CohortSettings
from ethicclip.pairs import Origin
from ethicclip.progress import SILENT, Progress
from ethicclip.terms import Condition, label_captions, label_names

IMPORTER = "import/cohort/1"


def import_cohort(
    cohort: Path | Cohort,
    out: Path,
    settings: CohortSettings,
    *,
    workers: int = 1,
    progress: Progress = SILENT,
) -> ImportResult:
    """Make a pair set of labelled eyes.

    Args:
        cohort: What `ethicclip.cohorts.read_cohort` reads, or a cohort that was read.
        out: Folder of the pair set; mode 0700 when the eyes are real.
        settings: Licence, label column, languages.
        workers: Processes; changes no byte.
        progress: Where to report.

    Returns:
        The finished set, of origin real (synthetic for a simulated population). Rows whose labels name no condition
        ("other", "multiple" without a column that says which) are left out and counted.

    Raises:
        BadInputError: A label that is not known, no label at all, or a broken picture.
        UsageError: The label column is not there.
    """
    eyes = cohort if isinstance(cohort, Cohort) else read_cohort(cohort)
    grades = grades_of(eyes)
    found = conditions_of(eyes, settings.label_column, grades)
    sides = eyes.column("eye") if "eye" in eyes.table.columns else [""] * len(eyes)
    left_out: Counter[str] = Counter()
    rows: list[Row] = []
    for number, conditions in enumerate(found):
        if conditions is None:
            left_out["the label names no condition"] += 1
            continue
        graded = grades[number]
        if graded is not None and (graded > 0) != (Condition.DIABETIC_RETINOPATHY in conditions):
            # Label and grade contradict each other: the label is what the cohort is scored by.
            graded = None
        eye = sides[number].casefold() if sides[number].casefold() in ("left", "right") else None
        captions: dict[str, Sequence[str]] = {
            language: label_captions(label_names(conditions, graded, language), eye, language)
            for language in settings.languages
        }
        rows.append(
            Row(
                file=str(eyes.files[number]),
                captions=captions,
                labels=[condition.value for condition in conditions],
                grade=graded,
                eye=eye,
                patient_id=None if eyes.patient_ids is None else eyes.patient_ids[number],
            )
        )
    return write_rows(
        out,
        rows,
        settings,
        root=Path(),
        name=re.sub(r"[^A-Za-z0-9_-]+", "-", eyes.alias).strip("-") or "cohort",
        importer=IMPORTER,
        origin=Origin.SYNTHETIC if eyes.simulated else Origin.REAL,
        left_out=left_out,
        notes=(*eyes.notes, "Captions are written from labels; labels of public cohorts are noisy."),
        workers=workers,
        progress=progress,
    )
