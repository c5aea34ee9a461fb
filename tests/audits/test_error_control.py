"""A small version of benchmarks/leakage/error_control.py: what the rule says of generators whose truth is known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ethicclip.audits import AuditSettings

FILE = Path(__file__).parents[2] / "benchmarks" / "leakage" / "measuring" / "generators.py"
SIZES = {"patients": 120, "images": 240}
SEEDS = 5


@pytest.fixture(scope="module")
def generators() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulated_generators", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "leaky"), [("ideal", 0), ("mode-seeking", 0), ("ideal", 12)])
def test_false_discovery_holds_and_copies_are_found(name: str, leaky: int, generators: ModuleType) -> None:
    """Also with a control that holds reference patients under other names: they are dropped first."""
    settings, shares, power = AuditSettings(alpha=0.1), [], []
    for seed in range(SEEDS):
        world = generators.draw_world(name, np.random.default_rng([3, seed]), **SIZES, copies=24, leaky=leaky)
        outcome = generators.judged(world, settings)
        right = np.isin(outcome.rejected, world.copied).sum()
        shares.append((len(outcome.rejected) - right) / max(1, len(outcome.rejected)))
        power.append(right / 24)
        assert outcome.dropped == leaky
        assert outcome.conclusion.verdict == "LEAK"
    assert np.mean(shares) <= 0.1 + 2 * np.std(shares, ddof=1) / np.sqrt(SEEDS)
    assert np.mean(power) > 0.9


@pytest.mark.parametrize("name", ["ideal", "mode-seeking"])
def test_without_copies_nothing_is_called_a_leak(name: str, generators: ModuleType) -> None:
    for seed in range(SEEDS):
        world = generators.draw_world(name, np.random.default_rng([5, seed]), **SIZES, copies=0)
        outcome = generators.judged(world, AuditSettings(alpha=0.1))
        assert outcome.conclusion.verdict == "INCONCLUSIVE"
        assert not outcome.findings.fits_in_general


@pytest.mark.parametrize("name", ["mixture", "kernel"])
def test_a_fit_of_the_reference_is_told_from_copying(name: str, generators: ModuleType) -> None:
    """Everything falls to the reference, the far half too: that is no leak by target-decoy, and the reason says why."""
    recognised = 0
    for seed in range(SEEDS):
        world = generators.draw_world(name, np.random.default_rng([7, seed]), patients=250, images=500, copies=0)
        outcome = generators.judged(world, AuditSettings(alpha=0.1))
        assert outcome.conclusion.verdict == "INCONCLUSIVE"
        assert not outcome.findings.flagged.any()
        recognised += "fits the reference in general" in outcome.conclusion.reason
    assert recognised >= SEEDS - 1


def test_swapping_the_sides_mirrors_wins_and_share(generators: ModuleType) -> None:
    for seed in range(SEEDS):
        world = generators.draw_world("ideal", np.random.default_rng([9, seed]), **SIZES, copies=24)
        one, other = (generators.judged(world, AuditSettings(), swapped=swapped) for swapped in (False, True))
        first, second = one.findings.competition, other.findings.competition
        assert (first.reference_wins, first.control_wins) == (second.control_wins, second.reference_wins)
        assert one.findings.everything.share.estimate + other.findings.everything.share.estimate == pytest.approx(1)
        assert not second.rejected.any()
        assert first.rejected.any()
