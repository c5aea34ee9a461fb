"""Every score of one set of predictions, each with its interval, all on the same resampled patients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ethicclip.evaluation import metrics
from ethicclip.evaluation.bootstrap import (
    Estimate,
    Resampler,
    Score,
    Statistic,
    freedom_of_mean,
    freedom_of_ranking,
    unseen_variance,
)
from ethicclip.evaluation.metrics import Array, Flags, Indices, Weights

REFERABLE_GRADE = 2
"""Moderate non-proliferative disease and above is referred (ICDR; Wilkinson et al., 2003)."""

ScorePath = tuple[str, ...]
"""Where a score stands in the nested result, such as ("sensitivity", "glaucoma")."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model said about labelled images.

    Attributes:
        truth: Class index of each image, int64 (n,).
        logits: float64 (n, classes).
        groups: Patient index of each image, int64 (n,).
        classes: Ids of the classes.
        positive: Index of the positive class when there are two.
        grades: Grade of each class when the classes are grades, else None.
        normal: Index of the class without disease, None when there is none.
    """

    truth: Indices
    logits: Array
    groups: Indices
    classes: tuple[str, ...]
    positive: int | None = None
    grades: tuple[int, ...] | None = None
    normal: int | None = None

    @functools.cached_property
    def predicted(self) -> Indices:
        """The class with the highest logit; the first of equals."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)

    @functools.cached_property
    def probabilities(self) -> Array:
        """Softmax over the classes, (n, classes)."""
        return metrics.softmax(self.logits)

    @functools.cached_property
    def margins(self) -> Array:
        """Log-odds of each class, (n, classes): what one-against-rest scores rank by."""
        return metrics.class_margins(self.logits)

    @functools.cached_property
    def patients_of(self) -> Indices:
        """Patients with at least one image of each class, (classes,)."""
        return patients_by_class(self.truth, self.groups, len(self.classes))

    @functools.cached_property
    def referred(self) -> Flags | None:
        """Which classes send a patient to an eye doctor, bool (classes,); None where that says nothing new.

        Grades of `REFERABLE_GRADE` and above; among conditions every disease, where there is more than one.
        """
        if self.grades is not None:
            flags = np.array(self.grades) >= REFERABLE_GRADE
        elif self.normal is not None and len(self.classes) > 2:
            flags = np.arange(len(self.classes)) != self.normal
        else:
            return None
        return None if flags.all() or not flags.any() else flags


def patients_by_class(truth: Indices, groups: Indices, classes: int) -> Indices:
    """How many patients have an image of each class, int64 (classes,)."""
    return np.array([len(np.unique(groups[truth == index])) for index in range(classes)], dtype=np.int64)


def score(predictions: Predictions, resampler: Resampler, *, specificities: tuple[float, ...], bins: int) -> Any:
    """All scores as the mapping that metrics.json holds, with `Estimate` leaves."""
    statistics, scores = _classification(predictions)
    for more_statistics, more_scores in (
        _rankings(predictions, specificities),
        _calibration(predictions, bins),
        _referable(predictions, specificities),
    ):
        statistics |= more_statistics
        scores |= more_scores
    return nested(resampler.estimates(statistics, scores))


def nested(estimates: Mapping[ScorePath, Estimate]) -> dict[str, Any]:
    """Estimates by path as mappings within mappings."""
    whole: dict[str, Any] = {}
    for path, estimate in estimates.items():
        place = whole
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = estimate
    return whole


