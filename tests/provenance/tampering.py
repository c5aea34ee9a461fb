"""What every act of tampering leaves behind, and the small changes they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from tests.provenance.house import House

Random = np.random.Generator


@dataclass(frozen=True)
class Done:
    """One act of tampering.

    Args:
        kind: flip, delete, insert, reorder, truncate, replace or re-sign.
        what: Kind of record or artifact.
        target: What to verify.
        record: What has to be named, as a part of a finding's line.
        head: A head held elsewhere that the verifier knows, where only that can tell.
        noted: Whether a note is the right answer (absent, crash-like) rather than a finding.
    """

    kind: str
    what: str
    target: Path
    record: str
    head: str | None = None
    noted: bool = False


def connect(house: House) -> duckdb.DuckDBPyConnection:
    """The ledger, opened past its own writer."""
    return duckdb.connect(str(house.ledger))


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
    """What a statement gives."""
    return connection.execute(sql, list(values)).fetchall()


def other_value(old: Any, kind: str, rng: Random) -> Any:
    """Another value of the same type; sometimes NULL, sometimes a single character."""
    if kind == "BIGINT":
        return int(rng.integers(1, 1000)) + (int(old) if old is not None else 0)
    if kind == "DOUBLE":
        return (float(old) if old is not None else 0.0) + float(rng.choice([1e-9, 0.5, -1.0]))
    if old is None or not old or rng.random() < 0.2:
        return "changed" if old is None or rng.random() < 0.5 or old == "" else None
    return flipped_text(str(old), rng)


def flipped_text(text: str, rng: Random) -> str:
    """One character changed."""
    place = int(rng.integers(len(text)))
    new = chr(ord("a") + int(rng.integers(26)))
    return text[:place] + (new if text[place] != new else "Z") + text[place + 1 :]


def changed_bytes(data: bytes, kind: str, rng: Random) -> bytes:
    """A file's content after one act of a kind: flip, insert, truncate, replace, reorder."""
    place = int(rng.integers(len(data)))
    if kind == "flip":
        return data[:place] + bytes([data[place] ^ (1 << int(rng.integers(8)))]) + data[place + 1 :]
    if kind == "insert":
        return data[:place] + b"\x00" + data[place:]
    if kind == "truncate":
        return data[:place]
    if kind == "replace":
        return rng.bytes(max(1, len(data)))
    # Reorder: two different bytes change places.
    others = [i for i in range(len(data)) if data[i] != data[place]]
    if not others:
        return data + b"x"
    other = int(rng.choice(others[:4000]))
    swapped = bytearray(data)
    swapped[place], swapped[other] = swapped[other], swapped[place]
    return bytes(swapped)
