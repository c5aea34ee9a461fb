"""What was spent stays spent: sealed accounts, and a budget that refuses."""

from __future__ import annotations

import json

import pytest

from ethicclip.errors import BadInputError, ExitCode, IntegrityError, UsageError
from ethicclip.privacy import Account, Budget, Purpose, SampledGaussian, Terms, Unit
from ethicclip.provenance import KeyStore

TERMS = Terms(run="a" * 64, epsilon=3.0, delta=1e-5, noise_multiplier=1.5, sample_rate=0.1, allowed_steps=3)


@pytest.fixture
def keys(tmp_path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


def test_steps_are_on_disk_before_they_are_taken_and_end_at_the_budget(tmp_path, keys):
    path = tmp_path / "account.json"
    account = Account.begin(path, TERMS, keys)
    for expected in (1, 2, 3):
        assert account.spend_step()
        assert json.loads(path.read_text())["steps"] == expected
    assert not account.spend_step()
    assert json.loads(path.read_text())["steps"] == 3
    assert Account.resume(path, TERMS, keys, at_least=3).left == 0


@pytest.mark.parametrize(
    "tamper",
    [
        lambda stored: stored | {"steps": 0},
        lambda stored: stored | {"steps": 1.0},
        lambda stored: stored | {"terms": stored["terms"] | {"allowed_steps": 100}},
        lambda stored: stored | {"mac": "0" * 64},
        lambda stored: {name: value for name, value in stored.items() if name != "mac"},
        lambda stored: [],
    ],
)
def test_tampered_account_is_integrity(tmp_path, keys, tamper):
    path = tmp_path / "account.json"
    account = Account.begin(path, TERMS, keys)
    account.spend_step()
    path.write_text(json.dumps(tamper(json.loads(path.read_text()))))
    with pytest.raises(IntegrityError) as caught:
        Account.resume(path, TERMS, keys, at_least=0)
    assert caught.value.exit_code == ExitCode.INTEGRITY


def test_account_that_is_gone_older_foreign_or_of_other_terms(tmp_path, keys):
    path = tmp_path / "account.json"
    account = Account.begin(path, TERMS, keys)
    older = path.read_text()
    account.spend_step()
    with pytest.raises(IntegrityError, match="other terms"):
        Account.resume(path, Terms(**{**TERMS.to_json(), "epsilon": 9.0}), keys, at_least=0)
    with pytest.raises(IntegrityError, match="another key"):
        Account.resume(path, TERMS, KeyStore(tmp_path / "other"), at_least=0)
    path.write_text(older)
    with pytest.raises(IntegrityError, match="knows 0 steps and the checkpoint 1"):
        Account.resume(path, TERMS, keys, at_least=1)
    path.unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        Account.resume(path, TERMS, keys, at_least=0)


def release(steps: int, sigma: float = 2.0) -> SampledGaussian:
    return SampledGaussian(noise_multiplier=sigma, sample_rate=0.1, steps=steps)


def test_joint_budget_composes_and_refuses(tmp_path, keys):
    budget = Budget(tmp_path / "budget.json", keys)
    budget.create(population="clinic", unit=Unit.PATIENT, epsilon=3.0, delta=1e-5)
    votes = SampledGaussian(noise_multiplier=8.0, sample_rate=1.0, steps=10)
    first = budget.reserve("g", Purpose.GENERATOR, "private evolution", votes, unit=Unit.PATIENT)
    both = budget.reserve("t", Purpose.TRAINING, "tiny", release(100), unit=Unit.PATIENT)
    assert 0 < first.value < both.value < 3.0
    with pytest.raises(UsageError, match="overspent") as caught:
        budget.reserve("u", Purpose.TUNING, "sweep", release(400), unit=Unit.PATIENT)
    assert caught.value.exit_code == ExitCode.USAGE
    assert len(budget.state().entries) == 2
    with pytest.raises(UsageError, match="counts each patient"):
        budget.require(Unit.PAIR, release(1))


def test_reserving_again_is_free_and_settling_gives_back(tmp_path, keys):
    budget = Budget(tmp_path / "budget.json", keys)
    budget.create(population="clinic", unit=Unit.PATIENT, epsilon=3.0, delta=1e-5)
    once = budget.reserve("t", Purpose.TRAINING, "tiny", release(100), unit=Unit.PATIENT)
    assert budget.reserve("t", Purpose.TRAINING, "tiny", release(100), unit=Unit.PATIENT) == once
    budget.settle("t", 40)
    state = budget.state()
    assert state.spent.value < once.value
    assert state.entries[0].settled
    assert state.entries[0].event.steps == 40
    with pytest.raises(UsageError, match="no reservation"):
        budget.settle("t", 41)


def test_budget_is_opened_once_and_sealed(tmp_path, keys):
    budget = Budget(tmp_path / "budget.json", keys)
    with pytest.raises(BadInputError, match="no budget"):
        budget.state()
    budget.create(population="clinic", unit=Unit.PATIENT, epsilon=3.0, delta=1e-5)
    with pytest.raises(BadInputError, match="already holds"):
        budget.create(population="clinic", unit=Unit.PATIENT, epsilon=30.0, delta=1e-5)
    stored = json.loads(budget.path.read_text())
    stored["limit"]["epsilon"] = 30.0
    budget.path.write_text(json.dumps(stored))
    with pytest.raises(IntegrityError, match="edited"):
        budget.state()
