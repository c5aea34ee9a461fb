"""The working frame: every picture at one scale of its field of view, as a cleaned grey plane with a mask.

Real eyes come at 384 to 4,000 pixels and synthetic ones at 224 or 512; what can be compared is the field of view.
A picture with a dark surround is scaled so that the circle of its field has one radius; a crop without one is
scaled by its longer side, and the features' own scale invariance takes up the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.imaging import FieldOfView, Pixels, field_of_view

Plane = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_MAX_ENLARGEMENT = 4.0
_DECILES = 2.563
"""Distance of the outer deciles of a normal distribution, standard deviations."""
_ROUGHNESS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
_FLAT = 2
"""Grey levels between neighbours that a flat colour may differ by, after resizing and compression."""
_FLAT_WIDTH, _FLAT_MARGIN = 0.15, 0.03
"""Least width of a flat part and margin that is taken off around it, in radii of the field."""
_QUIET, _NOISY = 3.0, 12.0
"""Grey levels of noise in the working frame between which smoothing grows."""
_GRAINY = 6.0
"""Grey levels of noise above which like patches are averaged first: ten times the cost, and seldom needed."""
_PATCH, _SEARCH = 5, 17


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture in the working frame.

    Attributes:
        pixels: RGB uint8, shape (height, width, 3), in the working scale.
        mask: Inside of the field with its rim taken off (bool, shape (height, width)): notches, reflections and
            the rim itself belong to the camera.
        centre: (x, y) of the field, working pixels.
        radius: Radius of the field, working pixels.
        scale: Working pixels per pixel of the picture that came in.
        origin: (x, y) of the working frame's corner in the picture that came in, its pixels.
        found: False where the picture has no dark surround.
    """

    pixels: Pixels
    mask: Mask
    centre: tuple[float, float]
    radius: float
    scale: float
    origin: tuple[int, int]
    found: bool


