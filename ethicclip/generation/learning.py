"""What a generator learns from: pictures by number, what each eye has, and whose it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ethicclip.cohorts import Cohort, find_near_duplicates, read_cohort
from ethicclip.cohorts.labelling import conditions_of, grades_of
from ethicclip.errors import BadInputError
from ethicclip.files import canonical_json, sha256_bytes
from ethicclip.imaging import Pixels
from ethicclip.pairs import Origin, PairSet
from ethicclip.progress import SILENT, Progress
from ethicclip.terms import Condition

_EYES = ("left", "right")


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of one eye.

    Attributes:
        conditions: What it has; empty where nobody says.
        grade: ICDR grade of diabetic retinopathy, None where nobody says.
        eye: "left", "right" or None.
    """

    conditions: tuple[Condition, ...] = ()
    grade: int | None = None
    eye: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningSet:
    """Pictures to learn from, by number.

    Attributes:
        alias: What records call the set.
        known: What is known of each picture.
        patient_ids: Whose each picture is; None where nobody says.
        origin: Whose eyes they are.
        licence: What follows into the generator, where the set states one.
        hashes: sha256 (hex) of each encoded picture.
        fetch: Decodes picture i, its longer side at most so many pixels.
    """

    alias: str
    known: tuple[Known, ...]
    patient_ids: tuple[str | None, ...]
    origin: Origin
    licence: str
    hashes: tuple[str, ...]
    fetch: Callable[[int, int | None], Pixels]

    def __len__(self) -> int:
        return len(self.known)

    @property
    def digest(self) -> str:
        """A sha256 (hex) over the pictures and what is known of them; of real eyes it must not leave the house."""
        rows = [[one.conditions, one.grade, one.eye] for one in self.known]
        return sha256_bytes(canonical_json([list(self.hashes), rows]))

    def patients(self) -> tuple[str, ...]:
        """A name for each picture: near-duplicates are looked for among those of one patient too."""
        return tuple(f"picture:{number}" for number in range(len(self)))

    def image(self, i: int, max_side: int | None = None) -> Pixels:
        """Picture `i`, uint8 RGB (height, width, 3)."""
        return self.fetch(i, max_side)

    def subset(self, rows: Sequence[int]) -> LearningSet:
        """The set of these pictures, in this order."""
        chosen = tuple(rows)

        def fetch(i: int, side: int | None) -> Pixels:
            return self.fetch(chosen[i], side)

        return replace(
            self,
            known=tuple(self.known[row] for row in chosen),
            patient_ids=tuple(self.patient_ids[row] for row in chosen),
            hashes=tuple(self.hashes[row] for row in chosen),
            fetch=fetch,
        )

    def without_duplicates(self, *, workers: int = 2, progress: Progress = SILENT) -> LearningSet:
        """The set without pictures that repeat an earlier one, exactly or nearly, whoever's they are.

        A repeated picture is what a generator memorises first (Carlini et al. 2023, section 4.2).

        Raises:
            BadInputError: Pictures that cannot be read.
        """
        first = {digest: row for row, digest in reversed(list(enumerate(self.hashes)))}
        rows = [row for row, digest in enumerate(self.hashes) if first[digest] == row]
        once = self.subset(rows)
        if len(once) < 2:
            return once
        dropped: set[int] = set()
        for pair in find_near_duplicates(once, workers=workers, progress=progress):
            if pair.first not in dropped:
                dropped.add(pair.second)
        return once.subset([row for row in range(len(once)) if row not in dropped])


def open_learning_set(path: Path, *, label_column: str | None = "label") -> LearningSet:
    """Read a pair set, or a cohort, to learn from.

    Args:
        path: A folder with ``manifest.json`` is a pair set; everything else is what `read_cohort` reads.
        label_column: Column of a cohort's labels.

    Raises:
        BadInputError: Neither of the two, or labels that are not known.
    """
    if (path / "manifest.json").is_file():
        return from_pairs(PairSet.open(path))
    return from_cohort(read_cohort(path), label_column=label_column)


def from_cohort(cohort: Cohort, *, label_column: str | None = "label") -> LearningSet:
    """A cohort as it is labelled; rows whose label names no condition are kept, as eyes of which nothing is known.

    Raises:
        BadInputError: Labels that are not known.
    """
    columns = [str(name) for name in cohort.table.columns]
    grades = grades_of(cohort)
    column = label_column if label_column in columns else None
    labelled = column is not None or any(name in columns for name in Condition)
    found = conditions_of(cohort, column, grades) if labelled else [None] * len(cohort)
    sides = cohort.column("eye") if "eye" in columns else [""] * len(cohort)
    known = tuple(
        Known(conditions=one or (), grade=grades[row], eye=_side(sides[row])) for row, one in enumerate(found)
    )
    return LearningSet(
        alias=cohort.alias,
        known=known,
        patient_ids=tuple(cohort.patient_ids) if cohort.patient_ids is not None else (None,) * len(cohort),
        origin=Origin.SYNTHETIC if cohort.simulated else Origin.REAL,
        licence="not stated",
        hashes=cohort.content_hashes(),
        fetch=cohort.image,
    )


def from_pairs(pairs: PairSet) -> LearningSet:
    """A pair set with the labels, grades and eyes of its records."""
    records = [pairs.read(number).record for number in range(len(pairs))]
    known = tuple(
        Known(
            conditions=tuple(item for item in Condition if item.value in (record.get("labels") or ())),
            grade=record.get("grade") if isinstance(record.get("grade"), int) else None,
            eye=_side(str(record.get("eye") or "")),
        )
        for record in records
    )
    return LearningSet(
        alias=pairs.path.name,
        known=known,
        patient_ids=tuple(pairs.patient_id(number) for number in range(len(pairs))),
        origin=pairs.origin,
        licence=pairs.licence,
        hashes=tuple(pairs.sha256(number) for number in range(len(pairs))),
        fetch=pairs.image,
    )


def refuse_empty(learning: LearningSet) -> None:
    """Refuse a set that holds nothing.

    Raises:
        BadInputError: It is empty.
    """
    if not len(learning):
        raise BadInputError(f"{learning.alias} holds no picture to learn from", next_step="Give a set that holds some.")


def _side(text: str) -> str | None:
    found = text.strip().casefold()
    return found if found in _EYES else None
