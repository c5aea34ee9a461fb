"""Small worlds: painted eyes whose colour is their class, and a model that sees colour and reads three words."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ethicclip.imaging import Pixels

COLOURS = {"normal": (220, 60, 40), "cataract": (60, 220, 40), "dr": (60, 40, 220)}
AXES = {"cataract": 1, "lens": 1, "diabetic": 2, "retinopathy": 2}


@dataclass
class ColourModel:
    """Embeds a picture as its mean colour, and a text as the colour of the disease that it names."""

    name: str = "colour"
    logit_scale: float = 10.0

    def encode_images(self, images: Iterable[Pixels], *, batch_size: int = 64) -> npt.NDArray[np.float32]:
        rows = [image.reshape(-1, 3).mean(axis=0) for image in images]
        vectors = np.array(rows, dtype=np.float32).reshape(-1, 3)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors = np.zeros((len(texts), 3), dtype=np.float32)
        for row, text in enumerate(texts):
            found = [axis for word, axis in AXES.items() if word in text.lower() and not text.startswith("No ")]
            vectors[row, found[0] if found else 0] = 1.0
        return vectors


def paint(path: Path, colour: str, *, seed: int = 0, size: int = 48) -> None:
    """A round field of one colour on black, with a little noise so that no two files are equal."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inside = (x**2 + y**2) < (0.46 * size) ** 2
    picture = np.zeros((size, size, 3))
    picture[inside] = np.array(COLOURS[colour]) + rng.normal(0, 6, (int(inside.sum()), 3))
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path)


def make_cohort(folder: Path, rows: Sequence[dict[str, str]], *, patients: bool = True, absolute: bool = False) -> Path:
    """Paint one file a row and write cohort.csv; "colour" (the label by default) is what the model will see."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in ("colour", "patient_id")]
    with (folder / "cohort.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["file", *(["patient_id"] if patients else []), *names])
        writer.writeheader()
        for index, row in enumerate(rows):
            file = folder / f"eye{index:03d}.png"
            paint(file, row.get("colour", row.get("label", "normal")), seed=index)
            cells = {name: row.get(name, "") for name in names}
            cells["file"] = str(file) if absolute else file.name
            if patients:
                cells["patient_id"] = row.get("patient_id", f"p{index // 2}")
            writer.writerow(cells)
    return folder


def three_classes(each: int = 8) -> list[dict[str, str]]:
    """Normal, cataract and diabetic eyes, two a patient; one cataract is painted as normal."""
    rows = [{"label": label, "eye": ("left", "right")[i % 2]} for label in COLOURS for i in range(each)]
    rows[each]["colour"] = "normal"
    return [{"colour": row["label"], **row} for row in rows]
