"""Scores against answers worked out by hand, and against slow definitions written out plainly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethicclip.evaluation import metrics

TRUTH = np.array([0, 0, 1, 1])
GUESS = np.array([0, 1, 1, 1])
FLAGS = np.array([False, True, False, True])


def test_confusion_of_four_rows() -> None:
    counts = metrics.confusion(TRUTH, GUESS, 2)
    assert counts.tolist() == [[1, 1], [0, 2]]
    assert metrics.accuracy(counts) == 0.75
    assert metrics.recalls(counts).tolist() == [0.5, 1.0]
    assert metrics.balanced_accuracy(counts) == 0.75
    # F1 of class 0 is 2/(2+1) and of class 1 is 4/(4+1).
    assert metrics.macro_f1(counts) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_class_without_images_makes_averages_undefined() -> None:
    counts = metrics.confusion(TRUTH, GUESS, 3)
    assert metrics.accuracy(counts) == 0.75
    assert np.isnan(metrics.balanced_accuracy(counts))
    assert np.isnan(metrics.macro_f1(counts))


def test_kappa_of_four_rows() -> None:
    # Off by one once: disagreement 1; by chance rows (2, 2) x columns (1, 3) / 4 give (2*3 + 2*1) / 4 = 2.
    assert metrics.quadratic_kappa(metrics.confusion(TRUTH, GUESS, 2)) == pytest.approx(1 - 1 / 2)
    assert metrics.quadratic_kappa(metrics.confusion(TRUTH, TRUTH, 2)) == 1.0
    assert metrics.quadratic_kappa(metrics.confusion(TRUTH, 1 - TRUTH, 2)) == pytest.approx(-1.0)
    assert np.isnan(metrics.quadratic_kappa(metrics.confusion(np.zeros(4, int), np.zeros(4, int), 2)))


def test_kappa_knows_how_far_grades_lie_apart() -> None:
    truth, guess = np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])
    as_ranks = metrics.quadratic_kappa(metrics.confusion(truth, guess, 3))
    as_grades = metrics.quadratic_kappa(metrics.confusion(truth, guess, 3), np.array([0.0, 1.0, 4.0]))
    # The one mistake, grade 4 called 1, costs 9; chance costs (1*2*1 + 1*1*16 + 1*1*1 + 1*1*9 + 2*1*16 + 2*2*9)/4 = 24.
    assert as_grades == pytest.approx(1 - 9 / 24)
    assert as_grades < as_ranks


def test_auroc_of_four_rows() -> None:
    assert metrics.auroc(FLAGS, np.array([0.1, 0.2, 0.3, 0.4])) == 0.75
    assert metrics.auroc(FLAGS, np.array([0.1, 0.3, 0.3, 0.4])) == 0.875
    assert metrics.auroc(FLAGS, np.ones(4)) == 0.5
    assert np.isnan(metrics.auroc(np.ones(4, bool), np.arange(4.0)))


def test_average_precision_of_four_rows() -> None:
    # Descending: hit (precision 1), miss, hit (2/3), miss.
    assert metrics.average_precision(FLAGS, np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx((1 + 2 / 3) / 2)
    # All tied: one step at the prevalence.
    assert metrics.average_precision(FLAGS, np.ones(4)) == 0.5


def test_sensitivity_at_fixed_specificity() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    assert metrics.sensitivity_at(FLAGS, scores, np.array([1.0, 0.9, 0.5, 0.0])).tolist() == [0.5, 0.5, 1.0, 1.0]
    # A threshold that no negative may reach and no positive passes.
    assert metrics.sensitivity_at(~FLAGS, scores, np.array([1.0])).tolist() == [0.0]
    assert metrics.threshold_at(FLAGS, scores, 0.5) == 0.2
    assert metrics.threshold_at(FLAGS, scores, 1.0) == 0.4
    assert metrics.threshold_at(~FLAGS, scores, 1.0) == np.inf


def test_roc_curve_of_four_rows() -> None:
    alarms, hits, thresholds = metrics.roc_curve(FLAGS, np.array([0.1, 0.3, 0.3, 0.4]))
    assert alarms.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert hits.tolist() == [0.0, 0.5, 1.0, 1.0]
    assert thresholds.tolist() == [np.inf, 0.4, 0.3, 0.1]


def test_calibration_of_four_rows() -> None:
    confidence = np.array([0.55, 0.65, 0.95, 1.0])
    correct = np.array([True, False, True, True])
    mass, mean, right = metrics.calibration_bins(confidence, correct, 2)
    assert mass.tolist() == [0, 4]
    assert np.isnan(mean[0])
    assert mean[1] == pytest.approx(0.7875)
    assert right[1] == 0.75
    assert metrics.expected_calibration_error(confidence, correct, 2) == pytest.approx(0.0375)
    assert metrics.expected_calibration_error(confidence, correct, 10) == pytest.approx((0.45 + 0.65 + 0.05) / 4)


def test_margins_are_log_odds_and_never_tie_where_probabilities_do() -> None:
    logits = np.array([[1.0, 2.0, 0.5], [500.0, 0.0, 1.0], [600.0, 0.0, 1.0]])
    margins, chances = metrics.class_margins(logits), metrics.softmax(logits)
    assert np.allclose(margins[0], np.log(chances[0] / (1 - chances[0])))
    assert chances[1, 0] == chances[2, 0] == 1.0
    assert margins[2, 0] > margins[1, 0]


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = draw(st.integers(3, 14))
    flags = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    scores = np.array(draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count)), dtype=float)
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), dtype=float)
    return flags, scores, weights


def by_definition(flags: np.ndarray, scores: np.ndarray) -> tuple[float, float, float]:
    """AUROC over all pairs; average precision over thresholds; sensitivity at specificity 0.8 over thresholds."""
    ups, downs = scores[flags], scores[~flags]
    if not len(ups):
        return np.nan, np.nan, np.nan
    steps, precision, before = 0.0, 0.0, 0.0
    best = 0.0
    for threshold in sorted(set(scores), reverse=True):
        hit, called = (ups >= threshold).mean(), scores >= threshold
        precision = flags[called].mean()
        steps += (hit - before) * precision
        before = hit
        if len(downs) and (downs < threshold).mean() >= 0.8 - 1e-12:
            best = max(best, hit)
    if not len(downs):
        return np.nan, steps, np.nan
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(ups, downs)]
    return float(np.mean(pairs)), float(steps), float(best)


@settings(max_examples=150, deadline=None)
@given(scored())
def test_rankings_match_their_definitions(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    flags, scores, weights = case
    found = metrics.ranking(flags, scores, np.array([0.8]))
    assert np.allclose(found, by_definition(flags, scores), equal_nan=True)
    # A weight is a repetition, and a row of weights is one resample.
    repeated = np.repeat(np.arange(len(flags)), weights.astype(int))
    rows = metrics.ranking(flags, scores, np.array([0.8]), weights=np.stack([weights, np.ones(len(flags))]))
    assert np.allclose(rows[0], by_definition(flags[repeated], scores[repeated]), equal_nan=True)
    assert np.allclose(rows[1], found, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(scored(), st.permutations(range(3)))
def test_confusion_scores_ignore_order_and_take_repetitions_as_weights(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], names: list[int]
) -> None:
    flags, scores, weights = case
    truth, guess = np.abs(scores).astype(int) % 3, (np.abs(scores).astype(int) + flags) % 3
    repeated = np.repeat(np.arange(len(flags)), weights.astype(int))
    weighted = metrics.confusion(truth, guess, 3, weights)
    assert (weighted == metrics.confusion(truth[repeated], guess[repeated], 3)).all()
    renamed = np.array(names)
    for value in (metrics.accuracy, metrics.balanced_accuracy, metrics.macro_f1):
        again = value(metrics.confusion(renamed[truth], renamed[guess], 3, weights))
        assert np.allclose(value(weighted), again, equal_nan=True)
