"""Measured power: the fewest copies the complete rule notices, worked out by hand where that is possible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ethicclip.audits.power import Background, Copies, hardest_of, measure


def background(images: int = 100, *, competes: bool = True, patients: int = 300) -> Background:
    rng = np.random.default_rng(0)
    return Background(
        scores=rng.uniform(5, 10, 60),
        in_reference=rng.random(60) < 0.5,
        reference_patients=patients,
        control_patients=patients,
        alpha=0.05,
        floor=9.0,
        images=images,
        competes=competes,
    )


def copies(confirmed: int, of: int, score: float = 50.0) -> Copies:
    hits = np.arange(of) < confirmed
    return Copies(scores=np.full(of, score), in_reference=np.ones(of, bool), confirmed=hits, found=hits)


def test_confirmed_copies_are_noticed_singly_or_nearly_so() -> None:
    power = measure("flip", copies(400, 400), background(), repetitions=200, rng=np.random.default_rng(1))
    assert power.fewest_noticed == 1
    assert power.recall.low > 0.98


def test_few_planted_copies_do_not_count_as_certainty() -> None:
    """4 of 4: the Jeffreys posterior leaves a mean recall of 0.9, so one copy is not noticed often enough."""
    power = measure("flip", copies(4, 4), background(), repetitions=200, rng=np.random.default_rng(1))
    assert power.fewest_noticed is not None
    assert power.fewest_noticed > 1


def test_unconfirmed_copies_need_the_floor_of_target_decoy() -> None:
    """Nothing is confirmed, every copy outscores the set: twenty distinct patients are rejected, fewer cannot be."""
    power = measure("blur", copies(0, 400), background(), repetitions=200, rng=np.random.default_rng(1))
    assert power.fewest_noticed is not None
    assert 17 <= power.fewest_noticed <= 26
    silent = {m: count for m, count, _ in power.curve}
    assert silent[1] >= 190


def test_no_competition_and_no_confirmation_is_never_noticed() -> None:
    power = measure(
        "blur", copies(0, 400), background(images=40, competes=False), repetitions=60, rng=np.random.default_rng(1)
    )
    assert power.fewest_noticed is None or power.fewest_noticed > 30
    nobody = measure(
        "blur", copies(0, 10_000), background(images=3, competes=False), repetitions=60, rng=np.random.default_rng(1)
    )
    assert (nobody.fewest_noticed, nobody.rate) == (None, None)


def test_the_rate_is_larger_than_the_naive_one() -> None:
    """For single copies noticed surely, silence is the chance of no copy at all: p = 1 - 0.05 ** (1 / n)."""
    power = measure("flip", copies(5000, 5000), background(), repetitions=1000, rng=np.random.default_rng(1))
    assert power.rate == pytest.approx(1 - 0.05 ** (1 / 100), rel=0.05)


def test_among_kinds_noticed_at_the_same_number_the_one_with_the_larger_rate_is_hardest() -> None:
    easy = measure("rotation15", copies(24, 24), background(), repetitions=60, rng=np.random.default_rng(1))
    same = replace(easy, kind="blur", rate=(easy.rate or 0.0) + 0.01)
    harder = replace(easy, kind="crop70", fewest_noticed=(easy.fewest_noticed or 0) + 1, rate=0.0)
    assert hardest_of([easy, same]).kind == "blur"
    assert hardest_of([easy, same, harder]).kind == "crop70"
