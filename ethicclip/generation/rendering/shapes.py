"""Outlines and patches that lesions are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ethicclip.generation.findings import Anatomy, Lesion
from ethicclip.generation.rendering.view import Canvas, Plane, View, norm, smoothstep

Outlines = npt.NDArray[np.float64]


def blob_outlines(lesions: Sequence[Lesion], random: np.random.Generator, roughness: float) -> Outlines:
    """Closed, slightly irregular outlines (n, 20, 2), in micrometres, of the lesions' area, aspect and direction."""
    count, corners = len(lesions), 20
    theta = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    orders = np.array([2, 3, 4, 5])
    amount = random.normal(0, roughness, (count, 4)) / np.sqrt(orders - 1)
    phase = random.uniform(0, 2 * np.pi, (count, 4))
    radius = 1 + (amount[:, None, :] * np.cos(theta[None, :, None] * orders + phase[:, None, :])).sum(axis=2)
    size = np.array([item.diameter_um / 2 for item in lesions])
    aspect = np.sqrt(np.array([item.aspect for item in lesions]))
    turn = np.array([item.angle_rad for item in lesions])
    along = radius * np.cos(theta) * (size * aspect)[:, None]
    across = radius * np.sin(theta) * (size / aspect)[:, None]
    x = along * np.cos(turn)[:, None] - across * np.sin(turn)[:, None] + np.array([[item.x_um] for item in lesions])
    y = along * np.sin(turn)[:, None] + across * np.cos(turn)[:, None] + np.array([[item.y_um] for item in lesions])
    return np.stack([x, y], axis=2)


def spots(view: View, lesions: Sequence[Lesion], random: np.random.Generator, roughness: float = 0.12) -> Plane:
    """Coverage of many small blobs, each with its strength; a spot below a pixel fades by its area."""
    canvas = Canvas(view)
    outlines = blob_outlines(lesions, random, roughness)
    # The strongest last, so that it stays where blobs overlap.
    for position in sorted(range(len(lesions)), key=lambda item: lesions[item].strength):
        lesion = lesions[position]
        fine = lesion.diameter_um / canvas.um_per_px
        # fillPoly also inks the outline, which would swell what is smaller than a few fine pixels.
        faded = lesion.strength * min(1.0, (fine / (fine + 1.0)) ** 2 * 1.1)
        canvas.polygon(outlines[position], faded)
    return canvas.coverage()


def flames(view: View, lesions: Sequence[Lesion], random: np.random.Generator) -> Plane:
    """Bleeding between nerve fibres: bundles of fine parallel strokes with feathered ends."""
    canvas = Canvas(view)
    for lesion in lesions:
        length = lesion.diameter_um * math.sqrt(lesion.aspect)
        width = lesion.diameter_um / math.sqrt(lesion.aspect)
        count = int(np.clip(round(width / 22), 4, 16))
        across = np.linspace(-0.5, 0.5, count) * width + random.normal(0, 6, count)
        reach = (
            length / 2 * np.sqrt(np.clip(1.05 - (2 * across / width) ** 2, 0.06, 1)) * random.uniform(0.55, 1.1, count)
        )
        middle = random.normal(0, 0.1 * length, count)
        bow = random.normal(0, 0.05) * length
        forward = np.array([math.cos(lesion.angle_rad), math.sin(lesion.angle_rad)])
        sideways = np.array([-forward[1], forward[0]])
        centre = np.array([lesion.x_um, lesion.y_um])
        knots = []
        for part in (-1.0, 0.0, 1.0):
            along, off = middle + part * reach, across * (1 - 0.25 * abs(part)) + bow * (1 - part**2)
            knots.append(centre + along[:, None] * forward + off[:, None] * sideways)
        thickness = np.full(count, max(16.0, width / count * 1.5))
        level = np.full(count, lesion.strength) * random.uniform(0.7, 1.0, count)
        for first, second in pairwise(knots):
            canvas.strokes(first, second, thickness, level)
    return view.blur(canvas.coverage(), 30)


