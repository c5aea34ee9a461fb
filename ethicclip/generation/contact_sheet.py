"""A contact sheet of phantoms with the rows of docs/conditions.md, to be looked at by someone who knows eyes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ethicclip.files import write_bytes
from ethicclip.generation.catalogue import entries
from ethicclip.generation.marking import encode_marked
from ethicclip.generation.phantom import PhantomEngine
from ethicclip.generation.settings import GenerateSettings
from ethicclip.imaging import Pixels
from ethicclip.progress import SILENT, Progress

_HEADER_PX = 22


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
    """Write a PNG with a row of pictures for every condition and every defect of quality.

    Args:
        out: The file to write; replaced when it exists.
        size: Side of a picture in pixels.
        columns: Pictures a condition.
        seed: Which eyes.
        good_quality: Leave defects of quality out, but for the rows that show them.
        progress: Where to report.
    """
    strips = []
    rows = entries()
    with progress.task("preview", total=len(rows), unit="conditions") as bar:
        for row, entry in enumerate(rows):
            recipe = entry.recipe
            clear = good_quality and recipe.quality == "any"
            findings = recipe.model_copy(update={"quality": "good"}) if clear else recipe
            engine = PhantomEngine(GenerateSettings(count=columns * len(rows), size=size, seed=seed, findings=findings))
            # Other numbers in every row, or all rows would show the same cameras.
            strip = np.concatenate([engine.image(row * columns + column) for column in range(columns)], axis=1)
            strips.append(_titled(strip, entry.title))
            bar.advance()
    write_bytes(out, encode_marked(np.concatenate(strips), "png", quality=100))
    return out
