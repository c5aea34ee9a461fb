"""Divides a cohort into parts that share no patient and no picture of one eye that could be recognised.

Writes tables of absolute paths and copies no image. The parts hold patient identifiers: they are written readable
by their owner only. The same settings on the same cohort give the same bytes, and a second call changes nothing.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ethicclip.cohorts.assignment import LEFT_OUT, assign, quantities
from ethicclip.cohorts.cohort import Cohort
from ethicclip.cohorts.joining import Join, JoinReason, exact_copies, units
from ethicclip.cohorts.near_duplicates import find_near_duplicates
from ethicclip.cohorts.reading import PATIENTS_UNKNOWN, SIMULATED_FLAG
from ethicclip.cohorts.settings import SplitSettings
from ethicclip.errors import BadInputError
from ethicclip.files import (
    PARTIAL_SUFFIX,
    atomic_path,
    canonical_json,
    read_json,
    sha256_bytes,
    sha256_file,
)
from ethicclip.progress import SILENT, Progress

SCHEMA = "ethicclip/split/1"
RECORD = "split.json"

SameEye = Callable[[Cohort], Sequence[tuple[int, int]]]


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """What a split did.

    Attributes:
        out: The folder written.
        alias: Of the cohort that was divided.
        counts: ``{"images": int, "patients": int}`` by part, in the order of the settings. Where patients are
            unknown, ``patients`` counts images as if each were one person's.
        left_out: The same for what no part took, when the shares sum to less than 1.
        units: Groups that could not be separated: patients, or patients joined by a shared picture or eye.
        joined: How many links between different patients were found, by reason.
        patients_known: False when patients could not be told apart.
        notes: What a reader of the parts has to know.
        digest: Sha256 of settings, table, file contents and given same-eye pairs.
        tables: The written table of each part, and its sha256.
        resumed: True when the folder already held this split and nothing was written.
    """

    out: Path
    alias: str
    counts: dict[str, dict[str, int]]
    left_out: dict[str, int]
    units: int
    joined: dict[str, int]
    patients_known: bool
    notes: tuple[str, ...]
    digest: str
    tables: dict[str, tuple[Path, str]]
    resumed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain facts for ``--json``; no patient and no file of one."""
        return {
            "cohort": self.alias,
            "out": str(self.out),
            "counts": self.counts,
            "left_out": self.left_out,
            "units": self.units,
            "joined": self.joined,
            "patients_known": self.patients_known,
            "notes": list(self.notes),
            "digest": self.digest,
            "tables": {part: {"path": str(path), "sha256": digest} for part, (path, digest) in self.tables.items()},
            "resumed": self.resumed,
        }

    def lines(self) -> list[str]:
        """The result in sentences for a person."""
        lines = [f"{part}: {_amount(count, self.patients_known)}" for part, count in self.counts.items()]
        if self.left_out["images"]:
            lines.append(f"left out: {_amount(self.left_out, self.patients_known)}, because the shares sum to under 1")
        total = sum(self.joined.values())
        if total:
            by_reason = ", ".join(
                f"{count} {reason.replace('_', ' ')}" for reason, count in self.joined.items() if count
            )
            lines.append(f"kept together across {self._whose()}: {total} pairs of images ({by_reason})")
        else:
            lines.append(f"no copy or near-duplicate across {self._whose()} was found")
        return [*lines, *self.notes]

    def _whose(self) -> str:
        return "patient ids" if self.patients_known else "images"


