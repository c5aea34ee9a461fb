"""The ladder of planted transformations: how a copy of a patient's picture may look after a generator has had it.

Each rung turns one RGB uint8 picture into a copy of it. ``ORDINARY`` holds what image tools, augmentation and
storage do; ``HARSH`` what a detector of whole pictures cannot follow: partial copies, composites with another
patient, strong noise, large rotations. Crops are named by the share of the *side* that is kept, so
``crop50`` keeps a quarter of the area. Every draw comes from the generator that the caller passes.

It promises nothing about copies harder than its hardest rung; the audit says so.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.errors import UsageError
from ethicclip.imaging import Pixels, field_of_view

Rung = Callable[[Pixels, Pixels, np.random.Generator], Pixels]
_Matrix = npt.NDArray[np.floating]


def plant(kind: str, image: Pixels, rng: np.random.Generator, *, other: Pixels | None = None) -> Pixels:
    """Make one copy of `image` by the rung `kind`.

    Args:
        kind: A name in `KINDS`.
        image: RGB uint8, shape (height, width, 3).
        rng: Source of every random choice.
        other: A picture of another patient for the composites; the mirrored source stands in when absent.

    Returns:
        RGB uint8 of the same shape as `image`.

    Raises:
        UsageError: `kind` is not a rung.
    """
    rung = KINDS.get(kind)
    if rung is None:
        raise UsageError(
            f"{kind!r} is not a kind of planted copy", next_step=f"Choose among: {', '.join(sorted(KINDS))}."
        )
    height, width = image.shape[:2]
    second = image[::-1, ::-1] if other is None else other
    second = cv2.resize(np.ascontiguousarray(second), (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return np.ascontiguousarray(rung(image, second, rng))


def _clip(values: npt.NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _affine(image: Pixels, matrix: _Matrix) -> Pixels:
    height, width = image.shape[:2]
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0)).astype(
        np.uint8
    )


def _rotated(image: Pixels, degrees: float, scale: float = 1.0) -> Pixels:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    return _affine(image, np.asarray(turn, dtype=np.float64))


def _jpeg_once(image: Pixels, quality: int) -> Pixels:
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1]


def _resized(image: Pixels, side: int) -> Pixels:
    height, width = image.shape[:2]
    factor = side / max(height, width)
    small = cv2.resize(
        image, (max(8, round(width * factor)), max(8, round(height * factor))), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _cropped(image: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    field = field_of_view(image)
    side_y, side_x = max(8, round(height * share)), max(8, round(width * share))
    # Aimed at the field of view: a crop of the black surround shows nobody.
    reach = 0.5 * field.radius * (1 - share) if field.found else 0.25 * min(height, width) * (1 - share)
    centre_y = (field.centre_y if field.found else height / 2) + rng.uniform(-reach, reach)
    centre_x = (field.centre_x if field.found else width / 2) + rng.uniform(-reach, reach)
    top = int(np.clip(round(centre_y - side_y / 2), 0, height - side_y))
    left = int(np.clip(round(centre_x - side_x / 2), 0, width - side_x))
    piece = image[top : top + side_y, left : left + side_x]
    return cv2.resize(piece, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _coloured(image: Pixels, rng: np.random.Generator, strength: float = 1.0) -> Pixels:
    gains = 1 + strength * rng.uniform(-0.25, 0.25, size=3)
    offsets = strength * rng.uniform(-15, 15, size=3)
    mixed = image.astype(np.float32) * gains + offsets
    return _clip(np.where(image.max(axis=2, keepdims=True) > 8, mixed, image))


def _gamma(image: Pixels, rng: np.random.Generator) -> Pixels:
    exponent = float(rng.choice([0.6, 0.7, 1.4, 1.6]))
    return _clip(255.0 * (image / 255.0) ** exponent)


def _noisy(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    return _clip(image + rng.normal(0, sigma, size=image.shape))


def _blurred(image: Pixels, share: float) -> Pixels:
    return cv2.GaussianBlur(image, (0, 0), share * max(image.shape[:2])).astype(np.uint8)


def _warped(image: Pixels, amplitude: float, waves: int, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    coarse = rng.normal(size=(2, waves, waves)).astype(np.float32)
    shift = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in coarse]
    pixels = amplitude * max(height, width)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return cv2.remap(image, columns + pixels * shift[0], rows + pixels * shift[1], cv2.INTER_LINEAR).astype(np.uint8)


def _with_lesions(image: Pixels, rng: np.random.Generator) -> Pixels:
    field = field_of_view(image)
    painted = image.copy()
    radius = field.radius if field.found else 0.5 * min(image.shape[:2])
    for _ in range(int(rng.integers(25, 45))):
        angle, reach = rng.uniform(0, 2 * np.pi), radius * 0.85 * np.sqrt(rng.uniform())
        centre = (int(field.centre_x + reach * np.cos(angle)), int(field.centre_y + reach * np.sin(angle)))
        size = max(1, round(radius * float(rng.uniform(0.008, 0.045))))
        colour = (110, 25, 15) if rng.uniform() < 0.6 else (235, 215, 130)
        axes = (size, max(1, round(size * float(rng.uniform(0.5, 1)))))
        cv2.ellipse(painted, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, cv2.FILLED, cv2.LINE_AA)
    softened = cv2.GaussianBlur(painted, (0, 0), max(0.5, 0.004 * radius))
    changed = (painted != image).any(axis=2, keepdims=True)
    return np.where(changed, softened, image).astype(np.uint8)


def _combined(image: Pixels, rng: np.random.Generator) -> Pixels:
    turned = _rotated(np.ascontiguousarray(image[:, ::-1]), float(rng.uniform(-12, 12)))
    return _jpeg_once(_coloured(_cropped(turned, float(rng.uniform(0.75, 0.9)), rng), rng), 60)


def _occluded(image: Pixels, rng: np.random.Generator) -> Pixels:
    covered = image.copy()
    height, width = image.shape[:2]
    for _ in range(6):
        side_y, side_x = round(height * rng.uniform(0.2, 0.32)), round(width * rng.uniform(0.2, 0.32))
        top, left = int(rng.integers(0, height - side_y)), int(rng.integers(0, width - side_x))
        covered[top : top + side_y, left : left + side_x] = rng.integers(0, 256, size=3)
    return covered


def _half_other(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[0:height, 0:width]
    side = (columns - width / 2) * np.cos(angle) + (rows - height / 2) * np.sin(angle)
    share = 1 / (1 + np.exp(-side / (0.01 * width)))
    return _clip(image * share[..., None] + other * (1 - share[..., None]))


def _vessels_over(image: Pixels, other: Pixels) -> Pixels:
    sigma = 0.04 * max(image.shape[:2])
    details = image.astype(np.float32) - cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
    ground = cv2.GaussianBlur(other.astype(np.float32), (0, 0), sigma)
    return _clip(np.where(ground.max(axis=2, keepdims=True) > 8, ground + details, 0))


def _shrunken(image: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    share = rng.uniform(0.45, 0.6)
    small = cv2.resize(image, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    canvas = np.zeros_like(image)
    top = int(rng.integers(0, height - small.shape[0] + 1))
    left = int(rng.integers(0, width - small.shape[1] + 1))
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def _sheared(image: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    shear, stretch = rng.choice([-1, 1]) * rng.uniform(0.2, 0.35), rng.uniform(0.8, 1.0)
    linear = np.array([[1.0, shear], [0.0, stretch]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    return _affine(image, np.column_stack([linear, centre - linear @ centre]))


def _long_combination(image: Pixels, rng: np.random.Generator) -> Pixels:
    turned = _rotated(np.ascontiguousarray(image[:, ::-1]), float(rng.uniform(20, 60)))
    piece = _cropped(_warped(turned, 0.006, 5, rng), float(rng.uniform(0.6, 0.75)), rng)
    return _jpeg_once(_noisy(_resized(_coloured(piece, rng, 1.3), 192), 6, rng), 40)


def _grey(image: Pixels) -> Pixels:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.uint8)


ORDINARY: dict[str, Rung] = {
    "jpeg70": lambda image, _, __: _jpeg_once(image, 70),
    "jpeg50": lambda image, _, __: _jpeg_once(image, 50),
    "jpeg30": lambda image, _, __: _jpeg_once(image, 30),
    "rotation5": lambda image, _, rng: _rotated(image, 5.0 * float(rng.choice([-1, 1]))),
    "rotation15": lambda image, _, rng: _rotated(image, 15.0 * float(rng.choice([-1, 1]))),
    "flip": lambda image, _, __: image[:, ::-1],
    "crop90": lambda image, _, rng: _cropped(image, 0.9, rng),
    "crop70": lambda image, _, rng: _cropped(image, 0.7, rng),
    "crop50": lambda image, _, rng: _cropped(image, 0.5, rng),
    "gamma": lambda image, _, rng: _gamma(image, rng),
    "colour": lambda image, _, rng: _coloured(image, rng),
    "blur": lambda image, _, __: _blurred(image, 0.005),
    "noise": lambda image, _, rng: _noisy(image, 12, rng),
    "resize128": lambda image, _, __: _resized(image, 128),
    "resize96": lambda image, _, __: _resized(image, 96),
    "elastic": lambda image, _, rng: _warped(image, 0.006, 5, rng),
    "lesions": lambda image, _, rng: _with_lesions(image, rng),
    "combination": lambda image, _, rng: _combined(image, rng),
}
"""What storage, augmentation and image tools do."""

HARSH: dict[str, Rung] = {
    "crop30": lambda image, _, rng: _cropped(image, 0.3, rng),
    "noise_heavy": lambda image, _, rng: _noisy(image, 30, rng),
    "jpeg10": lambda image, _, __: _jpeg_once(image, 10),
    "grey_gamma": lambda image, _, rng: _gamma(_grey(image), rng),
    "rotation_large": lambda image, _, rng: _rotated(image, float(rng.uniform(40, 320))),
    "shear": lambda image, _, rng: _sheared(image, rng),
    "warp_strong": lambda image, _, rng: _warped(image, 0.018, 6, rng),
    "occlusion": lambda image, _, rng: _occluded(image, rng),
    "half_other": _half_other,
    "vessels_over": lambda image, other, _: _vessels_over(image, other),
    "blend": lambda image, other, _: _clip(0.55 * image.astype(np.float32) + 0.45 * other.astype(np.float32)),
    "shrunken": lambda image, _, rng: _shrunken(image, rng),
    "resize64": lambda image, _, __: _resized(image, 64),
    "long_combination": lambda image, _, rng: _long_combination(image, rng),
}
"""What a detector of whole pictures cannot follow."""

KINDS: dict[str, Rung] = {**ORDINARY, **HARSH}
"""Every rung by name."""
