"""Flags images in which characters may be burned into the pixels: a name or a date that no metadata scan sees.

It reads nothing: it looks for rows of small, sharp, evenly coloured marks of one height, which is what overlays of
cameras look like and what vessels, lesions and reflections rarely do. What it flags is for a person. Its false alarms
on real eyes and its recall on drawn text are measured by ``benchmarks/leakage/text.py``; writing under about seven
pixels high, along a curve, or in a drawn hand is missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.imaging import Pixels

_LARGEST_SIDE = 1024
_LEAST_HEIGHT = 6
_TALLEST = 0.09
"""Of the picture's longer side."""
_CONTRAST = 45.0
"""Grey levels between a mark and what is around it."""
_LEAST_MARKS = 4


@dataclass(frozen=True, kw_only=True)
class TextLine:
    """A row of marks: its box as shares of the picture's width and height, and how many marks it holds."""

    left: float
    top: float
    right: float
    bottom: float
    marks: int


@dataclass(frozen=True, kw_only=True)
class _Mark:
    left: int
    top: int
    width: int
    height: int
    level: float

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


def text_lines(image: Pixels) -> list[TextLine]:
    """Rows of marks that look like writing in an RGB uint8 picture, most marks first; none is the usual answer."""
    longest = max(image.shape[:2])
    if longest > _LARGEST_SIDE:
        scale = _LARGEST_SIDE / longest
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    height, width = image.shape[:2]
    lines = []
    for marks in (_marks(image, bright=True), _marks(image, bright=False)):
        for row in _rows(marks):
            lines.append(
                TextLine(
                    left=min(one.left for one in row) / width,
                    top=min(one.top for one in row) / height,
                    right=max(one.left + one.width for one in row) / width,
                    bottom=max(one.top + one.height for one in row) / height,
                    marks=len(row),
                )
            )
    return sorted(lines, key=lambda line: (-line.marks, line.top, line.left))


def _marks(image: Pixels, *, bright: bool) -> list[_Mark]:
    """Small connected marks that stand out from what is around them, in every channel alike."""
    tallest = max(_LEAST_HEIGHT + 2, round(_TALLEST * max(image.shape[:2])))
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (tallest, tallest))
    # Overlays are white, black, yellow or green: the best channel decides; vessels and blood stand out in green only
    # and far less.
    planes = [image[..., 0], image[..., 1]]
    operation = cv2.MORPH_TOPHAT if bright else cv2.MORPH_BLACKHAT
    stands_out = np.minimum(*(cv2.morphologyEx(plane, operation, kernel) for plane in planes))
    binary = (stands_out > _CONTRAST).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    found = []
    for number in range(1, count):
        left, top, wide, high, area = (int(value) for value in stats[number])
        if not _LEAST_HEIGHT <= high <= tallest or wide > 2.2 * high or area < 0.12 * wide * high:
            continue
        piece = labels[top : top + high, left : left + wide] == number
        if _stroke(piece) > 0.42 * high:
            continue
        values = stands_out[top : top + high, left : left + wide][piece]
        found.append(_Mark(left=left, top=top, width=wide, height=high, level=float(np.percentile(values, 75))))
    return found


def _stroke(piece: npt.NDArray[np.bool_]) -> float:
    """Width of the strokes of a mark: four times the mean distance to its border, exact for a long bar."""
    padded = np.pad(piece.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    return 4 * float(distance[padded > 0].mean()) - 1


def _rows(marks: list[_Mark]) -> list[list[_Mark]]:
    """Marks side by side with one height, one level and one base line."""
    open_rows: list[list[_Mark]] = []
    for mark in sorted(marks, key=lambda one: (one.left, one.top)):
        for row in open_rows:
            if _continues(row[-1], mark):
                row.append(mark)
                break
        else:
            open_rows.append([mark])
    return [row for row in open_rows if len(row) >= _LEAST_MARKS and _even(row)]


def _continues(last: _Mark, mark: _Mark) -> bool:
    taller = max(last.height, mark.height)
    gap = mark.left - (last.left + last.width)
    return (
        taller <= 1.6 * min(last.height, mark.height)
        and abs(last.middle - mark.middle) < 0.35 * taller
        and -0.3 * taller < gap < 1.3 * taller
        and 0.6 < last.level / max(mark.level, 1.0) < 1.67
    )


def _even(row: list[_Mark]) -> bool:
    """Whether most tops or most bottoms of a row lie on one line, as letters do and lesions do not."""
    high = float(np.median([one.height for one in row]))
    for edge in ([one.top for one in row], [one.top + one.height for one in row]):
        centres = np.array([one.left + one.width / 2 for one in row])
        slope, offset = np.polyfit(centres, edge, 1)
        if abs(slope) < 0.1 and np.median(np.abs(np.array(edge) - slope * centres - offset)) < 0.08 * high + 0.5:
            return True
    return False
