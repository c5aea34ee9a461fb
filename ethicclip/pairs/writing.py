"""Writes a pair set so that a kill at any moment costs at most the shards in hand, and never a byte of the result.

A shard counts as written when both it and its part of the index lie under their final names and agree. The manifest
is last: a folder without it is not a set.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError, StorageError
from ethicclip.files import (
    PARTIAL_SUFFIX,
    atomic_path,
    canonical_json,
    read_json,
    require_empty_or_absent,
    sha256_bytes,
    sha256_file,
    write_json,
)
from ethicclip.pairs import index
from ethicclip.pairs.croissant import croissant
from ethicclip.pairs.pair import IMAGE_FORMATS, Pair
from ethicclip.pairs.shards import ShardWriter
from ethicclip.progress import SILENT, Progress, Task
from ethicclip.provenance.artifacts import Origin

MANIFEST_SCHEMA = "ethicclip/pairset/1"
STATE_NAME = ".pairset.json"
PARTS_NAME = ".parts"

MakePair = Callable[[int], Pair]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a manifest says of a set beyond its files.

    Attributes:
        name: Short name.
        origin: Where the eyes come from.
        licence: SPDX name or a sentence.
        generator: Settings and version of what made the pairs; JSON types.
        settings_digest: Decides whether a folder may be continued.
        marking: How each image is marked as synthetic, or that it is not.
        notes: What a user must know, such as what the resolution can show.
    """

    name: str
    origin: Origin
    licence: str
    generator: dict[str, Any]
    settings_digest: str
    marking: str
    notes: tuple[str, ...] = ()


