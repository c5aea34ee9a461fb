"""Membership figures by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ethicclip.audits.models.membership import auc, blind_scores, likelihood_ratios, proportion_interval, rate_at
from ethicclip.audits.models.shadows import shadow_halves
from ethicclip.errors import UsageError


def test_auc_by_hand():
    # Pairs (member, other): 3>1 3>2 1=1 1<2: (1 + 1 + .5 + 0) / 4.
    found = auc(np.array([3.0, 1.0]), np.array([1.0, 2.0]))
    assert found.estimate == pytest.approx(0.625)
    assert found.low < 0.625 < found.high


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_auc_interval_covers(shift):
    truth = stats.norm.cdf(shift / np.sqrt(2))
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        found = auc(generator.normal(shift, 1, 40), generator.normal(0, 1, 60))
        hits += found.low <= truth <= found.high
    assert hits >= 182  # Binomial(200, 0.95) is under it less than once in a hundred


def test_auc_at_the_ends_has_an_interval():
    perfect = auc(np.arange(10, 20.0), np.arange(10.0))
    assert perfect.estimate == perfect.high == 1.0
    assert 0.6 < perfect.low < 1.0


def test_true_positives_at_a_rate_by_hand():
    others = np.arange(1000, dtype=float)
    members = np.array([995.0, 990.5, 989.5, 2000.0])
    # One percent of a thousand: ten others may pass, so the threshold is the eleventh largest, 989.
    found = rate_at(members, others, 0.01)
    assert found.estimate == 1.0
    assert rate_at(np.array([989.0, 990.0]), others, 0.01).estimate == 0.5
    assert found.threshold_rate[0] < 0.01 < found.threshold_rate[1]


def test_a_rate_without_ten_others_is_not_run():
    found = rate_at(np.zeros(50), np.zeros(9999), 0.001)
    assert found.state == "NOT_RUN"
    assert "needs 10000" in found.reason
    assert rate_at(np.zeros(50), np.arange(10_000.0), 0.001).state == "DONE"


def test_proportion_interval_at_the_ends():
    assert proportion_interval(0, 10)[0] == 0.0
    assert proportion_interval(0, 10)[1] == pytest.approx(1 - 0.025**0.1)
    assert proportion_interval(10, 10)[1] == 1.0


def test_lira_finds_what_a_threshold_does_not():
    """Units differ in how easy they are; membership adds little to each: only a comparison within the unit sees it."""
    generator = np.random.default_rng(3)
    units, shadows = 400, 16
    ease = generator.normal(0, 5, units)
    halves = shadow_halves(units, shadows, seed=1)
    scores = ease + 1.5 * halves + generator.normal(0, 0.7, (shadows, units))
    member = np.arange(units) < 200
    target = ease + 1.5 * member + generator.normal(0, 0.7, units)
    ratios = likelihood_ratios(target, scores, halves)
    assert auc(target[member], target[~member]).estimate < 0.65
    assert auc(ratios[member], ratios[~member]).estimate > 0.85


def test_each_unit_is_in_half_of_the_shadows():
    halves = shadow_halves(31, 6, seed=0)
    assert (halves.sum(0) == 3).all()
    with pytest.raises(UsageError):
        shadow_halves(31, 5, seed=0)


def test_blind_attack_sees_a_shift_and_only_a_shift():
    generator = np.random.default_rng(4)
    same = blind_scores(generator.normal(size=(150, 20)), generator.normal(size=(150, 20)), seed=0)
    found = auc(*same, confidence=0.999)
    assert found.low < 0.5 < found.high
    shifted = blind_scores(generator.normal(0.5, 1, (150, 20)), generator.normal(size=(150, 20)), seed=0)
    assert auc(*shifted).low > 0.7
