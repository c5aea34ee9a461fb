"""Attacks of benchmarks/generators on generators whose memory is known: one repeats its pictures, one knows none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ethicclip.audits.models.shadows import shadow_halves

FILE = Path(__file__).parents[2] / "benchmarks" / "generators" / "measuring" / "attacks.py"
PATIENTS, GENERATORS, WIDE = 40, 4, 30


@pytest.fixture(scope="module")
def attacks() -> ModuleType:
    """The benchmark's module, loaded from its file."""
    spec = importlib.util.spec_from_file_location("attacks_of_generators", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def world(*, remembers: bool) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Pictures, who saw which, and samples of each generator: its own pictures twice with noise, or nobody's.

    Pictures differ in how common they are: the first half lie close together, where samples of every generator fall.
    """
    random = np.random.default_rng(0)
    pictures = random.normal(0, np.where(np.arange(PATIENTS) < PATIENTS // 2, 12.0, 30.0)[:, None], (PATIENTS, WIDE))
    inside = shadow_halves(PATIENTS, GENERATORS, 3)
    samples = []
    for row in inside:
        source = pictures[row] if remembers else random.normal(0, 20, (20, WIDE))
        samples.append(np.repeat(source, 2, axis=0) + random.normal(0, 3.0, (2 * len(source), WIDE)))
    return pictures.astype(np.float32), inside, [one.astype(np.float32) for one in samples]


def density(attacks: ModuleType, pictures: np.ndarray, samples: list[np.ndarray]) -> np.ndarray:
    return np.stack([attacks.log_density(attacks.squared_distances(pictures, one), 3.0) for one in samples])


def test_distances_and_density_of_a_case_worked_out_by_hand(attacks: ModuleType) -> None:
    """One picture at 0, samples at (2, 0) and (0, 4): mean squares 2 and 8; exp(-1) and exp(-4) halved at width 1."""
    pictures, samples = np.zeros((1, 2), np.float32), np.array([[2, 0], [0, 4]], np.float32)
    apart = attacks.squared_distances(pictures, samples)
    assert apart.tolist() == [[2.0, 8.0]]
    assert attacks.log_density(apart, 1.0)[0] == pytest.approx(np.log((np.exp(-1) + np.exp(-4)) / 2))


def test_a_generator_that_repeats_its_pictures_gives_members_away(attacks: ModuleType) -> None:
    """Calibrated, the rare and the common pictures alike; the control stays at chance."""
    pictures, inside, samples = world(remembers=True)
    scores = density(attacks, pictures, samples)
    for found in (attacks.difference(scores, inside), attacks.ratios(scores, inside)):
        figures = attacks.figures(found, inside, rounds=50, seed=0)
        assert figures["auc"]["low"] > 0.9
        assert figures["tpr_at_0.1"]["state"] == "NOT_RUN", "80 non-members are too few for 10 %"
    control = attacks.control(attacks.difference(scores, inside), inside, rounds=50, seed=0)
    assert control["low"] < 0.5 < control["high"]


def test_a_generator_that_knows_nobody_gives_nothing_away(attacks: ModuleType) -> None:
    pictures, inside, samples = world(remembers=False)
    scores = attacks.difference(density(attacks, pictures, samples), inside)
    figures = attacks.figures(scores, inside, rounds=50, seed=0)
    assert figures["auc"]["low"] < 0.5 < figures["auc"]["high"]


def test_a_picture_is_compared_with_as_many_generators_that_saw_it_as_not(attacks: ModuleType) -> None:
    """Four generators, two pictures: the mean of one other that did not see the picture is taken off."""
    scores = np.array([[5.0, 1.0], [2.0, 4.0], [4.0, 0.0], [9.0, 7.0]])
    inside = np.array([[True, False], [False, True], [False, False], [True, True]])
    found = attacks.difference(scores, inside)
    assert found[0].tolist() == [5.0 - 2.0, 1.0 - 0.0]
    assert found[3].tolist() == [9.0 - 2.0, 7.0 - 1.0]


@pytest.mark.parametrize("attack", ["difference", "ratios"])
def test_scores_without_any_memory_are_at_chance(attacks: ModuleType, attack: str) -> None:
    """Few shadows, many patients: with unequal sides LiRA would stand at 0.35 here."""
    inside = shadow_halves(2000, 4, 3)
    scores = np.random.default_rng(1).normal(size=inside.shape)
    figures = attacks.figures(getattr(attacks, attack)(scores, inside), inside, rounds=50, seed=0)
    assert figures["auc"]["estimate"] == pytest.approx(0.5, abs=0.02)
    assert figures["tpr_at_0.1"]["estimate"] == pytest.approx(0.1, abs=0.02)
