"""Where a camera looks: the map between micrometres on the retina and pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.generation.findings import UM_PER_DEGREE, Eye, Laterality, Photograph

Plane = npt.NDArray[np.float32]
"""One value a pixel, shape (size, size)."""

_TEXTURE_SIDE_UM = 30_000.0
_LEVELS = 24


@dataclass(frozen=True)
class View:
    """A square picture of `size` pixels.

    Attributes:
        size: Side in pixels.
        um_per_px: Retinal length of a pixel, along x.
        matrix: 2 x 3, from micrometres (right-eye frame) to pixel coordinates.
    """

    size: int
    um_per_px: float
    matrix: npt.NDArray[np.float64]

    @classmethod
    def of(cls, eye: Eye, photograph: Photograph, size: int) -> View:
        """The view of an eye through a photograph's camera."""
        radius_px = photograph.radius * size / 2
        um_per_px = photograph.field_deg * UM_PER_DEGREE / 2 / radius_px
        turn = math.radians(photograph.rotation_deg)
        flip = -1.0 if eye.laterality is Laterality.LEFT else 1.0
        scale_x, scale_y = 1 / um_per_px, photograph.stretch / um_per_px
        linear = np.array(
            [
                [scale_x * math.cos(turn) * flip, -scale_x * math.sin(turn)],
                [scale_y * math.sin(turn) * flip, scale_y * math.cos(turn)],
            ]
        )
        centre = np.array([photograph.centre_x_um, photograph.centre_y_um])
        offset = np.array([(size - 1) / 2, (size - 1) / 2]) - linear @ centre
        return cls(size, um_per_px, np.concatenate([linear, offset[:, None]], axis=1))

    def to_pixels(self, points_um: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Pixel coordinates (x, y) of points of shape (..., 2)."""
        return np.asarray(points_um @ self.matrix[:, :2].T + self.matrix[:, 2], dtype=np.float64)

    @cached_property
    def inverse(self) -> npt.NDArray[np.float64]:
        """2 x 3, from pixel coordinates to micrometres."""
        return np.asarray(cv2.invertAffineTransform(self.matrix), dtype=np.float64)

    @cached_property
    def grid_um(self) -> tuple[Plane, Plane]:
        """X and y, in micrometres, of every pixel's centre."""
        steps = np.arange(self.size, dtype=np.float32)
        inverse = self.inverse.astype(np.float32)
        x = inverse[0, 0] * steps[None, :] + inverse[0, 1] * steps[:, None] + inverse[0, 2]
        y = inverse[1, 0] * steps[None, :] + inverse[1, 1] * steps[:, None] + inverse[1, 2]
        return x, y

    @cached_property
    def _coarse(self) -> View:
        return self.reduced(4)

    def reduced(self, factor: int) -> View:
        """The same view with that many times fewer pixels a side."""
        size = -(-self.size // factor)
        scale = size / self.size
        matrix = self.matrix * scale
        # Pixel centres: half a pixel out before the change of scale, half a pixel back after it.
        matrix[:, 2] += scale / 2 - 0.5
        return View(size, self.um_per_px / scale, matrix)

    def sample(self, texture: Plane) -> Plane:
        """Look at a texture that covers the retina (a square of 30 mm about the fovea)."""
        cell = _TEXTURE_SIDE_UM / texture.shape[0]
        if cell > 12 * self.um_per_px:
            # What varies slowly is looked at in a quarter of the resolution and enlarged.
            return self.enlarge(self._coarse.sample(texture))
        to_cell = self.inverse / cell
        to_cell[:, 2] += texture.shape[0] / 2
        return np.asarray(
            cv2.warpAffine(
                texture,
                to_cell,
                (self.size, self.size),
                # Linear interpolation of a coarse grid draws angular shapes.
                flags=(cv2.INTER_CUBIC if cell > 2 * self.um_per_px else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT,
            ),
            dtype=np.float32,
        )

    def noise(self, random: np.random.Generator, cell_um: float) -> Plane:
        """Smooth noise of unit variance at the nodes and a grain of `cell_um`, fixed to the retina."""
        cells = round(_TEXTURE_SIDE_UM / cell_um)
        return self.sample(random.standard_normal((cells, cells), dtype=np.float32))

    def enlarge(self, plane: Plane) -> Plane:
        """Bring a plane of a reduced view to this view's size."""
        return np.asarray(cv2.resize(plane, (self.size, self.size), interpolation=cv2.INTER_CUBIC), dtype=np.float32)

    def blur(self, plane: Plane, sigma_um: float) -> Plane:
        """Gaussian blur by a retinal length; a blur far below a pixel is skipped."""
        sigma = sigma_um / self.um_per_px
        if sigma < 0.25:
            return plane
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), dtype=np.float32)


class Canvas:
    """Coverage drawn at a multiple of the picture's resolution, then averaged: anti-aliased shapes of any size."""

    def __init__(self, view: View, factor: int | None = None) -> None:
        self.view = view
        self.factor = factor or (4 if view.size <= 300 else 2)
        self.pixels = np.zeros((view.size * self.factor, view.size * self.factor), dtype=np.uint8)
        self.um_per_px = view.um_per_px / self.factor

    def _fixed(self, points_um: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
        # Pixel centres move when the resolution grows: +0.5 before, -0.5 after.
        fine = (self.view.to_pixels(points_um) + 0.5) * self.factor - 0.5
        return np.asarray(np.rint(np.clip(fine, -2000, 12000) * 16), dtype=np.int32)

    def polygon(self, outline_um: npt.NDArray[np.floating], value: float) -> None:
        """Fill one outline (n, 2) with a coverage from 0 to 1; a brighter shape below stays."""
        cv2.fillPoly(self.pixels, [self._fixed(outline_um)], round(255 * min(max(value, 0.0), 1.0)), shift=4)

    def strokes(
        self,
        starts_um: npt.NDArray[np.floating],
        ends_um: npt.NDArray[np.floating],
        widths_um: npt.NDArray[np.floating],
        values: npt.NDArray[np.floating],
    ) -> None:
        """Draw straight pieces with round ends; a width below a fine pixel fades instead of vanishing."""
        if len(starts_um) == 0:
            return
        widths = widths_um / self.um_per_px
        # What OpenCV inks for a thickness t, measured: 0.9 for 1, 3 for 2, t + 2 for odd t from 3 on. The nearest of
        # these is drawn, and what it is too wide is taken back in coverage.
        thickness = np.where(widths < 1.7, 1, np.where(widths < 4.0, 2, 2 * np.rint((widths - 3) / 2) + 1))
        thickness = np.where(widths >= 4.0, np.maximum(thickness, 3), thickness).astype(np.int64)
        inked = np.where(thickness == 1, 0.9, np.where(thickness == 2, 3.0, thickness + 2.0))
        levels = np.rint(_LEVELS * np.clip(values * np.minimum(widths / inked, 1.0), 0.0, 1.0)).astype(np.int64)
        pieces = self._fixed(np.stack([starts_um, ends_um], axis=1))
        limit = 16 * self.pixels.shape[0]
        low, high = np.minimum(pieces[:, 0], pieces[:, 1]), np.maximum(pieces[:, 0], pieces[:, 1])
        inside = ((high > -160) & (low < limit + 160)).all(axis=1) & (levels > 0)
        keys = (levels * 1000 + thickness)[inside]
        # Faint and thick first: what is drawn last stays, so the axis of a vessel wins over a neighbour's edge.
        order = np.argsort(keys, kind="stable")
        pieces, keys = pieces[inside][order], keys[order]
        for chosen in np.split(np.arange(len(keys)), np.flatnonzero(np.diff(keys)) + 1) if len(keys) else ():
            level, thick = divmod(int(keys[chosen[0]]), 1000)
            batch = list(pieces[chosen[0] : chosen[-1] + 1])
            cv2.polylines(self.pixels, batch, False, level * 255 // _LEVELS, thick, cv2.LINE_8, 4)

    def coverage(self) -> Plane:
        """The canvas at the picture's resolution, 0 to 1."""
        size = self.view.size
        small = cv2.resize(self.pixels, (size, size), interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.float32) / np.float32(255)


def norm(x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]) -> Plane:
    """The length of the vectors (x, y).

    Quicker than `numpy.hypot`, which guards against overflow. `cv2.magnitude` would be quicker still, but its last bit
    depends on where in memory its arguments lie.
    """
    return np.sqrt(np.asarray(x * x + y * y, dtype=np.float32))


def smoothstep(low: float, high: float, value: Plane) -> Plane:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
