"""Finds the same photograph, or nearly the same view of one eye, under two patient ids; cheaply.

Patient ids under-count: a person who came twice may have two, and a collection may hold a picture twice. A split
that trusts the ids then puts one eye on both sides. Every picture is reduced to a coarse and a fine signature. The
coarse ones of all pairs are compared, mirrored too; the nearest few of each picture are then laid over each other
in the fine ones, with small turns and shifts, which camera glare and dust do not survive but vessels do.

Found: copies that were resized, recompressed, recoloured, mirrored or slightly moved, and repeat photographs framed
alike. Not promised: the same eye photographed at another angle or in another field; for that, give the split a
slower matcher (``same_eye``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.cohorts.settings import NEAR_DUPLICATE_THRESHOLD
from ethicclip.errors import BadInputError
from ethicclip.imaging import FieldOfView, Pixels, field_of_view, refuse_unreadable
from ethicclip.progress import SILENT, Progress

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

COARSE_SIDE = 48
"""Pixels a side of a coarse signature."""

FINE_SIDE = 96
"""Pixels a side of a fine signature."""

# The constants below were settled on 2,893 real photographs with 33 known repeats (tests/cohorts/test_real_eyes.py).
_READ_SIDE = 192
_FIELD_SIDE = 144
_SURROUND_SIGMA = 2.0
_SMOOTH_SIGMA = 0.7
_FLAT_LEVEL = 1.0
_CLIP = 1.5
_COARSE_FIELD = 0.85
_FINE_FIELD = 0.9
_LEAST_COVER = 0.3
_QUANTA = 80.0

_BLOCK_ROWS = 512
_NEAREST = 3
_WORTH_A_LOOK = 0.2
_CERTAINLY_LOOK = 0.8

_SHIFT = 6
_FIRST_TURNS = (0.0, -3.0, 3.0)
_FURTHER_TURNS = (-1.5, 1.5, -4.5, 4.5, -6.0, 6.0)
_PROMISING = 0.35
_CHUNK = 64


class Eyes(Protocol):
    """What can be looked through: a cohort, or any pictures with names of whose they are."""

    @property
    def alias(self) -> str:
        """What messages call it."""

    def __len__(self) -> int:
        """How many pictures."""

    def image(self, i: int, max_side: int | None = None) -> Pixels:
        """Picture `i`, uint8 RGB (height, width, 3)."""

    def patients(self) -> tuple[str, ...]:
        """One name a picture; pictures of one name are not compared."""


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """Two images (``first < second``, rows of the cohort) that look like one eye.

    Attributes:
        first: Row of one image.
        second: Row of the other.
        score: Correlation of their fine signatures after the best small turn and shift; at most 1.
        mirrored: True when one is nearer to the other's mirror image.
    """

    first: int
    second: int
    score: float
    mirrored: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Signature:
    """A picture reduced to the detail inside its field of view, lighting taken out.

    Attributes:
        coarse: float32 of shape (COARSE_SIDE, COARSE_SIDE) and length 1; all zero where there is no detail.
        fine: int8 of shape (FINE_SIDE, FINE_SIDE), about -120 to 120; zero outside the field.
    """

    coarse: Floats
    fine: Bytes


def signature(image: Pixels) -> Signature:
    """Reduce an RGB picture to its signature.

    The green channel inside the field of view is scaled to the field's circle; the local mean is taken off twice (the
    second time removes the slope at the rim), the rest is divided by the local deviation and clipped, so that neither
    lighting nor the disc decides, and smoothed by a fraction of a pixel to forgive a small shift.
    """
    green, lit = _to_field(image, field_of_view(image))
    coarse = _detail(green, lit, COARSE_SIDE, _COARSE_FIELD)
    fine = _detail(green, lit, FINE_SIDE, _FINE_FIELD)
    length = float(np.sqrt((coarse * coarse).sum()))
    if length < 1e-3 or not fine.any():
        return Signature(coarse=np.zeros_like(coarse), fine=np.zeros(fine.shape, dtype=np.int8))
    return Signature(
        coarse=(coarse / length).astype(np.float32),
        fine=np.clip(np.round(fine * _QUANTA), -127, 127).astype(np.int8),
    )


def signatures(cohort: Eyes, *, workers: int = 2, progress: Progress = SILENT) -> list[Signature]:
    """The signature of every image, in order of rows; the number of threads changes nothing.

    Raises:
        BadInputError: Images that cannot be read; the message lists them.
    """
    return signatures_of(cohort.image, len(cohort), what=cohort.alias, workers=workers, progress=progress)


def signatures_of(
    image: Callable[[int, int | None], Pixels],
    count: int,
    *,
    what: str,
    workers: int = 2,
    progress: Progress = SILENT,
) -> list[Signature]:
    """The signatures of `count` pictures of any source, in order.

    Args:
        image: From a number and the longest side that is of use to the picture.
        count: How many there are.
        what: What to call the source in an error.
        workers: Threads; their number changes nothing.
        progress: Where to report.

    Raises:
        BadInputError: Images that cannot be read; the message lists them.
    """

    def reduce(row: int) -> Signature | str:
        try:
            return signature(image(row, _READ_SIDE))
        except BadInputError as error:
            return error.what

    reduced = _in_threads(reduce, range(count), workers, progress, "near-duplicates: reading", "images")
    refuse_unreadable([item for item in reduced if isinstance(item, str)], of=count, what=what)
    return [item for item in reduced if isinstance(item, Signature)]


def find_near_duplicates(
    cohort: Eyes,
    *,
    threshold: float = NEAR_DUPLICATE_THRESHOLD,
    workers: int = 2,
    progress: Progress = SILENT,
) -> list[NearDuplicate]:
    """Pairs of images of *different* patients whose score reaches `threshold`, in order of rows.

    The coarse comparison grows with the square of the number of images, the rest with their number.

    Raises:
        BadInputError: Images that cannot be read; the message lists them.
    """
    reduced = signatures(cohort, workers=workers, progress=progress)
    return _matched(reduced, cohort.patients(), threshold=threshold, workers=workers, progress=progress)


def find_across(
    first: Sequence[Signature],
    second: Sequence[Signature],
    *,
    threshold: float = NEAR_DUPLICATE_THRESHOLD,
    workers: int = 2,
    progress: Progress = SILENT,
) -> list[NearDuplicate]:
    """Pairs of one image of `first` and one of `second` whose score reaches `threshold`, by their places in each."""
    if not first or not second:
        return []
    owners = ["first"] * len(first) + ["second"] * len(second)
    found = _matched([*first, *second], owners, threshold=threshold, workers=workers, progress=progress)
    return [replace(near, second=near.second - len(first)) for near in found]


def _matched(
    reduced: Sequence[Signature], owners: Sequence[str], *, threshold: float, workers: int, progress: Progress
) -> list[NearDuplicate]:
    """Pairs of different owners that look like one eye."""
    candidates = _candidates(np.stack([item.coarse for item in reduced]), owners)

    def compare(pairs: Sequence[tuple[int, int, bool]]) -> list[NearDuplicate]:
        return [
            NearDuplicate(first=first, second=second, score=score, mirrored=mirrored)
            for first, second, mirrored in pairs
            if (score := overlay(reduced[first].fine, reduced[second].fine, mirrored=mirrored)) >= threshold
        ]

    chunks = [candidates[start : start + _CHUNK] for start in range(0, len(candidates), _CHUNK)]
    found = _in_threads(compare, chunks, workers, progress, "near-duplicates: comparing", f"{_CHUNK} pairs")
    return [near for part in found for near in part]


def overlay(fine: Bytes, other: Bytes, *, mirrored: bool) -> float:
    """The best normalised correlation of two fine signatures over turns to 6 degrees and shifts to 6 pixels (6 %)."""
    still = fine[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT].astype(np.float32)
    moved = np.ascontiguousarray(other[:, ::-1] if mirrored else other).astype(np.float32)
    if not still.any() or not moved.any():
        return 0.0
    best = max(_correlation(still, moved, degrees) for degrees in _FIRST_TURNS)
    if best >= _PROMISING:
        best = max(best, *(_correlation(still, moved, degrees) for degrees in _FURTHER_TURNS))
    return min(best, 1.0)


def _correlation(still: Floats, moved: Floats, degrees: float) -> float:
    middle = (FINE_SIDE - 1) / 2
    turned: npt.NDArray[Any] = moved
    if degrees:
        turned = cv2.warpAffine(moved, cv2.getRotationMatrix2D((middle, middle), degrees, 1.0), (FINE_SIDE, FINE_SIDE))
    return float(cv2.matchTemplate(turned, still, cv2.TM_CCORR_NORMED).max())


def _candidates(coarse: Floats, patients: Sequence[str]) -> list[tuple[int, int, bool]]:
    """Pairs worth laying over each other: each image's nearest few of other patients, and all very near ones."""
    count = len(coarse)
    upright = coarse.reshape(count, -1)
    flipped = np.ascontiguousarray(coarse[:, :, ::-1]).reshape(count, -1)
    number = {name: i for i, name in enumerate(dict.fromkeys(patients))}
    patient = np.array([number[name] for name in patients])
    found: dict[tuple[int, int], bool] = {}
    for start in range(0, count, _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, count))
        as_is = upright[block] @ upright.T
        turned = upright[block] @ flipped.T
        nearness = np.maximum(as_is, turned)
        nearness[patient[block, None] == patient[None, :]] = -1.0
        look = nearness >= _CERTAINLY_LOOK
        nearest = np.argpartition(-nearness, min(_NEAREST, count) - 1, axis=1)[:, :_NEAREST]
        np.put_along_axis(look, nearest, True, axis=1)
        look &= nearness >= _WORTH_A_LOOK
        for row, column in np.argwhere(look):
            pair = (start + int(row), int(column))
            found[min(pair), max(pair)] = bool(turned[row, column] > as_is[row, column])
    return [(first, second, mirrored) for (first, second), mirrored in sorted(found.items())]


