"""Numbers that describe one fundus picture: colour, light, sharpness, vessels, disc.

Vessels are ridges of the green channel above a fixed contrast, the disc is the best-fitting bright circle, and the cup
is a proxy: the share of the disc brighter than midway between rim and brightest part. None of these is a
segmentation; they are the same for real and drawn eyes, and `disc` is checked against the truth where there is one.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from skimage.measure import label, regionprops
from skimage.morphology import skeletonize

from ethicclip.imaging import Pixels, field_of_view

SIDE = 224
"""Side in pixels of the square, filled by the field, on which all is measured: at 45 degrees a pixel is 56 um."""

_RIDGE = 0.028
_STRONG = 0.06

Plane = npt.NDArray[np.float32]


def squared(image: Pixels, side: int = SIDE) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """The field's square at `side` pixels, and which of its pixels are lit."""
    field = field_of_view(image)
    radius = field.radius if field.found else max(image.shape[:2]) / 2
    scale = side / (2 * radius)
    matrix = np.array(
        [
            [scale, 0, side / 2 - scale * (field.centre_x + 0.5) - 0.5 + scale / 2],
            [0, scale, side / 2 - scale * (field.centre_y + 0.5) - 0.5 + scale / 2],
        ]
    )
    soft = cv2.GaussianBlur(image, (0, 0), 0.4 / scale) if scale < 0.8 else image
    square = cv2.warpAffine(soft, matrix, (side, side), flags=cv2.INTER_LINEAR)
    mask = cv2.warpAffine(field.mask.astype(np.uint8), matrix, (side, side), flags=cv2.INTER_NEAREST) > 0
    return square, mask


def _ridges(plane: Plane, sigma: float) -> Plane:
    """Strength of dark lines of a scale: the larger eigenvalue of the Hessian, 0 where it is negative."""
    smooth = cv2.GaussianBlur(plane, (0, 0), sigma)
    xx = cv2.Sobel(smooth, cv2.CV_32F, 2, 0, ksize=3) / 4
    yy = cv2.Sobel(smooth, cv2.CV_32F, 0, 2, ksize=3) / 4
    xy = cv2.Sobel(smooth, cv2.CV_32F, 1, 1, ksize=3) / 4
    largest = (xx + yy) / 2 + np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return np.asarray(np.maximum(largest, 0) * sigma**2, dtype=np.float32)


