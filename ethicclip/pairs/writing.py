"""Writes a pair set so that a kill at any moment costs at most the shards in hand, and never a byte of the result.

A shard counts as written when both it and its part of the index lie under their final names and agree. The manifest
is last: a folder without it is not a set.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pyarrow.compute as pc

from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import (
    PARTIAL_SUFFIX,
    read_json,
    require_empty_or_absent,
    sha256_file,
    storage_errors,
    write_json,
)
from ethicclip.pairs import index
from ethicclip.pairs.croissant import croissant
from ethicclip.pairs.masks import MASKS
from ethicclip.pairs.shardwork import MakePair, ShardTask, write_in_processes, write_shard
from ethicclip.progress import SILENT, Progress
from ethicclip.provenance.artifacts import Origin

MANIFEST_SCHEMA = "ethicclip/pairset/1"
STATE_NAME = ".pairset.json"
LOCK_NAME = ".lock"
PARTS_NAME = ".parts"

_LOCK_TRIES = 40
_LOCK_PAUSE_S = 0.25


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
        make: Gives pair number i from i alone, or None to leave that number out; picklable when `workers` > 1.
        count: How many pairs.
        description: What the manifest says.
        workers: Processes; changes no byte.
        shard_size: Pairs a shard.
        progress: Where to report.

    Raises:
        UsageError: A count, shard size or number of workers under 1.
        BadInputError: `out` holds something else, another process writes there, or a key stands twice.
        StorageError: The disk is full; finished shards are kept.
    """
    for name, value in (("count", count), ("shard_size", shard_size), ("workers", workers)):
        if value < 1:
            raise UsageError(f"{name} is {value}; at least 1 is needed")
    identity = {
        "schema": MANIFEST_SCHEMA,
        "settings_digest": description.settings_digest,
        "count": count,
        "shard_size": shard_size,
        "name": description.name,
        "origin": str(description.origin),
        "licence": description.licence,
        "marking": description.marking,
    }
    finished = _finished(out, identity)
    if finished is not None:
        progress.say(f"{out} is already complete: {finished['counts']['pairs']} pairs")
        return finished
    tasks = [
        ShardTask(number=number, first=first, stop=min(first + shard_size, count), out=out, parts=PARTS_NAME)
        for number, first in enumerate(range(0, count, shard_size))
    ]
    with _claimed(out, identity, private=description.origin != Origin.SYNTHETIC):
        open_tasks = [task for task in tasks if not task.is_written()]
        kept = count - sum(task.stop - task.first for task in open_tasks)
        if kept:
            progress.say(f"going on: {kept} of {count} pairs are kept from the run before")
        with progress.task("pairs", total=count, unit="pairs") as bar:
            bar.advance(kept)
            if workers == 1 or len(open_tasks) <= 1:
                for task in open_tasks:
                    write_shard(task, make, lambda: bar.advance(1))
            else:
                write_in_processes(open_tasks, make, workers, bar)
        return _finish(out, tasks, identity, description)


def _finished(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest when `out` holds this very set, whole; a set of other settings is refused."""
    path = out / "manifest.json"
    if not path.exists():
        return None
    held = read_json(path)
    _refuse_other_settings(out, held, identity)
    _clean_up(out)
    return cast(dict[str, Any], held)


def _refuse_other_settings(out: Path, held: Any, identity: dict[str, Any]) -> None:
    different = [name for name, value in identity.items() if not isinstance(held, dict) or held.get(name) != value]
    if different:
        raise BadInputError(
            f"the output folder {out} holds a pair set of other settings ({', '.join(different)})",
            next_step="Choose a new folder, or give the settings the set was begun with.",
        )


@contextlib.contextmanager
def _claimed(out: Path, identity: dict[str, Any], *, private: bool) -> Iterator[None]:
    """Make `out` ours: this set, and this process with its workers only."""
    state = out / STATE_NAME
    if state.exists():
        _refuse_other_settings(out, read_json(state), identity)
    else:
        require_empty_or_absent(out)
        with storage_errors(out):
            out.mkdir(parents=True, exist_ok=True)
            if private:
                out.chmod(0o700)
        write_json(state, identity)
    with storage_errors(out), (out / LOCK_NAME).open("a") as lock:
        _lock(lock, out)
        for folder in (out / "shards", out / PARTS_NAME):
            folder.mkdir(exist_ok=True)
        _drop_partials(out)
        yield
        _clean_up(out)


def _lock(lock: IO[str], out: Path) -> None:
    """Take the folder's lock; workers of a run that was just killed keep it for the moment they take to leave."""
    for attempt in range(_LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt == _LOCK_TRIES - 1:
                raise BadInputError(
                    f"another process is writing the pair set {out}", next_step="Wait for it, or choose another folder."
                ) from None
            time.sleep(_LOCK_PAUSE_S)
        else:
            return


def _finish(
    out: Path, tasks: Sequence[ShardTask], identity: dict[str, Any], description: Description
) -> dict[str, Any]:
    notes = [index.read_part_note(task.part) for task in tasks]
    index_path = out / "index.parquet"
    index.merge_parts([task.part for task in tasks], index_path)
    labels: dict[str, int] = {}
    for labels_of_pair in index.read_index(index_path, ["labels"]).column("labels").to_pylist():
        for label in labels_of_pair:
            labels[label] = labels.get(label, 0) + 1
    written = sum(note["pairs"] for note in notes)
    if not written:
        raise BadInputError(f"none of the {identity['count']} pairs for {out} could be made")
    masked = int(pc.sum(pc.greater(index.read_index(index_path, ["masks_size"]).column(0), 0)).as_py())
    sometimes = {"left_out": identity["count"] - written, "masks": masked}
    manifest = {
        **identity,
        "generator": description.generator,
        "notes": list(description.notes),
        "counts": {"pairs": written, "shards": len(tasks), "labels": labels}
        | {name: count for name, count in sometimes.items() if count},
        "shards": [{"file": f"shards/{task.name}", **note} for task, note in zip(tasks, notes, strict=True)],
        "index": {"file": "index.parquet", "sha256": sha256_file(index_path)},
    }
    if masked:
        manifest["masks"] = MASKS
    _refuse_repeated_keys(index_path)
    write_json(out / "croissant.json", croissant(manifest))
    write_json(out / "manifest.json", manifest)
    return manifest


def _refuse_repeated_keys(index_path: Path) -> None:
    keys = pc.value_counts(index.read_index(index_path, ["key"]).column("key"))
    repeated = keys.filter(pc.greater(keys.field("counts"), 1)).field("values").to_pylist()
    if repeated:
        raise BadInputError(
            f"{len(repeated)} keys stand twice, {repeated[0]!r} among them", next_step="Make keys unique."
        )


def _clean_up(out: Path) -> None:
    # A worker of a killed run may have begun a shard after we came; it is gone by now, its partial file is not.
    _drop_partials(out)
    shutil.rmtree(out / PARTS_NAME, ignore_errors=True)
    for name in (STATE_NAME, LOCK_NAME):
        (out / name).unlink(missing_ok=True)


def _drop_partials(out: Path) -> None:
    for stale in out.rglob(f".*{PARTIAL_SUFFIX}"):
        stale.unlink(missing_ok=True)
