"""The arithmetic of tamper evidence: hashes of rows and events, signed heads. Pure functions, no database.

Every event carries the hash of the one before. An event of kind ``rows`` lists the hashes of the rows that were added
to one table, so that the last event's hash stands for every row of every table. A *head* is that hash with the counts
of all tables, signed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ethicclip.files import canonical_json, sha256_bytes
from ethicclip.provenance.keys import KeyStore, signature_holds

GENESIS_HASH = "0" * 64
ROWS = "rows"
CREATED = "ledger_created"
SIGNER = "signer"
MIGRATED = "migrated"
RESERVED_KINDS = frozenset({ROWS, CREATED, SIGNER, MIGRATED})

# One encoder for millions of rows: json.dumps with arguments builds a new one each time.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def row_hash(table: str, values: Sequence[Any]) -> str:
    """The sha256 (hex) of one row, its number and table included."""
    return hashlib.sha256(_encode([table, *values]).encode("utf-8", "surrogatepass")).hexdigest()


def event_hash(seq: int, run_id: str, kind: str, time: str, payload: str, prev_hash: str) -> str:
    """The sha256 (hex) of one event, over all its fields and the hash of the event before."""
    fields = _encode([seq, run_id, kind, time, payload, prev_hash])
    return hashlib.sha256(fields.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Head:
    """The state of a ledger after one of its runs, signed.

    Args:
        ledger: Id of the ledger.
        number: 1 for the first head of the ledger, 2 for the next.
        seq: Number of the event at the end of the chain.
        hash: That event's hash; keep it elsewhere, and ``verify --head`` detects a later cut or rewriting.
        counts: Rows of each table.
        time: UTC, ISO 8601.
        public_key: Ed25519, hex.
        signature: Ed25519 over `message()`, hex.
    """

    ledger: str
    number: int
    seq: int
    hash: str
    counts: Mapping[str, int]
    time: str
    public_key: str
    signature: str

    def message(self) -> bytes:
        """The bytes that are signed."""
        fields = {name: value for name, value in asdict(self).items() if name != "signature"}
        return b"ethicclip/head/1\n" + canonical_json(fields)

    def holds(self) -> bool:
        """Whether the signature is the named key's."""
        return signature_holds(self.public_key, self.message(), self.signature)

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON types."""
        return {**asdict(self), "counts": dict(self.counts)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Head:
        """Read what `to_json` gave.

        Raises:
            ValueError: A field is missing, unknown or of another type.
        """
        kinds = {"ledger": str, "number": int, "seq": int, "hash": str, "counts": dict}
        kinds |= {"time": str, "public_key": str, "signature": str}
        if set(values) != set(kinds) or any(not isinstance(values[name], kind) for name, kind in kinds.items()):
            raise ValueError("not a head: fields are missing, unknown or of another type")
        return cls(**values)


def sign_head(
    keys: KeyStore, *, ledger: str, number: int, seq: int, hash_: str, counts: Mapping[str, int], time: str
) -> Head:
    """Sign the end of a chain."""
    unsigned = Head(
        ledger=ledger,
        number=number,
        seq=seq,
        hash=hash_,
        counts=dict(sorted(counts.items())),
        time=time,
        public_key=keys.public_key(),
        signature="",
    )
    fields = {**unsigned.to_json(), "signature": keys.sign(unsigned.message())}
    return Head.from_json(fields)


def endorsement(ledger: str, public_key: str) -> bytes:
    """The bytes that an earlier signer signs to let `public_key` sign the heads of this ledger too."""
    return b"ethicclip/signer/1\n" + canonical_json({"ledger": ledger, "public_key": public_key})


def settings_digest(settings: Mapping[str, Any]) -> str:
    """The sha256 (hex) of resolved settings in canonical JSON, as `ethicclip.settings.Settings.digest` gives it."""
    return sha256_bytes(canonical_json(dict(settings)))
