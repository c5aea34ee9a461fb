"""A white-box one-run audit of the clipping, sampling and noise: under epsilon, and over it when the noise is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from .measured import benchmark

teeth = benchmark("audit_teeth")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("rate", "steps", "sigma"), [(1.0, 1, 2.0), (0.5, 4, 2.5)])
def test_prompt_bank_stays_under_epsilon_and_a_tenth_of_the_noise_does_not(rate, steps, sigma):
    coins = teeth.coins_of(1000, np.random.default_rng(5))
    stated = teeth.claimed(sigma, rate, steps)

    def bound(noise: float) -> float:
        scores = teeth.prompt_bank_scores(coins, sigma=noise, rate=rate, steps=steps, entropy=teeth.repeatable(3))
        return teeth.bound(scores, coins)

    assert 0 < bound(sigma) < stated
    assert bound(sigma / 10) > stated


def test_grouped_stays_under_epsilon_and_a_tenth_of_the_noise_does_not():
    coins = teeth.coins_of(1000, np.random.default_rng(6))
    rate, steps, sigma = 0.2, 20, 2.0
    stated = teeth.claimed(sigma, rate, steps)

    def bound(noise_std: float) -> float:
        scores = teeth.grouped_scores(coins, noise_std=noise_std, rate=rate, steps=steps, entropy=teeth.repeatable(7))
        return teeth.bound(scores, coins)

    assert bound(2 * teeth.C * sigma) < stated
    assert bound(2 * teeth.C * sigma / 10) > stated
