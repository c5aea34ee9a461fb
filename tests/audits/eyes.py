"""Simple random eyes for tests: a lit disc, a bright optic disc, branching vessels; one tree a seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ethicclip.cohorts import Cohort
from ethicclip.imaging import Pixels


def draw_eye(seed: int, side: int = 192) -> Pixels:
    """A fundus-like picture with a vessel tree of its own, RGB uint8 (side, side, 3)."""
    rng = np.random.default_rng([77, seed])
    scale = 2
    size = side * scale
    radius, middle = 0.47 * size, size / 2
    picture = np.zeros((size, size, 3), np.uint8)
    base = np.array([rng.uniform(150, 200), rng.uniform(70, 110), rng.uniform(25, 55)])
    cv2.circle(picture, (int(middle), int(middle)), int(radius), base.tolist(), -1, cv2.LINE_AA)
    disc = np.array([middle + rng.choice([-1, 1]) * 0.42 * radius, middle + rng.uniform(-0.08, 0.08) * radius])
    cv2.circle(picture, disc.astype(int).tolist(), int(0.13 * radius), (250, 220, 150), -1, cv2.LINE_AA)

    def grow(start: np.ndarray, heading: float, width: float, depth: int) -> None:
        place, turn = start, rng.normal(0, 0.02)
        for _ in range(int(rng.integers(9, 18))):
            heading += turn + rng.normal(0, 0.09)
            after = place + 0.035 * radius * np.array([np.cos(heading), np.sin(heading)])
            if np.hypot(*(after - middle)) > 0.95 * radius:
                return
            colour = (base * np.array([0.62, 0.4, 0.5])).tolist()
            cv2.line(
                picture, place.astype(int).tolist(), after.astype(int).tolist(), colour, max(1, int(width)), cv2.LINE_AA
            )
            place = after
            if depth < 2 and rng.uniform() < 0.12:
                grow(place, heading + rng.choice([-1, 1]) * rng.uniform(0.4, 0.9), 0.7 * width, depth + 1)
        if depth < 2:
            for side_turn in (-0.4, 0.4):
                grow(place, heading + side_turn * rng.uniform(0.6, 1.4), 0.75 * width, depth + 1)

    for heading in np.linspace(0, 2 * np.pi, 6, endpoint=False):
        grow(disc, heading + rng.normal(0, 0.3), 0.035 * radius, 0)
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    field = (small.max(axis=2, keepdims=True) > 20).astype(np.float32)
    texture = cv2.GaussianBlur(rng.normal(0, 14, (side, side)).astype(np.float32), (0, 0), 2)[..., None]
    return np.clip(small + field * (texture + rng.normal(0, 2, small.shape)), 0, 255).astype(np.uint8)


class Images:
    """A synthetic set in memory."""

    def __init__(self, pictures: Sequence[Pixels], names: Sequence[str] | None = None) -> None:
        self.pictures = list(pictures)
        self.names = list(names) if names is not None else [f"image{i:04d}.png" for i in range(len(pictures))]

    digest = "0" * 64

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        return self.names[index]

    def image(self, index: int, max_side: int | None = None) -> Pixels:
        return self.pictures[index]

    def caption(self, index: int) -> str | None:
        return None

    def sha256(self, index: int) -> str:
        return f"{index:064d}"


def cohort_of(
    folder: Path, pictures: Sequence[Pixels], patients: Sequence[str] | None, alias: str = "simulated"
) -> Cohort:
    """Write pictures as PNG files and make them a cohort."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, picture in enumerate(pictures):
        file = folder / f"{alias}_{number:04d}.png"
        cv2.imwrite(str(file), picture[..., ::-1])
        files.append(file)
    table = pd.DataFrame({"file": [str(file) for file in files]})
    return Cohort(
        alias=alias,
        path=folder,
        files=tuple(files),
        patient_ids=None if patients is None else tuple(patients),
        table=table,
    )
