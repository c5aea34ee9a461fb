"""Puts an eye together: the expensive, noise-free half of a picture, to be photographed as often as wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ethicclip.generation.findings import Eye, LesionKind, Photograph
from ethicclip.generation.rendering.background import (
    Reflectance,
    choroid,
    paint_ground,
    paint_macula,
    paint_nerve_fibres,
    tint,
)
from ethicclip.generation.rendering.disc import DiscGeometry, paint_disc
from ethicclip.generation.rendering.lesions import LesionPainter
from ethicclip.generation.rendering.strokes import VesselCover, paint_vessels
from ethicclip.generation.rendering.vessels import VesselTree, grow
from ethicclip.generation.rendering.view import Plane, View, norm, smoothstep
from ethicclip.generation.streams import Stream, stream


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One eye from one direction, lit evenly by a perfect camera.

    Attributes:
        reflectance: Log reflectance relative to the eye's mean colour, float32 (3, size, size).
        masks: Coverage 0 to 1 of disc, cup, artery, vein and each kind of lesion, float32 (size, size).
    """

    view: View
    reflectance: Reflectance
    masks: dict[str, Plane]


def render_scene(
    eye: Eye, photograph: Photograph, size: int, key: tuple[int, ...], *, tree: VesselTree | None = None
) -> Scene:
    """Render the geometry of an eye.

    Args:
        eye: What to render.
        photograph: Field, direction and laterality are taken from it; light and optics are not.
        size: Side in pixels.
        key: Random key of the eye: the same key gives the same vessels and texture from every direction.
        tree: The eye's vessel tree, when several views of it are rendered.
    """
    view = View.of(eye, photograph, size)
    image = np.zeros((3, size, size), dtype=np.float32)
    choroid_stream = stream(*key, Stream.CHOROID)
    bands = choroid(eye, choroid_stream, view)
    paint_ground(image, eye, stream(*key, Stream.TEXTURE), view, bands)
    _paint_myopia(image, eye, choroid_stream, view, bands)
    paint_macula(image, eye, stream(*key, Stream.DECOYS), view)
    painter = LesionPainter(image=image, eye=eye, view=view, random=stream(*key, Stream.LESIONS), bands=bands)
    painter.under_vessels()
    fibres = stream(*key, Stream.FIBRES)
    paint_nerve_fibres(image, eye, fibres, view)
    discs = stream(*key, Stream.DISC)
    shape = paint_disc(image, eye, discs, view, bands)
    vessels = tree if tree is not None else grow(eye, stream(*key, Stream.VESSELS))
    cover = paint_vessels(image, eye, vessels, discs, view, shape)
    painter.over_vessels()
    return Scene(view=view, reflectance=image, masks=_masks(shape, cover, painter.masks))


def _paint_myopia(image: Reflectance, eye: Eye, random: np.random.Generator, view: View, bands: Plane) -> None:
    change = eye.myopia
    x, y = view.grid_um
    if change.staphyloma > 0:
        centre_x = eye.anatomy.disc_centre_um[0] * random.uniform(0.3, 0.8)
        radius = random.uniform(4200, 6200)
        distance = norm(x - np.float32(centre_x), (y - np.float32(random.normal(0, 400))) * np.float32(1.1))
        distance = distance + view.noise(random, 3000) * np.float32(350)
        floor = 1 - smoothstep(radius * 0.72, radius * 1.08, distance)
        tint(image, floor * np.float32(change.staphyloma), (0.14, 0.20, 0.16))
        wall = np.exp(-(((distance - np.float32(radius)) / np.float32(650)) ** 2))
        tint(image, wall * np.float32(change.staphyloma), (-0.10, -0.16, -0.12))
    if change.diffuse_atrophy > 0:
        distance = norm(x - np.float32(eye.anatomy.disc_centre_um[0] * 0.55), y)
        pale = np.clip(1.15 - distance / np.float32(6500) + 0.25 * view.noise(random, 2200), 0, 1)
        tint(image, pale * np.float32(change.diffuse_atrophy), (0.22, 0.30, 0.14))
        tint(image, pale * (bands - np.float32(0.3)) * np.float32(change.diffuse_atrophy), (-0.10, -0.30, -0.22))


def _masks(shape: DiscGeometry, cover: VesselCover, lesions: dict[LesionKind, Plane]) -> dict[str, Plane]:
    masks = {"disc": shape.disc, "cup": shape.cup, "artery": cover.artery, "vein": cover.vein}
    return masks | {kind.value: plane for kind, plane in lesions.items()}
