"""Two sets of predictions on the same images: each score of both, and its difference on the same resampled patients.

What both get right or wrong alike cancels in a paired difference, so its interval is narrower than two intervals laid
side by side suggest, and is the one to read. Where the two never disagree on a class the bootstrap sees no variance at
all; the adjustment of Agresti and Min (Statistics in Medicine 2005) for matched proportions, half a patient in each
cell of the table, stands in: a variance of 1 / (m + 2)^2 for m patients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ethicclip.evaluation import metrics
from ethicclip.evaluation.bootstrap import (
    Estimate,
    Resampler,
    Score,
    Statistic,
    freedom_of_ranking,
    satterthwaite,
)
from ethicclip.evaluation.metrics import Array, Flags, Indices, Weights
from ethicclip.evaluation.scoring import (
    Predictions,
    ScorePath,
    confusion_scores,
    nested,
    patients_by_class,
    ranking_scores,
)

SIDES = ("a", "b")
DIFFERENCE = "b_minus_a"
_AGREEMENT = ("same_prediction", "both_right", "only_a_right", "only_b_right", "both_wrong")


@dataclass(frozen=True, kw_only=True)
class _Measure:
    """A score of one set of predictions, and what its difference needs.

    Attributes:
        path: Where it stands in the result.
        statistic: Name of the statistic of both sides that it is read from, stacked on axis 1.
        value: That statistic of one side -> the score.
        alone: The `Score` of one side, for its range and its interval.
        freedom: Degrees of freedom of the difference.
        floor: Variance of the difference that resampling cannot show.
    """

    path: ScorePath
    statistic: str
    value: Callable[[Array], Array]
    alone: Score
    freedom: float | None
    floor: float


def paired_scores(first: Predictions, second: Predictions, resampler: Resampler) -> dict[str, Any]:
    """Every score of both, and second less first, as nested mappings with `Estimate` leaves.

    Args:
        first: Of the one model, called a.
        second: Of the other on the same images in the same order, called b.
        resampler: Draws the patients, the same for all scores of both.

    Returns:
        Score -> {"a", "b", "b_minus_a"}: accuracy, balanced_accuracy, macro_f1, quadratic_kappa for grades,
        expected_calibration_error, auroc for two classes, auroc_one_vs_rest -> class; and "agreement": shares of images
        with the same prediction, both right, only one right, both wrong.
    """
    statistics: dict[str, Statistic] = {}
    scores: dict[ScorePath, Score] = {}
    for measure, statistic in _measures(first, second):
        statistics[measure.statistic] = statistic
        for side, name in enumerate(SIDES):
            scores[*measure.path, name] = _of_side(measure, side)
        span = measure.alone.high_end - measure.alone.low_end
        scores[*measure.path, DIFFERENCE] = Score(
            statistic=measure.statistic,
            value=functools.partial(_difference, value=measure.value),
            rows=measure.alone.rows,
            rarest=measure.alone.rarest,
            freedom=measure.freedom,
            low_end=-span,
            high_end=span,
            floor_variance=measure.floor,
            undefined=measure.alone.undefined,
        )
    statistics["agreement"], shares = _agreement(first, second)
    scores |= shares
    return nested(resampler.estimates(statistics, scores))


def differs(difference: Estimate) -> bool:
    """Whether the interval of a difference leaves 0 out."""
    return difference.low is not None and difference.high is not None and not difference.low <= 0 <= difference.high


def _measures(first: Predictions, second: Predictions) -> list[tuple[_Measure, Statistic]]:
    truth, groups, classes = first.truth, first.groups, len(first.classes)
    _, alone = confusion_scores(truth, first.predicted, groups, classes, statistic="confusion")
    right = [one.predicted == truth for one in (first, second)]
    patients = patients_by_class(truth, groups, classes)
    variances = np.array([_discordance(right, truth == index, groups) for index in range(classes)])
    silent = np.array([bool((right[0] == right[1])[truth == index].all()) for index in range(classes)])
    floor = float(np.where(silent, variances, 0.0).sum()) / classes**2
    everyone = int(groups.max()) + 1
    unseen = 1 / (everyone + 2) ** 2
    same = bool((first.predicted == second.predicted).all())

    def counts(weights: Weights) -> Array:
        found = [metrics.confusion(truth, one.predicted, classes, weights) for one in (first, second)]
        return np.stack(found, axis=1)

    freedom = satterthwaite(variances, patients)
    made = [
        _Measure(
            path=("accuracy",),
            statistic="confusion",
            value=metrics.accuracy,
            alone=alone["accuracy",],
            freedom=None,
            floor=unseen if (right[0] == right[1]).all() else 0.0,
        ),
        *(
            _Measure(path=(name,), statistic="confusion", value=value, alone=alone[name,], freedom=freedom, floor=floor)
            for name, value in (("balanced_accuracy", metrics.balanced_accuracy), ("macro_f1", metrics.macro_f1))
        ),
    ]
    whole = Score(
        statistic="", value=_itself, rows=np.ones(len(truth), dtype=np.bool_), rarest=everyone, undefined="no image"
    )
    if first.grades is not None:
        grades = np.array(first.grades, dtype=np.float64)
        made.append(
            _Measure(
                path=("quadratic_kappa",),
                statistic="confusion",
                value=lambda table: metrics.quadratic_kappa(table, grades),
                alone=Score(**{**vars(whole), "low_end": -1.0, "undefined": "truth or prediction never varies"}),
                freedom=None,
                floor=unseen if same else 0.0,
            )
        )
    calibration = _Measure(
        path=("expected_calibration_error",),
        statistic="calibration",
        value=_itself,
        alone=whole,
        freedom=None,
        floor=unseen if np.array_equal(first.logits, second.logits) else 0.0,
    )
    found: list[tuple[_Measure, Statistic]] = [(measure, counts) for measure in made]
    found.append((calibration, _calibration(first, second)))
    return found + _rankings(first, second)


def _rankings(first: Predictions, second: Predictions) -> list[tuple[_Measure, Statistic]]:
    found: list[tuple[_Measure, Statistic]] = []
    for index, name in enumerate(first.classes):
        positive = first.truth == index
        sides = [one.margins[:, index] for one in (first, second)]
        patients = patients_by_class(positive.astype(np.int64), first.groups, 2)
        _, alone = ranking_scores(positive, sides[0], first.groups, statistic="")
        places = [metrics.placements(positive, side) for side in sides]
        silent = np.array_equal(places[0], places[1], equal_nan=True)
        measure = _Measure(
            path=("auroc_one_vs_rest", name),
            statistic=f"ranking of {index}",
            value=_itself,
            alone=alone["auroc",],
            freedom=freedom_of_ranking(patients),
            floor=float((1.0 / (patients + 2) ** 2).sum()) if silent else 0.0,
        )
        statistic = _auroc(positive, sides)
        found.append((measure, statistic))
        if index == first.positive:
            found.append((_Measure(**{**vars(measure), "path": ("auroc",)}), statistic))
    return found


def _discordance(right: list[Flags], rows: Flags, groups: Indices) -> float:
    """Variance of a class's difference of recalls by Agresti and Min: half a patient more in each cell of the table."""
    patients = len(np.unique(groups[rows]))
    images = max(int(rows.sum()), 1)
    only_b, only_a = (
        patients * float((right[one] & ~right[other])[rows].sum()) / images + 0.5 for one, other in ((1, 0), (0, 1))
    )
    total = patients + 2
    return (only_b + only_a - (only_b - only_a) ** 2 / total) / total**2


