"""The same scores in each part of a cohort, and the gap between each part and the rest, with intervals.

A gap is estimated on the same resampled patients as its two sides, so that patients who have an eye on both
sides (left and right) cancel as they should. Parts of fewer than five patients are counted and not scored: the
number would say nothing about the model and something about the patients.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ethicclip.errors import BadInputError
from ethicclip.evaluation import metrics
from ethicclip.evaluation.bootstrap import (
    FEW_PATIENTS,
    Resampler,
    Score,
    Statistic,
    freedom_of_mean,
    freedom_of_ranking,
    unseen_variance,
)
from ethicclip.evaluation.metrics import Array, Flags, Indices, Weights
from ethicclip.evaluation.scoring import Predictions, ScorePath, confusion_scores, patients_by_class

MOST_VALUES = 12
UNKNOWN = "(unknown)"


def bands(values: Sequence[str], *, column: str) -> list[str]:
    """The parts of a column: its values, or quarters of a numeric column with more than `MOST_VALUES` of them.

    Raises:
        BadInputError: Too many values that are not numbers, such as patient ids.
    """
    cleaned = [UNKNOWN if value.strip().casefold() in ("", "nan", "none") else value.strip() for value in values]
    distinct = set(cleaned) - {UNKNOWN}
    if len(distinct) <= MOST_VALUES:
        return cleaned
    try:
        numbers = {value: float(value) for value in distinct}
    except ValueError:
        raise BadInputError(
            f"column {column!r} has {len(distinct)} values; at most {MOST_VALUES} can be subgroups",
            next_step="Choose a column with few values, or one of numbers, which is cut into quarters.",
        ) from None
    known = np.array([numbers[value] for value in cleaned if value != UNKNOWN])
    edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)] or [f"{edges[0]:g}"]
    places = {
        value: names[min(int(np.searchsorted(edges, number, side="right")) - 1, len(names) - 1)]
        for value, number in numbers.items()
    }
    return [UNKNOWN if value == UNKNOWN else places[value] for value in cleaned]


def subgroup_table(predictions: Predictions, parts: Sequence[str], resampler: Resampler) -> dict[str, Any]:
    """Scores of each part, and its gap to all other images.

    Returns:
        Part -> {"images", "patients", "accuracy", "balanced_accuracy", "gap": {...}} with `Estimate` leaves, for two
        classes "auroc" too; or the counts and a "reason" for a part that is too small.
    """
    labels = np.array(parts)
    table: dict[str, Any] = {}
    statistics: dict[str, Statistic] = {}
    scores: dict[ScorePath, Score] = {}
    for part in sorted(set(parts)):
        mask = labels == part
        patients = len(np.unique(predictions.groups[mask]))
        table[part] = {"images": int(mask.sum()), "patients": patients}
        if patients < FEW_PATIENTS:
            table[part]["reason"] = f"fewer than {FEW_PATIENTS} patients: not scored"
            continue
        key = f"confusion of {part}"
        statistics[key], found = confusion_scores(
            predictions.truth,
            predictions.predicted,
            predictions.groups,
            len(predictions.classes),
            mask=mask,
            statistic=key,
        )
        scores[part, "accuracy"] = found["accuracy",]
        scores[part, "balanced_accuracy"] = found["balanced_accuracy",]
        if predictions.positive is not None:
            key = f"auroc of {part}"
            statistics[key] = _auroc_of(predictions, predictions.positive, mask)
            scores[part, "auroc"] = Score(
                statistic=key,
                value=_itself,
                rows=mask,
                rarest=_rarest(predictions, mask),
                freedom=freedom_of_ranking(_sides(predictions, predictions.positive, mask)),
                undefined="a class has no image in this part",
            )
        if len(np.unique(predictions.groups[~mask])) >= FEW_PATIENTS:
            key = f"gap of {part}"
            statistics[key], gaps = _gap(predictions, mask, statistic=key)
            scores |= {(part, "gap", *path): made for path, made in gaps.items()}
    for path, estimate in resampler.estimates(statistics, scores).items():
        place = table[path[0]]
        for name in path[1:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = estimate
    return table


def _gap(predictions: Predictions, mask: Flags, *, statistic: str) -> tuple[Statistic, dict[ScorePath, Score]]:
    sides = (mask, ~mask)
    classes = len(predictions.classes)
    aurocs = [] if predictions.positive is None else [_auroc_of(predictions, predictions.positive, s) for s in sides]

    def compute(weights: Weights) -> Array:
        columns = []
        counts = [
            metrics.confusion(predictions.truth[side], predictions.predicted[side], classes, weights[:, side])
            for side in sides
        ]
        for value in (metrics.accuracy, metrics.balanced_accuracy):
            columns.append(value(counts[0]) - value(counts[1]))
        if aurocs:
            columns.append(aurocs[0](weights) - aurocs[1](weights))
        return np.stack(columns, axis=1)

    names = ["accuracy", "balanced_accuracy", *(["auroc"] if aurocs else [])]
    everyone = np.ones(len(mask), dtype=np.bool_)
    rarest = min(_rarest(predictions, side) for side in sides)
    recalls = [
        metrics.recalls(metrics.confusion(predictions.truth[side], predictions.predicted[side], classes))
        for side in sides
    ]
    patients = [patients_by_class(predictions.truth[side], predictions.groups[side], classes) for side in sides]
    floor = sum(unseen_variance(*pair) for pair in zip(recalls, patients, strict=True))
    # Of the degrees of freedom of the two sides the smaller is taken, which errs towards a wide interval.
    freedoms: dict[str, float | None] = {
        "accuracy": None,
        "balanced_accuracy": min(freedom_of_mean(*pair) for pair in zip(recalls, patients, strict=True)),
    }
    if predictions.positive is not None:
        pairs = [_sides(predictions, predictions.positive, side) for side in sides]
        freedoms["auroc"] = min(freedom_of_ranking(pair) for pair in pairs)
    people = [len(np.unique(predictions.groups[side])) for side in sides]
    scores: dict[ScorePath, Score] = {}
    for column, name in enumerate(names):
        scores[name,] = Score(
            statistic=statistic,
            value=_column(column),
            rows=everyone,
            rarest=min(people) if name == "accuracy" else rarest,
            freedom=freedoms[name],
            low_end=-1.0,
            floor_variance=floor if name == "balanced_accuracy" else 0.0,
            undefined="a class has no image on one side",
        )
    return compute, scores


def _rarest(predictions: Predictions, mask: Flags) -> int:
    return int(patients_by_class(predictions.truth[mask], predictions.groups[mask], len(predictions.classes)).min())


def _sides(predictions: Predictions, positive: int, mask: Flags) -> Indices:
    """Patients with a negative and patients with a positive image in a part, int64 (2,)."""
    truth = (predictions.truth[mask] == positive).astype(np.int64)
    return patients_by_class(truth, predictions.groups[mask], 2)


def _auroc_of(predictions: Predictions, positive: int, mask: Flags) -> Statistic:
    truth, margins = predictions.truth[mask] == positive, predictions.margins[mask, positive]

    def compute(weights: Weights) -> Array:
        return metrics.auroc(truth, margins, weights[:, mask])

    return compute


def _itself(values: Array) -> Array:
    return values


def _column(index: int) -> Callable[[Array], Array]:
    return lambda table: table[:, index]
