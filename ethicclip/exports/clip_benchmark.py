"""Labelled eyes in the WebDataset layout that CLIP_benchmark reads: ``test/N.tar`` with ``sKEY.jpg`` and ``sKEY.cls``.

Beside them ``classnames.txt``, ``zeroshot_classification_templates.txt``, ``dataset_type.txt``, ``test/nshards.txt``.
Keys are numbers: no file name and no patient id goes along. From a cohort the folder shows patients and is restricted.
"""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ethicclip.errors import BadInputError
from ethicclip.files import require_empty_or_absent, write_bytes, write_text
from ethicclip.imaging.containers import read_encoded
from ethicclip.terms import Condition, UnknownLabelError, condition_for, name

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort
    from ethicclip.pairs import PairSet

PAIRS_PER_SHARD = 1000
TEMPLATES = ("a fundus photograph of {c}", "a retinal photograph with {c}", "{c}, seen in a fundus photograph")


@dataclass(frozen=True, kw_only=True)
class Written:
    """What went into the folder: images by class, and how many had no single known label."""

    classes: dict[str, int]
    left_out: int


def from_pairs(pairs: PairSet, out: Path) -> Written:
    """Write the pairs that have exactly one label.

    Raises:
        BadInputError: Fewer than two classes, or `out` holds something.
    """

    def rows() -> Iterator[tuple[Any, str | None]]:
        for number in range(len(pairs)):
            labels = pairs.read(number).record.get("labels")
            one = labels[0] if isinstance(labels, list) and len(labels) == 1 else None
            yield (number, one if isinstance(one, str) else None)

    def image(number: Any) -> tuple[bytes, str]:
        pair = pairs.read(number)
        return pair.image, pair.suffix

    return _write(list(rows()), image, out, restricted=str(pairs.origin) != "synthetic")


def from_cohort(cohort: Cohort, out: Path, *, label_column: str = "label") -> Written:
    """Write the eyes of a cohort; the folder is readable by its owner only.

    Raises:
        BadInputError: No such column, fewer than two classes, or `out` holds something.
    """
    rows = list(enumerate(cohort.column(label_column)))

    def image(number: Any) -> tuple[bytes, str]:
        file = cohort.files[number]
        suffix = file.suffix.lower().lstrip(".")
        if suffix in {"jpg", "jpeg", "png", "webp"}:
            return read_encoded(file), {"jpeg": "jpg"}.get(suffix, suffix)
        return _as_png(cohort.image(number)), "png"

    return _write(rows, image, out, restricted=not cohort.simulated)


def _write(rows: Sequence[tuple[Any, str | None]], image: Any, out: Path, *, restricted: bool) -> Written:
    require_empty_or_absent(out)
    labelled = [(row, condition) for row, label in rows if (condition := _known(label)) is not None]
    present = {condition for _, condition in labelled}
    classes = [condition for condition in Condition if condition in present]
    if len(classes) < 2:
        raise BadInputError(
            f"{len(classes)} class(es) have an image with one known label; at least two are needed",
            next_step="Check the labels; docs/guide.md lists the known ones.",
        )
    out.mkdir(parents=True, exist_ok=True, mode=0o700 if restricted else 0o755)
    places = {condition: number for number, condition in enumerate(classes)}
    shards = 0
    for start in range(0, len(labelled), PAIRS_PER_SHARD):
        part = labelled[start : start + PAIRS_PER_SHARD]
        write_bytes(out / "test" / f"{shards}.tar", _shard(part, image, places, start))
        shards += 1
    write_text(out / "test" / "nshards.txt", f"{shards}\n")
    write_text(out / "classnames.txt", "".join(f"{name(condition)}\n" for condition in classes))
    write_text(out / "zeroshot_classification_templates.txt", "".join(f"{text}\n" for text in TEMPLATES))
    write_text(out / "dataset_type.txt", "classification\n")
    counts = Counter(name(condition) for _, condition in labelled)
    return Written(classes=dict(sorted(counts.items())), left_out=len(rows) - len(labelled))


def _shard(part: list[tuple[Any, Condition]], image: Any, places: dict[Condition, int], start: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for offset, (row, condition) in enumerate(part):
            data, suffix = image(row)
            key = f"s{start + offset:07d}"
            for name_, content in ((f"{key}.cls", str(places[condition]).encode()), (f"{key}.{suffix}", data)):
                info = tarfile.TarInfo(name_)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _known(label: str | None) -> Condition | None:
    if not label:
        return None
    try:
        return condition_for(label)
    except UnknownLabelError:
        return None


def _as_png(pixels: Any) -> bytes:
    from PIL import Image  # noqa: PLC0415 - only formats that a browser does not read need it

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
