"""Scores of a classifier as pure functions of arrays; no other room is imported.

Every function takes optional `weights`: none, one weight per image (n,), or one row per resample (b, n). The
result then is one number or one per row, so that a bootstrap of thousands of resamples is one call and an estimate
and its resamples can never come from two different formulas. A score that is undefined, such as an AUROC
without a positive image, is NaN here; `ethicclip.evaluation.bootstrap` turns it into null with a reason.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


def confusion(truth: Indices, predicted: Indices, classes: int, weights: Weights | None = None) -> Array:
    """Weighted counts, truth in rows and prediction in columns.

    Args:
        truth: Class index of each image, shape (n,).
        predicted: Predicted class index, shape (n,).
        classes: How many classes there are.
        weights: None, (n,) or (b, n).

    Returns:
        Shape (classes, classes), or (b, classes, classes).
    """
    cells = np.zeros((len(truth), classes * classes))
    cells[np.arange(len(truth)), truth * classes + predicted] = 1.0
    rows, single = _rows(weights, len(truth))
    counts = (rows @ cells).reshape(-1, classes, classes)
    return _unwrap(counts, single)


def accuracy(counts: Array) -> Array:
    """Share of images classified rightly, from confusion counts of shape (..., c, c)."""
    return _ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def recalls(counts: Array) -> Array:
    """Sensitivity of each class, shape (..., c); NaN for a class without an image."""
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1))


def specificities(counts: Array) -> Array:
    """Share of the other classes' images that are not called this class, shape (..., c); NaN without others."""
    others = counts.sum(axis=(-2, -1))[..., None] - counts.sum(axis=-1)
    called = counts.sum(axis=-2) - np.diagonal(counts, axis1=-2, axis2=-1)
    return _ratio(others - called, others)


def balanced_accuracy(counts: Array) -> Array:
    """Average class accuracy (ACA): the mean of the recalls; NaN when a class has no image."""
    return np.asarray(recalls(counts).mean(axis=-1))


