"""Bytes must not depend on where in memory an array happens to lie: some library routines round differently there."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from ethicclip.generation.rendering.background import tint
from ethicclip.generation.rendering.view import norm, smoothstep

MATRIX = np.array([[0.99, 0.02, 1.3], [-0.03, 1.01, 0.4]])


def _tinted(plane: np.ndarray) -> np.ndarray:
    image = np.zeros((3, *plane.shape), dtype=np.float32)
    tint(image, plane, (0.3, -0.7, 0.1))
    return image


ROUTINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # `cv2.magnitude` fails this one.
    "norm": lambda plane: norm(plane, plane[::-1].copy()),
    "smoothstep": lambda plane: smoothstep(-1, 1, plane),
    "tint": _tinted,
    "exp": lambda plane: np.asarray(cv2.exp(plane)),
    "pow": lambda plane: np.asarray(cv2.pow(np.abs(plane), 1.13)),
    "blur": lambda plane: np.asarray(cv2.GaussianBlur(plane, (0, 0), 1.3)),
    "enlarge": lambda plane: np.asarray(cv2.resize(plane, (224, 224), interpolation=cv2.INTER_CUBIC)),
    "shrink": lambda plane: np.asarray(cv2.resize(plane, (40, 38), interpolation=cv2.INTER_AREA)),
    "sample": lambda plane: np.asarray(
        cv2.warpAffine(plane, MATRIX, (150, 150), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    ),
    "numpy exp": np.exp,
    "numpy sin": np.sin,
    "arctan2": lambda plane: np.arctan2(plane, plane[::-1]),
}


def _differs(routine: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether results differ between copies of a plane that begin at other addresses."""
    plane = np.random.default_rng(0).standard_normal((127, 129)).astype(np.float32)
    results = []
    for offset in range(17):
        buffer = np.empty(plane.size + 64, dtype=np.float32)
        moved = buffer[offset : offset + plane.size].reshape(plane.shape)
        moved[...] = plane
        results.append(routine(moved))
    return any((result != results[0]).any() for result in results)


@pytest.mark.parametrize("name", ROUTINES)
def test_what_the_renderer_uses_rounds_alike_everywhere(name: str) -> None:
    assert not _differs(ROUTINES[name])