def tangles(view: View, lesions: Sequence[Lesion], random: np.random.Generator, *, width_um: float) -> Plane:
    """Fine curling vessels inside each lesion's circle: new vessels, or IRMA when few."""
    canvas = Canvas(view)
    for lesion in lesions:
        radius = lesion.diameter_um / 2
        count = int(np.clip(lesion.diameter_um / 90, 3, 18))
        # A frond: stems leave one root, fan out, and turn back in loops at the rim.
        centre = np.array([lesion.x_um, lesion.y_um])
        root = centre + random.normal(0, 0.35 * radius, 2)
        place = np.repeat(root[None], count, axis=0) + random.normal(0, 0.12 * radius, (count, 2))
        heading = random.uniform(0, 2 * np.pi) + random.normal(0, 1.3, count)
        curl = random.normal(0, 0.1, count)
        level = np.full(count, 0.8 * lesion.strength) * random.uniform(0.5, 1.0, count)
        width = np.full(count, width_um) * random.uniform(0.6, 1.3, count)
        step = radius / 11
        for _ in range(18):
            curl = 0.8 * curl + random.normal(0, 0.17, count)
            off = place - centre
            outward = off[:, 0] * np.cos(heading) + off[:, 1] * np.sin(heading) > 0
            turning = (np.hypot(off[:, 0], off[:, 1]) > 0.85 * radius) & outward
            heading = heading + curl + np.where(turning, np.where(curl >= 0, 0.6, -0.6), 0.0)
            moved = place + step * np.stack([np.cos(heading), np.sin(heading)], axis=1)
            canvas.strokes(place, moved, width, level)
            place = moved
    return view.blur(canvas.coverage(), 8)


def region(
    view: View, lesion: Lesion, random: np.random.Generator, *, rough: float = 0.2, soft_um: float = 60.0
) -> Plane:
    """A large patch whose border follows noise, as lesions of the pigment epithelium do: 1 inside, 0 outside."""
    x, y = view.grid_um
    cos, sin = np.float32(math.cos(lesion.angle_rad)), np.float32(math.sin(lesion.angle_rad))
    dx, dy = x - np.float32(lesion.x_um), y - np.float32(lesion.y_um)
    stretch = np.float32(math.sqrt(lesion.aspect))
    radius = lesion.diameter_um / 2
    distance = norm((dx * cos + dy * sin) / stretch, (dy * cos - dx * sin) * stretch)
    # Lobes from a few harmonics, fringes from noise: noise alone tears a patch to rags.
    angle = np.arctan2(dy, dx)
    lobes = np.zeros_like(distance)
    for order in (2, 3, 4, 5):
        lobes += np.float32(random.normal(0, 1.1) / order) * np.cos(order * angle + np.float32(random.uniform(0, 6.3)))
    fringe = np.float32(0.42) * view.noise(random, max(170.0, radius * 0.3))
    depth = np.float32(radius) * (1 + np.float32(rough) * (lobes + fringe)) - distance
    soft = max(soft_um, 0.6 * view.um_per_px)
    return smoothstep(-soft, soft, np.asarray(depth, dtype=np.float32))


def fibre_direction(anatomy: Anatomy, x_um: float, y_um: float) -> float:
    """Direction of the nerve fibres at a place: away from the disc, bending round the macula."""
    disc_x, disc_y = anatomy.disc_centre_um
    dx, dy = x_um - disc_x, y_um - disc_y
    radial = math.atan2(dy, dx)
    if dx > 0:
        return radial
    around = math.atan2(y_um, x_um) + (math.pi / 2 if y_um < 0 else -math.pi / 2)
    mix = min(1.0, math.hypot(dx, dy) / 4500)
    # Lines have no sense of direction: bring both to the same half turn before mixing.
    difference = (around - radial + math.pi / 2) % math.pi - math.pi / 2
    return radial + mix * difference