def split_cohort(
    settings: SplitSettings,
    cohort: Cohort,
    out: Path,
    *,
    same_eye: SameEye | None = None,
    workers: int = 2,
    progress: Progress = SILENT,
) -> SplitResult:
    """Divide a cohort by patient and write ``OUT/PART/cohort.csv`` and ``OUT/split.json``.

    Args:
        settings: Parts and their shares, seed, threshold, stratification.
        cohort: Whom to divide. A simulated cohort's parts are flagged as simulated.
        out: A new or empty folder, or one that holds this very split.
        same_eye: Further pairs of rows that show one eye, found by a slower matcher.
        workers: Threads that read images; they change no byte.
        progress: Where progress goes.

    Raises:
        BadInputError: Unreadable images, too few patients for a part, a missing `stratify` column, same-eye pairs
            that name no row, or an output folder that holds anything else.
        StorageError: The disk is full or refuses writing.

    Example:
        >>> split_cohort(SplitSettings(seed=1), cohort, Path("split"))  # doctest: +SKIP
    """
    strata = None if settings.stratify is None else cohort.column(settings.stratify)
    given = _checked_pairs(cohort, () if same_eye is None else same_eye(cohort))
    digest = _digest(settings, cohort, given)
    if (out / RECORD).is_file():
        return _finished_before(out, digest)
    _refuse_file(out)

    joins = _joins(settings, cohort, given, workers=workers, progress=progress)
    patients = cohort.patients()
    groups = units(patients, [(join.first, join.second) for join in joins])
    rng = np.random.default_rng(settings.seed)
    parts = assign(quantities(groups, patients, strata), settings.parts, rng)
    rows: dict[str, list[int]] = {part: [] for part in (*settings.parts, LEFT_OUT)}
    for group, part in zip(groups, parts, strict=True):
        rows[part].extend(group)
    left_out = sorted(rows.pop(LEFT_OUT))
    _refuse_empty_parts(settings, rows, len(groups), cohort)

    tables = {part: _table_bytes(cohort.subset(sorted(chosen))) for part, chosen in rows.items()}
    notes = [*cohort.notes]
    if cohort.patient_ids is None and PATIENTS_UNKNOWN not in notes:
        notes.append(PATIENTS_UNKNOWN)
    if cohort.simulated:
        notes.append("The people of this cohort are simulated.")
    record = {
        "schema": SCHEMA,
        "cohort": cohort.alias,
        "settings": settings.resolved(),
        "digest": digest,
        "part_order": list(settings.parts),
        "counts": {part: _count(chosen, patients) for part, chosen in rows.items()},
        "left_out": _count(left_out, patients),
        "units": len(groups),
        "joined": _by_reason(joins),
        "joins": [join.to_json(cohort) for join in joins],
        "patients_known": cohort.patient_ids is not None,
        "simulated": cohort.simulated,
        "notes": notes,
        "tables_sha256": {part: sha256_bytes(data) for part, data in tables.items()},
    }
    files = {f"{part}/cohort.csv": data for part, data in tables.items()}
    if cohort.simulated:
        flag = _json_bytes({"schema": "ethicclip/simulated/1", "simulated": True, "split_from": cohort.alias})
        files |= {f"{part}/{SIMULATED_FLAG}": flag for part in tables}
    _refuse_foreign(out, files)
    for name, data in files.items():
        _write_private(out / name, data)
    # The record comes last: a folder without it is unfinished, and the next call finishes it.
    _write_private(out / RECORD, _json_bytes(record))
    return _result(out, record)


def _joins(
    settings: SplitSettings, cohort: Cohort, given: Sequence[tuple[int, int]], *, workers: int, progress: Progress
) -> list[Join]:
    """Links between different patients, in order of rows; a pair found twice keeps its first reason."""
    found = {(join.first, join.second): join for join in exact_copies(cohort)}
    if settings.near_duplicate_threshold < 1:
        for near in find_near_duplicates(
            cohort, threshold=settings.near_duplicate_threshold, workers=workers, progress=progress
        ):
            join = Join(
                first=near.first,
                second=near.second,
                reason=JoinReason.NEAR_DUPLICATE,
                score=near.score,
                mirrored=near.mirrored,
            )
            found.setdefault((near.first, near.second), join)
    patients = cohort.patients()
    for first, second in given:
        if patients[first] != patients[second]:
            found.setdefault((first, second), Join(first=first, second=second, reason=JoinReason.SAME_EYE))
    return [join for _, join in sorted(found.items())]


