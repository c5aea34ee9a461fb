"""Reads pair sets: our own through the index, anybody's WebDataset folder by scanning its tars once."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ethicclip.errors import BadInputError, IntegrityError
from ethicclip.files import canonical_json, read_json, sha256_bytes, sha256_file
from ethicclip.imaging import Pixels, read_image
from ethicclip.pairs.index import SCHEMA, read_index
from ethicclip.pairs.pair import Pair
from ethicclip.pairs.shards import Member, scan_shard
from ethicclip.pairs.writing import MANIFEST_SCHEMA, STATE_NAME
from ethicclip.provenance.artifacts import Origin

_PLACES = ("offset", "size", "record_offset", "record_size")
_LOCATION = ("key", "shard", "suffix", *_PLACES, "sha256", "caption", "patient_id")
_SUFFIXES = {"jpg": "jpg", "jpeg": "jpg", "png": "png", "webp": "webp"}


class PairSet:
    """A set of pairs on disk with random access; see `PairSet.open`.

    Reading is safe from several threads and after pickling into another process.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], located: pa.Table) -> None:
        self.path = path
        self.manifest = manifest
        self._keys = located.column("key")
        self._suffixes = located.column("suffix")
        self._hashes = located.column("sha256")
        self._captions = located.column("caption")
        self._patients = located.column("patient_id")
        names = located.column("shard").combine_chunks().dictionary_encode()
        if isinstance(names, pa.ChunkedArray):
            names = names.unify_dictionaries().combine_chunks()
        self._shard_names: list[str] = names.dictionary.to_pylist()
        self._shards: npt.NDArray[np.int64] = np.asarray(names.indices, dtype=np.int64)
        self._places: npt.NDArray[np.int64] = np.stack(
            [np.asarray(located.column(name), dtype=np.int64) for name in _PLACES], axis=1
        )
        self._streams: dict[int, int] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, verify: bool = False, origin: Origin = Origin.REAL) -> Self:
        """Open the set in folder `path`.

        Args:
            path: A folder with ``manifest.json``, or any folder of WebDataset tars.
            verify: Recompute every hash first.
            origin: Of a folder without manifest; what nobody vouches for counts as real.

        Raises:
            BadInputError: Missing, unfinished, or not a pair set.
            IntegrityError: `verify` found a file that is not what the manifest says.
        """
        if not path.is_dir():
            raise BadInputError(f"the pair set {path} does not exist", next_step="Check the path.")
        manifest_path = path / "manifest.json"
        if not manifest_path.exists():
            if (path / STATE_NAME).exists():
                raise BadInputError(
                    f"the pair set {path} is not finished", next_step="Give the command that began it once more."
                )
            return cls._open_foreign(path, origin)
        manifest = read_json(manifest_path)
        if not isinstance(manifest, dict) or manifest.get("schema") != MANIFEST_SCHEMA:
            raise BadInputError(
                f"{manifest_path} is not the manifest of a pair set ({MANIFEST_SCHEMA})", next_step="Check the path."
            )
        opened = cls(path, manifest, read_index(path / "index.parquet", _LOCATION))
        opened._check_places()
        if verify:
            opened.verify()
        return opened

    @classmethod
    def _open_foreign(cls, path: Path, origin: Origin) -> Self:
        tars = sorted(file for file in path.rglob("*.tar") if file.is_file())
        if not tars:
            raise BadInputError(
                f"{path} is no pair set: neither manifest.json nor a .tar is in it", next_step="Check the path."
            )
        rows = [row for tar in tars for row in _scan_pairs(path, tar)]
        if not rows:
            raise BadInputError(f"the tars of {path} hold no image", next_step="Check the path.")
        keys = {row["key"] for row in rows}
        if len(keys) != len(rows):
            raise BadInputError(f"{len(rows) - len(keys)} keys of {path} stand twice", next_step="Make keys unique.")
        manifest = {
            "schema": MANIFEST_SCHEMA,
            "name": path.name,
            "origin": str(origin),
            "licence": "unknown",
            "counts": {"pairs": len(rows), "shards": len(tars)},
            "shards": [
                {"file": tar.relative_to(path).as_posix(), "sha256": sha256_file(tar), "size_bytes": tar.stat().st_size}
                for tar in tars
            ],
            "notes": ["A foreign WebDataset folder: origin and licence were not stated by its maker."],
        }
        return cls(path, manifest, pa.Table.from_pylist(rows, schema=SCHEMA).select(list(_LOCATION)))

    @property
    def origin(self) -> Origin:
        """Where the eyes come from."""
        return Origin(self.manifest["origin"])

    @property
    def licence(self) -> str:
        """The licence of the set."""
        return str(self.manifest["licence"])

    @property
    def digest(self) -> str:
        """A sha256 (hex) over the shards' hashes: the content, whatever the folder is called."""
        return sha256_bytes(canonical_json([[entry["file"], entry["sha256"]] for entry in self.manifest["shards"]]))

    def index(self) -> pa.Table:
        """The whole index as an Arrow table; empty columns where a foreign set has none."""
        return read_index(self.path / "index.parquet")

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Pair]:
        return (self.read(number) for number in range(len(self)))

    def key(self, index: int) -> str:
        """Key of pair `index`."""
        return str(self._keys[index].as_py())

    def name(self, index: int) -> str:
        """The image's file name inside its shard."""
        return f"{self.key(index)}.{self._suffixes[index].as_py()}"

    def caption(self, index: int) -> str | None:
        """English caption of pair `index`."""
        text = self._captions[index].as_py()
        return None if text is None else str(text)

    def patient_id(self, index: int) -> str | None:
        """The patient behind pair `index`; None for a synthetic eye."""
        patient = self._patients[index].as_py()
        return None if patient is None else str(patient)

    def read(self, index: int) -> Pair:
        """Pair number `index`, its image checked against its hash.

        Raises:
            IndexError: No such pair.
            IntegrityError: The bytes are not the ones that were written.
        """
        offset, size, record_offset, record_size = (int(value) for value in self._places[index])
        image = self._bytes(index, offset, size)
        try:
            record = json.loads(self._bytes(index, record_offset, record_size)) if record_size else {}
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise IntegrityError(f"the record of pair {self.key(index)} in {self._shard_path(index)} is not JSON")
        self._check_image(index, image)
        return Pair(
            key=self.key(index),
            image=image,
            suffix=str(self._suffixes[index].as_py()),
            caption=self.caption(index) or "",
            record=record,
        )

    def image(self, index: int, max_side: int | None = None) -> Pixels:
        """Image number `index`, decoded: uint8 RGB (height, width, 3)."""
        data = self._bytes(index, int(self._places[index, 0]), int(self._places[index, 1]))
        self._check_image(index, data)
        return read_image(data, name=f"{self.name(index)} of {self.path}", max_side=max_side)

    def sha256(self, index: int) -> str:
        """sha256 (hex) of the encoded image."""
        known = self._hashes[index].as_py()
        if known is not None:
            return str(known)
        return sha256_bytes(self._bytes(index, int(self._places[index, 0]), int(self._places[index, 1])))

    def verify(self) -> None:
        """Recompute the hash of every shard and of the index.

        Raises:
            IntegrityError: Names every file that is missing or changed.
        """
        entries = [*self.manifest["shards"], *([self.manifest["index"]] if "index" in self.manifest else [])]
        broken = []
        for entry in entries:
            file = self.path / entry["file"]
            if not file.exists():
                broken.append(f"{entry['file']} is missing")
            elif sha256_file(file) != entry["sha256"]:
                broken.append(f"{entry['file']} has changed")
        if broken:
            raise IntegrityError(f"the pair set {self.path} is not what was written", details=broken)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.update(_streams={}, _lock=None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __del__(self) -> None:
        for stream in getattr(self, "_streams", {}).values():
            os.close(stream)

    def _shard_path(self, index: int) -> Path:
        folder = self.path / "shards" if "index" in self.manifest else self.path
        return folder / str(self._shard_names[self._shards[index]])

    def _bytes(self, index: int, offset: int, size: int) -> bytes:
        shard = int(self._shards[index])
        with self._lock:
            if shard not in self._streams:
                try:
                    self._streams[shard] = os.open(self._shard_path(index), os.O_RDONLY)
                except OSError as error:
                    raise BadInputError(
                        f"the shard {self._shard_path(index)} cannot be read: {error.strerror}",
                        next_step="Restore it; `ethicclip generate` with the same settings makes it again.",
                    ) from None
            stream = self._streams[shard]
        data = os.pread(stream, size, offset)
        if len(data) != size:
            raise IntegrityError(f"the shard {self._shard_path(index)} is cut short at pair {self.key(index)}")
        return data

    def _check_image(self, index: int, data: bytes) -> None:
        known = self._hashes[index].as_py()
        if known is not None and sha256_bytes(data) != known:
            raise IntegrityError(
                f"pair {self.key(index)} in {self._shard_path(index)} is not the image that was written",
                next_step="Restore the shard from where it was made.",
            )

    def _check_places(self) -> None:
        # The index may come from a stranger: names stay inside the folder, places inside the file.
        for name in self._shard_names:
            if PurePosixPath(name).name != name or not name.endswith(".tar"):
                raise BadInputError(f"the index of {self.path} names the shard {name!r}, which leads outside")
        if len(self) != self.manifest["counts"]["pairs"]:
            raise IntegrityError(
                f"the index of {self.path} holds {len(self)} pairs, its manifest {self.manifest['counts']['pairs']}"
            )
        if len(self) and (self._places < 0).any():
            raise BadInputError(f"the index of {self.path} holds a negative place")


def _scan_pairs(root: Path, tar: Path) -> Iterator[dict[str, Any]]:
    grouped: dict[str, dict[str, Member]] = {}
    for member in scan_shard(tar):
        folder, _, base = member.name.rpartition("/")
        stem, _, suffix = base.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        grouped.setdefault(key, {})[suffix.lower()] = member
    with tar.open("rb") as stream:
        for key, members in grouped.items():
            found = next((suffix for suffix in members if suffix in _SUFFIXES), None)
            if found is None:
                continue
            caption = None
            if "txt" in members:
                stream.seek(members["txt"].offset)
                caption = stream.read(members["txt"].size).decode("utf-8", "replace")
            record = members.get("json", Member(name="", offset=0, size=0))
            yield {
                "key": key,
                "shard": tar.relative_to(root).as_posix(),
                "offset": members[found].offset,
                "size": members[found].size,
                "suffix": _SUFFIXES[found],
                "record_offset": record.offset,
                "record_size": record.size,
                "patient_id": None,
                "caption": caption,
                "labels": [],
                "findings": "{}",
                "sha256": None,
            }
