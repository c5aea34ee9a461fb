"""A pair source in memory whose pictures carry their label plainly: bright spots, a pale disc, or nothing."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ethicclip.imaging import Pixels, read_image

LABELS = ("normal", "diabetic_retinopathy", "glaucoma")
_WORDS = {
    "normal": ("A normal fundus.", "正常眼底。"),
    "diabetic_retinopathy": ("Many haemorrhages: diabetic retinopathy.", "糖尿病视网膜病变。"),
    "glaucoma": ("A large cup: glaucoma.", "青光眼。"),
}


def eye(label: str, seed: int, side: int = 96) -> Pixels:
    """A disc-shaped field with what its label says."""
    generator = np.random.default_rng([seed, LABELS.index(label)])
    y, x = np.mgrid[:side, :side]
    inside = np.hypot(y - side / 2, x - side / 2) < side * 0.46
    picture = np.zeros((side, side, 3))
    picture[inside] = (170, 90, 50)
    spots = {"normal": 0, "diabetic_retinopathy": 14, "glaucoma": 1}[label]
    radius = {"normal": 0.0, "diabetic_retinopathy": 0.03, "glaucoma": 0.16}[label] * side
    shade = (70, 20, 20) if label == "diabetic_retinopathy" else (250, 220, 170)
    for _ in range(spots):
        centre = generator.uniform(0.3, 0.7, 2) * side
        picture[(np.hypot(y - centre[0], x - centre[1]) < radius) & inside] = shade
    picture += generator.normal(0, 3, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class ToyPair:
    key: str
    image: bytes
    suffix: str
    caption: str
    record: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ToySource:
    """`count` pairs; picklable, so that decoding processes can have it."""

    count: int = 48
    first: int = 0
    digest: str = "toy-1"
    origin: str = "synthetic"
    licence: str = "Apache-2.0"

    def __len__(self) -> int:
        return self.count

    def read(self, i: int) -> ToyPair:
        if not 0 <= i < self.count:
            raise IndexError(i)
        label = LABELS[i % len(LABELS)]
        stream = io.BytesIO()
        Image.fromarray(eye(label, self.first + i)).save(stream, "PNG")
        english, chinese = _WORDS[label]
        return ToyPair(
            key=f"{self.first + i:06d}",
            image=stream.getvalue(),
            suffix="png",
            caption=english,
            record={
                "labels": [label],
                "grade": 2 if label == "diabetic_retinopathy" else 0,
                "captions": {"en": [english, f"{english} Clear media."], "zh": [chinese]},
            },
        )

    def image(self, i: int) -> Pixels:
        return read_image(self.read(i).image)

    def masks_of(self, i: int, pair: ToyPair) -> dict[str, np.ndarray] | None:
        """Every other pair knows where its spots are."""
        if i % 2:
            return None
        red = read_image(pair.image)[..., 0]
        return {"blot_haemorrhage": (red > 40) & (red < 110), "cup": red > 220}


class TornSource(ToySource):
    """A set whose pair 7 is cut short."""

    def read(self, i: int) -> ToyPair:
        pair = super().read(i)
        return replace(pair, image=pair.image[:60]) if i == 7 else pair