def _of_side(measure: _Measure, side: int) -> Score:
    changed = {"statistic": measure.statistic, "value": functools.partial(_one_side, side=side, value=measure.value)}
    return Score(**{**vars(measure.alone), **changed})


def _one_side(values: Array, *, side: int, value: Callable[[Array], Array]) -> Array:
    return value(values[:, side])


def _difference(values: Array, *, value: Callable[[Array], Array]) -> Array:
    return np.asarray(value(values[:, 1]) - value(values[:, 0]))


def _itself(values: Array) -> Array:
    return values


def _auroc(positive: Flags, sides: list[Array]) -> Statistic:
    def compute(weights: Weights) -> Array:
        return np.stack([metrics.auroc(positive, side, weights) for side in sides], axis=1)

    return compute


def _calibration(first: Predictions, second: Predictions, bins: int = 10) -> Statistic:
    sides = [(one.probabilities.max(axis=1), one.predicted == one.truth) for one in (first, second)]

    def compute(weights: Weights) -> Array:
        found = [metrics.expected_calibration_error(confidence, right, bins, weights) for confidence, right in sides]
        return np.stack(found, axis=1)

    return compute


def _agreement(first: Predictions, second: Predictions) -> tuple[Statistic, dict[ScorePath, Score]]:
    a, b = (one.predicted == one.truth for one in (first, second))
    shares = np.stack([first.predicted == second.predicted, a & b, a & ~b, ~a & b, ~a & ~b], axis=1).astype(np.float64)

    def compute(weights: Weights) -> Array:
        return np.asarray((weights @ shares) / weights.sum(axis=1, keepdims=True))

    everyone = np.ones(len(a), dtype=np.bool_)
    rarest = int(first.groups.max()) + 1
    return compute, {
        ("agreement", name): Score(
            statistic="agreement", value=functools.partial(_column, index=index), rows=everyone, rarest=rarest
        )
        for index, name in enumerate(_AGREEMENT)
    }


def _column(table: Array, *, index: int) -> Array:
    return table[:, index]
