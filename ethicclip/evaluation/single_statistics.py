"""What one number of the picture, with no model at all, already gives: the baselines printed beside a model's score.

A blurred picture is often a cataract and a pale one a myopic eye, so a model may score well by learning the camera.
These baselines are generous: their direction and their class means are learned from the labels of the cohort itself
(the accuracy in patient-disjoint folds, the AUROC in the direction that suits it), which a zero-shot model never sees.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ethicclip.evaluation import metrics
from ethicclip.evaluation.bootstrap import Resampler, Score, Statistic, patient_folds
from ethicclip.evaluation.metrics import Array, Indices
from ethicclip.evaluation.scoring import Predictions, ScorePath, confusion_scores, ranking_scores
from ethicclip.imaging import Pixels, field_of_view

STATISTICS = ("sharpness", "contrast", "darkness")
NOTE = "directions and class means learned from this cohort's own labels; a zero-shot model sees none"
_SIDE = 256
_FOLDS = 5


def measure(picture: Pixels) -> Array:
    """Sharpness, contrast and darkness of a fundus photograph inside its field of view, float64 (3,).

    At a longer side of 256 pixels: the log of the standard deviation of the Laplacian of green; the standard deviation
    of green over its mean; minus the mean luminance (Rec. 601, 0-255).
    """
    scale = _SIDE / max(picture.shape[:2])
    size = (max(8, round(picture.shape[1] * scale)), max(8, round(picture.shape[0] * scale)))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    mask = field_of_view(small).mask.astype(np.uint8)
    # The rim of the field is the sharpest edge of the picture and says nothing of the eye.
    inner = cv2.erode(mask, np.ones((9, 9), dtype=np.uint8), borderValue=0) > 0
    inside = inner if int(inner.sum()) >= 64 else np.ones_like(inner)
    green = small[..., 1].astype(np.float64)
    edges = np.asarray(cv2.Laplacian(green, cv2.CV_64F))[inside]
    luminance = small.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    values = green[inside]
    return np.array(
        [np.log(edges.std() + 1e-3), values.std() / (values.mean() + 1.0), -luminance[inside].mean()],
        dtype=np.float64,
    )


def baselines(values: Array, predictions: Predictions, resampler: Resampler, *, seed: int) -> dict[str, Any]:
    """AUROC and balanced accuracy of each statistic alone and of all three together.

    Args:
        values: One row an image, shape (n, 3), from `measure`.
        predictions: The model's, for truth, classes and patients; its logits are not used.
        resampler: The same that scores the model.
        seed: Of the folds.

    Returns:
        Statistic -> {"auroc_one_vs_rest": {class: Estimate}, "direction": {class: ...}, "balanced_accuracy": Estimate},
        and "auroc" when there are two classes.
    """
    columns = {name: values[:, [index]] for index, name in enumerate(STATISTICS)}
    columns["all three"] = values
    statistics: dict[str, Statistic] = {}
    scores: dict[ScorePath, Score] = {}
    directions: dict[str, dict[str, str]] = {}
    classes = len(predictions.classes)
    for name, table in columns.items():
        logits = _cross_fitted(table, predictions.truth, predictions.groups, classes, seed=seed)
        statistics[name], found = confusion_scores(
            predictions.truth, logits.argmax(axis=1), predictions.groups, classes, statistic=name
        )
        scores[name, "balanced_accuracy"] = found["balanced_accuracy",]
        for index, label in enumerate(predictions.classes):
            positive = predictions.truth == index
            by_class = metrics.class_margins(logits)[:, index]
            if table.shape[1] == 1:
                high = bool(metrics.auroc(positive, table[:, 0]) >= 0.5)
                by_class = table[:, 0] if high else -table[:, 0]
                directions.setdefault(name, {})[label] = "high" if high else "low"
            key = f"{name} {index}"
            statistics[key], ranked = ranking_scores(positive, by_class, predictions.groups, statistic=key)
            scores[name, "auroc_one_vs_rest", label] = ranked["auroc",]
            if index == predictions.positive:
                scores[name, "auroc"] = ranked["auroc",]
    nested: dict[str, Any] = {name: {"auroc_one_vs_rest": {}} for name in columns}
    for path, estimate in resampler.estimates(statistics, scores).items():
        place = nested[path[0]]
        if len(path) == 3:
            place["auroc_one_vs_rest"][path[2]] = estimate
        else:
            place[path[1]] = estimate
    for name, direction in directions.items():
        nested[name]["direction"] = direction
    return nested


def _cross_fitted(values: Array, truth: Indices, groups: Indices, classes: int, *, seed: int) -> Array:
    """Log-posteriors under equal priors of a Gaussian per class, fitted on other patients, (n, classes).

    Each column has its own mean and variance a class; a class that the other folds lack is never chosen.
    """
    of_image = patient_folds(groups, _FOLDS, seed=seed)
    logits = np.full((len(truth), classes), -1e6)
    for fold in range(int(of_image.max()) + 1):
        fit, use = of_image != fold, of_image == fold
        if not fit.any():
            continue
        # A class seen once has no variance of its own; part of everyone's stands in.
        whole = values[fit].var(axis=0) + 1e-9
        for index in range(classes):
            members = values[fit & (truth == index)]
            if len(members):
                variance = (members.var(axis=0) * len(members) + whole) / (len(members) + 1)
                distance = (values[use] - members.mean(axis=0)) ** 2 / variance
                logits[use, index] = -0.5 * (distance + np.log(variance)).sum(axis=1)
    return logits
