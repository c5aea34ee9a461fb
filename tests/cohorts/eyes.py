"""Small drawn eyes and tables for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ethicclip.imaging import Pixels


def draw_eye(seed: int, side: int = 160) -> Pixels:
    """A lit circle with a disc and wandering dark vessels; every seed is another eye."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((side, side, 3), dtype=np.uint8)
    middle = side // 2
    cv2.circle(canvas, (middle, middle), middle - 4, (190, 110, 60), -1)
    disc = (int(side * rng.uniform(0.25, 0.35)), int(side * rng.uniform(0.45, 0.55)))
    cv2.circle(canvas, disc, side // 14, (240, 200, 130), -1)
    for _ in range(9):
        angle = rng.uniform(0, 2 * np.pi)
        x, y = disc
        points = [(x, y)]
        for _ in range(14):
            angle += rng.normal(0, 0.45)
            x, y = x + 8 * np.cos(angle), y + 8 * np.sin(angle)
            points.append((int(x), int(y)))
        cv2.polylines(canvas, [np.array(points)], False, (120, 50, 30), int(rng.integers(1, 4)))
    ring = np.zeros((side, side), dtype=np.uint8)
    cv2.circle(ring, (middle, middle), middle - 4, 1, -1)
    return canvas * ring[..., None]


def save(path: Path, image: Pixels, quality: int = 92) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=quality)
    return path


def write_rows(path: Path, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(row) for row in (heading, *rows)) + "\n", encoding="utf-8")
    return path


def touch(folder: Path, *names: str) -> None:
    """Files of different content that nobody decodes."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def folder_of_eyes(folder: Path, patients: Sequence[str], *, first_seed: int = 0) -> Path:
    """Two drawn eyes a patient, with a table."""
    rows = []
    for number, patient in enumerate(patients):
        for e, eye in enumerate(("left", "right")):
            name = f"images/p{number}_{eye}.jpg"
            save(folder / name, draw_eye(first_seed + 2 * number + e))
            rows.append((name, patient, eye, "normal" if number % 2 else "dr"))
    write_rows(folder / "cohort.csv", ("file", "patient_id", "eye", "label"), rows)
    return folder
