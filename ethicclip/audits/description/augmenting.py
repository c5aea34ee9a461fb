"""Strong changes of a picture for self-supervision: what may happen to a copy, drawn at random and stacked.

After the recipe of SSCD (Pizzi et al. 2022): crops, flips, rotation, colour, blur, noise, compression, and overlays of
marks and of other pictures. One picture gets several at once.
"""

from __future__ import annotations

import cv2
import numpy as np

from ethicclip.imaging import Pixels


def mild_change(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A picture as a camera or an archive may give it again: slightly turned, scaled, compressed."""
    turned = _moved(image, rng, turn=4.0, least_scale=0.97, most_scale=1.05, shear=0.0, flip=False)
    return _compressed(turned, int(rng.integers(60, 96)))


def strong_change(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """A copy as a generator, an editor or augmentation may give it.

    Args:
        image: RGB uint8 (height, width, 3).
        other: A picture of another eye, same shape, for overlays.
        rng: Source of every choice.
    """
    full_turn = rng.uniform() < 0.25
    changed = _moved(
        image,
        rng,
        turn=180.0 if full_turn else 20.0,
        least_scale=0.85,
        most_scale=2.2 if rng.uniform() < 0.5 else 1.1,
        shear=0.15 if rng.uniform() < 0.3 else 0.0,
        flip=rng.uniform() < 0.5,
    )
    steps = [
        (0.30, _lit),
        (0.30, _blurred),
        (0.40, _noisy),
        (0.25, _marked),
        (0.15, _covered),
        (0.15, _warped),
        (0.20, _small_and_back),
    ]
    for chance, step in steps:
        if rng.uniform() < chance:
            changed = step(changed, rng)
    if rng.uniform() < 0.15:
        share = float(rng.uniform(0.5, 0.8))
        changed = cv2.addWeighted(changed, share, other, 1 - share, 0.0).astype(np.uint8)
    if rng.uniform() < 0.5:
        changed = _compressed(changed, int(rng.integers(12, 80)))
    return changed


def _moved(
    image: Pixels,
    rng: np.random.Generator,
    *,
    turn: float,
    least_scale: float,
    most_scale: float,
    shear: float,
    flip: bool,
) -> Pixels:
    height, width = image.shape[:2]
    angle = np.deg2rad(rng.uniform(-turn, turn))
    scale = float(np.exp(rng.uniform(np.log(least_scale), np.log(most_scale))))
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = linear @ np.array([[1.0, rng.uniform(-shear, shear)], [0.0, 1.0]])
    if flip:
        linear[:, 0] *= -1
    # An enlarged picture is a crop; its window may lie anywhere inside.
    slack = max(0.0, scale - 1) * 0.5 * min(height, width) * 0.7
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = centre - linear @ centre + rng.uniform(-slack, slack, size=2)
    return cv2.warpAffine(image, np.column_stack([linear, offset]), (width, height)).astype(np.uint8)


def _lit(image: Pixels, rng: np.random.Generator) -> Pixels:
    gamma, gain = np.exp(rng.uniform(-0.6, 0.6)), rng.uniform(0.7, 1.3, size=3)
    table = np.clip(255 * (np.arange(256)[:, None] / 255) ** gamma * gain, 0, 255).astype(np.uint8)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=2)


def _blurred(image: Pixels, rng: np.random.Generator) -> Pixels:
    return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 2.2))).astype(np.uint8)


def _noisy(image: Pixels, rng: np.random.Generator) -> Pixels:
    noise = rng.standard_normal(image.shape, dtype=np.float32) * float(rng.uniform(4, 34))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _marked(image: Pixels, rng: np.random.Generator) -> Pixels:
    marked = image.copy()
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(5, 40))):
        place = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        colour = (110, 25, 15) if rng.uniform() < 0.6 else (235, 215, 130)
        cv2.circle(marked, place, int(rng.integers(1, max(2, width // 40))), colour, cv2.FILLED, cv2.LINE_AA)
    return marked


def _covered(image: Pixels, rng: np.random.Generator) -> Pixels:
    covered = image.copy()
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 5))):
        high, wide = (int(side * rng.uniform(0.1, 0.35)) for side in (height, width))
        top, left = int(rng.integers(0, height - high)), int(rng.integers(0, width - wide))
        covered[top : top + high, left : left + wide] = rng.integers(0, 256, size=3)
    return covered


def _warped(image: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    coarse = rng.standard_normal((2, 5, 5)).astype(np.float32) * float(rng.uniform(0.003, 0.014)) * width
    across, down = (cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in coarse)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return cv2.remap(image, columns + across, rows + down, cv2.INTER_LINEAR).astype(np.uint8)


def _small_and_back(image: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    side = int(rng.integers(56, 129))
    small = cv2.resize(image, (side, max(8, side * height // width)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _compressed(image: Pixels, quality: int) -> Pixels:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
