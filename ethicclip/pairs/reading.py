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
from ethicclip.imaging import IMAGE_SUFFIXES, Pixels, read_image
from ethicclip.pairs.foreign import scan_pairs
from ethicclip.pairs.index import SCHEMA, read_index
from ethicclip.pairs.masks import MEMBER, Mask, decode_masks
from ethicclip.pairs.pair import Pair
from ethicclip.pairs.writing import MANIFEST_SCHEMA, STATE_NAME
from ethicclip.provenance.artifacts import Origin

_MOST_OPEN = 64
"""Shards held open at a time: far below any limit on open files."""

_PLACES = ("offset", "size", "record_offset", "record_size", "masks_offset", "masks_size")
_LOCATION = ("key", "shard", "suffix", *_PLACES, "sha256", "caption", "patient_id")


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
        _check_manifest(path, manifest)
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
        loose = next((file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES), None)
        if loose is not None:
            raise BadInputError(
                f"{path} holds tars and loose images ({loose.name!r}): which of them is the set?",
                next_step="Move one kind to a folder of its own.",
            )
        rows = [row for tar in tars for row in scan_pairs(path, tar)]
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
        """A sha256 (hex) over the hashes of shards and index: the content, whatever the folder is called."""
        return sha256_bytes(canonical_json([[entry["file"], entry["sha256"]] for entry in _entries(self.manifest)]))

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
        image = self._bytes(index, int(self._places[index, 0]), int(self._places[index, 1]))
        record = self._record(index)
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

    def masks_of(self, index: int, pair: Pair) -> dict[str, Mask] | None:
        """As `masks`, without reading the record again; None where the pair has none."""
        if not int(self._places[index, 5]):
            return None
        return self._masks(index, pair.record)

    def masks(self, index: int) -> dict[str, Mask]:
        """Ground truth of pair `index`: by name, bool of shape (height, width) as the image.

        Raises:
            BadInputError: The pair has no masks, or they cannot be read.
        """
        if not int(self._places[index, 5]):
            raise BadInputError(
                f"pair {self.key(index)} of {self.path} has no masks",
                next_step="Generate the set with `ethicclip generate --masks`.",
            )
        return self._masks(index, self._record(index))

    def _masks(self, index: int, record: dict[str, Any]) -> dict[str, Mask]:
        offset, size = int(self._places[index, 4]), int(self._places[index, 5])
        noted = record.get("masks")
        layers = noted.get("layers") if isinstance(noted, dict) else None
        if not isinstance(layers, list) or len(set(map(str, layers))) != len(layers):
            raise BadInputError(f"the record of pair {self.key(index)} does not name the layers of its masks")
        name = f"{self.key(index)}.{MEMBER} of {self.path}"
        return decode_masks(self._bytes(index, offset, size), [str(layer) for layer in layers], name=name)

    def _record(self, index: int) -> dict[str, Any]:
        offset, size = int(self._places[index, 2]), int(self._places[index, 3])
        try:
            record = json.loads(self._bytes(index, offset, size)) if size else {}
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise IntegrityError(f"the record of pair {self.key(index)} in {self._shard_path(index)} is not JSON")
        return record

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
        broken = []
        for entry in _entries(self.manifest):
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
                if len(self._streams) >= _MOST_OPEN:
                    os.close(self._streams.pop(next(iter(self._streams))))
                try:
                    self._streams[shard] = os.open(self._shard_path(index), os.O_RDONLY)
                except OSError as error:
                    raise BadInputError(
                        f"the shard {self._shard_path(index)} cannot be read: {error.strerror}",
                        next_step="Restore it; `ethicclip generate` with the same settings makes it again.",
                    ) from None
            data = os.pread(self._streams[shard], size, offset)
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
        sizes = {Path(entry["file"]).name: int(entry["size_bytes"]) for entry in self.manifest["shards"]}
        limit = np.asarray([sizes.get(name, -1) for name in self._shard_names], dtype=np.int64)[self._shards]
        start, size = self._places[:, 0::2], self._places[:, 1::2]
        inside = (start >= 0) & (size >= 0) & (start <= limit[:, None]) & (size <= limit[:, None] - start)
        if not inside.all():
            raise BadInputError(f"the index of {self.path} points outside its shards")


def _entries(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [*manifest["shards"], *([manifest["index"]] if "index" in manifest else [])]


def _check_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """A manifest may be damaged or hostile: what reading relies on has to be there, and the index has to be its own."""
    try:
        int(manifest["counts"]["pairs"])
        Origin(manifest["origin"])
        str(manifest["licence"])
        for entry in manifest["shards"]:
            str(entry["file"]), str(entry["sha256"]), int(entry["size_bytes"])
        expected = str(manifest["index"]["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            f"the manifest of {path} is damaged: {error!r}", next_step="Restore it or make the set again."
        ) from None
    index_path = path / "index.parquet"
    if index_path.is_file() and sha256_file(index_path) != expected:
        raise IntegrityError(f"{index_path} is not the index that was written", next_step="Restore it.")
