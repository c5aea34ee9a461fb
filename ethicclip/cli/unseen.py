"""Before a score: whether the model learned from these eyes; `evaluate` and `compare` ask alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort
    from ethicclip.evaluation.contamination import Contamination, Training
    from ethicclip.progress import Progress

TrainedOn = Annotated[
    list[Path] | None,
    typer.Option("--trained-on", help="Pair set that a run was trained on: compare pictures too.", show_default=False),
]
KnownOverlap = Annotated[
    list[str] | None,
    typer.Option("--known-overlap", help="Training source whose overlap you know of; recorded.", show_default=False),
]

_MOST_STARTS = 20


def look_for_overlap(
    run_folders: Sequence[Path],
    eyes: Cohort,
    *,
    ledger: Path,
    trained_on: Sequence[Path],
    known: Sequence[str],
    progress: Progress,
) -> list[Contamination]:
    """What each run has seen of the cohort.

    Raises:
        BadInputError: A run was trained on eyes of the cohort, and `known` does not name the source.
        UsageError: A set that no run was trained on.
    """
    from ethicclip.errors import UsageError
    from ethicclip.evaluation.contamination import check_contamination
    from ethicclip.pairs import PairSet
    from ethicclip.provenance import KeyStore, read_ledger

    snapshot = read_ledger(ledger) if ledger.is_file() else None
    trainings = [training_of(folder) for folder in run_folders]
    sets = [PairSet.open(path) for path in trained_on]
    digests = [None if one.data is None else {str(entry.get("digest")) for entry in one.data} for one in trainings]
    for pairs in sets:
        if not any(known_of is None or pairs.digest in known_of for known_of in digests):
            raise UsageError(
                f"no run named here was trained on {pairs.path}: run.json names other digests",
                next_step="Name the pair sets of the training, or leave --trained-on out.",
            )
    return [
        check_contamination(
            training,
            eyes,
            ledger=snapshot,
            keys=KeyStore.default(),
            sets=[pairs for pairs in sets if known_of is None or pairs.digest in known_of],
            known=known,
            progress=progress,
        )
        for training, known_of in zip(trainings, digests, strict=True)
    ]


def training_of(run_folder: Path) -> Training:
    """Weights and data of a run, and of the runs that it went on from as far as their folders are there."""
    from ethicclip.cli.recording import file_artifact
    from ethicclip.clip.folder import WEIGHTS_FILE
    from ethicclip.evaluation.contamination import Training

    weights: list[str] = []
    data: list[Mapping[str, Any]] | None = []
    folder: Path | None = run_folder
    for _ in range(_MOST_STARTS):
        if folder is None:
            break
        if (folder / WEIGHTS_FILE).is_file():
            weights.append(file_artifact("model", folder / WEIGHTS_FILE).id)
        record = _run_record(folder)
        if record is None:
            data = None
            break
        if data is not None:
            data += record["data"]
        folder = _start_of(record)
    return Training(name=run_folder.name, weights=tuple(weights), data=None if data is None else tuple(data))


def _run_record(folder: Path) -> Mapping[str, Any] | None:
    from ethicclip.files import read_json

    path = folder / "run.json"
    record = read_json(path) if path.is_file() else None
    return record if isinstance(record, dict) and isinstance(record.get("data"), list) else None


def _start_of(record: Mapping[str, Any]) -> Path | None:
    settings = record.get("settings")
    if not isinstance(settings, dict):
        return None
    private = settings.get("privacy")
    start = settings.get("start") or (private.get("start") if isinstance(private, dict) else None)
    return Path(start) if isinstance(start, str) else None
