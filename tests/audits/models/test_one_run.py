"""The lower bound against the paper's numbers, and its size by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ethicclip.audits.models.one_run import default_numbers, epsilon_bound, one_run_bound, p_value
from ethicclip.errors import UsageError


@pytest.mark.parametrize(("guesses", "certified"), [(10, 1.05), (40, 2.55), (100, 3.49), (1000, 5.81)])
def test_perfect_guesses_certify_what_the_specification_says(guesses, certified):
    assert epsilon_bound(guesses, guesses, guesses, delta=0.0, confidence=0.95) == pytest.approx(certified, abs=0.005)


def test_delta_makes_the_bound_weaker():
    bounds = [epsilon_bound(1000, 1000, 1000, delta=delta, confidence=0.95) for delta in (0.0, 1e-6, 1e-5, 1e-3)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < bounds[0] - 0.5


def test_p_value_without_delta_is_a_binomial_tail():
    # Two guesses, both right, at epsilon log 3: (3/4)^2.
    assert p_value(5, 2, 2, math.log(3), 0.0) == pytest.approx(9 / 16)
    assert p_value(5, 2, 0, 1.0, 0.0) == 1.0
    # By hand, r = v = 1, share 1/2: alpha = P(1 > X >= 0) = 1/2, so 1/2 + 2 * 4 * 0.01 / 2.
    assert p_value(4, 1, 1, 0.0, 0.01) == pytest.approx(0.54)
    with pytest.raises(UsageError):
        p_value(3, 4, 4, 1.0, 0.0)


def test_no_knowledge_certifies_nothing():
    generator = np.random.default_rng(0)
    found = one_run_bound(generator.normal(size=400), generator.random(400) < 0.5, delta=1e-5, confidence=0.95)
    assert found.epsilon == 0.0


def test_bonferroni_over_the_numbers_holds_its_size():
    """Randomised response at epsilon 1 is the worst mechanism there is; its epsilon may be passed in 5 % of runs."""
    generator = np.random.default_rng(1)
    share = math.e / (1 + math.e)
    over = 0
    runs = 300
    for _ in range(runs):
        coins = generator.random(120) < 0.5
        told = np.where(generator.random(120) < share, coins, ~coins)
        scores = told + 0.01 * generator.random(120)
        over += one_run_bound(scores, coins, delta=0.0, confidence=0.95).epsilon > 1.0
    # Binomial(300, 0.05) is over 27 once in a thousand.
    assert over <= 27


def test_numbers_are_even_and_within_the_canaries():
    for total in (2, 7, 20, 1000):
        numbers = default_numbers(total)
        assert numbers
        assert all(number % 2 == 0 and 2 <= number <= total for number in numbers)
    assert default_numbers(1000) == [20, 50, 100, 200, 500, 1000]
