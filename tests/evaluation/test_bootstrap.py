"""Intervals: they cover as often as they say, they count patients, and they admit what they cannot know."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from ethicclip.evaluation import bootstrap, metrics
from ethicclip.evaluation.bootstrap import Resampler, patient_indices, unseen_variance
from ethicclip.evaluation.scoring import confusion_scores, ranking_scores


def estimates_of(positive: np.ndarray, scores: np.ndarray, groups: np.ndarray, **options: int) -> dict:
    resampler = Resampler(groups=groups, **options)  # type: ignore[arg-type]
    truth, guess = positive.astype(int), (scores > 0.5).astype(int)
    of_confusion, found = confusion_scores(truth, guess, groups, 2, statistic="confusion")
    of_ranking, ranked = ranking_scores(positive, scores, groups, statistic="ranking", specificities=(0.8,))
    return resampler.estimates({"confusion": of_confusion, "ranking": of_ranking}, {**found, **ranked})


def simulated(rng: np.random.Generator, patients: int, prevalence: float, shift: float) -> tuple[np.ndarray, ...]:
    """Two eyes a patient that mostly share disease and score."""
    groups = np.repeat(np.arange(patients), 2)
    shared = rng.random(patients) < prevalence
    positive = np.where(rng.random(2 * patients) < 0.1, rng.random(2 * patients) < prevalence, shared[groups])
    scores = 0.8 * rng.standard_normal(patients)[groups] + 0.6 * rng.standard_normal(2 * patients) + shift * positive
    return positive, scores - shift / 2 + 0.5, groups


@pytest.mark.parametrize(("patients", "prevalence", "shift"), [(40, 0.3, 2.5), (100, 0.1, 3.0)])
def test_intervals_cover_as_often_as_they_say(patients: int, prevalence: float, shift: float) -> None:
    positive, scores, _ = simulated(np.random.default_rng(1), 200_000, prevalence, shift)
    counts = metrics.confusion(positive.astype(int), (scores > 0.5).astype(int), 2)
    truth = {
        ("auroc",): float(metrics.auroc(positive, scores)),
        ("accuracy",): float(metrics.accuracy(counts)),
        ("balanced_accuracy",): float(metrics.balanced_accuracy(counts)),
    }
    rng = np.random.default_rng(2)
    inside = dict.fromkeys(truth, 0)
    inside_by_percentile = 0
    repeats = 250
    for seed in range(repeats):
        positive, scores, groups = simulated(rng, patients, prevalence, shift)
        found = estimates_of(positive, scores, groups, resamples=200, seed=seed)
        for key, value in truth.items():
            low, high = found[key].low, found[key].high
            inside[key] += low is not None and high is not None and low <= value <= high
        low, high = Resampler(groups=groups, resamples=200, seed=seed).bands(
            lambda weights, p=positive, s=scores: metrics.auroc(p, s, weights)[:, None]  # type: ignore[misc]
        )
        inside_by_percentile += bool(low[0] <= truth["auroc",] <= high[0])
    # 250 repeats of a true 95 % give at least 91 % with probability .99.
    assert all(count / repeats >= 0.91 for count in inside.values()), inside
    assert inside_by_percentile / repeats < 0.9, "the simpler percentile interval would do: use it"


def test_two_eyes_of_one_patient_are_not_two_patients() -> None:
    rng = np.random.default_rng(0)
    positive, scores = rng.random(60) < 0.5, rng.random(60)
    single = estimates_of(positive, scores, np.arange(60))["auroc",]
    doubled = estimates_of(np.repeat(positive, 2), np.repeat(scores, 2), np.repeat(np.arange(60), 2))["auroc",]
    as_images = estimates_of(np.repeat(positive, 2), np.repeat(scores, 2), np.arange(120))["auroc",]
    assert doubled.estimate == single.estimate
    assert (doubled.low, doubled.high) == (single.low, single.high)
    assert as_images.high - as_images.low < 0.8 * (doubled.high - doubled.low)
    assert (doubled.n, doubled.patients) == (120, 60)


def test_order_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    positive, scores, groups = simulated(np.random.default_rng(3), 30, 0.4, 1.0)
    whole = estimates_of(positive, scores, groups, resamples=150)
    monkeypatch.setattr(bootstrap, "_CHUNK_CELLS", 500)
    assert estimates_of(positive, scores, groups, resamples=150) == whole
    assert estimates_of(positive, scores, groups, resamples=150, seed=1) != whole


def test_no_mistake_in_the_sample_is_not_certainty() -> None:
    positive, groups = np.arange(40) % 2 == 1, np.arange(40)
    found = estimates_of(positive, positive.astype(float), groups)
    # Clopper-Pearson for 40 of 40, for 20 of 20 pairs, and for a mean of two recalls of 20 each.
    assert found["accuracy",].low == pytest.approx(0.025 ** (1 / 40))
    assert found["auroc",].low == pytest.approx(0.025 ** (1 / 20))
    assert found["balanced_accuracy",].low == pytest.approx(0.025 ** (1 / 40))
    assert all(estimate.high == 1.0 for estimate in found.values())
    assert found["accuracy",].method == bootstrap.EDGE_METHOD
    wrong = estimates_of(positive, 1 - positive.astype(float), groups)["auroc",]
    assert (wrong.estimate, wrong.low) == (0.0, 0.0)
    assert wrong.high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_a_class_that_is_wholly_right_still_has_variance() -> None:
    assert unseen_variance(np.array([0.9, 0.5]), np.array([10, 10])) == 0.0
    # 11/12 stands in for 10 of 10; half of a mean over two classes.
    assert unseen_variance(np.array([0.9, 1.0]), np.array([10, 10])) == pytest.approx(11 / 12 / 12 / 10 / 4)


def test_classes_that_vanish_are_counted() -> None:
    positive = np.array([True] * 2 + [False] * 20)
    scores = np.concatenate([[0.9, 0.1], np.linspace(0, 0.8, 20)])
    found = estimates_of(positive, scores, np.arange(22))["auroc",]
    # Both positives are missed with probability (20/22)^22 = .12.
    assert 0.09 < found.undefined_resamples / 2000 < 0.16
    assert found.reason == "only 2 patient(s) in the rarest class"
    assert found.low < 0.2
    assert found.high > 0.8


@pytest.mark.parametrize("count", [1, 2])
def test_one_patient_a_class_says_nothing(count: int) -> None:
    positive, scores = np.array([True, False] * count), np.array([0.9, 0.2] * count)
    found = estimates_of(positive, scores, np.zeros(2 * count, dtype=int))
    for estimate in found.values():
        assert (estimate.low, estimate.high) == (0.0, 1.0)
        assert "1 patient(s)" in estimate.reason
        assert estimate.patients == 1


def test_an_undefined_score_is_null_with_a_reason_in_json() -> None:
    found = estimates_of(np.zeros(6, dtype=bool), np.arange(6.0), np.arange(6))["auroc",]
    assert found.to_json() == {
        "estimate": None,
        "reason": "no positive or no negative image",
        "n": 6,
        "patients": 6,
    }
    assert "NaN" not in json.dumps(found.to_json(), allow_nan=False)
    assert str(found) == "undefined (no positive or no negative image)"


def test_json_of_an_estimate() -> None:
    found = estimates_of(np.arange(30) % 2 == 0, np.linspace(0, 1, 30), np.arange(30))["auroc",].to_json()
    assert set(found) == {"estimate", "low", "high", "n", "patients", "method"}
    assert 0 < found["low"] < found["estimate"] < found["high"] < 1


def test_patient_indices_and_weights() -> None:
    groups = patient_indices(["b", "a", "b", "c"])
    assert groups.tolist() == [0, 1, 0, 2]
    rows = np.concatenate(list(Resampler(groups=groups, resamples=300).weights()))
    assert rows.shape == (300, 4)
    assert (rows[:, 0] == rows[:, 2]).all()
    assert (rows[:, [0, 1, 3]].sum(axis=1) == 3).all()
    drawn = set(itertools.chain.from_iterable(rows.tolist()))
    assert drawn == {0.0, 1.0, 2.0, 3.0}


def test_two_thousand_resamples_of_three_thousand_eyes_stay_in_memory() -> None:
    groups = np.repeat(np.arange(1500), 2)
    assert max(len(chunk) for chunk in Resampler(groups=groups).weights()) * 3000 <= bootstrap._CHUNK_CELLS
