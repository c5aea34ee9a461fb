"""The pictures a generator learns from, all at one size in memory, and the batch of each step as a function of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ethicclip.errors import BadInputError
from ethicclip.generation import grading
from ethicclip.generation.diffusion.conditions import mirrored, vector
from ethicclip.generation.learning import Known, LearningSet
from ethicclip.generation.phantom import PhantomEngine
from ethicclip.generation.settings import GenerateSettings
from ethicclip.generation.streams import GENERATED, stream
from ethicclip.imaging import Pixels, field_of_view, refuse_unreadable
from ethicclip.progress import Progress

_LEARNING = 9
"""Last word of the key of a step's random stream."""
_SMALLEST_PHANTOM = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class Shelf:
    """Pictures ready to learn from.

    Attributes:
        pixels: uint8 (n, size, size, 3).
        known: What is known of each.
    """

    pixels: npt.NDArray[np.uint8]
    known: Sequence[Known]

    def tensors(self, rows: Sequence[int], flips: Sequence[bool]) -> tuple[Tensor, Tensor]:
        """Pictures, float32 (n, 3, size, size) of -1 to 1, and their condition vectors; mirrored where asked."""
        chosen = [
            self.pixels[row][:, ::-1] if flip else self.pixels[row] for row, flip in zip(rows, flips, strict=True)
        ]
        batch = torch.from_numpy(np.ascontiguousarray(np.stack(chosen).transpose(0, 3, 1, 2)))
        return batch.float().div_(127.5).sub_(1.0), self.conditions(self.known, rows, flips)

    @staticmethod
    def conditions(known: Sequence[Known], rows: Sequence[int], flips: Sequence[bool]) -> Tensor:
        """Condition vectors, float32 (n, `NAMES`); of mirrored pictures those of the other eye."""
        said = [vector(mirrored(known[row]) if flip else known[row]) for row, flip in zip(rows, flips, strict=True)]
        return torch.from_numpy(np.stack(said))


@dataclass(frozen=True, kw_only=True)
class StepDraw:
    """Everything random in one step; a function of seed and step alone."""

    rows: list[int]
    flips: list[bool]
    dropped: list[bool]
    times: list[int]
    noise_seed: int


def draw_step(seed: int, step: int, *, pictures: int, batch: int, times: int, flip: bool, drop: float) -> StepDraw:
    """Draw a step: its pictures evenly, its times one from each equal part of the schedule."""
    random = stream(GENERATED, seed, step, _LEARNING)
    rows = random.integers(0, pictures, batch)
    strata = (random.permutation(batch) + random.random(batch)) / batch
    return StepDraw(
        rows=[int(row) for row in rows],
        flips=[bool(one) and flip for one in random.random(batch) < 0.5],
        dropped=[bool(one) for one in random.random(batch) < drop],
        times=[min(times - 1, int(part * times)) for part in strata],
        noise_seed=int(random.integers(2**62)),
    )


def shelf_of(learning: LearningSet, size: int, *, progress: Progress) -> Shelf:
    """Every picture of a set, its field of view in the middle of a square of `size` pixels.

    Raises:
        BadInputError: Pictures that cannot be read; all are named.
    """
    pixels = np.zeros((len(learning), size, size, 3), dtype=np.uint8)
    problems: list[str] = []
    with progress.task("reading pictures", total=len(learning), unit="images") as bar:
        for row in range(len(learning)):
            try:
                pixels[row] = squared(learning.image(row, 4 * size), size)
            except BadInputError as error:
                problems.append(error.what)
            bar.advance()
    refuse_unreadable(problems, of=len(learning), what=learning.alias)
    return Shelf(pixels=pixels, known=learning.known)


def phantom_shelf(count: int, size: int, seed: int, *, progress: Progress) -> Shelf:
    """Phantoms to begin with: no patient's image is among them."""
    side = max(_SMALLEST_PHANTOM, size)
    engine = PhantomEngine(GenerateSettings(count=count, size=side, seed=seed, masks=False))
    pixels = np.zeros((count, size, size, 3), dtype=np.uint8)
    known = []
    with progress.task("drawing phantoms", total=count, unit="images") as bar:
        for number in range(count):
            eye, _ = engine.case(number)
            pixels[number] = squared(engine.image(number), size)
            known.append(
                Known(conditions=grading.conditions(eye), grade=grading.dr_grade(eye), eye=eye.laterality.value)
            )
            bar.advance()
    return Shelf(pixels=pixels, known=known)


def squared(picture: Pixels, size: int) -> Pixels:
    """The square around the field of view, at `size` pixels; black where it reaches over the picture's edge."""
    field = field_of_view(picture)
    height, width = picture.shape[:2]
    radius = field.radius if field.found else max(height, width) / 2
    middle = (field.centre_x, field.centre_y) if field.found else ((width - 1) / 2, (height - 1) / 2)
    side = max(2, round(2.04 * radius))
    left, top = round(middle[0] - side / 2), round(middle[1] - side / 2)
    square = np.zeros((side, side, 3), dtype=np.uint8)
    rows = slice(max(0, top), min(height, top + side))
    columns = slice(max(0, left), min(width, left + side))
    square[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = picture[rows, columns]
    method = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=method), dtype=np.uint8)
