"""Pairs to batches: decode and preprocess (in other processes if asked), cache, augment, tokenize.

Order, captions and augmentation depend on (seed, epoch, key) alone, so that neither the number of processes nor the
cache nor a resume changes a batch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.clip.preprocessing import NEUTRAL, FundusPreprocess
from ethicclip.errors import StorageError
from ethicclip.imaging import Pixels, read_image
from ethicclip.terms import STRUCTURES
from ethicclip.terms.conditions import Language
from ethicclip.training.augmentation import draw_change
from ethicclip.training.captions import Phrasings, captions_of, draw_caption, label_tokens, named_captions
from ethicclip.training.draws import generator_for
from ethicclip.training.order import Order
from ethicclip.training.truth import GRID, Truth, masks_of, moved, stacked, truth_maps

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource

_BATCHES_AHEAD = 4


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A pair ready for augmentation: preprocessed pixels, its captions, its labels, its maps where it has masks."""

    key: str
    pixels: Pixels
    phrasings: Phrasings
    named: Phrasings
    labels: frozenset[str]
    truth: Truth | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step trains on: uint8 pixels (b, size, size, 3), b captions, b label sets.

    `truth` is the maps of the pairs that have masks and which pairs these are (see `training.truth`), or None.
    """

    step: int
    epoch: int
    pixels: Pixels
    captions: list[str]
    labels: list[frozenset[str]]
    truth: tuple[Truth, npt.NDArray[np.bool_]] | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a pair becomes a training example; what may reach another process."""

    preprocess: FundusPreprocess
    languages: tuple[Language, ...]
    prompt_share: float
    augment: bool
    seed: int
    dense: bool = False

    def prepare(self, sources: Sequence[PairSource], index: int) -> Prepared:
        """Read, decode and preprocess pair `index` of all sources in a row.

        Raises:
            BadInputError: The picture cannot be read; the message names the pair.
        """
        offset = index
        for source in sources:
            if offset < len(source):
                break
            offset -= len(source)
        pair = source.read(offset)
        pixels, square = self.preprocess.pixels_and_square(read_image(pair.image, name=f"pair {pair.key}"))
        masks = masks_of(source, offset, pair) if self.dense else None
        return Prepared(
            key=pair.key,
            pixels=pixels,
            phrasings=captions_of(pair.record, pair.caption, self.languages),
            named=named_captions(pair.record, self.languages),
            labels=label_tokens(pair.record),
            truth=None if masks is None else truth_maps(masks, square),
        )

    def example(self, prepared: Prepared, epoch: int) -> Example:
        """What `epoch` shows of a pair."""
        generator = generator_for(self.seed, epoch, prepared.key, "example")
        caption = draw_caption(prepared.phrasings, prepared.named, self.prompt_share, generator)
        if not self.augment:
            return Example(pixels=prepared.pixels, caption=caption, truth=prepared.truth)
        size = prepared.pixels.shape[0]
        change = draw_change(size, generator, fill=NEUTRAL if self.preprocess.local_mean else 0)
        truth = None if prepared.truth is None else moved(prepared.truth, change.matrix, size)
        return Example(pixels=change.pixels(prepared.pixels), caption=caption, truth=truth)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A pair as one epoch shows it."""

    pixels: Pixels
    caption: str
    truth: Truth | None


def quarter_of_memory() -> int:
    """Bytes; a machine that does not say how much memory it has gets a gigabyte's worth."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (ValueError, OSError):
        return 1 << 30