def _to_field(image: Pixels, field: FieldOfView) -> tuple[Pixels, Pixels]:
    """Green channel and lit mask (0 or 255), scaled so that the field's circle fills _FIELD_SIDE pixels."""
    radius = field.radius if field.found else min(image.shape[:2]) / 2
    scale = _FIELD_SIDE / (2 * radius)
    middle = (_FIELD_SIDE - 1) / 2
    matrix = np.array([[scale, 0, middle - scale * field.centre_x], [0, scale, middle - scale * field.centre_y]])
    size = (_FIELD_SIDE, _FIELD_SIDE)
    green = cv2.warpAffine(np.ascontiguousarray(image[..., 1]), matrix, size)
    lit = cv2.warpAffine(field.mask.astype(np.uint8) * 255, matrix, size)
    return np.asarray(green, dtype=np.uint8), np.asarray(lit, dtype=np.uint8)


def _detail(green: Pixels, lit: Pixels, side: int, inner_field: float) -> Floats:
    small = cv2.resize(green, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    inside = (cv2.resize(lit, (side, side), interpolation=cv2.INTER_AREA) > 250).astype(np.float32)
    inside = np.asarray(cv2.erode(inside, np.ones((3, 3), dtype=np.uint8)), dtype=np.float32)
    surround = _blur(inside, _SURROUND_SIGMA) + np.float32(1e-6)
    detail = (small - _blur(small * inside, _SURROUND_SIGMA) / surround) * inside
    detail = (detail - _blur(detail, _SURROUND_SIGMA) / surround) * inside
    wide = 2 * _SURROUND_SIGMA
    spread = np.sqrt(_blur(detail * detail, wide) / (_blur(inside, wide) + np.float32(1e-6)))
    detail = _blur(np.clip(detail / (spread + np.float32(_FLAT_LEVEL)), -_CLIP, _CLIP), _SMOOTH_SIGMA)
    across = np.arange(side) - (side - 1) / 2
    circle = np.hypot(across[:, None], across[None, :]) <= inner_field * side / 2
    weight = inside * circle.astype(np.float32)
    cover = float(weight.sum())
    if cover < _LEAST_COVER * float(circle.sum()):
        return np.zeros((side, side), dtype=np.float32)
    result: Floats = ((detail - (detail * weight).sum() / np.float32(cover)) * weight).astype(np.float32)
    return result


def _blur(values: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), dtype=np.float32)


def _in_threads(
    work: Callable[[_Item], _Result], items: Sequence[_Item], workers: int, progress: Progress, label: str, unit: str
) -> list[_Result]:
    """`work` of every item in order; an interrupt does not wait for what has not begun."""
    results: list[_Result] = []
    with ThreadPoolExecutor(workers) as pool, progress.task(label, total=len(items), unit=unit) as bar:
        try:
            for result in pool.map(work, items):
                results.append(result)
                bar.advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results
