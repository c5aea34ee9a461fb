"""The optic nerve head: rim, cup, notch, pallor, swelling and the atrophy round it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ethicclip.generation.findings import Eye
from ethicclip.generation.rendering.background import Reflectance, blend, tint
from ethicclip.generation.rendering.view import Plane, View, norm, smoothstep


class DiscGeometry:
    """Where rim, cup and peripapillary atrophy are, as smooth planes.

    Attributes:
        disc: 1 inside the margin of the disc, 0 outside.
        cup: 1 in the cup.
        cup_rho: Distance from the cup's centre in radii of the cup in that direction.
        crescent: 1 in the peripapillary atrophy.
        rho: Distance from the centre in radii of the margin in that direction.
        angle: Direction from the centre, 0 = nasal, pi/2 = inferior.
    """

    def __init__(self, eye: Eye, random: np.random.Generator, view: View) -> None:
        anatomy, nerve = eye.anatomy, eye.nerve
        x, y = view.grid_um
        centre_x, centre_y = anatomy.disc_centre_um
        tilt = math.radians(anatomy.disc_tilt_deg)
        dx, dy = x - np.float32(centre_x), y - np.float32(centre_y)
        along = dx * np.float32(math.cos(tilt)) + dy * np.float32(math.sin(tilt))
        across = dy * np.float32(math.cos(tilt)) - dx * np.float32(math.sin(tilt))
        u, v = along / np.float32(anatomy.disc_width_um / 2), across / np.float32(anatomy.disc_height_um / 2)
        self.angle = np.asarray(np.arctan2(v, u), dtype=np.float32)
        wobble = np.zeros_like(self.angle)
        for order in (2, 3, 4):
            wobble += np.float32(random.normal(0, 0.022 / order * 2)) * np.cos(
                order * self.angle + np.float32(random.uniform(0, 6.3))
            )
        self.rho = np.asarray(norm(u, v) / (1 + wobble), dtype=np.float32)
        radius = (anatomy.disc_height_um + anatomy.disc_width_um) / 4
        blur = max(random.uniform(50.0, 140.0), 0.6 * view.um_per_px) / radius + 0.28 * nerve.swelling
        # The nasal margin is the softer one.
        edge = np.float32(blur) * (1 + np.float32(random.uniform(0.2, 1.0)) * np.cos(self.angle))
        self.disc = np.asarray(1 - _ramp((self.rho - 1) / edge), dtype=np.float32)

        # The rim is thickest below and thinnest temporally: the cup lies off centre, the more the smaller it is.
        cup_x = -0.04 - 0.2 * (1 - nerve.cup_ratio) + random.normal(0, 0.03)
        cup_y = random.normal(0, 0.03)
        width_ratio = nerve.cup_ratio * random.uniform(0.78, 1.05)
        cup_u, cup_v = u - np.float32(cup_x), v - np.float32(cup_y)
        cup_angle = np.arctan2(cup_v, cup_u)
        cup_radius = np.full_like(u, 1.0)
        if nerve.notch:
            towards = (math.pi / 2 + 0.35) * (1 if nerve.notch == "inferior" else -1)
            gap = _wrapped(cup_angle - np.float32(towards))
            reach = 0.97 / max(nerve.cup_ratio, 0.3) - 1
            cup_radius += np.float32(reach) * np.exp(-((gap / np.float32(0.42)) ** 2))
        cup_rho = norm(cup_u / np.float32(max(width_ratio, 0.05)), cup_v / np.float32(max(nerve.cup_ratio, 0.05)))
        softness = np.float32(random.uniform(0.25, 0.9) * (1.2 - 0.8 * nerve.cup_ratio))
        self.cup_rho = np.asarray(cup_rho / cup_radius, dtype=np.float32)
        inside = 1 - _ramp((self.cup_rho - 1) / softness)
        self.cup = np.asarray(inside * (1 - _ramp((self.rho - np.float32(0.95)) / np.float32(0.05))), dtype=np.float32)
        if nerve.cup_ratio < 0.08:
            self.cup = np.zeros_like(self.cup)

        self.crescent = np.zeros_like(self.rho)
        if nerve.crescent > 0:
            direction = math.pi + random.normal(0, 0.35)
            gap = np.abs(_wrapped(self.angle - np.float32(direction)))
            ragged = 1 + 0.10 * view.noise(random, 900)
            for order in (2, 3, 5):
                ragged += np.float32(random.normal(0, 0.06)) * np.cos(
                    order * self.angle + np.float32(random.uniform(0, 6.3))
                )
            span = np.float32(max(nerve.crescent_span_rad, 0.3))
            extent = np.float32(nerve.crescent) * (1 - smoothstep(0.25, 1.0, gap / span)) * ragged
            margin = np.float32(max(110.0, 0.8 * view.um_per_px) / radius)
            self.crescent = np.asarray(
                (1 - _ramp((self.rho - 1 - extent) / margin)) * (extent > 0.02) * (1 - self.disc), dtype=np.float32
            )


def _wrapped(angle: Plane) -> Plane:
    """An angle brought to -pi..pi."""
    turns = np.rint(angle / np.float32(2 * math.pi))
    return np.asarray(angle - np.float32(2 * math.pi) * turns, dtype=np.float32)


def _ramp(value: npt.NDArray[np.floating]) -> Plane:
    return smoothstep(-1.0, 1.0, np.asarray(value, dtype=np.float32))


def paint_disc(image: Reflectance, eye: Eye, random: np.random.Generator, view: View, bands: Plane) -> DiscGeometry:
    """Paint the nerve head and what surrounds it; vessels come later, on top."""
    shape = DiscGeometry(eye, random, view)
    nerve = eye.nerve
    halo = np.exp(-(((shape.rho - 1) / np.float32(0.5 + nerve.swelling)) ** 2)) * (1 - shape.disc)
    tint(image, halo * np.float32(random.normal(0.07, 0.08) + 0.12 * nerve.swelling), (0.2, 1.0, 1.0))
    if nerve.crescent > 0:
        bare = random.uniform(0.75, 1.0)
        mottled = np.clip(0.8 + 0.25 * view.noise(random, 260), 0.2, 1.0) * np.float32(bare)
        # A narrow crescent is thinned pigment, a broad one bare sclera.
        bright = random.uniform(0.5, 1.0) + 0.6 * min(nerve.crescent, 1.5)
        blend(image, shape.crescent * mottled, (0.28 * bright, 0.42 * bright, 0.30 * bright))
        tint(image, shape.crescent * (bands - np.float32(0.28)), (-0.05, -0.3, -0.25))
        rim = np.clip(view.blur(shape.crescent, 110) * (1 - shape.crescent) * (1 - shape.disc) * 2, 0, 1)
        tint(image, rim * np.float32(random.uniform(0.1, 0.5)), (-0.3, -0.45, -0.4))
    level, warm = random.uniform(0.8, 1.2), random.uniform(0.75, 1.15)
    pale = nerve.pallor
    # The rim is living tissue: orange, hardly brighter than the fundus in green. The cup is bare white lamina.
    rim_colour = (
        (0.60 + 0.05 * pale) * level,
        (random.uniform(0.36, 0.78) + 0.4 * pale) * level,
        (random.uniform(0.1, 0.6) + 0.45 * pale) * level * warm,
    )
    blend(image, shape.disc, rim_colour)
    # The temporal rim is thinner and paler, the nasal one fuller and redder.
    side = -np.cos(shape.angle) * smoothstep(0.15, 0.8, shape.rho) * shape.disc
    tint(image, side * np.float32(random.uniform(0.4, 1.3)), (0.02, 0.19, 0.19))
    # The scleral ring: a thin pale line, seen in parts.
    ring = np.exp(-(((shape.rho - np.float32(1.0)) / np.float32(0.07)) ** 2)) * np.clip(-np.cos(shape.angle), 0, 1)
    tint(image, ring * np.float32(max(0.0, random.normal(0.03, 0.12))), (0.4, 1.0, 1.0))
    striae = view.noise(random, 240) * shape.disc
    tint(image, striae * np.float32(0.04), (0.6, 1.0, 1.0))
    cup_colour = (0.76 * level, 0.96 * level, (0.82 + 0.2 * pale) * level * warm)
    # Brightest in its middle, where the lamina lies bare; a wide cup is bright all over.
    peak = np.exp(-((shape.cup_rho / np.float32(random.uniform(0.3, 0.7) + 0.2 * nerve.cup_ratio)) ** 2))
    bare = random.uniform(0.05, 0.6)
    blend(image, shape.cup * (np.float32(bare) + np.float32(1 - bare) * peak), cup_colour)
    # Pores of the lamina: a deep cup is mottled grey.
    pores = np.clip(view.noise(random, 130) - np.float32(0.4), 0, 2) * shape.cup
    tint(image, pores * np.float32(random.uniform(0.0, 0.12) * nerve.cup_ratio), (-0.3, -0.8, -0.9))
    return shape