def working_frame(image: Pixels, *, side: int, field: FieldOfView | None = None) -> Frame:
    """Bring an RGB uint8 picture into the working frame of `side` pixels across the field (found here unless given)."""
    height, width = image.shape[:2]
    field = field_of_view(image) if field is None else field
    target = side / 2.0
    scale = target * 0.98 / max(field.radius, 4.0) if field.found else side / max(height, width)
    scale = min(scale, _MAX_ENLARGEMENT)
    if field.found:
        # Only the field is kept: a small eye on a large black canvas costs no more than a full one.
        reach = field.radius + 2.0 / scale
        left, top = max(0, int(field.centre_x - reach)), max(0, int(field.centre_y - reach))
        right, bottom = min(width, int(field.centre_x + reach) + 2), min(height, int(field.centre_y + reach) + 2)
    else:
        left, top, right, bottom = 0, 0, width, height
    piece, inside = image[top:bottom, left:right], field.mask[top:bottom, left:right]
    size = (max(16, round((right - left) * scale)), max(16, round((bottom - top) * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    pixels = piece if size == (piece.shape[1], piece.shape[0]) else cv2.resize(piece, size, interpolation=smooth)
    mask = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    rim = max(3, round(0.04 * target))
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0 if field.found else 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    eroded = cv2.erode(padded, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0 if field.found else 1)[1:-1, 1:-1]
    return Frame(
        pixels=np.ascontiguousarray(pixels, dtype=np.uint8),
        mask=eroded.astype(np.bool_),
        centre=((field.centre_x - left) * scale, (field.centre_y - top) * scale),
        radius=min(field.radius * scale, side / 1.3),
        scale=scale,
        origin=(left, top),
        found=field.found,
    )


def without_paint(frame: Frame, *, unit: float) -> Frame:
    """The frame with what one flat colour covers taken out of its mask, with a margin: bars, boxes, erased parts.

    No part of a photograph is free of grain over so wide an area. The corners of a box would otherwise take the
    keypoints, and its edge the contrast, of the eye beside it.

    Args:
        frame: The picture in its working frame.
        unit: Radius of a whole field, working pixels.
    """
    core = np.ones((2 * max(2, round(0.5 * _FLAT_WIDTH * unit)) + 1,) * 2, dtype=np.uint8)
    # Few pictures are flat inside their field in green alone; the others are done.
    flat = _span(frame.pixels[..., 1], core) <= _FLAT
    if not (flat & frame.mask).any():
        return frame
    flat &= np.maximum(_span(frame.pixels[..., 0], core), _span(frame.pixels[..., 2], core)) <= _FLAT
    margin = len(core) + 2 * max(2, round(_FLAT_MARGIN * unit))
    painted = cv2.dilate(flat.astype(np.uint8), np.ones((margin, margin), dtype=np.uint8)).astype(np.bool_)
    return replace(frame, mask=frame.mask & ~painted)


def _span(channel: Plane, core: npt.NDArray[np.uint8]) -> Plane:
    """Brightest less darkest grey level of each pixel's surroundings."""
    channel = np.ascontiguousarray(channel)
    return np.asarray(cv2.absdiff(cv2.dilate(channel, core), cv2.erode(channel, core)), dtype=np.uint8)


def vessel_plane(frame: Frame, *, blur: float, clip_limit: float, unit: float) -> Plane:
    """The plane that keypoints are found on: green channel, freed of noise, evened out, contrast limited.

    Vessels absorb green light, so that channel shows them best. Outside the field the mean of the field's edge
    fills in, so that the rim is no step.

    Args:
        frame: The picture in its working frame.
        blur: Standard deviation of the smoothing, working pixels; noisy pictures get up to one pixel more.
        clip_limit: Of the adaptive histogram equalisation.
        unit: Radius of a whole field, working pixels: what is evened out has this scale, also in a crop.
    """
    green = _without_grain(np.ascontiguousarray(frame.pixels[..., 1]), frame.mask).astype(np.float32)
    weight = frame.mask.astype(np.float32)
    small = cv2.resize(np.dstack([green * weight, weight]), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    spread = cv2.GaussianBlur(small, (0, 0), max(1.0, 0.03 * unit))
    coarse = spread[..., 0] / np.maximum(spread[..., 1], 1e-3)
    mean = cv2.resize(coarse, (green.shape[1], green.shape[0]), interpolation=cv2.INTER_LINEAR)
    difference = ((green - mean) * weight).astype(np.float32)
    sigma = blur + _more_blur(difference, frame.mask)
    difference = cv2.GaussianBlur(difference, (0, 0), sigma).astype(np.float32)
    inside = difference[frame.mask][::5]
    # Quantiles, not the standard deviation: a pasted square must not flatten the eye beside it.
    low, high = np.quantile(inside, [0.1, 0.9]) if inside.size else (0.0, 0.0)
    # Below a grey level of spread there is nothing but quantisation; amplifying it would invent vessels.
    even = np.clip(128 + difference * (28.0 / max((high - low) / _DECILES, 1.0)), 0, 255).astype(np.uint8)
    height, width = even.shape
    tiles = (max(1, round(4 * width / unit)), max(1, round(4 * height / unit)))
    return np.asarray(cv2.createCLAHE(clip_limit, tiles).apply(even), dtype=np.uint8)


def _without_grain(green: Plane, mask: Mask) -> Plane:
    """A very noisy plane averaged over like patches (Buades, Coll and Morel 2005), any other as it is."""
    sigma = _noise(green.astype(np.float32), mask)
    if sigma <= _GRAINY:
        return green
    return np.asarray(cv2.fastNlMeansDenoising(green, None, sigma, _PATCH, _SEARCH), dtype=np.uint8)


def _more_blur(plane: npt.NDArray[np.float32], mask: Mask) -> float:
    """Additional smoothing for a noisy plane, 0 to 1 working pixel."""
    return float(np.clip((_noise(plane, mask) - _QUIET) / (_NOISY - _QUIET), 0.0, 1.0))


def _noise(plane: npt.NDArray[np.float32], mask: Mask) -> float:
    """Standard deviation of the noise, grey levels, by a filter that is blind to edges and slopes (Immerkaer 1996)."""
    rough = np.abs(cv2.filter2D(plane, -1, _ROUGHNESS))[mask]
    return float(np.sqrt(np.pi / 2) / 6 * rough.mean()) if rough.size else 0.0
