"""The noise has the standard deviation it claims, nothing is longer than C, and sampling is Poisson."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ethicclip.errors import BadInputError, UsageError
from ethicclip.privacy import Unit
from ethicclip.privacy.clipping import ClippedSum, clip_factors
from ethicclip.privacy.units import PoissonSampler, units_of


def test_standard_deviation_of_the_noise():
    weights = [torch.zeros(200, 300), torch.zeros(40_000)]
    noised = torch.cat([part.flatten() for part in ClippedSum(weights, 1.0).release(2.5)]).numpy()
    count = len(noised)
    # A chi-square interval of 1e-6: the deviation is known to half a percent.
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], count)
    assert low < ((noised / 2.5) ** 2).sum() < high
    assert stats.kstest(noised / 2.5, "norm").pvalue > 1e-6
    assert abs(noised.mean()) < 6 * 2.5 / np.sqrt(count)


def test_every_release_has_its_own_noise():
    total = ClippedSum([torch.zeros(50)], 1.0)
    assert not torch.equal(total.release(1.0)[0], total.release(1.0)[0])
    assert torch.equal(total.release(0.0)[0], torch.zeros(50))


@settings(max_examples=60, deadline=None)
@given(length=st.floats(1e-6, 1e18), max_norm=st.floats(1e-3, 1e3), seed=st.integers(0, 10_000))
def test_no_contribution_is_longer_than_c(length, max_norm, seed):
    generator = torch.Generator().manual_seed(seed)
    vectors = [torch.randn(7, 3, generator=generator), torch.randn(11, generator=generator)]
    norm = torch.cat([vector.flatten() for vector in vectors]).norm()
    vectors = [vector / norm * length for vector in vectors]
    total = ClippedSum(vectors, max_norm)
    total.add(vectors)
    added = torch.cat([part.flatten() for part in total.total]).double().norm()
    assert float(added) <= max_norm
    assert float(added) == pytest.approx(min(length, max_norm), rel=1e-4)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_what_is_not_finite_counts_as_zero(poison):
    vector = torch.ones(4)
    total = ClippedSum([vector], 1.0)
    total.add([torch.tensor([poison, 1.0, 1.0, 1.0])])
    assert torch.isfinite(total.total[0]).all()
    assert float(total.total[0].norm()) <= 1.0
    assert torch.equal(clip_factors(torch.tensor([float("nan"), float("inf")]), 1.0), torch.zeros(2))


def test_clipping_norm_must_be_positive():
    with pytest.raises(UsageError):
        ClippedSum([torch.zeros(1)], 0.0)


def test_poisson_sampling_draws_each_unit_by_its_own_coin():
    sampler = PoissonSampler(40, 0.2)
    drawn = np.zeros((3000, 40), dtype=bool)
    for row in drawn:
        row[sampler.draw()] = True
    sizes = drawn.sum(1)
    # Binomial(40, 0.2): a fixed or shuffled batch has no variance.
    assert sizes.mean() == pytest.approx(8, abs=0.3)
    assert sizes.var() == pytest.approx(6.4, rel=0.15)
    assert stats.chisquare(drawn.sum(0)).pvalue > 1e-6
    correlation = np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]
    assert abs(correlation) < 0.1
    labels = sampler.labels(20_000, 5)
    assert stats.chisquare(np.bincount(labels, minlength=5)).pvalue > 1e-6


def test_a_step_may_be_empty():
    sampler = PoissonSampler(3, 0.01)
    assert any(len(sampler.draw()) == 0 for _ in range(50))
    with pytest.raises(UsageError, match=r"1\.2"):
        PoissonSampler(3, 1.2)


def test_units():
    patients = ["a", "b", "a", "c"]
    assert units_of(patients, Unit.PATIENT) == [[0, 2], [1], [3]]
    assert units_of(patients, Unit.PAIR) == [[0], [1], [2], [3]]
    assert units_of([None, None], Unit.PAIR) == [[0], [1]]
    with pytest.raises(BadInputError, match="1 of 2 pairs have no patient id"):
        units_of(["a", None], Unit.PATIENT)
