"""The audit's statistics against tables worked out by hand, and small simulations of what they promise."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethicclip.audits.statistics import (
    carlini_ratio,
    clopper_pearson,
    closest_per_patient,
    fit_tail,
    reference_share,
    target_decoy,
    upper_limit,
    wilson,
)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),  # 1 - 0.025 ** (1 / 10)
        (10, 10, 0.6915, 1.0),  # 0.025 ** (1 / 10)
        (1, 2, 0.0126, 0.9874),  # 1 - 0.975 ** (1 / 2) and its mirror
        (0, 0, 0.0, 1.0),
    ],
)
def test_clopper_pearson_by_hand(hits: int, trials: int, low: float, high: float) -> None:
    interval = clopper_pearson(hits, trials)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)
    assert interval.n == trials


def test_upper_limit_is_the_rule_of_three() -> None:
    assert upper_limit(0, 59) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert upper_limit(0, 59) < 0.05 < upper_limit(0, 58)
    assert upper_limit(4, 200) < 0.05 < upper_limit(5, 200)
    assert upper_limit(3, 3) == 1.0


def test_wilson_by_hand() -> None:
    # z = 1.96, 5 of 10: centre 0.5, half width 1.96 / 13.84 * sqrt(2.5 + 0.96) = 0.2634.
    interval = wilson(5, 10)
    assert (interval.low, interval.high) == pytest.approx((0.2366, 0.7634), abs=1e-3)


def test_closest_image_of_each_patient_best_first() -> None:
    scores = np.array([3.0, 9.0, 5.0, 7.0, 1.0])
    patients = np.array([2, 4, 2, -1, 4])
    assert closest_per_patient(scores, patients).tolist() == [1, 2]


def test_target_decoy_by_hand() -> None:
    # Two patients a side: odds 2 / 3. Rates down the list: R 2/3, RR 1/3, RRC 2/3, RRCR 4/9.
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    sides = np.array([True, True, False, True])
    outcome = target_decoy(scores, sides, reference_patients=2, control_patients=2, alpha=0.34)
    assert outcome.rejected.tolist() == [True, True, False, False]
    assert outcome.threshold == 3.0
    assert outcome.estimated_fdr == pytest.approx(1 / 3)
    assert outcome.fewest == 2
    wider = target_decoy(scores, sides, reference_patients=2, control_patients=2, alpha=0.45)
    assert wider.rejected.tolist() == [True, True, False, True]


def test_target_decoy_floor_of_twenty_at_equal_sides() -> None:
    for count, expected in ((19, 0), (20, 20)):
        outcome = target_decoy(
            np.arange(count, dtype=float) + 1,
            np.ones(count, dtype=bool),
            reference_patients=1000,
            control_patients=1000,
            alpha=0.05,
        )
        assert outcome.rejected.sum() == expected
        assert outcome.fewest == 20


def test_target_decoy_equal_scores_stand_or_fall_together() -> None:
    scores, sides = np.full(40, 2.0), np.arange(40) < 20
    for order in (np.arange(40), np.arange(40)[::-1]):
        outcome = target_decoy(scores[order], sides[order], reference_patients=99, control_patients=99, alpha=0.05)
        assert not outcome.rejected.any()


def test_target_decoy_without_control_rejects_nothing() -> None:
    outcome = target_decoy(np.ones(50), np.ones(50, bool), reference_patients=50, control_patients=0, alpha=0.5)
    assert not outcome.rejected.any()


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=60), st.randoms())
def test_target_decoy_does_not_depend_on_the_order_of_rows(rows: list[tuple[float, bool]], random: Random) -> None:
    shuffled = rows[:]
    random.shuffle(shuffled)
    outcomes = []
    for table in (rows, shuffled):
        outcome = target_decoy(
            np.array([score for score, _ in table], dtype=float),
            np.array([side for _, side in table], dtype=bool),
            reference_patients=30,
            control_patients=30,
            alpha=0.2,
        )
        outcomes.append((outcome.threshold, int(outcome.rejected.sum())))
    assert outcomes[0] == outcomes[1]


def test_realised_false_discovery_is_under_alpha() -> None:
    """60 true copies over 300 null patients with overlapping scores: mean false discovery within 2 standard errors."""
    rng = np.random.default_rng(5)
    proportions, power = [], []
    for _ in range(300):
        null = rng.normal(0, 1, 300)
        copies = rng.normal(3, 1, 60)
        sides = np.concatenate([rng.random(300) < 0.5, np.ones(60, bool)])
        outcome = target_decoy(
            np.concatenate([null, copies]), sides, reference_patients=500, control_patients=500, alpha=0.1
        )
        rejected = np.flatnonzero(outcome.rejected)
        proportions.append((rejected < 300).sum() / max(1, len(rejected)))
        power.append((rejected >= 300).sum() / 60)
    error = np.std(proportions) / np.sqrt(len(proportions))
    assert np.mean(proportions) <= 0.1 + 2 * error
    assert np.mean(power) > 0.6


def test_share_interval_respects_shared_neighbours() -> None:
    """100 images on 5 patients say little; 100 images on 100 patients say more; permutation is exact under the null."""
    rng = np.random.default_rng(0)
    sides = np.arange(400) < 200
    few = reference_share(np.repeat([0, 1, 2, 200, 201], 20), sides, rng=rng)
    many = reference_share(np.arange(100) * 4, sides, rng=rng)
    assert few.share.high - few.share.low > many.share.high - many.share.low
    assert few.share.estimate == pytest.approx(0.6)
    assert not few.excludes
    leaning = reference_share(np.arange(150), sides, rng=rng)
    assert leaning.excludes
    false = 0
    for _ in range(200):
        chosen = rng.permutation(400)[:40]
        images = np.repeat(chosen, rng.geometric(0.5, size=40))
        false += reference_share(images, sides, rng=rng, level=0.95, repetitions=300).excludes
    assert false / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200) + 0.01


def test_share_without_control_or_images_says_nothing() -> None:
    for patients, sides in ((np.zeros(0, int), np.array([True, False])), (np.zeros(3, int), np.array([True]))):
        share = reference_share(patients, sides, rng=np.random.default_rng(0))
        assert (share.share.low, share.share.high, share.excludes) == (0.0, 1.0, False)


def test_tail_expects_what_it_says() -> None:
    """Over many exponential samples the threshold for 0.05 false confirmations is passed no more often than that."""
    rng = np.random.default_rng(3)
    passed = []
    for _ in range(400):
        tail = fit_tail(rng.exponential(5.0, 400))
        passed.append(600 * np.exp(-tail.threshold(expected=0.05, trials=600) / 5.0))
    assert np.median(passed) <= 0.05
    assert np.mean(passed) <= 0.05


def test_tail_is_not_moved_by_a_few_linked_eyes() -> None:
    rng = np.random.default_rng(4)
    clean = rng.exponential(5.0, 400)
    dirty = np.concatenate([clean[:-8], rng.uniform(200, 900, 8)])
    first, second = (fit_tail(one).threshold(expected=0.05, trials=600) for one in (clean, dirty))
    assert second < 1.35 * first


def test_tail_with_too_few_impostors_falls_back() -> None:
    tail = fit_tail(np.ones(10), fallback=90.0)
    assert not tail.fitted
    assert tail.threshold(expected=0.05, trials=1) > 90


def test_carlini_ratio_by_hand() -> None:
    # Nearest at 1 of patient 7; others at 4 and 6: 1 / (0.5 * 5) = 0.4. The second picture of patient 7 is left out.
    assert carlini_ratio(np.array([1.0, 2.0, 4.0, 6.0]), np.array([7, 7, 8, 9])) == pytest.approx(0.4)
    assert carlini_ratio(np.array([0.0, 0.0]), np.array([7, 7])) == float("inf")
