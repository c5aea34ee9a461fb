"""Two accountants agree, calibration hits its target, and nothing impossible is accounted for."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from ethicclip.errors import ExitCode, IntegrityError, UsageError
from ethicclip.privacy import SampledGaussian, epsilon_of, noise_for, replace_one, steps_within
from ethicclip.privacy.accountant import pld_epsilon, require_agreement
from ethicclip.privacy.mechanisms import default_delta
from ethicclip.privacy.planning import EpsilonSoFar, PlanSettings, plan


def event(sigma: float, rate: float, steps: int) -> SampledGaussian:
    return SampledGaussian(noise_multiplier=sigma, sample_rate=rate, steps=steps)


@pytest.mark.parametrize(
    ("units", "batch", "epochs", "epsilon", "sigma"),
    [(2000, 128, 30, 3, 2.11), (2000, 128, 30, 8, 1.10), (10_000, 512, 30, 1, 4.76)],
)
def test_calibration_gives_the_table_of_the_specification(units, batch, epochs, epsilon, sigma):
    rate = batch / units
    steps = round(epochs / rate)
    found = noise_for(epsilon, 1e-5, sample_rate=rate, steps=steps)
    assert found == pytest.approx(sigma, rel=0.01)
    stated = epsilon_of([event(found, rate, steps)], 1e-5)
    assert 0.99 * epsilon <= stated.value <= epsilon


@pytest.mark.parametrize("epsilon", [1e-5, 5e-4])
def test_an_epsilon_out_of_reach_is_refused_at_once(epsilon):
    """Less than the accountants' own error: no search, and the message says what can be stated."""
    noise_for(8.0, 1e-5, sample_rate=1.0, steps=1)  # loads what the accountants need
    started = time.process_time()
    with pytest.raises(UsageError, match=r"no noise reaches epsilon .* the accountants state 0\.00") as caught:
        noise_for(epsilon, 1e-5, sample_rate=0.05, steps=500)
    assert "larger epsilon" in caught.value.next_step and time.process_time() - started < 10


def test_a_small_epsilon_in_reach_is_calibrated():
    found = noise_for(0.02, 1e-5, sample_rate=1.0, steps=3)
    assert 0.99 * 0.02 <= epsilon_of([event(found, 1.0, 3)], 1e-5).value <= 0.02


def test_noise_of_c_instead_of_2c_is_what_the_specification_says():
    # n = 10k, B = 256, 20 epochs: 4.5 is reported where the truth of half the noise is 26.9.
    rate, steps = 256 / 10_000, round(20 * 10_000 / 256)
    assert pld_epsilon((event(1.0, rate, steps),), 1e-5) == pytest.approx(4.5, abs=0.1)
    assert pld_epsilon((event(0.5, rate, steps),), 1e-5) == pytest.approx(26.9, abs=0.5)


@settings(max_examples=5, deadline=None)
@given(sigma=st.floats(0.7, 6.0), rate=st.floats(0.005, 0.5), steps=st.integers(1, 150))
def test_prv_and_pld_agree(sigma, rate, steps):
    found = epsilon_of([event(sigma, rate, steps)], 1e-5)
    assert abs(found.prv - found.pld) <= max(0.02, 0.01 * found.value)


def test_one_full_release_is_the_gaussian_mechanism():
    # Balle and Wang 2018, theorem 8: delta(epsilon) in closed form.
    def delta(epsilon: float) -> float:
        return float(stats.norm.cdf(0.5 - epsilon) - math.exp(epsilon) * stats.norm.cdf(-0.5 - epsilon))

    exact = optimize.brentq(lambda epsilon: delta(epsilon) - 1e-5, 0.1, 20)
    assert epsilon_of([event(1.0, 1.0, 1)], 1e-5).value == pytest.approx(exact, abs=0.003)


def test_full_data_votes_of_private_evolution():
    # Ten full-data Gaussian votes: sigma 4.4 for epsilon 3, as the specification has it.
    assert epsilon_of([event(4.4, 1.0, 10)], 1e-5).value == pytest.approx(3.0, abs=0.06)


