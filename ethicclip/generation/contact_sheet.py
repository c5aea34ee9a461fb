"""A contact sheet of phantoms by condition, to be looked at by someone who knows eyes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ethicclip.files import write_bytes
from ethicclip.generation.marking import encode_marked
from ethicclip.generation.phantom import PhantomEngine
from ethicclip.generation.recipes import FindingsRecipe
from ethicclip.generation.settings import GenerateSettings
from ethicclip.imaging import Pixels
from ethicclip.progress import SILENT, Progress
from ethicclip.terms import Condition, name

_HEADER_PX = 22


def _rows() -> list[tuple[str, FindingsRecipe]]:
    rows = [(name(Condition.NORMAL, "en"), FindingsRecipe(conditions=(Condition.NORMAL,)))]
    rows += [
        (
            f"{name(Condition.DIABETIC_RETINOPATHY, 'en')}, grade {grade}",
            FindingsRecipe(conditions=(Condition.DIABETIC_RETINOPATHY,), dr_grade=grade),
        )
        for grade in range(1, 5)
    ]
    both = (Condition.DIABETIC_RETINOPATHY, Condition.DIABETIC_MACULAR_OEDEMA)
    rows.append((name(Condition.DIABETIC_MACULAR_OEDEMA, "en"), FindingsRecipe(conditions=both)))
    single = [item for item in Condition if item not in (Condition.NORMAL, *both)]
    return rows + [(name(item, "en"), FindingsRecipe(conditions=(item,))) for item in single]


def _titled(strip: Pixels, title: str) -> Pixels:
    header = np.full((_HEADER_PX, strip.shape[1], 3), 255, dtype=np.uint8)
    cv2.putText(header, title, (4, _HEADER_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1, cv2.LINE_AA)
    return np.concatenate([header, strip])


def preview(
    out: Path,
    *,
    size: int = 224,
    columns: int = 8,
    seed: int = 0,
    good_quality: bool = False,
    progress: Progress = SILENT,
) -> Path:
    """Write a PNG with a row of pictures for every condition.

    Args:
        out: The file to write; replaced when it exists.
        size: Side of a picture in pixels.
        columns: Pictures a condition.
        seed: Which eyes.
        good_quality: Leave defects of quality out.
        progress: Where to report.
    """
    strips = []
    rows = _rows()
    with progress.task("preview", total=len(rows), unit="conditions") as bar:
        for row, (title, recipe) in enumerate(rows):
            findings = recipe.model_copy(update={"quality": "good"}) if good_quality else recipe
            engine = PhantomEngine(GenerateSettings(count=columns * len(rows), size=size, seed=seed, findings=findings))
            # Other numbers in every row, or all rows would show the same cameras.
            strip = np.concatenate([engine.image(row * columns + column) for column in range(columns)], axis=1)
            strips.append(_titled(strip, title))
            bar.advance()
    write_bytes(out, encode_marked(np.concatenate(strips), "png", quality=100))
    return out
