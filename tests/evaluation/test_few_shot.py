"""Few-shot probes learn from few patients, never score one of them, and say how far the draws lie apart."""

from __future__ import annotations

import numpy as np
import pytest

from ethicclip.evaluation import few_shot as room
from ethicclip.evaluation.bootstrap import Resampler
from ethicclip.evaluation.few_shot import few_shot
from ethicclip.evaluation.scoring import Predictions


def world(seed: int, patients: int = 90, shift: float = 1.5) -> tuple[np.ndarray, Predictions]:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), 2)
    truth = (np.arange(patients) % 3)[groups]
    values = (
        np.eye(6)[truth] * shift
        + 0.5 * rng.normal(size=(patients, 6))[groups]
        + 0.8 * rng.normal(size=(2 * patients, 6))
    )
    return values.astype(np.float32), Predictions(
        truth=truth, logits=np.zeros((2 * patients, 3)), groups=groups, classes=("normal", "cataract", "dr")
    )


def probed(seed: int = 0, *, shots: tuple[int, ...] = (1, 4, 16), draws: int = 8, **options: float) -> dict:
    values, predictions = world(seed, **options)  # type: ignore[arg-type]
    resampler = Resampler(groups=predictions.groups, resamples=200)
    return few_shot(values, predictions, resampler, shots=shots, draws=draws, seed=seed)


def test_more_patients_teach_more_and_unrelated_vectors_nothing() -> None:
    found = probed()["shots"]
    means = [found[key]["balanced_accuracy"] for key in ("1", "4", "16")]
    assert means[0].estimate < means[1].estimate < means[2].estimate
    assert means[2].estimate > 0.6
    assert all(one.low < one.estimate < one.high for one in means)
    assert found["1"]["between_draws"] > found["16"]["between_draws"]
    nothing = probed(shift=0.0)["shots"]["16"]["balanced_accuracy"]
    assert nothing.low < 1 / 3 < nothing.high


def test_the_interval_holds_the_variance_between_draws() -> None:
    two, many = (probed(draws=draws, shots=(1,))["shots"]["1"] for draws in (2, 12))
    assert many["draws_used"] == 12
    widths = [one["balanced_accuracy"].high - one["balanced_accuracy"].low for one in (two, many)]
    assert widths[1] > 0.05
    assert two["draws_used"] == 2


def test_no_drawn_patient_is_scored_and_each_gives_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    values, predictions = world(1)
    seen = []

    def watch(features, truth, classes, fit, use, penalty):  # type: ignore[no-untyped-def]
        seen.append((fit.copy(), use.copy()))
        return np.zeros((int(use.sum()), classes))

    monkeypatch.setattr(room, "fit_and_apply", watch)
    resampler = Resampler(groups=predictions.groups, resamples=100)
    few_shot(values, predictions, resampler, shots=(4,), draws=5, seed=3)
    assert len(seen) == 5
    for fit, use in seen:
        assert np.bincount(predictions.truth[fit]).tolist() == [4, 4, 4]
        assert len(np.unique(predictions.groups[fit])) == 12
        assert not set(predictions.groups[fit]) & set(predictions.groups[use])
        assert use.sum() == 180 - 24


def test_too_many_shots_have_a_reason_and_the_same_seed_the_same_numbers() -> None:
    found = probed(shots=(1, 30), draws=3)
    assert "too few patients" in found["shots"]["30"]["reason"]
    assert "balanced_accuracy" not in found["shots"]["30"]
    again = probed(shots=(30, 1), draws=3)
    assert again["shots"]["1"] == found["shots"]["1"]


def test_the_interval_covers_what_new_patients_would_teach_and_be_scored() -> None:
    whole, everyone = world(10_000, patients=2000)
    shots = 4
    truth = []
    for draw in range(100):
        drawn = room._draw(
            whole.astype(float), everyone.truth, everyone.groups, 3, shots, np.random.default_rng([1, draw])
        )
        assert drawn is not None
        truth.append(float(room._score(everyone.truth, *drawn, 3, None)))
    inside = 0
    for seed in range(120):
        values, predictions = world(seed)
        resampler = Resampler(groups=predictions.groups, resamples=100, seed=seed)
        found = few_shot(values, predictions, resampler, shots=(shots,), draws=8, seed=seed)
        estimate = found["shots"][str(shots)]["balanced_accuracy"]
        inside += estimate.low <= np.mean(truth) <= estimate.high
    # 120 repeats of a true 95 % give at least 90 % with probability .99.
    assert inside / 120 >= 0.9, inside
