"""Are the files on disk those that were recorded? Files, folders, and what a pair set's manifest lists in its turn.

A file that is gone is noted as absent: moving evidence away is not tampering with it. Real patients' data has no path
in a ledger and cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.files import read_json, sha256_file
from ethicclip.provenance.artifacts import FOLDER_MEDIA, listing_of_folder
from ethicclip.provenance.findings import Collector

PAIR_SET_SCHEMA = "ethicclip/pairset/"
_MOST_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A record of an artifact that has a path and a plain hash."""

    kind: str
    id: str
    path: str
    media: str | None

    @property
    def name(self) -> str:
        """What findings call it."""
        return f"{self.kind} {self.path}"


def latest_records(rows: Iterable[tuple[Any, ...]]) -> tuple[list[Recorded], int]:
    """The latest record of each path, and how many records of a path a later one took the place of."""
    latest: dict[str, Recorded] = {}
    superseded = 0
    for _, id_, _, kind, _, _, path, _, media in rows:
        if path is None or not str(id_).startswith("sha256:"):
            continue
        superseded += path in latest and latest[path].id != id_
        latest[path] = Recorded(kind=str(kind), id=str(id_), path=str(path), media=media)
    return list(latest.values()), superseded


def check_files(folder: Path, rows: Iterable[tuple[Any, ...]], found: Collector) -> int:
    """Compare the recorded files below or beside a ledger's `folder` with their hashes; the number compared."""
    records, superseded = latest_records(rows)
    absent: list[str] = []
    checked = 0
    for record in records:
        place = folder / record.path
        if not place.exists():
            absent.append(record.name)
            continue
        checked += check_file(place, record, found)
    for name in absent[:_MOST_NAMED]:
        found.note(f"absent: {name}")
    if len(absent) > _MOST_NAMED:
        found.note(f"absent: and {len(absent) - _MOST_NAMED} more artifacts")
    if superseded:
        found.note(f"{superseded} artifact record(s) were written over by a later run; the latest was compared")
    return checked


def check_file(place: Path, record: Recorded, found: Collector) -> int:
    """Compare one file or folder, and what a manifest lists; the number of files compared."""
    try:
        now = listing_of_folder(place)[0] if record.media == FOLDER_MEDIA else sha256_file(place)
    except (OSError, BadInputError) as error:
        found.add("artifact file", record.name, f"cannot be read: {error}")
        return 1
    if f"sha256:{now}" != record.id:
        found.add("artifact file", record.name, f"was changed: recorded as {record.id}, now sha256:{now}")
        return 1
    if record.kind == "pair_set" and place.name == "manifest.json":
        return 1 + check_listed(place.parent, read_json(place), found, Path(record.path).parent.as_posix())
    return 1


def check_listed(folder: Path, manifest: Any, found: Collector, name: str) -> int:
    """Compare the shards and the index that a pair set's manifest lists; the number of files compared."""
    checked = 0
    for file, digest in _listed(manifest):
        place = folder / file
        record = f"pair_set file {name}/{file}" if name != "." else f"pair_set file {file}"
        if not place.resolve().is_relative_to(folder.resolve()):
            found.add("artifact file", record, "points outside the pair set's folder")
            continue
        checked += 1
        try:
            now = sha256_file(place)
        except FileNotFoundError:
            found.add("artifact file", record, "is missing: the manifest lists it")
        except OSError as error:
            found.add("artifact file", record, f"cannot be read: {error}")
        else:
            if now != digest:
                found.add("artifact file", record, f"was changed: the manifest says {digest}, now {now}")
    return checked


def is_pair_set(folder: Path) -> bool:
    """Whether a folder holds the manifest of a pair set."""
    try:
        manifest = read_json(folder / "manifest.json")
    except BadInputError:
        return False
    return isinstance(manifest, Mapping) and str(manifest.get("schema", "")).startswith(PAIR_SET_SCHEMA)


def _listed(manifest: Any) -> Iterator[tuple[str, str]]:
    """File and sha256 of every entry of a manifest of pairs; others list none."""
    if not isinstance(manifest, Mapping):
        return
    shards, index = manifest.get("shards"), manifest.get("index")
    for entry in [*(shards if isinstance(shards, list) else []), index]:
        if isinstance(entry, Mapping) and isinstance(entry.get("file"), str):
            yield str(entry["file"]), str(entry.get("sha256"))
