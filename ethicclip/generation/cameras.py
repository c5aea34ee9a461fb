"""Draws how a photograph is taken: cameras, light, optics, defects.

The colour families and the spread of brightness, contrast and blur were chosen by comparing aggregate measurements
(quantiles of channel means, contrast, sharpness) with public research photographs; no picture enters here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ethicclip.errors import UsageError
from ethicclip.generation.findings import Eye, Photograph


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One make: what all its photographs share.

    Attributes:
        weight: Share among photographs.
        level: Median green level of a fundus of middling pigment, 0 to 1.
        red_green, blue_green: Median ratios of channels.
        fields: Angles of view it offers, in degrees.
    """

    name: str
    weight: float
    level: float
    red_green: float
    blue_green: float
    fields: tuple[float, ...]
    cut_share: float
    saturation: float
    sharpening: float


CAMERAS = (
    Camera(name="rose", weight=0.25, level=0.358, red_green=1.6, blue_green=0.61, fields=(42, 45), cut_share=0.15,
           saturation=1.0, sharpening=0.35),
    Camera(name="pale", weight=0.22, level=0.475, red_green=1.36, blue_green=0.64, fields=(42, 45), cut_share=0.15,
           saturation=1.0, sharpening=0.35),
    Camera(name="brown", weight=0.13, level=0.21, red_green=1.72, blue_green=0.57, fields=(42, 45), cut_share=0.15,
           saturation=1.0, sharpening=0.25),
    Camera(name="orange", weight=0.13, level=0.265, red_green=2.05, blue_green=0.38, fields=(42, 45, 50), cut_share=0.2,
           saturation=1.0, sharpening=0.4),
    Camera(name="olive", weight=0.09, level=0.29, red_green=1.29, blue_green=0.48, fields=(42, 45), cut_share=0.2,
           saturation=0.95, sharpening=0.2),
    Camera(name="amber", weight=0.06, level=0.24, red_green=1.9, blue_green=0.15, fields=(42, 45), cut_share=0.1,
           saturation=1.0, sharpening=0.25),
    Camera(name="crimson", weight=0.06, level=0.14, red_green=2.65, blue_green=0.32, fields=(42, 45), cut_share=0.1,
           saturation=1.0, sharpening=0.3),
    Camera(name="gold", weight=0.06, level=0.42, red_green=1.48, blue_green=0.08, fields=(42, 45), cut_share=0.1,
           saturation=1.05, sharpening=0.6),
)  # fmt: skip


def camera_named(name: str) -> Camera:
    """The camera of that name; `UsageError` lists the names otherwise."""
    for camera in CAMERAS:
        if camera.name == name:
            return camera
    raise UsageError(f"no camera is named {name!r}", next_step=f"Choose one of: {', '.join(c.name for c in CAMERAS)}.")


def draw_camera(random: np.random.Generator) -> Camera:
    """One camera, by share."""
    weights = np.array([camera.weight for camera in CAMERAS])
    return CAMERAS[int(random.choice(len(CAMERAS), p=weights / weights.sum()))]


def _sometimes(random: np.random.Generator, share: float, low: float, high: float) -> float:
    """A value from a range in `share` of the draws, else 0."""
    chosen = random.random() < share
    value = random.uniform(low, high)
    return float(value) if chosen else 0.0


def draw_photograph(
    random: np.random.Generator,
    eye: Eye,
    camera: Camera,
    *,
    good: bool = False,
    field_deg: tuple[float, float] | None = None,
) -> Photograph:
    """How this eye comes out of this camera. Nothing here looks at disease: defects must not betray a label.

    Args:
        random: Source of randomness.
        eye: Pigment darkens the fundus; a fundus with little is bright.
        camera: Its make.
        good: Leave defects of quality out.
        field_deg: Draw the angle of view within this range.
    """
    anatomy = eye.anatomy
    dark = anatomy.pigmentation - 0.5
    level = 1.15 * camera.level * math.exp(random.normal(0, 0.20) - 0.35 * dark)
    red_green = 1.17 * camera.red_green * math.exp(random.normal(0, 0.09) + 0.10 * dark)
    blue_green = 1.05 * camera.blue_green * math.exp(random.normal(0, 0.17) - 0.10 * dark)
    if not good and random.random() < 0.06:
        level *= random.uniform(0.4, 0.75)
    # A picture that shows little blue and as much green as red would be olive, which no fundus is.
    red_green = max(red_green, 1.12 + 0.35 * (1 - min(1.0, blue_green / 0.45)))
    # Overexposed skin tones lose red first; levels are bounded as a sensor's are.
    green = min(level, 0.56)
    red = min(green * red_green, 0.84 + 0.1 * random.random())
    blue = green * blue_green

    on_disc = random.random() < 0.04
    between = random.random() < 0.28
    disc_x, disc_y = anatomy.disc_centre_um
    part = 1.0 if on_disc else random.uniform(0.0, 0.65) if between else random.uniform(0.12, 0.42)
    if field_deg is None:
        field = float(random.choice(camera.fields)) * random.uniform(0.96, 1.04)
        if random.random() < 0.10:
            field = random.uniform(30, 60)
    else:
        field = random.uniform(*field_deg)
    loose = field / 45 * 480
    cut = random.random() < camera.cut_share
    keep = random.uniform(0.80, 0.93) if cut else 1.0
    squeezed = cut and random.random() < 0.6
    bad = 0.0 if good else 1.0
    soft = random.random()
    blur = (
        random.uniform(1.0, 2.8) if soft < 0.82 else random.uniform(2.6, 5.0) if soft < 0.97 else random.uniform(5, 12)
    )
    # A dark picture was amplified, and its noise with it.
    gain = (0.33 / max(level, 0.06)) ** 0.8
    return Photograph(
        camera=camera.name,
        field_deg=field,
        centre_x_um=disc_x * part + random.normal(0, loose),
        centre_y_um=disc_y * part + random.normal(0, loose),
        rotation_deg=float(np.clip(random.normal(0, 4.0), -12, 12)),
        radius=random.uniform(0.985, 1.0) if random.random() < 0.88 else random.uniform(0.86, 0.985),
        cut=keep,
        stretch=1 / keep if squeezed else 1.0,
        colour=(red, green, blue),
        gamma=random.uniform(0.9, 1.25),
        saturation=camera.saturation * random.uniform(0.9, 1.1),
        vignette=random.uniform(0.0, 0.5),
        blur=blur if not good else min(blur, 2.4),
        sharpening=camera.sharpening * random.uniform(0.0, 0.6),
        haze=bad * (_sometimes(random, 0.30, 0.05, 0.35) if random.random() < 0.93 else random.uniform(0.3, 0.78)),
        shadow=bad * _sometimes(random, 0.36, 0.15, 0.9),
        crescent=bad * _sometimes(random, 0.34, 0.08, 0.9) ** 1.3,
        glare=bad * _sometimes(random, 0.2, 0.2, 1.0),
        ghosts=int(random.poisson(0.9)),
        dust=int(random.poisson(1.0) if random.random() < 0.88 else random.integers(4, 22)),
        streaks=int(random.poisson(0.12)),
        aberration=random.normal(0, 1.0),
        noise=(abs(random.normal(0, 0.003)) + 0.001) * min(gain, 2.2),
        black_level=random.uniform(0, 0.012),
        quality=int(random.integers(62, 96)) if random.random() < 0.5 else 100,
    )
