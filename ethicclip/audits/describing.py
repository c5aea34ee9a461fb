"""Reads the pictures of a set once, streaming, and keeps only what the later stages compare."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.local import LocalFeatures, Recipe, describe_picture
from ethicclip.audits.description.pixel import SIDE, is_empty, thumbnail
from ethicclip.audits.description.plane import SIDE as PLANE_SIDE
from ethicclip.errors import BadInputError
from ethicclip.imaging import Pixels, field_of_view, refuse_unreadable
from ethicclip.progress import Progress

T = TypeVar("T")
Flags = npt.NDArray[np.bool_]


class Pictures(Protocol):
    """Anything that gives the i-th picture as RGB uint8, shrunk to `max_side` where it is larger."""

    def __len__(self) -> int:
        """How many pictures there are."""

    def image(self, i: int, /, max_side: int | None = None) -> Pixels:
        """The i-th picture."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is kept of a set of pictures.

    Attributes:
        features: Local features of each picture.
        thumbnails: uint8 (n, side, side, 4), see `description.pixel`.
        planes: uint8 (n, side, side), see `description.plane`.
        empty: Pictures whose field shows nothing, bool (n,).
        embeddings: By global descriptor, float32 (n, orientations, d): upright, and mirrored where that differs.
    """

    features: tuple[LocalFeatures, ...]
    thumbnails: npt.NDArray[np.uint8]
    planes: npt.NDArray[np.uint8]
    empty: Flags
    embeddings: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Described:
        """Only these pictures."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Described(
            features=tuple(self.features[i] for i in chosen),
            thumbnails=self.thumbnails[chosen],
            planes=self.planes[chosen],
            empty=self.empty[chosen],
            embeddings={name: values[chosen] for name, values in self.embeddings.items()},
        )


def joined(parts: Sequence[Described]) -> Described:
    """Several described sets as one."""
    return Described(
        features=tuple(one for part in parts for one in part.features),
        thumbnails=np.concatenate([part.thumbnails for part in parts]),
        planes=np.concatenate([part.planes for part in parts]),
        empty=np.concatenate([part.empty for part in parts]),
        embeddings={name: np.concatenate([part.embeddings[name] for part in parts]) for name in parts[0].embeddings},
    )


def describe(
    pictures: Pictures,
    recipe: Recipe,
    *,
    what: str,
    workers: int,
    progress: Progress,
    change: Callable[[int, Pixels], Pixels] | None = None,
) -> Described:
    """Describe every picture, `workers` at a time; only that many are in memory at once.

    Args:
        pictures: Where they come from.
        recipe: How local features are made.
        what: What the set is called in messages.
        workers: Threads; OpenCV works outside the interpreter's lock. It changes no result.
        progress: Where progress goes.
        change: Applied to the i-th picture before it is described (planted copies).

    Raises:
        BadInputError: Some pictures cannot be read; all of them are named.
    """

    def one(i: int) -> tuple[LocalFeatures, npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | str:
        try:
            image = pictures.image(i, max_side=4 * recipe.side)
        except BadInputError as error:
            return error.what
        if change is not None:
            image = change(i, image)
        field = field_of_view(image)
        small = thumbnail(image, field)
        features, plane = describe_picture(image, recipe, field)
        return (features.kept(slice(0, 0)) if is_empty(small) else features), small, plane

    features: list[LocalFeatures] = []
    thumbnails = np.zeros((len(pictures), SIDE, SIDE, 4), dtype=np.uint8)
    planes = np.zeros((len(pictures), PLANE_SIDE, PLANE_SIDE), dtype=np.uint8)
    problems: list[str] = []
    with progress.task(f"describing {what}", total=len(pictures), unit="images") as task:
        for i, result in enumerate(in_order(one, len(pictures), workers)):
            if isinstance(result, str):
                problems.append(result)
            else:
                features.append(result[0])
                thumbnails[i], planes[i] = result[1], result[2]
            task.advance()
    refuse_unreadable(problems, of=len(pictures), what=what)
    empty = np.array([is_empty(small) for small in thumbnails], dtype=np.bool_)
    return Described(features=tuple(features), thumbnails=thumbnails, planes=planes, empty=empty)


def in_order(work: Callable[[int], T], count: int, workers: int) -> Iterator[T]:
    """Results of ``work(0) … work(count - 1)`` in order, a bounded number of them in flight."""
    if workers <= 1:
        yield from (work(i) for i in range(count))
        return
    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for i in range(count):
                waiting.append(pool.submit(work, i))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
