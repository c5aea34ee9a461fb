"""Every score that scikit-learn has too, on random worlds with ties and weights: the same number."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as theirs
from sklearn.calibration import calibration_curve

from ethicclip.evaluation import metrics as ours

SEEDS = range(8)


def world(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth, prediction, logits of four classes (rounded, so that ranks tie) and weights as a resample gives them."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(4), rng.integers(0, 4, 116)])
    logits = np.round(rng.normal(size=(120, 4)) + 1.2 * (truth[:, None] == np.arange(4)), 1)
    weights = rng.integers(0, 4, 120).astype(float)
    weights[:4] = 1
    return truth, logits.argmax(axis=1), logits, weights


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_of_a_confusion_matrix(seed: int) -> None:
    truth, guess, _, weights = world(seed)
    counts = ours.confusion(truth, guess, 4, weights)
    again = {"sample_weight": weights}
    assert np.allclose(counts, theirs.confusion_matrix(truth, guess, **again))
    assert ours.accuracy(counts) == pytest.approx(theirs.accuracy_score(truth, guess, **again))
    assert ours.balanced_accuracy(counts) == pytest.approx(theirs.balanced_accuracy_score(truth, guess, **again))
    assert ours.macro_f1(counts) == pytest.approx(theirs.f1_score(truth, guess, average="macro", **again))
    assert ours.quadratic_kappa(counts) == pytest.approx(
        theirs.cohen_kappa_score(truth, guess, weights="quadratic", **again)
    )
    of_zero = theirs.recall_score(truth != 0, guess != 0, **again)
    assert ours.specificities(counts)[0] == pytest.approx(of_zero)


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_of_a_ranking(seed: int) -> None:
    truth, _, logits, weights = world(seed)
    positive, scores = truth == 1, logits[:, 1]
    assert ours.auroc(positive, scores, weights) == pytest.approx(
        theirs.roc_auc_score(positive, scores, sample_weight=weights)
    )
    assert ours.average_precision(positive, scores, weights) == pytest.approx(
        theirs.average_precision_score(positive, scores, sample_weight=weights)
    )
    alarms, hits, thresholds = theirs.roc_curve(positive, scores, drop_intermediate=False)
    for mine, one in zip(ours.roc_curve(positive, scores), (alarms, hits, thresholds), strict=True):
        assert np.allclose(mine, one)
    for level in (0.5, 0.8, 0.95):
        best = hits[alarms <= 1 - level + 1e-12].max()
        assert ours.sensitivity_at(positive, scores, np.array([level]))[0] == pytest.approx(best)


@pytest.mark.parametrize("seed", SEEDS)
def test_calibration(seed: int) -> None:
    truth, guess, logits, _ = world(seed)
    confidence, correct = ours.softmax(logits).max(axis=1), guess == truth
    mass, mean, right = ours.calibration_bins(confidence, correct, 10)
    shares, means = calibration_curve(correct, confidence, n_bins=10)
    filled = mass > 0
    assert np.allclose(right[filled], shares)
    assert np.allclose(mean[filled], means)
    error = (mass[filled] * np.abs(shares - means)).sum() / mass.sum()
    assert ours.expected_calibration_error(confidence, correct, 10) == pytest.approx(error)


def test_what_is_undefined_is_nan_where_theirs_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(theirs.roc_auc_score(np.ones(4, dtype=int), np.arange(4.0)))
    assert np.isnan(ours.auroc(np.ones(4, dtype=bool), np.arange(4.0)))
