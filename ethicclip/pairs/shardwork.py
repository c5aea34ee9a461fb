"""Makes shards, in this process or in several; each shard and its part of the index appear whole or not at all."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError, StorageError
from ethicclip.files import atomic_path, canonical_json, sha256_bytes, sha256_file
from ethicclip.pairs import index
from ethicclip.pairs.masks import MEMBER, encode_masks
from ethicclip.pairs.pair import IMAGE_FORMATS, Pair
from ethicclip.pairs.shards import ShardWriter
from ethicclip.progress import Task

MakePair = Callable[[int], Pair | None]
"""Makes pair number i from i alone; None leaves that number out of the set."""


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """Pairs `first` to `stop` (excluded) of the set in `out`; `parts` is the folder of index parts."""

    number: int
    first: int
    stop: int
    out: Path
    parts: str

    @property
    def name(self) -> str:
        """File name of the shard."""
        return f"{self.number:06d}.tar"

    @property
    def shard(self) -> Path:
        """Where the shard goes."""
        return self.out / "shards" / self.name

    @property
    def part(self) -> Path:
        """Where its part of the index goes."""
        return self.out / self.parts / f"{self.number:06d}.parquet"

    def is_written(self) -> bool:
        """Whether shard and part both lie there and agree."""
        note = index.read_part_note(self.part)
        return bool(note) and self.shard.exists() and sha256_file(self.shard) == note.get("sha256")


def write_shard(task: ShardTask, make: MakePair, advance: Callable[[], None]) -> None:
    """Write one shard, then its part of the index: a part without its shard cannot exist."""
    rows = []
    with atomic_path(task.shard) as partial:
        with partial.open("wb") as stream:
            writer = ShardWriter(stream)
            for number in range(task.first, task.stop):
                made = make(number)
                advance()
                if made is None:
                    continue
                pair = _with_hash(made)
                image = writer.add(f"{pair.key}.{pair.suffix}", pair.image)
                writer.add(f"{pair.key}.txt", pair.caption.encode())
                record = writer.add(f"{pair.key}.json", canonical_json(pair.record))
                masks = writer.add(f"{pair.key}.{MEMBER}", encode_masks(pair.masks)) if pair.masks else None
                rows.append(index.row(pair, task.name, image, record, masks))
            writer.finish()
        note = {"sha256": sha256_file(partial), "size_bytes": partial.stat().st_size, "pairs": len(rows)}
    index.write_part(task.part, rows, note)


def _with_hash(pair: Pair) -> Pair:
    plain = pair.key.isascii() and pair.key.replace("-", "").replace("_", "").isalnum()
    if not plain or pair.suffix not in IMAGE_FORMATS:
        raise BadInputError(f"pair {pair.key!r} ({pair.suffix!r}): keys are plain words, formats {IMAGE_FORMATS}")
    record = {**pair.record, "sha256": sha256_bytes(pair.image)}
    if pair.masks:
        record["masks"] = {"member": MEMBER, "layers": list(pair.masks)}
    return replace(pair, record=record)


class _Stopped(Exception):
    """The owner asked this worker to leave its shard."""


_worker: dict[str, Any] = {}


def _start_worker(parent: int, make: MakePair, done: Any, stop: Any) -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.update(make=make, done=done, stop=stop)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    # A parent that was killed cannot tell its workers; its pid comes from itself, since it may be gone already.
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


def _run_in_worker(task: ShardTask) -> None:
    def advance() -> None:
        with _worker["done"].get_lock():
            _worker["done"].value += 1
        if _worker["stop"].is_set():
            raise _Stopped

    write_shard(task, _worker["make"], advance)


def write_in_processes(tasks: Sequence[ShardTask], make: MakePair, workers: int, bar: Task) -> None:
    """Write the shards in `workers` processes, which leave with this one however it ends.

    Raises:
        StorageError: A worker was killed from outside.
    """
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)),
        mp_context=context,
        initializer=_start_worker,
        initargs=(os.getpid(), make, done, stop),
    )
    shown = 0
    try:
        waiting: set[Future[None]] = {pool.submit(_run_in_worker, task) for task in tasks}
        while waiting:
            finished, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            value = int(done.value)
            bar.advance(value - shown)
            shown = value
            for future in finished:
                future.result()
    except BrokenProcessPool:
        raise StorageError(
            "a worker process was ended from outside, as the system does when memory runs out",
            next_step="Give the same command with fewer --workers; finished shards are kept.",
        ) from None
    finally:
        stop.set()
        with contextlib.suppress(_Stopped):
            pool.shutdown(wait=True, cancel_futures=True)