def _checked_pairs(cohort: Cohort, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    checked = {(min(int(a), int(b)), max(int(a), int(b))) for a, b in pairs if int(a) != int(b)}
    if wrong := sorted(pair for pair in checked if pair[0] < 0 or pair[1] >= len(cohort)):
        raise BadInputError(
            f"a same-eye pair names rows {wrong[0]} of the cohort {cohort.alias}",
            next_step=f"Rows are 0 to {len(cohort) - 1}.",
        )
    return sorted(checked)


def _digest(settings: SplitSettings, cohort: Cohort, given: Sequence[tuple[int, int]]) -> str:
    facts = {
        "schema": SCHEMA,
        "settings": settings.resolved(),
        "alias": cohort.alias,
        "columns": [str(name) for name in cohort.table.columns],
        "table": sha256_bytes(_table_bytes(cohort)),
        "patients": sha256_bytes(canonical_json(list(cohort.patients()))),
        "content": sha256_bytes("\n".join(cohort.content_hashes()).encode()),
        "simulated": cohort.simulated,
        "same_eye": [list(pair) for pair in given],
    }
    return sha256_bytes(canonical_json(facts))


def _finished_before(out: Path, digest: str) -> SplitResult:
    record = read_json(out / RECORD)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise BadInputError(
            f"the output folder {out} holds a {RECORD} of another kind", next_step="Choose a new folder."
        )
    if record.get("digest") != digest:
        raise BadInputError(
            f"the output folder {out} already holds a split of other settings or another cohort",
            next_step="Choose a new folder, or remove this one yourself.",
        )
    for part, expected in record["tables_sha256"].items():
        table = out / part / "cohort.csv"
        if not table.is_file() or sha256_file(table) != expected:
            raise BadInputError(
                f"{table} is missing or was changed since the split was made",
                next_step="Remove the folder and split again: the same settings give the same parts.",
            )
        if record["simulated"] and not (out / part / SIMULATED_FLAG).is_file():
            raise BadInputError(
                f"{out / part / SIMULATED_FLAG}, which says that the people are simulated, is missing",
                next_step="Remove the folder and split again: the same settings give the same parts.",
            )
    return _result(out, record, resumed=True)


def _refuse_file(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise BadInputError(f"the output path {out} is a file", next_step="Choose a folder that does not exist yet.")


def _refuse_foreign(out: Path, files: dict[str, bytes]) -> None:
    """Accept only what an interrupted call of this very split would have left."""
    if not out.is_dir():
        return
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name.endswith(PARTIAL_SUFFIX) or (path.is_dir() and any(file.startswith(f"{name}/") for file in files)):
            continue
        if not path.is_file() or name not in files or path.read_bytes() != files[name]:
            raise BadInputError(
                f"the output folder {out} already holds something else: {name}",
                next_step="Choose a new folder, or empty this one yourself.",
            )


def _refuse_empty_parts(settings: SplitSettings, rows: dict[str, list[int]], unit_count: int, cohort: Cohort) -> None:
    if empty := [part for part, chosen in rows.items() if not chosen]:
        raise BadInputError(
            f"the cohort {cohort.alias} has too few patients: {unit_count} that can be separated, so that "
            f"{', '.join(f'{part} (share {settings.parts[part]:g})' for part in empty)} would be empty",
            next_step="Ask for fewer parts or larger shares, or bring more patients.",
        )


def _table_bytes(cohort: Cohort) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = [str(name) for name in cohort.table.columns]
    writer.writerow(names)
    writer.writerows(zip(*(cohort.column(name) for name in names), strict=True))
    return text.getvalue().encode()


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _write_private(path: Path, data: bytes) -> None:
    with atomic_path(path) as partial:
        partial.touch(mode=0o600)
        partial.write_bytes(data)


def _count(rows: Sequence[int], patients: Sequence[str]) -> dict[str, int]:
    return {"images": len(rows), "patients": len({patients[row] for row in rows})}


def _by_reason(joins: Sequence[Join]) -> dict[str, int]:
    seen = Counter(join.reason for join in joins)
    return {reason.value: seen[reason] for reason in JoinReason}


def _amount(count: dict[str, int], known: bool) -> str:
    return f"{count['images']} images" + (f" of {count['patients']} patients" if known else ", patients unknown")


def _result(out: Path, record: dict[str, Any], *, resumed: bool = False) -> SplitResult:
    order = record["part_order"]
    return SplitResult(
        out=out,
        alias=record["cohort"],
        counts={part: record["counts"][part] for part in order},
        left_out=record["left_out"],
        units=record["units"],
        joined=record["joined"],
        patients_known=record["patients_known"],
        notes=tuple(record["notes"]),
        digest=record["digest"],
        tables={part: (out / part / "cohort.csv", record["tables_sha256"][part]) for part in order},
        resumed=resumed,
    )
