"""The index: one row a pair, so that any pair is one seek away whatever the size of the set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ethicclip.errors import BadInputError
from ethicclip.files import atomic_path, canonical_json
from ethicclip.pairs.pair import Pair
from ethicclip.pairs.shards import Member

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("suffix", pa.string()),
        ("record_offset", pa.int64()),
        ("record_size", pa.int64()),
        ("masks_offset", pa.int64()),
        ("masks_size", pa.int64()),
        ("patient_id", pa.string()),
        ("caption", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("findings", pa.string()),
        ("sha256", pa.string()),
    ]
)
"""`offset` and `size` are the image's bytes in its shard, `masks_size` is 0 without masks; `findings` is JSON."""


def row(pair: Pair, shard: str, image: Member, record: Member, masks: Member | None) -> dict[str, Any]:
    """The index row of a written pair."""
    patient = pair.record.get("patient_id")
    return {
        "key": pair.key,
        "shard": shard,
        "offset": image.offset,
        "size": image.size,
        "suffix": pair.suffix,
        "record_offset": record.offset,
        "record_size": record.size,
        "masks_offset": 0 if masks is None else masks.offset,
        "masks_size": 0 if masks is None else masks.size,
        "patient_id": None if patient is None else str(patient),
        "caption": pair.caption,
        "labels": [str(label) for label in pair.record.get("labels") or []],
        "findings": canonical_json(pair.record.get("findings") or {}).decode(),
        "sha256": pair.record["sha256"],
    }


def write_part(path: Path, rows: Sequence[dict[str, Any]], note: dict[str, Any]) -> None:
    """Write one shard's rows, with `note` (JSON types) in the file's metadata."""
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA).replace_schema_metadata({"ethicclip": json.dumps(note)})
    with atomic_path(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_part_note(path: Path) -> dict[str, Any]:
    """The note of a part; empty when the part is missing or broken, which means "make it again"."""
    if not path.exists():
        return {}
    try:
        metadata = pq.read_schema(path).metadata or {}
        note = json.loads(metadata.get(b"ethicclip", b"{}"))
    except (pa.ArrowInvalid, OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def merge_parts(parts: Sequence[Path], target: Path) -> None:
    """Join the parts in order into one index, one part in memory at a time."""
    with atomic_path(target) as partial, pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        for part in parts:
            writer.write_table(pq.read_table(part).replace_schema_metadata(None))


def read_index(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the index, or some of its columns.

    Raises:
        BadInputError: Missing, not Parquet, or without a needed column.
    """
    try:
        present = set(pq.read_schema(path).names)
        wanted = SCHEMA.names if columns is None else list(columns)
        missing = sorted(set(wanted) - present)
        if missing:
            raise BadInputError(f"the index {path} lacks {', '.join(missing)}", next_step="Make the set again.")
        return pq.read_table(path, columns=wanted).cast(pa.schema([SCHEMA.field(name) for name in wanted]))
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInputError(f"the index {path} cannot be read: {error}", next_step="Make the set again.") from None
