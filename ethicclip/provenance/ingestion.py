"""Taking part files into a ledger: Arrow tables from end to end, so that a hundred thousand artifacts take seconds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow

from ethicclip.provenance.parts import read_parts
from ethicclip.provenance.store import Appender

pa: Any = pyarrow

_ARTIFACT: dict[str, Any] = {
    name: pa.int64() if name == "size_bytes" else pa.string()
    for name in ("id", "kind", "origin", "alias", "path", "size_bytes", "media")
}


def ingest_parts(appender: Appender, run_id: str, moment: str, folder: Path) -> None:
    """Append everything that the part files in `folder` say to the run.

    Raises:
        BadInputError: A part file that cannot be read; nothing of the run's end is then recorded.
    """
    parts = read_parts(folder)
    found = parts.artifacts
    told = found.select(list(_ARTIFACT))
    appender.arrow_rows("artifacts", run_id, moment, with_run(appender.unknown_artifacts(told), run_id))
    edges = pa.table({"role": found["role"], "artifact": found["id"]})
    first = edges.append_column("place", pa.array(range(len(edges)), pa.int64()))
    first = first.group_by(["role", "artifact"]).aggregate([("place", "min")]).sort_by("place_min")
    appender.arrow_rows("edges", run_id, moment, with_run(first.select(["role", "artifact"]), run_id))
    metrics = parts.metrics
    measured = {name: metrics[name] for name in ("estimate", "low", "high", "n", "unit")}
    named = pa.table({"name": metrics["metric"], **measured, "artifact": pa.nulls(len(metrics), pa.string())})
    appender.arrow_rows("metrics", run_id, moment, with_run(named, run_id))
    if parts.files:
        said = {"files": parts.files, "artifacts": len(found), "metrics": len(metrics), "cut": list(parts.cut)}
        appender.event(run_id, "parts_ingested", moment, said)


def with_run(rows: Any, run_id: str) -> Any:
    """An Arrow table with the run that its rows belong to."""
    return rows.append_column("run_id", pa.repeat(pa.scalar(run_id, pa.string()), len(rows)))


def artifact_table(rows: Iterable[tuple[Any, ...]]) -> Any:
    """Rows (id, kind, origin, alias, path, size_bytes, media) as an Arrow table."""
    columns = list(zip(*rows, strict=True)) or [()] * len(_ARTIFACT)
    return pa.table(
        {name: pa.array(values, kind) for (name, kind), values in zip(_ARTIFACT.items(), columns, strict=True)}
    )
