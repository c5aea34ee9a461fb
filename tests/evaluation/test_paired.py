"""Paired differences: by hand, covering as often as they say, narrower than two intervals, never certain of nothing."""

from __future__ import annotations

import numpy as np
import pytest

from ethicclip.evaluation import metrics
from ethicclip.evaluation.bootstrap import Resampler
from ethicclip.evaluation.paired import differs, paired_scores
from ethicclip.evaluation.scoring import Predictions


def two(logits_a: np.ndarray, logits_b: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> tuple[Predictions, ...]:
    return tuple(
        Predictions(truth=truth, logits=logits, groups=groups, classes=("normal", "glaucoma"), positive=1)
        for logits in (logits_a, logits_b)
    )


def as_logits(scores: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros(len(scores)), scores], axis=1)


def test_placements_by_hand() -> None:
    positive = np.array([False, True, False, True])
    places = metrics.placements(positive, np.array([0.1, 0.3, 0.3, 0.4]))
    assert places.tolist() == [0.0, 0.75, 0.25, 1.0]
    assert np.isnan(metrics.placements(np.ones(2, dtype=bool), np.arange(2.0))).all()


def test_differences_by_hand() -> None:
    truth, groups = np.array([0, 0, 1, 1] * 5), np.arange(20)
    a = as_logits(np.array([-1.0, -2.0, 1.0, -1.0] * 5))
    b = as_logits(np.array([-1.0, 2.0, 1.0, 2.0] * 5))
    found = paired_scores(*two(a, b, truth, groups), Resampler(groups=groups, resamples=300))
    assert found["accuracy"]["a"].estimate == found["accuracy"]["b"].estimate == 0.75
    assert found["accuracy"]["b_minus_a"].estimate == 0.0
    # a ranks (1, -1) against (-1, -2): 1 + 1 + 0.5 + 1 of 4; b ranks (1, 2) against (-1, 2): 1 + 0 + 1 + 0.5 of 4.
    assert found["auroc"]["a"].estimate == pytest.approx(3.5 / 4)
    assert found["auroc"]["b"].estimate == pytest.approx(2.5 / 4)
    assert found["auroc"]["b_minus_a"].estimate == pytest.approx(-0.25)
    assert found["auroc"]["b_minus_a"] == found["auroc_one_vs_rest"]["glaucoma"]["b_minus_a"]
    agreement = {name: estimate.estimate for name, estimate in found["agreement"].items()}
    assert agreement == {
        "same_prediction": 0.5,
        "both_right": 0.5,
        "only_a_right": 0.25,
        "only_b_right": 0.25,
        "both_wrong": 0.0,
    }


def test_the_same_predictions_are_no_certainty() -> None:
    rng = np.random.default_rng(0)
    truth, groups = rng.integers(0, 2, 40), np.repeat(np.arange(20), 2)
    logits = as_logits(rng.normal(size=40) + truth)
    found = paired_scores(*two(logits, logits * 2, truth, groups), Resampler(groups=groups, resamples=200))
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "auroc"):
        difference = found[name]["b_minus_a"]
        assert difference.estimate == 0
        assert difference.low < -0.02 and difference.high > 0.02
        assert not differs(difference)


def test_other_mistakes_on_the_same_images_are_no_certainty_either() -> None:
    truth, groups = np.array([0, 1, 2] * 8), np.arange(24)
    a, b = (5.0 * np.eye(3)[truth] for _ in range(2))
    a[:6], b[:6] = np.roll(a[:6], 1, axis=1), np.roll(b[:6], 2, axis=1)
    pair = [Predictions(truth=truth, logits=one, groups=groups, classes=("x", "y", "z")) for one in (a, b)]
    found = paired_scores(*pair, Resampler(groups=groups, resamples=200))
    difference = found["accuracy"]["b_minus_a"]
    assert difference.estimate == 0 and difference.low < 0 < difference.high
    assert found["agreement"]["both_wrong"].estimate == 0.25
    assert found["agreement"]["same_prediction"].estimate == 0.75


def simulated(rng: np.random.Generator, patients: int) -> tuple[np.ndarray, ...]:
    """Two eyes a patient; b sees the same patient with less noise than a and shares part of it."""
    groups = np.repeat(np.arange(patients), 2)
    truth = (rng.random(patients) < 0.3).astype(int)[groups]
    shared = rng.normal(size=patients)[groups] + 0.5 * rng.normal(size=2 * patients)
    a = 1.2 * (2 * truth - 1) + shared + 0.8 * rng.normal(size=2 * patients)
    b = 1.2 * (2 * truth - 1) + shared + 0.3 * rng.normal(size=2 * patients)
    return as_logits(a), as_logits(b), truth, groups


def test_intervals_of_differences_cover_and_are_narrower_than_two() -> None:
    whole = simulated(np.random.default_rng(1), 200_000)
    names = ("accuracy", "balanced_accuracy", "auroc")
    pair = two(*whole)
    truth = {"auroc": float(np.subtract(*[metrics.auroc(p.truth == 1, p.logits[:, 1]) for p in pair[::-1]]))}
    counts = [metrics.confusion(p.truth, p.predicted, 2) for p in pair]
    truth["accuracy"] = float(metrics.accuracy(counts[1]) - metrics.accuracy(counts[0]))
    truth["balanced_accuracy"] = float(metrics.balanced_accuracy(counts[1]) - metrics.balanced_accuracy(counts[0]))
    rng = np.random.default_rng(2)
    inside, narrower = dict.fromkeys(names, 0), 0
    repeats = 200
    for seed in range(repeats):
        logits_a, logits_b, labels, groups = simulated(rng, 60)
        found = paired_scores(
            *two(logits_a, logits_b, labels, groups), Resampler(groups=groups, resamples=200, seed=seed)
        )
        for name in names:
            difference = found[name]["b_minus_a"]
            inside[name] += difference.low <= truth[name] <= difference.high
        of_a, of_b, gap = (found["auroc"][side] for side in ("a", "b", "b_minus_a"))
        narrower += gap.high - gap.low < 0.8 * np.hypot(of_a.high - of_a.low, of_b.high - of_b.low)
    # 200 repeats of a true 95 % give at least 90.5 % with probability .99.
    assert all(count / repeats >= 0.905 for count in inside.values()), inside
    assert narrower / repeats > 0.9
