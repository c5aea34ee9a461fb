"""``verify`` knows what it is given by content, not by name: a ledger, a report, a pair set, any recorded file."""

from __future__ import annotations

from pathlib import Path

from ethicclip.errors import BadInputError
from ethicclip.files import read_json, sha256_file
from ethicclip.provenance.artifact_files import Recorded, check_file, check_listed, is_pair_set, latest_records
from ethicclip.provenance.artifacts import FOLDER_MEDIA, listing_of_folder
from ethicclip.provenance.bundles import MANIFEST, is_sealed_folder, verify_folder
from ethicclip.provenance.findings import Collector, VerifyResult
from ethicclip.provenance.reading import LedgerSnapshot
from ethicclip.provenance.store import LOCK_WAIT_S, looks_like_database
from ethicclip.provenance.verification import read_verified, refuse_bad_head, verify_ledger

_MOST_NOTED = 20


def verify(
    target: Path,
    *,
    head: str | None = None,
    known_key: str | None = None,
    ledger: Path | None = None,
    heads_file: Path | None = None,
    artifacts: bool = True,
    wait_s: float = LOCK_WAIT_S,
) -> VerifyResult:
    """Verify what `target` is.

    Args:
        target: A ledger file; a sealed folder such as a report (or the manifest or page inside it); a pair set; a model
            folder or any other file or folder that the ledger recorded.
        head: A head hash held elsewhere; a ledger must hold it, a report must have been made from it.
        known_key: The public key (hex) that must have begun the ledger or signed the report.
        ledger: The ledger that vouches for a pair set, a model or a file.
        heads_file: Signed heads kept beside or elsewhere; ``LEDGER.heads`` when None.
        artifacts: Whether to compare the artifacts of a ledger with their hashes.
        wait_s: How long to wait for another process that holds the ledger.

    Raises:
        BadInputError: There is nothing at `target`, or it needs a ledger that is not there.
        LedgerLockedError: Another process held the ledger all the time.

    Example:
        >>> verify(Path("ethicclip.duckdb")).ok  # doctest: +SKIP
        True
    """
    refuse_bad_head(head)
    if target.is_file() and looks_like_database(target):
        return verify_ledger(
            target, head=head, heads_file=heads_file, known_key=known_key, artifacts=artifacts, wait_s=wait_s
        )
    folder = target.parent if target.is_file() and target.name == MANIFEST else target
    if is_sealed_folder(folder) or (target.is_file() and is_sealed_folder(target.parent)):
        return verify_folder(folder if folder.is_dir() else target.parent, head=head, known_key=known_key)
    if not target.exists():
        raise BadInputError(
            f"there is nothing at {target}", next_step="Give the path of a ledger, a report, a pair set or a model."
        )
    vouching = ledger is not None and ledger.exists()
    if is_pair_set(folder):
        return _verify_recorded(folder, "pair set", ledger if vouching else None, known_key, wait_s)
    if not vouching:
        raise BadInputError(
            f"{target} is neither a ledger nor a folder with a readable {MANIFEST}, and there is no ledger to ask",
            next_step="Give --ledger the ledger in which it was recorded.",
        )
    return _verify_recorded(target, "recorded artifact", ledger, known_key, wait_s)


def _verify_recorded(
    target: Path, kind: str, ledger: Path | None, known_key: str | None, wait_s: float
) -> VerifyResult:
    """Compare a file or folder with the ledger that recorded it, and a pair set with its own manifest."""
    found = Collector()
    checked: dict[str, int] = {}
    keys: tuple[str, ...] = ()
    head: str | None = None
    if ledger is None:
        found.note("no ledger was given: that the files are those of the manifest says nothing about the manifest")
        checked["files"] = check_listed(target, read_json(target / MANIFEST), found, target.name)
    else:
        snapshot, outcome = read_verified(ledger, wait_s=wait_s)
        keys, head = outcome.public_keys, outcome.head
        for finding in outcome.findings:
            found.add(finding.table, finding.record, finding.problem)
        if known_key is not None and known_key.lower() not in keys:
            found.add("heads", f"key {known_key}", "signed no head of the ledger")
        checked = {"ledger records": len(snapshot.artifacts), "files": _compare(target, snapshot, found)}
    return VerifyResult(
        target=target,
        kind=kind,
        findings=tuple(found.findings),
        more=found.more(),
        notes=tuple(found.notes),
        checked=checked,
        head=head,
        public_keys=keys,
    )


