"""An RO-Crate 1.1: the shareable records of a ledger as one folder that describes itself.

It holds copies of the records that name no patient and whose hash is the ledger's, the other exports, and
``ro-crate-metadata.json`` with a CreateAction for each run. Pictures, tables of flagged images and real data stay out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ethicclip.exports.scope import Scope, name_of
from ethicclip.files import canonical_json, sha256_bytes, write_bytes, write_json
from ethicclip.provenance import ArtifactRecord

SHAREABLE_KINDS = frozenset(
    {"verdict", "metrics", "pair_set", "training_run", "training_log", "model_config", "model_card", "text_audit"}
)
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_STATES = {
    "finished": "http://schema.org/CompletedActionStatus",
    "unfinished": "http://schema.org/PotentialActionStatus",
}


def write_crate(scope: Scope, out: Path, *, title: str, when: str, licence: str, extra: dict[str, bytes]) -> list[str]:
    """Write the crate into the empty folder `out`; the files that are in it.

    Args:
        scope: What it is about.
        out: Folder.
        title: Of the crate.
        when: ISO 8601; the date of the crate.
        licence: Of the set, as a name.
        extra: Further files by name, such as ``prov.json``.
    """
    graph: list[dict[str, Any]] = []
    parts: list[dict[str, str]] = []
    held: dict[str, str] = {}
    for record in scope.artifacts.values():
        data = _content(scope, record)
        if data is None:
            continue
        name = f"records/{record.id.partition(':')[2][:12]}-{Path(name_of(record)).name}"
        write_bytes(out / name, data)
        held[record.id] = name
        graph.append(_file(name, data, record.media, f"{record.kind} {name_of(record)}"))
        parts.append({"@id": name})
    for name, data in sorted(extra.items()):
        write_bytes(out / name, data)
        graph.append(_file(name, data, "application/json", name))
        parts.append({"@id": name})
    for record in scope.artifacts.values():
        if record.id not in held:
            held[record.id] = f"#{record.id.replace(':', '-')}"
            entity = {"@id": held[record.id], "@type": "CreativeWork", "name": name_of(record)}
            graph.append(entity | {"identifier": record.id, "description": f"{record.kind}, origin {record.origin}"})
    for run in scope.runs:
        action: dict[str, Any] = {
            "@id": f"#run-{run.run_id}",
            "@type": "CreateAction",
            "name": f"ethicclip {run.verb}",
            "instrument": {"@id": "#ethicclip"},
            "startTime": run.started,
            "actionStatus": {"@id": _STATES.get(run.status, "http://schema.org/FailedActionStatus")},
            "object": [{"@id": held[record.id]} for record in scope.of(run, "used")],
            "result": [{"@id": held[record.id]} for record in scope.of(run, "generated")],
        }
        if run.ended is not None:
            action["endTime"] = run.ended
        if run.verdict is not None:
            action["description"] = f"Result: {run.verdict}"
        graph.append(action)
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": title,
        "description": "Records of a synthetic fundus set: how it was made, audited and used. No picture of a patient.",
        "datePublished": when[:10],
        "license": licence,
        "hasPart": parts,
        "mentions": [{"@id": f"#run-{run.run_id}"} for run in scope.runs],
    }
    software = {"@id": "#ethicclip", "@type": "SoftwareApplication", "name": "EthicCLIP"}
    versions = sorted({run.version for run in scope.runs})
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    write_json(
        out / "ro-crate-metadata.json",
        {"@context": CONTEXT, "@graph": [descriptor, root, software | {"version": ", ".join(versions)}, *graph]},
    )
    return sorted([*(part["@id"] for part in parts), "ro-crate-metadata.json"])


def json_lines(documents: list[dict[str, Any]]) -> bytes:
    """Documents one a line, the same bytes for the same documents."""
    return b"".join(canonical_json(document) + b"\n" for document in documents)


def pretty(document: Any) -> bytes:
    """A document for people, the same bytes for the same document."""
    return (json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _content(scope: Scope, record: ArtifactRecord) -> bytes | None:
    """The bytes of a shareable record, when they are what the ledger says."""
    place = scope.snapshot.place(record)
    if record.kind not in SHAREABLE_KINDS or record.origin in {"real", "mixed"} or place is None:
        return None
    try:
        data = place.read_bytes()
    except OSError:
        return None
    return data if record.id == f"sha256:{sha256_bytes(data)}" else None


def _file(name: str, data: bytes, media: str | None, title: str) -> dict[str, Any]:
    found = {"@id": name, "@type": "File", "name": title, "contentSize": str(len(data)), "sha256": sha256_bytes(data)}
    return found | {"encodingFormat": media or "application/octet-stream"}
