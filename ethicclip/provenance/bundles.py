"""Sealed folders: a manifest with the hash of every file and the ledger's head, signed. A report is one.

A folder can be checked by itself, away from the ledger and the machine that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.files import canonical_json, read_json, sha256_file, write_json
from ethicclip.provenance.chain import Head
from ethicclip.provenance.findings import Collector, VerifyResult
from ethicclip.provenance.keys import KeyStore, signature_holds
from ethicclip.provenance.reading import LedgerSnapshot
from ethicclip.provenance.signers import admitted_signers

MANIFEST = "manifest.json"
SCHEMA = "ethicclip/manifest/1"


def seal_folder(
    folder: Path, *, kind: str, snapshot: LedgerSnapshot, keys: KeyStore, time: str, facts: Mapping[str, Any]
) -> Path:
    """Write ``manifest.json`` over all files in `folder`.

    Args:
        folder: What to seal; every file below it is listed.
        kind: Such as ``report``.
        snapshot: The ledger it was made from; its last head goes in.
        keys: Sign the manifest.
        time: When, ISO 8601.
        facts: More that the signature covers, such as the audience.

    Returns:
        The manifest's path.
    """
    files = [
        {"path": file.relative_to(folder).as_posix(), "sha256": sha256_file(file), "size_bytes": file.stat().st_size}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.relative_to(folder).as_posix() != MANIFEST
    ]
    body = {
        "schema": SCHEMA,
        "kind": kind,
        "time": time,
        "files": files,
        "facts": dict(facts),
        "ledger": snapshot.ledger_id,
        "ledger_head": snapshot.heads[-1].to_json() if snapshot.heads else None,
        "signers": [dict(event.payload) for event in snapshot.events if event.kind == "signer"],
        "public_key": keys.public_key(),
    }
    path = folder / MANIFEST
    write_json(path, {**body, "signature": keys.sign(_message(body))})
    return path


def is_sealed_folder(path: Path) -> bool:
    """Whether a folder holds a manifest of this kind."""
    try:
        values = read_json(path / MANIFEST)
    except BadInputError:
        return False
    return isinstance(values, Mapping) and str(values.get("schema", "")).startswith("ethicclip/manifest/")


def verify_folder(folder: Path, *, head: str | None = None, known_key: str | None = None) -> VerifyResult:
    """Compare a sealed folder with its manifest; an edited, missing or added file is named.

    Args:
        folder: The folder.
        head: The ledger's head hash that it must have been made from (its beginning is enough).
        known_key: The public key (hex) that must have signed it.

    Raises:
        BadInputError: The folder holds no manifest that can be read.
    """
    manifest = read_json(folder / MANIFEST)
    if (
        not isinstance(manifest, dict)
        or manifest.get("schema") != SCHEMA
        or not isinstance(manifest.get("files"), list)
    ):
        raise BadInputError(
            f"{folder / MANIFEST} is not a manifest this release knows", next_step="Give the folder of a report."
        )
    found = Collector()
    listed = _check_files(folder, manifest["files"], found)
    key, signature = str(manifest.get("public_key")), str(manifest.get("signature"))
    if not signature_holds(key, _message({k: v for k, v in manifest.items() if k != "signature"}), signature):
        found.add(MANIFEST, "signature", "does not hold: the manifest was changed after it was signed")
    if known_key is not None and key != known_key.lower():
        found.add(MANIFEST, f"key {key}", "is not the key that you know: it was made or signed anew by another")
    ledger_hash = _check_head(manifest, key, found)
    if head is not None and not (ledger_hash or "").startswith(head.lower()):
        found.add(MANIFEST, "ledger_head", f"was made from head {ledger_hash}, not from the one you gave")
    return VerifyResult(
        target=folder,
        kind=str(manifest.get("kind")),
        findings=tuple(found.findings),
        more=found.more(),
        notes=tuple(found.notes),
        checked={"files": listed},
        head=ledger_hash,
        public_keys=(key,),
    )


def _check_files(folder: Path, entries: list[Any], found: Collector) -> int:
    listed: set[str] = set()
    for entry in entries:
        name = str(entry.get("path")) if isinstance(entry, Mapping) else ""
        place = folder / name
        if not name or not place.resolve().is_relative_to(folder.resolve()):
            found.add(MANIFEST, f"file {name!r}", "points outside the folder")
            continue
        listed.add(name)
        if not place.is_file():
            found.add("file", name, "is missing")
        elif sha256_file(place) != entry.get("sha256"):
            found.add("file", name, "was changed after it was sealed")
    present = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    for name in sorted(present - listed - {MANIFEST}):
        found.note(f"{name} was added after sealing; nothing vouches for it")
    return len(listed)


def _check_head(manifest: Mapping[str, Any], key: str, found: Collector) -> str | None:
    try:
        signers = [dict(payload) for payload in manifest.get("signers", ())]
        head = None if manifest.get("ledger_head") is None else Head.from_json(manifest["ledger_head"])
    except (TypeError, ValueError):
        found.add(MANIFEST, "ledger_head", "cannot be read")
        return None
    admitted, _ = admitted_signers(str(manifest.get("ledger")), signers)
    if key not in admitted:
        found.add(MANIFEST, f"key {key}", "signed the manifest and is not a signer of the ledger: swapped key")
    if head is None:
        found.note("it was made from a ledger without a signed head")
        return None
    if not head.holds() or head.ledger != manifest.get("ledger"):
        found.add(MANIFEST, "ledger_head", "the signature of the ledger's head does not hold")
    elif head.public_key not in admitted:
        found.add(MANIFEST, "ledger_head", f"is signed by key {head.public_key}, which the ledger did not admit")
    return head.hash


def _message(body: Mapping[str, Any]) -> bytes:
    return b"ethicclip/manifest/1\n" + canonical_json(dict(body))
