"""Rows that an import has understood, and the pair set that they become: one writer for all three imports."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.files import canonical_json, sha256_bytes, sha256_file
from ethicclip.importing.pictures import PictureRules
from ethicclip.importing.settings import ImportSettings
from ethicclip.pairs import Description, Origin, Pair, write_pair_set
from ethicclip.progress import Progress

MAX_CAPTION = 10_000
"""Characters; more is not a caption but another column."""

UNMARKED = "real pictures: not marked as synthetic, and without any metadata"
AS_PUBLISHED = "by their maker or not at all: this import adds no mark and takes none away from bytes that it keeps"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One picture with its words.

    Attributes:
        file: Path below the import's root, or absolute where the user's own cohort says so.
        captions: Texts by language, the leading ones first; at least one.
        labels: Ids of conditions.
        grade: ICDR grade of diabetic retinopathy, None where nobody says.
        eye: "left", "right" or None.
        patient_id: Whose eye it is, None for nobody's.
        more: What else the record is to hold; JSON types.
    """

    file: str
    captions: Mapping[str, Sequence[str]]
    labels: Sequence[str] = ()
    grade: int | None = None
    eye: str | None = None
    patient_id: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """A finished import.

    Attributes:
        path: Folder of the pair set.
        count: Pairs in it.
        left_out: Rows that did not become pairs, by reason.
        labels: Pictures by label.
        licence: Of the set.
        origin: Whose eyes they are.
        manifest_sha256: Hash of ``manifest.json``.
        rows_sha256: Hash of what was understood of the table: names, captions, labels. Of real eyes it stays in the
            restricted folder: a plain hash lets whoever has the table test for it.
        seconds: Wall clock of this call.
    """

    path: Path
    count: int
    left_out: dict[str, int]
    labels: dict[str, int]
    licence: str
    origin: str
    manifest_sha256: str
    rows_sha256: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "path": str(self.path),
            "count": self.count,
            "left_out": self.left_out,
            "labels": self.labels,
            "licence": self.licence,
            "origin": self.origin,
            "manifest_sha256": self.manifest_sha256,
            "seconds": round(self.seconds, 3),
        }

    def lines(self) -> list[str]:
        """What a person wants to read."""
        labels = ", ".join(f"{name} {count}" for name, count in self.labels.items()) or "none"
        left_out = ", ".join(f"{count} ({reason})" for reason, count in self.left_out.items()) or "none"
        return [
            f"{self.count} pairs of origin {self.origin} in {self.path} ({self.seconds:.1f} s)",
            f"labels: {labels}",
            f"left out: {left_out}",
            f"licence: {self.licence}; it follows into whatever is trained on this set",
        ]


_CHUNK = 256


class _Packed:
    """Records in compressed chunks: a million of them, words in two languages included, in tens of megabytes."""

    def __init__(self, records: Iterator[bytes]) -> None:
        digest = hashlib.sha256()
        self._chunks: list[bytes] = []
        self._count = 0
        while chunk := list(itertools.islice(records, _CHUNK)):
            for record in chunk:
                digest.update(record + b"\n")
            self._chunks.append(zlib.compress(b"\n".join(chunk)))
            self._count += len(chunk)
        self.digest = digest.hexdigest()
        self._open: tuple[int, list[bytes]] = (-1, [])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        chunk, place = divmod(index, _CHUNK)
        if self._open[0] != chunk:
            self._open = (chunk, zlib.decompress(self._chunks[chunk]).split(b"\n"))
        return json.loads(self._open[1][place])


@dataclass(frozen=True)
class _Maker:
    """Makes pair number i from its row; picklable."""

    root: Path
    rows: _Packed
    rules: PictureRules
    skip_broken: bool

    def __call__(self, index: int) -> Pair | None:
        row = self.rows[index]
        try:
            image, suffix = self.rules.bring_in(self.root / row.pop("file"))
        except BadInputError:
            if self.skip_broken:
                return None
            raise
        captions = row["captions"]
        leading = "en" if "en" in captions else next(iter(captions))
        return Pair(key=f"{index:09d}", image=image, suffix=suffix, caption=captions[leading][0], record=row)


def clean(text: str, where: str) -> str:
    """A caption on one line, without control characters.

    Raises:
        BadInputError: It is absurdly long.
    """
    words = "".join(letter if letter.isprintable() else " " for letter in text).split()
    if len(text) > MAX_CAPTION:
        raise BadInputError(
            f"{where} has a caption of {len(text)} characters; at most {MAX_CAPTION} are read",
            next_step="Check that the right column is named caption.",
        )
    return " ".join(words)


