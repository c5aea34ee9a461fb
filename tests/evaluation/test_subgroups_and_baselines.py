"""Parts of a cohort, and what a picture's sharpness alone gives away."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ethicclip.errors import BadInputError
from ethicclip.evaluation.bootstrap import Estimate, Resampler
from ethicclip.evaluation.scoring import Predictions
from ethicclip.evaluation.single_statistics import baselines, measure
from ethicclip.evaluation.subgroups import UNKNOWN, bands, subgroup_table


def test_few_values_are_parts_and_many_numbers_are_quarters() -> None:
    assert bands(["left", "right", ""], column="eye") == ["left", "right", UNKNOWN]
    ages = [str(age) for age in range(20, 61)]
    parts = bands([*ages, "nan"], column="age")
    assert parts[0] == "20 to 30"
    assert parts[10] == "30 to 40"
    assert parts[40] == "50 to 60"
    assert parts[41] == UNKNOWN
    with pytest.raises(BadInputError, match="'patient_id' has 20 values"):
        bands([f"p{index}" for index in range(20)], column="patient_id")


def predictions(right: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> Predictions:
    logits = np.zeros((len(truth), 2))
    logits[np.arange(len(truth)), np.where(right, truth, 1 - truth)] = 2.0
    return Predictions(truth=truth, logits=logits, groups=groups, classes=("normal", "dr"), positive=1)


def test_gaps_are_paired_and_small_parts_are_not_scored() -> None:
    truth = np.tile([0, 1], 43)
    groups = np.arange(86)
    parts = np.array(["a"] * 40 + ["b"] * 40 + ["c"] * 6)
    groups[-6:] = [80, 80, 81, 81, 82, 82]
    right = np.ones(86, dtype=bool)
    right[40:60] = False
    table = subgroup_table(predictions(right, truth, groups), parts.tolist(), Resampler(groups=groups, resamples=200))
    assert table["c"] == {"images": 6, "patients": 3, "reason": "fewer than 5 patients: not scored"}
    assert table["a"]["accuracy"].estimate == 1.0
    assert table["b"]["accuracy"].estimate == 0.5
    gap: Estimate = table["b"]["gap"]["accuracy"]
    assert gap.estimate == pytest.approx(0.5 - 1.0)
    assert gap.high is not None
    assert gap.high < 0
    # Elsewhere 13 of 23 positives and of 23 negatives are right, so 13 * 13 pairs are won and 2 * 13 * 10 tied.
    assert table["a"]["gap"]["auroc"].estimate == pytest.approx(1 - (169 + 130) / 23**2)


def test_a_part_without_a_class_says_so() -> None:
    truth = np.array([0, 1] * 6 + [1] * 6)
    groups = np.arange(18)
    parts = ["a"] * 12 + ["b"] * 6
    table = subgroup_table(
        predictions(np.ones(18, dtype=bool), truth, groups), parts, Resampler(groups=groups, resamples=100)
    )
    assert table["b"]["balanced_accuracy"].estimate is None
    assert table["b"]["auroc"].to_json()["reason"] == "a class has no image in this part"
    assert table["b"]["accuracy"].estimate == 1.0


def eye(blur: float = 0.0, gain: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:300, :300] - 150
    picture = np.zeros((300, 300, 3))
    inside = x**2 + y**2 < 140**2
    picture[inside] = rng.normal((160, 90, 50), 12, (int(inside.sum()), 3))
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    return np.clip(picture * gain, 0, 255).astype(np.uint8)


def test_single_statistics_measure_what_they_say() -> None:
    plain, blurred, dark = measure(eye()), measure(eye(blur=3)), measure(eye(gain=0.5))
    assert blurred[0] < plain[0] - 1
    assert blurred[1] < plain[1]
    assert dark[2] > plain[2] + 20
    assert dark[1] == pytest.approx(plain[1], rel=0.1)
    assert np.isfinite(measure(np.zeros((20, 30, 3), dtype=np.uint8))).all()


def test_baselines_find_the_statistic_that_tells_and_none_that_does_not() -> None:
    rng = np.random.default_rng(0)
    truth = np.tile([0, 1, 2], 40)
    groups = np.arange(120)
    values = rng.standard_normal((120, 3))
    values[:, 0] -= 6 * (truth == 1)
    scored = Predictions(truth=truth, logits=rng.standard_normal((120, 3)), groups=groups, classes=("a", "b", "c"))
    found = baselines(values, scored, Resampler(groups=groups, resamples=200), seed=0)
    assert found["sharpness"]["auroc_one_vs_rest"]["b"].estimate > 0.99
    assert found["sharpness"]["direction"]["b"] == "low"
    assert 0.5 <= found["contrast"]["auroc_one_vs_rest"]["b"].estimate < 0.65
    assert found["sharpness"]["balanced_accuracy"].estimate > 0.55
    assert abs(found["darkness"]["balanced_accuracy"].estimate - 1 / 3) < 0.12
    assert found["all three"]["auroc_one_vs_rest"]["b"].estimate > 0.95
    assert "auroc" not in found["sharpness"]