def macro_f1(counts: Array) -> Array:
    """Mean over classes of 2 TP / (2 TP + FP + FN); NaN when a class has no image."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    of_truth, of_prediction = counts.sum(axis=-1), counts.sum(axis=-2)
    scores = _ratio(2 * right, of_truth + of_prediction)
    return np.asarray(np.where(of_truth > 0, scores, np.nan).mean(axis=-1))


def quadratic_kappa(counts: Array, grades: Array | None = None) -> Array:
    """Cohen's kappa with quadratic weights (Cohen, Psychological Bulletin 1968).

    Args:
        counts: Confusion counts, shape (..., c, c).
        grades: The value of each class, shape (c,); 0 ... c-1 by default. It matters when a grade is absent:
            0, 2, 4 lie further apart than 0, 1, 2.
    """
    values = np.arange(counts.shape[-1], dtype=np.float64) if grades is None else np.asarray(grades, dtype=np.float64)
    cost = (values[:, None] - values[None, :]) ** 2
    total = counts.sum(axis=(-2, -1))
    expected = counts.sum(axis=-1)[..., :, None] * counts.sum(axis=-2)[..., None, :]
    return np.asarray(1.0 - _ratio((counts * cost).sum(axis=(-2, -1)) * total, (expected * cost).sum(axis=(-2, -1))))


def auroc(positive: Flags, scores: Array, weights: Weights | None = None) -> Array:
    """Area under the ROC curve: the chance that a positive outscores a negative, a tie counting half.

    The Mann-Whitney form (Hanley and McNeil, Radiology 1982). NaN without a positive or without a negative.

    Args:
        positive: Shape (n,).
        scores: Shape (n,), higher is more positive.
        weights: None, (n,) or (b, n).
    """
    return np.asarray(ranking(positive, scores, weights=weights)[..., 0])


def average_precision(positive: Flags, scores: Array, weights: Weights | None = None) -> Array:
    """Area under the precision-recall curve as a step function (AUPRC); tied scores are one step."""
    return np.asarray(ranking(positive, scores, weights=weights)[..., 1])


def sensitivity_at(positive: Flags, scores: Array, specificity: Array, weights: Weights | None = None) -> Array:
    """The best sensitivity that a threshold reaches while the specificity stays at or above each level (k,).

    Returns:
        Shape (k,) or (b, k); NaN without a positive or a negative.
    """
    return np.asarray(ranking(positive, scores, specificity, weights=weights)[..., 2:])


def ranking(
    positive: Flags, scores: Array, specificity: Array | None = None, *, weights: Weights | None = None
) -> Array:
    """What depends on the order of the scores alone, from one sorting: AUROC, AUPRC, sensitivities.

    Args:
        positive: Shape (n,).
        scores: Shape (n,), higher is more positive.
        specificity: Levels at which the sensitivity is read off, shape (k,).
        weights: None, (n,) or (b, n).

    Returns:
        Shape (2 + k,) or (b, 2 + k): `auroc`, `average_precision`, `sensitivity_at` each level.
    """
    ups, downs, single = _tied_counts(positive, scores, weights)
    hits, alarms = np.cumsum(ups, axis=1), np.cumsum(downs, axis=1)
    positives, negatives = hits[:, -1], alarms[:, -1]
    # Scores descend, so the negatives that a positive beats are those not yet seen.
    beaten = (ups * (negatives[:, None] - alarms + 0.5 * downs)).sum(axis=1)
    columns = [_ratio(beaten, positives * negatives)]
    # A step that catches nothing has weight 0, whatever its precision is.
    precision = hits / np.maximum(hits + alarms, np.finfo(np.float64).tiny)
    columns.append(_ratio((precision * ups).sum(axis=1), positives))
    if specificity is not None:
        # Alarms allowed, with slack for the rounding of 1 - specificity.
        allowed = np.floor(negatives[:, None] * (1.0 - np.asarray(specificity)[None, :]) + 1e-9)
        steps = np.stack([np.searchsorted(row, most, side="right") for row, most in zip(alarms, allowed, strict=True)])
        reached = np.where(steps > 0, np.take_along_axis(hits, np.maximum(steps - 1, 0), axis=1), 0.0)
        columns.extend(_ratio(reached, np.where(negatives > 0, positives, 0.0)[:, None]).T)
    return _unwrap(np.stack(columns, axis=1), single)


def placements(positive: Flags, scores: Array) -> Array:
    """Of each image, the share of the other side that it lies above, a tie counting half; (n,), NaN without both sides.

    The structural components of DeLong, DeLong and Clarke-Pearson (Biometrics 1988): the mean over the positives is the
    AUROC, and two scores with equal placements have equal AUROC in every resample.
    """
    places = np.full(len(scores), np.nan)
    for side in (positive, ~positive):
        others = np.sort(scores[~side])
        if len(others):
            below = np.searchsorted(others, scores[side], side="left")
            places[side] = (below + np.searchsorted(others, scores[side], side="right")) / (2 * len(others))
    return places


def roc_curve(positive: Flags, scores: Array) -> tuple[Array, Array, Array]:
    """The empirical ROC curve from (0, 0) to (1, 1).

    Returns:
        False-positive rates, true-positive rates and thresholds (a score at or above it counts as positive; the
        first threshold is infinity), each of length distinct scores + 1.
    """
    ups, downs, _ = _tied_counts(positive, scores, None)
    thresholds = np.concatenate([[np.inf], np.unique(scores)[::-1]])
    hits = np.concatenate([[0.0], np.cumsum(ups[0])])
    alarms = np.concatenate([[0.0], np.cumsum(downs[0])])
    return _ratio(alarms, alarms[-1:]), _ratio(hits, hits[-1:]), thresholds


def threshold_at(positive: Flags, scores: Array, specificity: float) -> float:
    """The lowest score that may count as positive while the specificity stays at or above the level."""
    alarms, _, thresholds = roc_curve(positive, scores)
    within = np.flatnonzero(alarms <= 1.0 - specificity + 1e-12)
    return float(thresholds[within[-1]]) if len(within) else float("nan")


def calibration_bins(
    confidence: Array, correct: Flags, bins: int, weights: Weights | None = None
) -> tuple[Array, Array, Array]:
    """Weight, mean confidence and share right in `bins` equal bins of confidence in [0, 1].

    Returns:
        Three arrays of shape (bins,) or (b, bins); the last two are NaN in an empty bin.
    """
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    member = np.zeros((len(confidence), bins))
    member[np.arange(len(confidence)), place] = 1.0
    rows, single = _rows(weights, len(confidence))
    mass = rows @ member
    mean_confidence = _ratio(rows @ (member * confidence[:, None]), mass)
    share_right = _ratio(rows @ (member * correct[:, None]), mass)
    return _unwrap(mass, single), _unwrap(mean_confidence, single), _unwrap(share_right, single)


def expected_calibration_error(confidence: Array, correct: Flags, bins: int, weights: Weights | None = None) -> Array:
    """Mean over bins of |share right - confidence|, weighted by images (Naeini et al., AAAI 2015)."""
    mass, mean_confidence, share_right = calibration_bins(confidence, correct, bins, weights)
    gaps = np.where(mass > 0, np.abs(share_right - mean_confidence), 0.0)
    return _ratio((gaps * mass).sum(axis=-1), mass.sum(axis=-1))


def class_margins(logits: Array) -> Array:
    """Per class, the log-odds of its softmax probability; shape (n, c), float64.

    Ranks images as the probability does, without ties where the probability rounds to 0 or 1.
    """
    margins = np.empty_like(logits)
    for index in range(logits.shape[1]):
        others = np.delete(logits, index, axis=1)
        top = others.max(axis=1, keepdims=True)
        rest = top[:, 0] + np.log(np.exp(others - top).sum(axis=1))
        margins[:, index] = logits[:, index] - rest
    return margins


def softmax(logits: Array) -> Array:
    """Probabilities of each class, rows summing to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _tied_counts(positive: Flags, scores: Array, weights: Weights | None) -> tuple[Array, Array, bool]:
    """Weights of positives and of negatives at each distinct score, descending; shape (b, distinct) each."""
    rows, single = _rows(weights, len(scores))
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    sorted_rows = rows[:, order]
    ups = sorted_rows * positive[order]
    downs = sorted_rows - ups
    if len(starts) == len(ranked):
        return ups, downs, single
    return np.add.reduceat(ups, starts, axis=1), np.add.reduceat(downs, starts, axis=1), single


def _rows(weights: Weights | None, count: int) -> tuple[Array, bool]:
    if weights is None:
        return np.ones((1, count)), True
    return np.atleast_2d(weights), weights.ndim == 1


def _ratio(over: Array, under: Array) -> Array:
    return np.asarray(np.divide(over, under, out=np.full(np.broadcast(over, under).shape, np.nan), where=under != 0))


def _unwrap(values: Array, single: bool) -> Array:
    return np.asarray(values[0]) if single else values
