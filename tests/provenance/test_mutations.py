"""A small random version of benchmarks/evidence/mutations.py: every act of tampering is detected and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ethicclip.provenance import verify
from tests.provenance.house import House, build
from tests.provenance.mutating import WAYS, judge, tamper


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> House:
    return build(tmp_path_factory.mktemp("whole"))


def test_the_house_itself_is_intact(whole: House) -> None:
    for target in (whole.ledger, whole.report, whole.folder / "pairs", whole.folder / "run"):
        outcome = verify(target, known_key=whole.keys.public_key(), ledger=whole.ledger)
        assert outcome.ok and not any("absent" in note for note in outcome.notes), outcome.lines()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_to_tamper_is_detected_and_named(whole: House, way, tmp_path: Path) -> None:
    house = whole.copy(tmp_path / "house")
    done = way(house, np.random.default_rng(7))
    detected, named, said = judge(done, whole.keys)
    assert detected and named, (done, said)


def test_random_acts_are_detected_and_named(whole: House, tmp_path: Path) -> None:
    for number in range(40):
        house = whole.copy(tmp_path / "house")
        done = tamper(house, np.random.default_rng([2026, number]))
        detected, named, said = judge(done, whole.keys)
        assert detected and named, (number, done, said)