def _compare(target: Path, snapshot: LedgerSnapshot, found: Collector) -> int:
    rows = [
        (r.row, r.id, r.run_id, r.kind, r.origin, r.alias, r.path, r.size_bytes, r.media) for r in snapshot.artifacts
    ]
    records, _ = latest_records(rows)
    base, wanted = snapshot.path.absolute().parent, target.absolute().resolve()
    here = [(record, (base / record.path).resolve()) for record in records]
    here = [(record, place) for record, place in here if place == wanted or place.is_relative_to(wanted)]
    checked = 0
    for record, place in here:
        if place.exists():
            checked += check_file(place, record, found)
        else:
            found.add("artifact file", record.name, "is missing: the ledger recorded it here")
    if here:
        _note_unrecorded(target, {place for _, place in here}, snapshot, found)
        return checked
    return _by_content(target, records, found)


def _by_content(target: Path, records: list[Recorded], found: Collector) -> int:
    """What was moved or handed on is still known by its hash."""
    if is_pair_set(target):
        name, digest = f"{target.name}/{MANIFEST}", sha256_file(target / MANIFEST)
    elif target.is_dir():
        return _folder_by_content(target, records, found)
    else:
        name, digest = target.name, sha256_file(target)
    for record in records:
        if record.id == f"sha256:{digest}" and record.media != FOLDER_MEDIA:
            found.note(f"{name} is what the ledger recorded as {record.name}")
            listed = check_listed(target, read_json(target / MANIFEST), found, target.name) if target.is_dir() else 0
            return 1 + listed
    found.add("artifact file", name, f"no record of the ledger has its content, sha256:{digest}")
    return 1


def _folder_by_content(target: Path, records: list[Recorded], found: Collector) -> int:
    known = {record.id: record for record in records}
    whole = f"sha256:{listing_of_folder(target)[0]}"
    if whole in known:
        found.note(f"{target.name} is what the ledger recorded as {known[whole].name}")
        return 1
    files = sorted(path for path in target.rglob("*") if path.is_file())
    vouched = 0
    for path in files:
        record = known.get(f"sha256:{sha256_file(path)}")
        name = path.relative_to(target).as_posix()
        if record is not None:
            vouched += 1
            found.note(f"{name} is what the ledger recorded as {record.name}")
    if not vouched:
        found.add(
            "artifact file", target.name, f"no record of the ledger has the content of any of its {len(files)} files"
        )
    elif vouched < len(files):
        found.note(f"{len(files) - vouched} other file(s) of {target.name} are in no record; nothing vouches for them")
    return vouched


def _note_unrecorded(target: Path, known: set[Path], snapshot: LedgerSnapshot, found: Collector) -> None:
    """Name files of a folder that nothing vouches for; a pair set's shards stand in its manifest."""
    if not target.is_dir() or is_pair_set(target) or target.resolve() == snapshot.path.absolute().parent.resolve():
        return
    files = [(path, path.resolve()) for path in sorted(target.rglob("*")) if path.is_file()]
    loose = [
        path.relative_to(target).as_posix()
        for path, real in files
        if not any(real == place or real.is_relative_to(place) for place in known)
    ]
    for name in loose[:_MOST_NOTED]:
        found.note(f"{name} is in no record; nothing vouches for it")
    if len(loose) > _MOST_NOTED:
        found.note(f"and {len(loose) - _MOST_NOTED} more files in no record")