def confusion_scores(
    truth: Indices, predicted: Indices, groups: Indices, classes: int, *, mask: Flags | None = None, statistic: str
) -> tuple[Statistic, dict[ScorePath, Score]]:
    """Accuracy, balanced accuracy and macro-F1 from one confusion matrix, over all images or those in `mask`."""
    rows = np.ones(len(truth), dtype=np.bool_) if mask is None else mask
    sub_truth, sub_predicted, sub_groups = truth[rows], predicted[rows], groups[rows]
    counts = metrics.confusion(sub_truth, sub_predicted, classes)
    patients = patients_by_class(sub_truth, sub_groups, classes)
    everyone = len(np.unique(sub_groups))
    recalls = metrics.recalls(counts)
    floor, freedom = unseen_variance(recalls, patients), freedom_of_mean(recalls, patients)

    def compute(weights: Weights) -> Array:
        return metrics.confusion(sub_truth, sub_predicted, classes, weights[:, rows])

    def made(value: Callable[[Array], Array], **options: Any) -> Score:
        return Score(statistic=statistic, value=value, rows=rows, **options)

    rarest = int(patients.min())
    return compute, {
        ("accuracy",): made(metrics.accuracy, rarest=everyone, undefined="no image"),
        ("balanced_accuracy",): made(
            metrics.balanced_accuracy, rarest=rarest, freedom=freedom, floor_variance=floor, edge_power=classes
        ),
        ("macro_f1",): made(metrics.macro_f1, rarest=rarest, freedom=freedom, floor_variance=floor),
    }


def _classification(predictions: Predictions) -> tuple[dict[str, Statistic], dict[ScorePath, Score]]:
    truth, classes = predictions.truth, predictions.classes
    compute, scores = confusion_scores(
        truth, predictions.predicted, predictions.groups, len(classes), statistic="confusion"
    )
    everyone = np.ones(len(truth), dtype=np.bool_)
    if predictions.grades is not None:
        grades = np.array(predictions.grades, dtype=np.float64)
        scores["quadratic_kappa",] = Score(
            statistic="confusion",
            value=lambda counts: metrics.quadratic_kappa(counts, grades),
            rows=everyone,
            rarest=int(predictions.groups.max()) + 1,
            low_end=-1.0,
            undefined="truth or prediction never varies",
        )
    for row, name in enumerate(classes):
        for column, other in enumerate(classes):
            cell = Score(
                statistic="confusion",
                value=functools.partial(_share, row=row, column=column),
                rows=truth == row,
                rarest=int(predictions.patients_of[row]),
                undefined="the class has no image",
            )
            scores["confusion", "share", name, other] = cell
            if row == column:
                scores["sensitivity", name] = cell
        others = predictions.truth != row
        scores["specificity", name] = Score(
            statistic="confusion",
            value=functools.partial(_specificity, index=row),
            rows=others,
            rarest=len(np.unique(predictions.groups[others])),
            undefined="no image of another class",
        )
    return {"confusion": compute}, scores


def _specificity(counts: Array, *, index: int) -> Array:
    return np.asarray(metrics.specificities(counts)[..., index])


def _share(counts: Array, *, row: int, column: int) -> Array:
    total = counts[..., row, :].sum(axis=-1)
    empty = np.full(total.shape, np.nan)
    return np.asarray(np.divide(counts[..., row, column], total, out=empty, where=total > 0))


def ranking_scores(
    positive: Flags, scores: Array, groups: Indices, *, statistic: str, specificities: tuple[float, ...] = ()
) -> tuple[Statistic, dict[ScorePath, Score]]:
    """AUROC, AUPRC and sensitivities at fixed specificities of one score against one binary truth."""
    levels = np.array(specificities, dtype=np.float64)
    patients = patients_by_class(positive.astype(np.int64), groups, 2)
    everyone = np.ones(len(positive), dtype=np.bool_)

    def compute(weights: Weights) -> Array:
        return metrics.ranking(positive, scores, levels, weights=weights)

    def made(column: int, rarest: int, rows: Flags, freedom: float | None = None) -> Score:
        return Score(
            statistic=statistic,
            value=lambda table: table[:, column],
            rows=rows,
            rarest=rarest,
            freedom=freedom,
            undefined="no positive or no negative image",
        )

    rarest = int(patients.min())
    freedom = freedom_of_ranking(patients)
    found: dict[ScorePath, Score] = {
        ("auroc",): made(0, rarest, everyone, freedom),
        ("auprc",): made(1, rarest, everyone),
    }
    for place, level in enumerate(specificities):
        found["sensitivity_at", f"{level:g}"] = made(2 + place, int(patients[1]), positive)
    return compute, found