class Loader:
    """Iterates the batches of a run from any step on.

    Args:
        sources: Pair sets, taken as one after the other.
        recipe: How a pair becomes an example.
        order: Which pairs a step takes.
        workers: Decoding processes; 0 decodes in this one.
        cache_bytes: How much memory preprocessed pictures may take, so that pairs seen once are not decoded again; a
            quarter of the machine's by default.
    """

    def __init__(
        self,
        sources: Sequence[PairSource],
        recipe: Recipe,
        order: Order,
        *,
        workers: int = 0,
        cache_bytes: int | None = None,
    ) -> None:
        self._sources = sources
        self._recipe = recipe
        self._order = order
        maps = GRID * GRID * len(STRUCTURES) if recipe.dense else 0
        given = quarter_of_memory() if cache_bytes is None else cache_bytes
        self._room = max(0, given // (3 * recipe.preprocess.size**2 + maps))
        self._cache: dict[int, Prepared] = {}
        self._pool = _start_pool(sources, recipe, workers) if workers > 0 else None
        self._workers = max(1, workers)
        self.seconds_waited = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error is None, cancel_futures=True)

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Batches of the steps first_step ... last_step - 1.

        Raises:
            BadInputError: A pair cannot be read.
            StorageError: A decoding process died.
        """
        ahead: deque[_Request] = deque()
        for step in range(first_step, last_step):
            ahead.append(self._request(step))
            if len(ahead) > (_BATCHES_AHEAD if self._pool is not None else 0):
                yield self._collect(ahead.popleft())
        while ahead:
            yield self._collect(ahead.popleft())

    def _request(self, step: int) -> _Request:
        """Ask the processes, where there are any, for what the cache lacks."""
        indices = self._order.batch(step)
        missing = [index for index in indices if index not in self._cache]
        if self._pool is None or not missing:
            return _Request(step=step, indices=indices, missing=missing, answers=[])
        share = -(-len(missing) // self._workers)
        chunks = [missing[start : start + share] for start in range(0, len(missing), share)]
        answers = [self._pool.submit(_prepare_in_worker, chunk) for chunk in chunks]
        return _Request(step=step, indices=indices, missing=missing, answers=answers)

    def _collect(self, request: _Request) -> Batch:
        started = time.perf_counter()
        if self._pool is None:
            arrived = [self._recipe.prepare(self._sources, index) for index in request.missing]
        else:
            try:
                arrived = [prepared for answer in request.answers for prepared in answer.result()]
            except BrokenProcessPool:
                raise StorageError(
                    "a decoding process ended unexpectedly, most often for lack of memory",
                    next_step="Run the same command again with --resume and fewer --workers.",
                ) from None
        fresh = dict(zip(request.missing, arrived, strict=True))
        items = [self._cache.get(index) or fresh[index] for index in request.indices]
        for index, prepared in fresh.items():
            if len(self._cache) < self._room:
                self._cache[index] = prepared
        epoch = self._order.epoch(request.step)
        # Where sets repeat within an epoch, each time shows another caption and another augmentation.
        views = getattr(self._order, "views", None)
        turns = [epoch] * len(items) if views is None else views(request.step)
        examples = [self._recipe.example(item, turn) for item, turn in zip(items, turns, strict=True)]
        self.seconds_waited += time.perf_counter() - started
        return Batch(
            step=request.step,
            epoch=epoch,
            pixels=np.stack([example.pixels for example in examples]),
            captions=[example.caption for example in examples],
            labels=[item.labels for item in items],
            truth=stacked([example.truth for example in examples]) if self._recipe.dense else None,
        )


@dataclass(frozen=True, kw_only=True)
class _Request:
    step: int
    indices: list[int]
    missing: list[int]
    answers: list[Future[list[Prepared]]]


_worker: dict[str, Any] = {}


def _start_pool(sources: Sequence[PairSource], recipe: Recipe, workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(tuple(sources), recipe, os.getpid()),
    )


def _start_worker(sources: tuple[PairSource, ...], recipe: Recipe, parent: int) -> None:
    """One thread a process; Ctrl-C is the parent's business; no parent, no process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    _worker.update(sources=sources, recipe=recipe)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _prepare_in_worker(indices: list[int]) -> list[Prepared]:
    return [_worker["recipe"].prepare(_worker["sources"], index) for index in indices]
