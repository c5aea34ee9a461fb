"""The retina without vessels and lesions: pigment, choroid, macula, nerve-fibre sheen.

Every function adds to `Reflectance`, the logarithm of the reflectance per channel relative to the eye's mean colour:
absorbing layers add up in it, and one colour later turns it into a picture.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.generation.findings import Eye
from ethicclip.generation.rendering.view import Canvas, Plane, View, norm, smoothstep

Reflectance = npt.NDArray[np.float32]
"""Log reflectance, shape (3, size, size), channels red, green, blue."""

Tint = tuple[float, float, float]


def tint(image: Reflectance, plane: Plane, weights: Tint) -> None:
    """Add `plane`, weighted per channel, in place."""
    plane = np.ascontiguousarray(plane, dtype=np.float32)
    for channel, weight in enumerate(weights):
        if weight:
            cv2.scaleAdd(plane, weight, image[channel], image[channel])


def blend(image: Reflectance, cover: Plane, target: Tint) -> None:
    """Move the log reflectance towards `target` where `cover` is 1, in place."""
    for channel, value in enumerate(target):
        image[channel] += cover * (np.float32(value) - image[channel])


_CHOROID_STEP_UM = 250.0
_CHOROID_REACH_UM = 9500.0


def choroid(eye: Eye, random: np.random.Generator, view: View) -> Plane:
    """Choroidal vessels as a net of bands that run from the posterior pole outwards: 0 between them, 1 on their axis.

    Lines are traced outwards from seeds all over the retina, along a fan and with turns of their own, so that they
    meet, part and cross; no law is claimed for them.
    """
    spacing = random.uniform(300, 480)
    mean_steps = 11
    count = round(math.pi * _CHOROID_REACH_UM**2 / (spacing * 0.38 * mean_steps * _CHOROID_STEP_UM))
    centre = complex(eye.anatomy.disc_centre_um[0] * random.uniform(0.4, 0.9), 0.0)
    place = centre + _CHOROID_REACH_UM * random.random(count) ** 0.62 * np.exp(2j * np.pi * random.random(count))
    steps = random.integers(5, 2 * mean_steps - 4, count)
    width = np.clip(0.29 * spacing * np.exp(random.normal(0, 0.4, count)), 45, 260)
    level = random.uniform(0.45, 1.0, count)
    # Lines of one neighbourhood bend alike, or they would be scribbles.
    phase = random.uniform(0, 2 * math.pi, 4)
    turn = random.normal(0, 0.22, count)
    starts, ends, sizes, levels = [], [], [], []
    for step in range(int(steps.max())):
        turn = 0.8 * turn + random.normal(0, 0.27, count)
        outwards = np.angle(place - centre)
        # A fan, not a star: vortex veins drain upwards and downwards from a horizontal watershed.
        swirl = 0.45 * np.sin(place.real / 1500 + phase[0]) * np.cos(place.imag / 1900 + phase[1])
        swirl += 0.35 * np.sin((place.real + place.imag) / 820 + phase[2]) * np.cos(place.imag / 700 + phase[3])
        moved = place + _CHOROID_STEP_UM * np.exp(1j * (outwards + 0.28 * np.sin(2 * outwards) + swirl + turn))
        going = step < steps
        starts.append(place[going])
        ends.append(moved[going])
        # Thin where a line comes up from the depth and where it goes down again.
        ending = np.minimum(step + 1, steps - step) / 3.0
        sizes.append((width * np.clip(ending, 0.35, 1.0))[going])
        levels.append((level * np.clip(ending, 0.3, 1.0))[going])
        place = np.where(going, moved, place)
    small = view.reduced(max(1, round(view.size / 200)))
    canvas = Canvas(small, factor=2)
    canvas.strokes(
        np.concatenate(starts).view(np.float64).reshape(-1, 2),
        np.concatenate(ends).view(np.float64).reshape(-1, 2),
        np.concatenate(sizes),
        np.concatenate(levels),
    )
    bands = small.blur(canvas.coverage(), 34)
    return bands if small.size == view.size else view.enlarge(bands)


def paint_ground(image: Reflectance, eye: Eye, random: np.random.Generator, view: View, bands: Plane) -> None:
    """Pigment epithelium and choroid: slow shading, grain, tessellation."""
    x, y = view.grid_um
    anatomy = eye.anatomy
    shading = view.noise(random, 7000) * np.float32(0.055) + view.noise(random, 2600) * np.float32(0.03)
    tint(image, shading, (0.8, 1.0, 1.0))
    disc_x, disc_y = anatomy.disc_centre_um
    # The thick nerve-fibre layer round the disc is brighter; the temporal periphery falls off.
    near = np.exp(-((norm(x - np.float32(disc_x), y - np.float32(disc_y)) / np.float32(3600)) ** 2))
    tint(image, near * np.float32(random.uniform(0.0, 0.42)), (0.8, 1.0, 1.0))
    fine = view.noise(random, 150)
    grain = view.noise(random, 420) * np.float32(0.014) + fine * np.float32(0.021)
    tint(image, grain * np.float32(0.7 + 0.6 * anatomy.pigmentation), (0.9, 1.0, 0.7))
    # The choroid below is mottled too, and it is seen in red light.
    depth = np.float32(random.uniform(0.006, 0.024))
    deep = view.noise(random, 480) + np.float32(0.4) * view.noise(random, 1300) - np.float32(0.35) * fine
    tint(image, deep * depth, (1.0, 0.12, -0.15))
    far = norm(x - np.float32(anatomy.disc_centre_um[0] * 0.5), y)
    # The macula hides its choroid behind pigment; tessellation shows outside first, and patchily.
    macular = np.exp(-((norm(x, y) / np.float32(2100)) ** 2))
    patchy = np.clip(0.75 + 0.5 * view.noise(random, 3600), 0.1, 1.5)
    seen = np.float32(anatomy.tessellation) * (1 - np.float32(0.85 - 0.5 * anatomy.tessellation) * macular) * patchy
    seen *= np.float32(0.6) + np.float32(0.4) * smoothstep(2000, 7500, far)
    contrast = np.float32(anatomy.choroid_contrast)
    relief = (bands - np.float32(0.28)) * seen * contrast
    # Much pigment between the vessels: they stand out orange. Little: red vessels before the pale sclera. In red the
    # choroid differs most, because the light that comes back from it is red.
    fair = np.float32(1.0 / (1.0 + math.exp(14.0 * (anatomy.pigmentation - 0.33))))
    tint(image, relief * (1 - fair), (1.05, 0.48, 0.14))
    tint(image, relief * fair, (-0.10, -0.55, -0.48))
    tint(image, seen * fair, (0.14, 0.17, 0.15))


def paint_macula(image: Reflectance, eye: Eye, random: np.random.Generator, view: View) -> None:
    """Macular pigment, the foveal pit, and the reflexes that young eyes show."""
    x, y = view.grid_um
    anatomy = eye.anatomy
    radius = norm(x, y * np.float32(1.08))
    wide = np.exp(-((radius / np.float32(anatomy.macula_radius_um * 0.95)) ** 2))
    core = np.exp(-((radius / np.float32(anatomy.fovea_radius_um * 1.7)) ** 2))
    depth = random.uniform(0.35, 1.35) * (0.75 + 0.5 * anatomy.pigmentation)
    # Pigment epithelium darkens red, yellow macular pigment darkens blue and some green.
    brown = random.uniform(0.4, 1.3)
    tint(image, wide * np.float32(depth), (-0.22 * brown, -0.22, -0.14))
    tint(image, core * np.float32(depth), (-0.28 * brown, -0.28, -0.12))
    if anatomy.foveal_reflex > 0:
        dot_x, dot_y = random.normal(0, 60, 2)
        spot = np.exp(-(((x - dot_x) ** 2 + (y - dot_y) ** 2) / np.float32(random.uniform(50, 110) ** 2)))
        tint(image, spot * np.float32(anatomy.foveal_reflex), (0.25, 0.45, 0.5))
    if anatomy.ring_reflex > 0:
        angle = np.arctan2(y, x)
        broken = np.clip(0.6 + 0.6 * np.sin(angle + random.uniform(0, 6.3)) + 0.3 * view.noise(random, 900), 0, 1.2)
        ring_radius = anatomy.macula_radius_um * random.uniform(0.55, 1.05)
        oval = norm(x, y * np.float32(random.uniform(1.1, 1.4)))
        width = random.uniform(70, 190)
        ring = (
            np.exp(-(((oval - ring_radius) / np.float32(width)) ** 2)) * broken * np.float32(random.uniform(0.6, 1.9))
        )
        tint(image, ring * np.float32(anatomy.ring_reflex), (0.10, 0.24, 0.30))


def paint_nerve_fibres(image: Reflectance, eye: Eye, random: np.random.Generator, view: View) -> None:
    """The striated sheen of the nerve-fibre layer, and the dark wedge where it is lost."""
    x, y = view.grid_um
    disc_x, disc_y = eye.anatomy.disc_centre_um
    dx, dy = x - np.float32(disc_x), y - np.float32(disc_y)
    distance = norm(dx, dy)
    # Fibres leave the disc radially and bend round the macula, so their angle at the disc depends on both.
    angle = np.arctan2(dy, -dx)
    bend = np.float32(0.85) * np.tanh(distance / np.float32(5200)) * np.sin(angle)
    origin = angle + bend
    if eye.anatomy.nerve_fibre_sheen > 0:
        profile = random.standard_normal(256).astype(np.float32)
        cells = (origin + np.float32(math.pi * 2)) * np.float32(256 / (4 * math.pi))
        low = np.floor(cells).astype(np.int32) % 256
        fraction = cells - np.floor(cells)
        striae = profile[low] * (1 - fraction) + profile[(low + 1) % 256] * fraction
        arcuate = np.exp(-(((np.abs(origin) - np.float32(1.15)) / np.float32(0.5)) ** 2))
        reach = np.exp(-((distance / np.float32(4300)) ** 2)) * smoothstep(600, 1300, distance)
        sheen = (np.float32(0.55) + np.float32(0.32) * striae) * arcuate * reach
        tint(image, sheen * np.float32(eye.anatomy.nerve_fibre_sheen), (0.06, 0.22, 0.26))
        # A young inner surface mirrors: silvery flakes along the fibres, wherever it faces the light.
        gloss = np.float32(max(0.0, 1.6 * eye.anatomy.nerve_fibre_sheen - 0.5) * random.random() ** 1.5)
        if gloss > 0:
            facing = smoothstep(0.55, 1.25, view.noise(random, 1000) + np.float32(0.45) * striae)
            facing *= smoothstep(900, 1900, distance) * np.exp(-((distance / np.float32(6200)) ** 4))
            flakes = facing * np.clip(0.7 + 0.5 * view.noise(random, 260), 0, 1.4)
            tint(image, flakes * gloss * (np.float32(0.35) + arcuate), (0.12, 0.42, 0.50))
    if eye.nerve.nerve_fibre_defect > 0:
        side = -1.0 if eye.nerve.notch == "superior" else 1.0
        axis = side * random.uniform(0.95, 1.25)
        width = 0.08 + 0.2 * eye.nerve.nerve_fibre_defect
        wedge = 1 - smoothstep(width * 0.7, width, np.abs(origin - np.float32(axis)))
        wedge *= np.exp(-((distance / np.float32(5600)) ** 4)) * smoothstep(700, 1100, distance)
        tint(image, wedge * np.float32(0.4 + 0.6 * eye.nerve.nerve_fibre_defect), (-0.05, -0.15, -0.18))
