"""SynFundus-1M (arXiv 2312.00377): a million synthetic fundus photographs, eleven diseases, four readability flags.

Read are its annotation table and annotations in JSON with the Chinese `diagnosticAdvice`. What the fields mean stands
in ``synfundus.yaml``; a field that may be a disease and is not known stops the import rather than being lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ethicclip.errors import BadInputError
from ethicclip.importing.annotations import AnnotationRow, read_annotations
from ethicclip.importing.rows import ImportResult, Row, resolve_files, write_rows
from ethicclip.importing.settings import Language, SynFundusSettings
from ethicclip.importing.synfundus_fields import FieldReader, columns_of, schema
from ethicclip.pairs import Origin
from ethicclip.progress import SILENT, Progress
from ethicclip.terms import Condition, label_captions, label_names

IMPORTER = "import/synfundus/1"

LANGUAGES: tuple[Language, ...] = ("en", "zh")
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")

NOTE = (
    "SynFundus-1M, made by a diffusion model trained on private patients' photographs: synthetic by its maker's word. "
    "Research use only, models trained on it included. Labels are the conditions that pictures were generated under."
)


def import_synfundus(
    annotations: Path,
    images: Path,
    out: Path,
    settings: SynFundusSettings | None = None,
    *,
    workers: int = 1,
    progress: Progress = SILENT,
) -> ImportResult:
    """Make a pair set of SynFundus-1M, or of a part of it.

    Args:
        annotations: CSV, TSV, Parquet, JSON or JSON Lines.
        images: Folder of the pictures.
        out: Folder of the pair set.
        settings: Which pictures to take, and how.
        workers: Processes; changes no byte.
        progress: Where to report.

    Raises:
        BadInputError: An annotation that cannot be understood, a field that may be an unknown disease, a file name that
            leads outside `images`, or a picture that cannot be read.
    """
    settings = SynFundusSettings() if settings is None else settings
    if not images.is_dir():
        raise BadInputError(f"the folder of images {images} does not exist", next_step="Check the path.")
    found = read_annotations(annotations)
    what = annotations.name
    columns = columns_of(found, what)
    read = FieldReader(columns=columns, settings=settings, what=what)
    files = resolve_files([str(read.value(row, "file", "")) for row in found], images, what=what, suffixes=_SUFFIXES)
    left_out: Counter[str] = Counter()
    lines = "the annotation gives Chinese advice" if "advice" in columns else "captions are written from the labels"
    return write_rows(
        out,
        _taken(read, found, files, left_out),
        settings,
        root=images,
        name="synfundus-1m",
        importer=IMPORTER,
        origin=Origin.SYNTHETIC,
        left_out=left_out,
        notes=(NOTE, f"Of this copy, {lines}; English captions are always written from the labels."),
        workers=workers,
        progress=progress,
    )


def _taken(
    read: FieldReader, found: Sequence[AnnotationRow], files: Sequence[str], left_out: Counter[str]
) -> Iterator[Row]:
    known = schema()
    for number, (item, file) in enumerate(zip(found, files, strict=True), start=1):
        flags = {name: read.flag(item, f"flag {name}", number) for name in known.flags}
        readable = {name: read.flag(item, f"readable {name}", number) for name in known.unreadable}
        if readable["fundus"] is False and read.settings.readable != "any":
            left_out["flagged as no fundus"] += 1
            continue
        if read.settings.readable == "all" and False in readable.values():
            left_out["a part cannot be read"] += 1
            continue
        grade, eye = read.grade(item, number), read.eye(item, number)
        conditions, unlisted = _conditions(flags, grade)
        captions = _captions(conditions, unlisted, grade, eye, readable, read.advice(item, number))
        if not captions:
            left_out["nothing to say: no known disease, not known to be healthy, no advice"] += 1
            continue
        yield Row(
            file=file,
            captions=captions,
            labels=[condition.value for condition in conditions],
            grade=grade,
            eye=eye,
            more={
                "readability": readable,
                "synfundus": {name: value for name, value in flags.items() if value is not None},
            },
        )


def _conditions(flags: Mapping[str, bool | None], grade: int | None) -> tuple[list[Condition], list[str]]:
    """Conditions of ours, and flags that are set and have none."""
    known = schema().flags
    present = {known[name].condition for name, value in flags.items() if value}
    if grade:
        present.add(Condition.DIABETIC_RETINOPATHY)
    unlisted = [name for name, value in flags.items() if value and known[name].condition is None]
    if not present - {None} and not unlisted:
        asked = all(flags[name] is False for name, flag in known.items() if not flag.optional)
        # Healthy is what every flag denies, not what nobody speaks of.
        return ([Condition.NORMAL] if asked and grade == 0 else []), []
    return [condition for condition in Condition if condition in present], unlisted


def _captions(
    conditions: Sequence[Condition],
    unlisted: Sequence[str],
    grade: int | None,
    eye: str | None,
    readable: Mapping[str, bool | None],
    advice: Sequence[str],
) -> dict[str, list[str]]:
    known = schema()
    captions: dict[str, list[str]] = {}
    for language in LANGUAGES:
        names = [*label_names(conditions, grade, language)]
        names += [known.flags[name].names[language] for name in unlisted if language in known.flags[name].names]
        texts = list(label_captions(names, eye, language)) if names else []
        bad = [known.unreadable[name][language] for name, value in readable.items()
               if value is False and language in known.unreadable[name]]  # fmt: skip
        if bad and texts:
            # In one caption only, so that the diagnosis alone stays a caption as well.
            space = " " if language == "en" else ""
            sentences = space.join(text[:1].upper() + text[1:] + known.ends[language] for text in bad)
            texts[0] = f"{texts[0]}{space}{sentences}"
        if language == "zh":
            texts = [*advice, *texts]
        if texts:
            captions[language] = texts
    return captions