def write_pair_set(
    out: Path,
    make: MakePair,
    count: int,
    *,
    description: Description,
    workers: int = 1,
    shard_size: int = 1000,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write `count` pairs below `out` and return the manifest.

    Args:
        out: Folder; absent, empty, or holding an unfinished or finished set of the same settings.
        make: Gives pair number i from i alone; picklable when `workers` > 1.
        count: How many pairs.
        description: What the manifest says.
        workers: Processes; changes no byte.
        shard_size: Pairs a shard.
        progress: Where to report.

    Raises:
        BadInputError: `out` holds something else.
        StorageError: The disk is full; finished shards are kept.
    """
    state = {
        "schema": MANIFEST_SCHEMA,
        "settings_digest": description.settings_digest,
        "count": count,
        "shard_size": shard_size,
    }
    finished = _claim(out, state)
    if finished is not None:
        progress.say(f"{out} is already complete: {finished['counts']['pairs']} pairs")
        _clean_up(out)
        return finished
    tasks = [
        _ShardTask(number=number, first=first, stop=min(first + shard_size, count), out=out)
        for number, first in enumerate(range(0, count, shard_size))
    ]
    open_tasks = [task for task in tasks if not task.is_written()]
    kept = sum(task.stop - task.first for task in tasks) - sum(task.stop - task.first for task in open_tasks)
    if kept:
        progress.say(f"going on: {kept} of {count} pairs are kept from the run before")
    with progress.task("pairs", total=count, unit="pairs") as bar:
        bar.advance(kept)
        if workers == 1 or len(open_tasks) == 1:
            for task in open_tasks:
                _write_shard(task, make, lambda: bar.advance(1))
        else:
            _write_in_processes(open_tasks, make, workers, bar)
    manifest = _finish(out, tasks, state, description)
    _clean_up(out)
    return manifest


def _claim(out: Path, state: dict[str, Any]) -> dict[str, Any] | None:
    """Make `out` ours, or return the manifest when it is complete already."""
    manifest_path, state_path = out / "manifest.json", out / STATE_NAME
    holder = manifest_path if manifest_path.exists() else state_path
    if holder.exists():
        held = read_json(holder)
        if not isinstance(held, dict) or any(held.get(name) != value for name, value in state.items()):
            raise BadInputError(
                f"the output folder {out} holds a pair set of other settings",
                next_step="Choose a new folder, or give the settings the set was begun with.",
            )
        if holder == manifest_path:
            return held
    else:
        require_empty_or_absent(out)
    write_json(state_path, state)
    for folder in (out, out / "shards", out / PARTS_NAME):
        folder.mkdir(exist_ok=True)
        for stale in folder.glob(f"*{PARTIAL_SUFFIX}"):
            stale.unlink(missing_ok=True)
    return None


@dataclass(frozen=True, kw_only=True)
class _ShardTask:
    number: int
    first: int
    stop: int
    out: Path

    @property
    def name(self) -> str:
        return f"{self.number:06d}.tar"

    @property
    def shard(self) -> Path:
        return self.out / "shards" / self.name

    @property
    def part(self) -> Path:
        return self.out / PARTS_NAME / f"{self.number:06d}.parquet"

    def is_written(self) -> bool:
        note = index.read_part_note(self.part)
        return bool(note) and self.shard.exists() and sha256_file(self.shard) == note.get("sha256")


def _write_shard(task: _ShardTask, make: MakePair, advance: Callable[[], None]) -> None:
    rows = []
    seen: set[str] = set()
    with atomic_path(task.shard) as partial:
        with partial.open("wb") as stream:
            writer = ShardWriter(stream)
            for number in range(task.first, task.stop):
                pair = _with_hash(make(number))
                if pair.key in seen:
                    raise BadInputError(f"key {pair.key!r} stands twice in shard {task.name}")
                seen.add(pair.key)
                image = writer.add(f"{pair.key}.{pair.suffix}", pair.image)
                writer.add(f"{pair.key}.txt", pair.caption.encode())
                record = writer.add(f"{pair.key}.json", canonical_json(pair.record))
                rows.append(index.row(pair, task.name, image, record))
                advance()
            writer.finish()
        note = {"sha256": sha256_file(partial), "size_bytes": partial.stat().st_size, "pairs": len(rows)}
    index.write_part(task.part, rows, note)


def _with_hash(pair: Pair) -> Pair:
    plain = pair.key.isascii() and pair.key.replace("-", "").replace("_", "").isalnum()
    if not plain or pair.suffix not in IMAGE_FORMATS:
        raise BadInputError(f"pair {pair.key!r} ({pair.suffix!r}): keys are plain words, formats {IMAGE_FORMATS}")
    record = {**pair.record, "sha256": sha256_bytes(pair.image)}
    return Pair(key=pair.key, image=pair.image, suffix=pair.suffix, caption=pair.caption, record=record)


class _Stopped(Exception):
    """The owner asked this worker to leave its shard."""


_worker: dict[str, Any] = {}


def _start_worker(make: MakePair, done: Any, stop: Any) -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.update(make=make, done=done, stop=stop)
    threading.Thread(target=_leave_with_parent, args=(os.getppid(),), daemon=True).start()


def _leave_with_parent(parent: int) -> None:
    # A parent that was killed cannot tell its workers.
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _run_in_worker(task: _ShardTask) -> None:
    def advance() -> None:
        with _worker["done"].get_lock():
            _worker["done"].value += 1
        if _worker["stop"].is_set():
            raise _Stopped

    _write_shard(task, _worker["make"], advance)


def _write_in_processes(tasks: Sequence[_ShardTask], make: MakePair, workers: int, bar: Task) -> None:
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)), mp_context=context, initializer=_start_worker, initargs=(make, done, stop)
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


def _finish(out: Path, tasks: Sequence[_ShardTask], state: dict[str, Any], description: Description) -> dict[str, Any]:
    notes = [index.read_part_note(task.part) for task in tasks]
    index_path = out / "index.parquet"
    index.merge_parts([task.part for task in tasks], index_path)
    labels: dict[str, int] = {}
    for labels_of_pair in index.read_index(index_path, ["labels"]).column("labels").to_pylist():
        for label in labels_of_pair:
            labels[label] = labels.get(label, 0) + 1
    manifest = {
        **state,
        "name": description.name,
        "origin": str(description.origin),
        "licence": description.licence,
        "generator": description.generator,
        "marking": description.marking,
        "notes": list(description.notes),
        "counts": {"pairs": sum(note["pairs"] for note in notes), "shards": len(tasks), "labels": labels},
        "shards": [{"file": f"shards/{task.name}", **note} for task, note in zip(tasks, notes, strict=True)],
        "index": {"file": "index.parquet", "sha256": sha256_file(index_path)},
    }
    write_json(out / "croissant.json", croissant(manifest))
    write_json(out / "manifest.json", manifest)
    return manifest


def _clean_up(out: Path) -> None:
    shutil.rmtree(out / PARTS_NAME, ignore_errors=True)
    (out / STATE_NAME).unlink(missing_ok=True)
