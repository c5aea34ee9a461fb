"""Part files: what many workers made, for the one process that may write the ledger.

DuckDB admits one process, so a worker never opens the ledger. It appends one JSON line for each artifact or metric to a
file of its own, and the run's owner takes all files in at its end (`Run.ingest`), batch by batch. The lines of a worker
that was killed count up to its last whole line. Until they are taken in nothing vouches for part files: keep them where
only the run writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow
import pyarrow.compute
import pyarrow.json

from ethicclip.errors import BadInputError
from ethicclip.files import storage_errors
from ethicclip.provenance.artifacts import Artifact
from ethicclip.provenance.places import recorded_path, recorded_text

# pyarrow is untyped: to the type checker its modules export nothing.
pa: Any = pyarrow
pc: Any = pyarrow.compute
pj: Any = pyarrow.json

SUFFIX = ".part.jsonl"
_COLUMNS: dict[str, Any] = {
    "order": pa.int64(),
    "role": pa.string(),
    "id": pa.string(),
    "kind": pa.string(),
    "origin": pa.string(),
    "alias": pa.string(),
    "path": pa.string(),
    "size_bytes": pa.int64(),
    "media": pa.string(),
    "metric": pa.string(),
    "estimate": pa.float64(),
    "low": pa.float64(),
    "high": pa.float64(),
    "n": pa.int64(),
    "unit": pa.string(),
}
_KNOWN_ORIGINS = ("synthetic", "real", "mixed", "none")
_ROLES = ("generated", "used", "measured")


class PartWriter:
    """One worker's part file, appended to line by line.

    Args:
        folder: Where the run's part files lie.
        name: Of this worker, such as ``worker-3``; one writer a name.
        ledger: Path of the ledger that will take the file in; it is not opened.

    Example:
        >>> with PartWriter(Path("parts"), "worker-3", ledger=Path("l.duckdb")) as part:  # doctest: +SKIP
        ...     part.generate(artifact_of_file(shard, kind="shard", origin="synthetic"), order=17)
    """

    def __init__(self, folder: Path, name: str, *, ledger: Path) -> None:
        self.path = folder / f"{name}{SUFFIX}"
        self._ledger = ledger
        with storage_errors(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            _drop_half_line(self.path)
            self._stream = self.path.open("ab", buffering=1 << 16)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def generate(self, artifact: Artifact, *, order: int) -> None:
        """Say that the run wrote `artifact`; `order` decides its place in the ledger, whoever made it."""
        self._artifact("generated", artifact, order)

    def use(self, artifact: Artifact, *, order: int) -> None:
        """Say that the run read `artifact`."""
        self._artifact("used", artifact, order)

    def metric(
        self,
        name: str,
        estimate: float,
        *,
        order: int,
        low: float | None = None,
        high: float | None = None,
        n: int | None = None,
        unit: str | None = None,
    ) -> None:
        """Record a finite measured value."""
        values = {"metric": name, "estimate": estimate, "low": low, "high": high, "n": n, "unit": unit}
        self._line({"order": order, "role": "measured", **values})

    def flush(self) -> None:
        """Make what was said so far survive a crash."""
        with storage_errors(self.path):
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Flush and close."""
        if not self._stream.closed:
            self.flush()
            self._stream.close()

    def _artifact(self, role: str, artifact: Artifact, order: int) -> None:
        path = None if artifact.path is None else recorded_path(Path(artifact.path), self._ledger)
        self._line(
            {
                "order": order,
                "role": role,
                "id": artifact.id,
                "kind": artifact.kind,
                "origin": str(artifact.origin),
                "alias": recorded_text(artifact.alias),
                "path": path,
                "size_bytes": artifact.size_bytes,
                "media": artifact.media,
            }
        )

    def _line(self, values: dict[str, Any]) -> None:
        kept = {name: value for name, value in values.items() if value is not None}
        with storage_errors(self.path):
            self._stream.write(json.dumps(kept, ensure_ascii=False, allow_nan=False).encode() + b"\n")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the part files of one run say together.

    Args:
        artifacts: Arrow table with the columns role, id, kind, origin, alias, path, size_bytes, media.
        metrics: Arrow table with the columns metric, estimate, low, high, n, unit.
        files: How many part files there are.
        cut: Names of files whose last line was cut off by a crash.
    """

    artifacts: Any
    metrics: Any
    files: int
    cut: tuple[str, ...]


def read_parts(folder: Path) -> Parts:
    """Read all part files of a folder, in an order that the number of workers does not change.

    Raises:
        BadInputError: No such folder, or a line that is not one of `PartWriter`'s; the message names it.
    """
    if not folder.is_dir():
        raise BadInputError(f"there is no folder of part files at {folder}", next_step="Check the path.")
    tables, cut = [pa.table({name: pa.array([], kind) for name, kind in _COLUMNS.items()})], []
    files = sorted(folder.glob(f"*{SUFFIX}"))
    for file in files:
        data = file.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            cut.append(file.name)
        if whole:
            tables.append(_parsed(file, whole))
    rows = pa.concat_tables(tables)
    # A shard done twice after a crash is said twice and counts once.
    rows = rows.group_by(list(_COLUMNS)).aggregate([])
    rows = rows.sort_by([(name, "ascending") for name in ("order", "role", "kind", "id", "path", "metric")])
    measured = pc.equal(rows["role"], "measured")
    return Parts(
        artifacts=rows.filter(pc.invert(measured)).select(list(_COLUMNS)[1:9]),
        metrics=rows.filter(measured).select(list(_COLUMNS)[9:]),
        files=len(files),
        cut=tuple(cut),
    )


def _parsed(file: Path, data: bytes) -> Any:
    options = pj.ParseOptions(explicit_schema=pa.schema(_COLUMNS.items()), unexpected_field_behavior="error")
    try:
        table = pj.read_json(pa.BufferReader(data), parse_options=options)
    except pa.ArrowException as error:
        raise _refused(file, f"cannot be read: {str(error)[:200]}") from None
    table = table.select(list(_COLUMNS))
    for wrong, what in _mistakes(table):
        if pc.any(wrong).as_py():
            line = wrong.to_pylist().index(True) + 1
            raise _refused(file, f"line {line}: {what}")
    return table


def _mistakes(table: Any) -> Iterator[tuple[Any, str]]:
    """The checks of `Artifact`, a column at a time."""
    role, hashed = table["role"], pc.fill_null(pc.match_substring_regex(table["id"], r"^sha256:[0-9a-f]{64}$"), False)
    committed = pc.fill_null(pc.match_substring_regex(table["id"], r"^hmac-sha256:[0-9a-f]{64}$"), False)
    artifact = pc.fill_null(pc.is_in(role, pa.array(["generated", "used"])), False)
    yield (
        pc.invert(pc.fill_null(pc.is_in(role, pa.array(_ROLES)), False)),
        f"the role is not one of {', '.join(_ROLES)}",
    )
    yield pc.is_null(table["order"]), "it has no order"
    yield pc.and_(artifact, pc.invert(pc.or_(hashed, committed))), "an artifact without a sha256 or a commitment"
    yield pc.and_(artifact, pc.is_null(table["kind"])), "an artifact without a kind"
    yield (
        pc.and_(artifact, pc.invert(pc.fill_null(pc.is_in(table["origin"], pa.array(_KNOWN_ORIGINS)), False))),
        f"the origin is not one of {', '.join(_KNOWN_ORIGINS)}",
    )
    real = pc.fill_null(pc.equal(table["origin"], "real"), False)
    yield pc.and_(real, pc.or_(hashed, pc.is_valid(table["path"]))), "real patients' data with a plain hash or a path"
    yield pc.and_(pc.invert(artifact), pc.is_null(table["metric"])), "a measured value without a name"


def _refused(file: Path, problem: str) -> BadInputError:
    return BadInputError(
        f"the part file {file} {problem}" if problem.startswith("cannot") else f"the part file {file}, {problem}",
        next_step="Let the worker write it anew; nothing of this run was recorded from part files.",
    )


def _drop_half_line(path: Path) -> None:
    """A worker that goes on after a crash cuts its half line, which would otherwise join the next one."""
    if not path.exists():
        return
    data = path.read_bytes()
    keep = data.rfind(b"\n") + 1
    if keep < len(data):
        os.truncate(path, keep)
