"""How much a linear classifier can read from the embeddings: the ceiling that the prompts do not reach.

It learns from the cohort's own labels, in folds that share no patient, so it is not zero-shot and says so. The
strength of the penalty is chosen inside each training part, again by patient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from ethicclip.evaluation import metrics
from ethicclip.evaluation.bootstrap import Resampler, Score, Statistic, patient_folds
from ethicclip.evaluation.metrics import Array, Flags, Indices
from ethicclip.evaluation.scoring import Predictions, ScorePath, confusion_scores, ranking_scores

FOLDS = 5
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
# scipy is untyped.
_optimize: Any = optimize

NOTE = f"learned from this cohort's own labels in {FOLDS} patient-disjoint folds; not zero-shot"
_ABSENT = -1e6


def probe(
    embeddings: npt.NDArray[np.float32], predictions: Predictions, resampler: Resampler, *, seed: int
) -> dict[str, Any]:
    """Balanced accuracy, accuracy and one-against-rest AUROC of linear probes.

    Args:
        embeddings: One row an image, float32 (n, d).
        predictions: For truth, classes and patients; its logits are not used.
        resampler: The same that scores the model.
        seed: Of the folds.

    Returns:
        {"note", "balanced_accuracy", "accuracy", "macro_f1", "auroc_one_vs_rest": {class: ...}}, `Estimate` leaves,
        and "auroc" for two classes. The intervals hold the fitted folds fixed: they speak of new patients only, not
        of new fits.
    """
    truth, groups, classes = predictions.truth, predictions.groups, len(predictions.classes)
    logits = cross_fitted(embeddings.astype(np.float64), truth, groups, classes, seed=seed)
    compute, scores = confusion_scores(truth, logits.argmax(axis=1), groups, classes, statistic="confusion")
    statistics: dict[str, Statistic] = {"confusion": compute}
    margins = metrics.class_margins(logits)
    ranked: dict[ScorePath, Score] = {}
    for index, name in enumerate(predictions.classes):
        key = f"ranking of {index}"
        statistics[key], found = ranking_scores(truth == index, margins[:, index], groups, statistic=key)
        ranked["auroc_one_vs_rest", name] = found["auroc",]
        if index == predictions.positive:
            ranked["auroc",] = found["auroc",]
    nested: dict[str, Any] = {"note": NOTE, "auroc_one_vs_rest": {}}
    for path, estimate in resampler.estimates(statistics, {**scores, **ranked}).items():
        place = nested if len(path) == 1 else nested[path[0]]
        place[path[-1]] = estimate
    return nested


def cross_fitted(features: Array, truth: Indices, groups: Indices, classes: int, *, seed: int) -> Array:
    """Logits of each image from a classifier that never saw its patient, (n, classes).

    A class that the other folds lack is never chosen.
    """
    logits = np.full((len(truth), classes), _ABSENT)
    folds = patient_folds(groups, FOLDS, seed=seed)
    for fold in range(int(folds.max()) + 1):
        fit, use = folds != fold, folds == fold
        if len(np.unique(truth[fit])) < 2:
            continue
        penalty = _best_penalty(features, truth, groups, classes, fit, seed=seed)
        logits[use] = fit_and_apply(features, truth, classes, fit, use, penalty)
    return logits


def _best_penalty(features: Array, truth: Indices, groups: Indices, classes: int, fit: Flags, *, seed: int) -> float:
    inner = patient_folds(groups, FOLDS, seed=seed + 1)
    held, kept = fit & (inner == 0), fit & (inner != 0)
    if not held.any() or len(np.unique(truth[kept])) < 2:
        return PENALTIES[-1]
    right = []
    for penalty in PENALTIES:
        found = fit_and_apply(features, truth, classes, kept, held, penalty).argmax(axis=1)
        recalls = metrics.recalls(metrics.confusion(truth[held], found, classes))
        right.append(float(np.nanmean(recalls)))
    # The strongest penalty of equals.
    return PENALTIES[len(right) - 1 - int(np.argmax(right[::-1]))]


def fit_and_apply(features: Array, truth: Indices, classes: int, fit: Flags, use: Flags, penalty: float) -> Array:
    """Multinomial logistic regression with balanced classes and an L2 penalty on standardised features.

    Args:
        features: (n, d).
        truth: Class index of each image, int64 (n,).
        classes: How many there are.
        fit: Which images it learns from, bool (n,).
        use: Which images it is applied to.
        penalty: Weight of half the squared length of the coefficients, beside the loss averaged over classes.

    Returns:
        Logits of the images in `use`, (sum(use), classes); a class that `fit` lacks is never chosen.
    """
    centre, spread = features[fit].mean(axis=0), features[fit].std(axis=0) + 1e-6
    known = (features[fit] - centre) / spread
    labels = truth[fit]
    counts = np.bincount(labels, minlength=classes)
    present = np.flatnonzero(counts)
    targets = (labels[:, None] == present[None, :]).astype(np.float64)
    weights = 1.0 / (len(present) * counts[labels])
    size = known.shape[1]

    def loss(flat: Array) -> tuple[float, Array]:
        table = flat.reshape(size + 1, len(present))
        logits = known @ table[:-1] + table[-1]
        logits -= logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(logits).sum(axis=1, keepdims=True))
        residual = (np.exp(logits - log_sum) - targets) * weights[:, None]
        value = -float((weights[:, None] * targets * (logits - log_sum)).sum())
        slope = np.vstack([known.T @ residual + penalty * table[:-1], residual.sum(axis=0)])
        return value + 0.5 * penalty * float((table[:-1] ** 2).sum()), slope.ravel()

    start = np.zeros((size + 1) * len(present))
    found = _optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    table = np.asarray(found.x, dtype=np.float64).reshape(size + 1, len(present))
    logits = np.full((int(use.sum()), classes), _ABSENT)
    logits[:, present] = (features[use] - centre) / spread @ table[:-1] + table[-1]
    return logits