def test_mechanisms_compose_whatever_their_order():
    both = [event(2.0, 0.1, 100), event(1.5, 0.05, 50)]
    together = epsilon_of(both, 1e-5).value
    assert together == epsilon_of(both[::-1], 1e-5).value
    alone = [epsilon_of([one], 1e-5).value for one in both]
    assert max(alone) < together < sum(alone)


def test_disagreement_stops():
    require_agreement(1.0, 1.019)
    require_agreement(10.0, 10.09)
    for pair in ((1.0, 1.03), (10.0, 10.2), (math.inf, 1.0), (math.nan, 1.0)):
        with pytest.raises(IntegrityError, match="disagree") as caught:
            require_agreement(*pair)
        assert caught.value.exit_code == ExitCode.INTEGRITY


def test_replacing_one_is_a_group_of_two():
    one = [event(2.1155, 0.064, 469)]
    bound = replace_one(one, 1e-5)
    half = bound / 2
    # The inner epsilon belongs to the delta that the group bound leaves.
    inner = epsilon_of(one, 1e-5 / (1 + math.exp(half)))
    assert inner.value == pytest.approx(half, abs=0.01)
    assert bound > 2 * epsilon_of(one, 1e-5).value
    assert replace_one([], 1e-5) == 0.0
    # The delta that a group of two leaves at epsilon 30 is beyond any accountant: no number is better than a wrong one.
    assert replace_one([event(0.5, 0.03, 800)], 1e-5) is None


def test_no_step_costs_nothing_and_more_steps_cost_more():
    assert epsilon_of([event(1.0, 0.1, 0)], 1e-5).value == 0.0
    assert epsilon_of([event(1.0, 0.1, 10)], 1e-5).value < epsilon_of([event(1.0, 0.1, 20)], 1e-5).value


def test_steps_within_a_budget():
    fit = steps_within(2.0, 1e-5, noise_multiplier=2.0, sample_rate=0.1, most=400)
    assert 0 < fit < 400
    assert pld_epsilon((event(2.0, 0.1, fit),), 1e-5) <= 2.0
    assert pld_epsilon((event(2.0, 0.1, fit + 5),), 1e-5) > 2.0
    assert steps_within(0.1, 1e-5, noise_multiplier=0.5, sample_rate=0.5, most=10) == 0


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: event(1.0, 1.5, 1), "1.5"),
        (lambda: event(1.0, 0.0, 1), "0"),
        (lambda: event(0.0, 0.1, 1), "noise multiplier"),
        (lambda: event(float("nan"), 0.1, 1), "noise multiplier"),
        (lambda: event(1.0, 0.1, -1), "-1"),
        (lambda: noise_for(0.0, 1e-5, sample_rate=0.1, steps=1), "impossible"),
        (lambda: noise_for(1.0, 0.0, sample_rate=0.1, steps=1), "impossible"),
        (lambda: noise_for(1.0, 1e-5, sample_rate=0.1, steps=0), "at least 1"),
        (lambda: noise_for(0.5, 1e-5, sample_rate=0.1, steps=1, spent=[event(1.0, 1.0, 1)]), "already released"),
        (lambda: plan(PlanSettings(units=100, batch_size=101)), "q of 1.01"),
    ],
)
def test_impossible_is_usage(build, said):
    with pytest.raises(UsageError, match=said):
        build()


def test_plan_and_its_curve():
    made = plan(PlanSettings(units=200, batch_size=40, epochs=4, epsilon=4), trained_weights=10_000, step_seconds=0.5)
    assert made.steps == 20
    values = [value for _, _, value in made.curve]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(made.stated.value, abs=1e-6)
    assert made.to_json()["seconds"] == 10.0
    # sigma sqrt(weights) C over C batch
    assert made.noise_to_signal == pytest.approx(made.noise_multiplier * 100 / 40)
    so_far = EpsilonSoFar(event(made.noise_multiplier, made.sample_rate, made.steps), made.delta)
    for steps in (1, 7, 20):
        exact = pld_epsilon((event(made.noise_multiplier, made.sample_rate, steps),), made.delta)
        assert so_far.after(steps) >= exact - 1e-6
    assert so_far.after(0) == 0
    assert so_far.after(20) <= 4.0


def test_default_delta():
    assert default_delta(100) == 1e-5
    assert default_delta(100_000) == 1e-6