def vessels(green: Plane, inner: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Density, width, fractal dimension, tortuosity and contrast of what looks like vessels."""
    local = np.maximum(cv2.GaussianBlur(green, (0, 0), 9), 4.0)
    ridge = np.maximum(_ridges(green / local, 1.2), _ridges(green / local, 2.2)) * inner
    weak = label(ridge > _RIDGE, connectivity=2)
    kept = np.unique(weak[ridge > _STRONG])
    sizes = np.bincount(weak.ravel())
    kept = kept[(kept > 0) & (sizes[kept] >= 40)]
    tree = np.isin(weak, kept) & (weak > 0)
    lines = skeletonize(tree)
    if lines.sum() < 30:
        return {"vessel density": float(tree.sum() / inner.sum())}
    inside = cv2.distanceTransform(tree.astype(np.uint8), cv2.DIST_L2, 5)
    neighbours = cv2.filter2D(lines.astype(np.uint8), -1, np.ones((3, 3), np.uint8)) * lines
    pieces = regionprops(label(lines & (neighbours <= 3), connectivity=2))
    ratios, lengths = [], []
    for piece in pieces:
        if piece.area >= 14:
            points = piece.coords
            ends = points[neighbours[points[:, 0], points[:, 1]] == 2]
            if len(ends) >= 2:
                # Every pixel of a thin line is one step; a step along a diagonal is longer.
                chord = float(np.hypot(*(ends[0] - ends[-1])))
                extent = np.ptp(points, axis=0) + 1
                arc = len(points) - 1 + (np.sqrt(2) - 1) * min(extent) * len(points) / max(extent.max(), len(points))
                ratios.append(max(1.0, arc / max(chord, 1.0)))
                lengths.append(len(points))
    counts = []
    scales = (2, 4, 8, 16, 32)
    for scale in scales:
        grid = lines[: SIDE // scale * scale, : SIDE // scale * scale].reshape(SIDE // scale, scale, -1, scale)
        counts.append(grid.any(axis=(1, 3)).sum())
    slope = np.polyfit(np.log(scales), np.log(np.maximum(counts, 1)), 1)[0]
    result = {
        "vessel density": float(tree.sum() / inner.sum()),
        "vessel width": float(2 * inside[lines].mean()),
        "widest vessels": float(2 * np.percentile(inside[lines], 95)),
        "fractal dimension": float(-slope),
        "vessel contrast": float(np.median(ridge[lines])),
        "vessel lines": float(lines.sum() / inner.sum()),
    }
    if lengths:
        result["tortuosity"] = float(np.average(np.minimum(ratios, 3.0), weights=lengths))
        result["line length"] = float(np.average(lengths, weights=lengths))
    return result


def disc(square: Pixels, mask: npt.NDArray[np.bool_]) -> tuple[float, float, float] | None:
    """Centre (x, y) and radius in pixels of the brightest disc-like spot, None when nothing stands out."""
    lit = mask.astype(np.float32)
    light = square[..., 0].astype(np.float32) * 0.4 + square[..., 1].astype(np.float32) * 0.6
    level = cv2.GaussianBlur(light * lit, (0, 0), 22) / np.maximum(cv2.GaussianBlur(lit, (0, 0), 22), 1e-3)
    light = (light - level) * lit / max(float(level[mask].mean()), 10.0)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((15, 15), np.uint8), borderValue=0) > 0
    best = (0.08, 0.0, 0.0, 0.0)
    for radius in range(9, 24, 2):
        reach = int(1.6 * radius) + 1
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        away = np.hypot(x, y)
        core = (away <= radius).astype(np.float32)
        ring = ((away > 1.12 * radius) & (away <= 1.6 * radius)).astype(np.float32)
        score = cv2.filter2D(light, -1, core / core.sum()) - cv2.filter2D(light, -1, ring / ring.sum())
        score = np.where(inner, score, -1.0)
        row, column = np.unravel_index(int(np.argmax(score)), score.shape)
        if score[row, column] > best[0]:
            best = (float(score[row, column]), float(column), float(row), float(radius))
    return best[1:] if best[3] > 0 else None


def cup_proxy(square: Pixels, found: tuple[float, float, float]) -> float:
    """Square root of the share of the disc that is brighter than midway between its rim and its brightest part."""
    column, row, radius = found
    y, x = np.mgrid[: square.shape[0], : square.shape[1]]
    away = np.hypot(x - column, y - row) / radius
    light = cv2.GaussianBlur(square[..., 1].astype(np.float32), (0, 0), 1.2)
    inside = light[away <= 0.95]
    rim = float(np.median(light[(away > 0.8) & (away <= 1.0)]))
    middle = (rim + float(np.percentile(inside, 95))) / 2
    return float(np.sqrt((inside > middle).mean()))


def measure(image: Pixels) -> dict[str, float]:
    """All measurements of one picture; what could not be found is left out."""
    square, mask = squared(image)
    values = square[mask].astype(np.float64)
    green = square[..., 1].astype(np.float32)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((19, 19), np.uint8), borderValue=0) > 0
    red, green_mean, blue = np.maximum(values.mean(axis=0), 0.5)
    local = green - cv2.GaussianBlur(green, (0, 0), 9)
    light = np.log(np.maximum(cv2.GaussianBlur(green, (0, 0), 14), 3.0))[inner]
    y, x = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(x - SIDE / 2, y - SIDE / 2) / (SIDE / 2)
    middle, rim = square[mask & (away < 0.4)].mean(axis=0), square[mask & (away > 0.8)].mean(axis=0)
    relative = np.log(np.maximum(rim, 1) / np.maximum(middle, 1))
    result = {
        "red": red,
        "green": green_mean,
        "blue": blue,
        "red/green": red / green_mean,
        "blue/green": blue / green_mean,
        "unevenness": float(light.std()),
        "rim light": float(relative[1]),
        "rim red": float(relative[0] - relative[1]),
        "local contrast": float(local[inner].std()),
        "sharpness": float(cv2.Laplacian(green, cv2.CV_32F)[inner].std()),
        "red contrast": float(
            (square[..., 0] - cv2.GaussianBlur(square[..., 0].astype(np.float32), (0, 0), 9))[inner].std()
        ),
    }
    result |= vessels(green, inner)
    found = disc(square, mask)
    if found is not None:
        column, row, radius = found
        half = SIDE / 2
        result["disc radius"] = radius / half
        result["disc across"] = abs(column - half) / half
        result["disc height"] = (row - half) / half
        result["cup proxy"] = cup_proxy(square, found)
        near = np.hypot(x - column, y - row) / radius
        core = square[near < 0.9].mean(axis=0)
        ring = square[(near > 1.3) & (near < 1.8) & mask].mean(axis=0)
        result["disc red"], result["disc green"], result["disc blue"] = (core - ring) / 255
    return {name: float(value) for name, value in result.items()}