def write_rows(
    out: Path,
    rows: Iterable[Row],
    settings: ImportSettings,
    *,
    root: Path,
    name: str,
    importer: str,
    origin: Origin,
    left_out: Mapping[str, int],
    notes: Sequence[str] = (),
    workers: int,
    progress: Progress,
) -> ImportResult:
    """Write the rows as a pair set.

    Args:
        out: Folder of the set; new, empty, or begun with the same rows and settings.
        rows: In the order in which they become pairs.
        settings: Of the import.
        root: Where relative files lie.
        name: Of the set.
        importer: Name and version of what understood the rows.
        origin: Whose eyes they are.
        left_out: Rows that the importer did not take, by reason; read once `rows` are used up.
        notes: What a user of the set must know.
        workers: Processes; changes no byte.
        progress: Where to report.

    Raises:
        BadInputError: No row, a picture that cannot be read, or `out` holds something else.
        StorageError: The disk is full; finished shards are kept.
    """
    started = time.monotonic()
    packed = _Packed(_record(row) for row in rows)
    if len(packed) == 0:
        raise BadInputError(
            "no row is left to import", details=[f"{reason}: {count}" for reason, count in left_out.items()]
        )
    synthetic = origin is Origin.SYNTHETIC
    rules = PictureRules(
        keep_bytes=synthetic, max_side=settings.max_side, suffix=settings.format, quality=settings.quality
    )
    identity = {"importer": importer, "settings": settings.resolved(), "rows_sha256": packed.digest}
    counted = {reason: count for reason, count in left_out.items() if count}
    manifest = write_pair_set(
        out,
        _Maker(root, packed, rules, settings.broken == "skip"),
        len(packed),
        description=Description(
            name=name,
            origin=origin,
            licence=settings.licence,
            generator={
                "name": importer,
                "settings": settings.resolved(),
                "rows_sha256": packed.digest,
                "left_out": counted,
            },
            settings_digest=sha256_bytes(canonical_json(identity)),
            marking=AS_PUBLISHED if synthetic else UNMARKED,
            notes=tuple(notes),
        ),
        workers=workers,
        shard_size=settings.shard_size,
        progress=progress,
    )
    counts = manifest["counts"]
    if "left_out" in counts:
        counted["missing or unreadable"] = counts["left_out"]
    return ImportResult(
        path=out,
        count=counts["pairs"],
        left_out=counted,
        labels=dict(sorted(counts["labels"].items(), key=lambda item: (-item[1], item[0]))),
        licence=settings.licence,
        origin=str(origin),
        manifest_sha256=sha256_file(out / "manifest.json"),
        rows_sha256=packed.digest,
        seconds=time.monotonic() - started,
    )


def _record(row: Row) -> bytes:
    record = {
        "file": row.file,
        "source_file": row.file if not Path(row.file).is_absolute() else Path(row.file).name,
        "captions": {language: list(texts) for language, texts in row.captions.items()},
        "labels": list(row.labels),
        "grade": row.grade,
        "eye": row.eye,
        "patient_id": row.patient_id,
        **row.more,
    }
    return canonical_json(record)


def resolve_files(names: Sequence[str], root: Path, *, what: str, suffixes: Sequence[str] = ("",)) -> list[str]:
    """Paths below `root`, as their rows name them; existence is not asked for, staying inside is.

    Args:
        names: Cells of the table.
        root: Folder of the pictures.
        what: The table, for messages.
        suffixes: What to try behind a name that has no suffix of a picture.

    Raises:
        BadInputError: An empty cell, a path that leads outside, or a file that stands twice.
    """
    place = _normal(root)
    found = [_below(place, name, suffixes) for name in names]
    problems = [
        f"row {row}: {name!r}" for row, (name, path) in enumerate(zip(names, found, strict=True), 1) if not path
    ]
    if problems:
        raise BadInputError(
            f"{len(problems)} of {len(names)} rows of {what} name no file inside {root}",
            details=[*problems[:20], *([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])],
            next_step="Name files relative to that folder; a table that leads elsewhere may be hostile.",
        )
    twice = [path for path, count in Counter(found).items() if count > 1]
    if twice:
        raise BadInputError(
            f"{len(twice)} files stand in more than one row of {what}, {twice[0]!r} among them",
            next_step="Keep one row a file.",
        )
    return found


def _below(place: Path, name: str, suffixes: Sequence[str]) -> str:
    """The path relative to `place`; "" for an empty name and for one that leads outside."""
    if not name or "\0" in name or "\\" in name:
        return ""
    path = _normal(place / name)
    if path == place or not path.is_relative_to(place):
        return ""
    relative = path.relative_to(place)
    for suffix in suffixes if not relative.suffix else ("",):
        if suffix and (place / f"{relative}{suffix}").is_file():
            return f"{relative.as_posix()}{suffix}"
    return relative.as_posix()


def _normal(path: Path) -> Path:
    # Lexical: what a row says must stay inside, whatever links the user has placed there.
    return Path(os.path.normpath(path.absolute()))