def _rankings(
    predictions: Predictions, specificities: tuple[float, ...]
) -> tuple[dict[str, Statistic], dict[ScorePath, Score]]:
    statistics: dict[str, Statistic] = {}
    scores: dict[ScorePath, Score] = {}
    for index, name in enumerate(predictions.classes):
        key = f"ranking of {index}"
        statistics[key], found = ranking_scores(
            predictions.truth == index,
            predictions.margins[:, index],
            predictions.groups,
            statistic=key,
            specificities=specificities,
        )
        for path, made in found.items():
            if path == ("auroc",):
                scores["auroc_one_vs_rest", name] = made
            elif path == ("auprc",):
                scores["auprc_one_vs_rest", name] = made
            else:
                scores["sensitivity_at_specificity", name, path[1]] = made
        if index == predictions.positive:
            scores["auroc",] = found["auroc",]
            scores["auprc",] = found["auprc",]
    return statistics, scores


def _calibration(predictions: Predictions, bins: int) -> tuple[dict[str, Statistic], dict[ScorePath, Score]]:
    confidence = predictions.probabilities.max(axis=1)
    correct = predictions.predicted == predictions.truth
    everyone = np.ones(len(correct), dtype=np.bool_)

    def compute(weights: Weights) -> Array:
        return metrics.expected_calibration_error(confidence, correct, bins, weights)

    ece = Score(
        statistic="calibration",
        value=lambda values: values,
        rows=everyone,
        rarest=int(predictions.groups.max()) + 1,
        undefined="no image",
    )
    return {"calibration": compute}, {("expected_calibration_error",): ece}


def _referable(
    predictions: Predictions, specificities: tuple[float, ...]
) -> tuple[dict[str, Statistic], dict[ScorePath, Score]]:
    if predictions.referred is None:
        return {}, {}
    truth = predictions.referred[predictions.truth]
    called = predictions.referred[predictions.predicted]
    compute, found = ranking_scores(
        truth,
        referable_score(predictions),
        predictions.groups,
        statistic="referable",
        specificities=specificities,
    )
    scores: dict[ScorePath, Score] = {("referable", *path): made for path, made in found.items()}

    def decide(weights: Weights) -> Array:
        return metrics.recalls(metrics.confusion(truth.astype(np.int64), called.astype(np.int64), 2, weights))

    patients = patients_by_class(truth.astype(np.int64), predictions.groups, 2)
    for column, name in ((1, "sensitivity"), (0, "specificity")):
        scores["referable", "own_decision", name] = Score(
            statistic="referral",
            value=functools.partial(_column, index=column),
            rows=truth == bool(column),
            rarest=int(patients[column]),
            undefined="no image on this side",
        )
    return {"referable": compute, "referral": decide}, scores


def referable_score(predictions: Predictions) -> Array:
    """Log-odds that the class is a referred one: log-sum-exp of those logits less that of the others, (n,).

    Raises:
        ValueError: No class is referred, or all are.
    """
    referred = predictions.referred
    if referred is None:
        raise ValueError("these classes do not divide into referred ones and others")
    return np.asarray(
        np.logaddexp.reduce(predictions.logits[:, referred], axis=1)
        - np.logaddexp.reduce(predictions.logits[:, ~referred], axis=1)
    )


def _column(table: Array, *, index: int) -> Array:
    return table[:, index]


def to_json(value: Any) -> Any:
    """Nested mappings with `Estimate` leaves -> JSON types."""
    if isinstance(value, Estimate):
        return value.to_json()
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value
