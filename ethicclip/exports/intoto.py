"""in-toto attestations: for each run that made something, a Statement with SLSA provenance, signed as a DSSE envelope.

Subjects are what the run wrote, resolved dependencies what it read. Real patients' data stands there as the keyed
commitment of the ledger, under a digest name of its own. The envelope is signed with the key that signs the ledger.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from ethicclip.exports.scope import Scope, digest_of, name_of, shards_of
from ethicclip.files import canonical_json
from ethicclip.provenance import KeyStore, RunRecord

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:ethicclip:verb:1"


def statements(scope: Scope) -> Iterator[dict[str, Any]]:
    """One Statement a run that generated something."""
    for run in scope.runs:
        subjects = [_descriptor(record) for record in scope.of(run, "generated")]
        for record in scope.of(run, "generated"):
            subjects += [
                {"name": f"{name_of(record).rpartition('/')[0]}/{file}".lstrip("/"), "digest": {"sha256": digest}}
                for file, digest in shards_of(scope.snapshot, record)
            ]
        if subjects:
            yield {
                "_type": STATEMENT,
                "subject": subjects,
                "predicateType": PREDICATE,
                "predicate": _predicate(scope, run),
            }


def envelope(statement: dict[str, Any], keys: KeyStore) -> dict[str, Any]:
    """A DSSE envelope around a Statement; ``keyid`` is the public key in hex."""
    payload = canonical_json(statement)
    signature = bytes.fromhex(keys.sign(pre_authentication(PAYLOAD_TYPE, payload)))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": keys.public_key(), "sig": base64.b64encode(signature).decode()}],
    }


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature covers (DSSE v1, pre-authentication encoding)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _predicate(scope: Scope, run: RunRecord) -> dict[str, Any]:
    seed = {} if run.seed is None else {"seed": run.seed}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"verb": run.verb, "settings_sha256": run.settings_sha256, **seed},
            "internalParameters": {"environment": dict(run.environment)},
            "resolvedDependencies": [_descriptor(record) for record in scope.of(run, "used")],
        },
        "runDetails": {
            "builder": {"id": f"urn:ethicclip:release:{run.version}", "version": {"ethicclip": run.version}},
            "metadata": {
                "invocationId": run.run_id,
                "startedOn": _second(run.started),
                **({"finishedOn": _second(run.ended)} if run.ended else {}),
            },
        },
    }


def _descriptor(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name_of(record), "digest": digest_of(record)}
    if record.media is not None:
        found["mediaType"] = record.media
    return found | {"annotations": {"kind": record.kind, "origin": record.origin}}


def _second(time: str) -> str:
    return f"{time[:19]}Z"
