"""Private fitting: each unit's gradient on the very network, the bound on one unit, the account, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ethicclip.errors import IntegrityError, UsageError
from ethicclip.generation.diffusion import fit
from ethicclip.generation.diffusion.network import build_network, build_schedule, denoising_losses
from ethicclip.generation.diffusion.pictures import shelf_of
from ethicclip.generation.diffusion.private import PrivateFit
from ethicclip.privacy import Budget, Unit
from ethicclip.privacy.clipping import ClippedSum
from ethicclip.privacy.per_unit import PerUnitGradients
from ethicclip.progress import SILENT
from ethicclip.provenance import KeyStore

from .small import learning, settings

PRIVATE = {"privacy": {"epsilon": 8.0, "multiplicity": 2}, "steps": 3, "pretrain_steps": 1, "batch_size": 2}


class Stepper:
    """A network whose gradients are kept in place of applied."""

    def __init__(self):
        self.network = build_network(settings(), seed=0)
        self.schedule = build_schedule()
        self.device = torch.device("cpu")
        self.steps = []

    def apply(self, gradients):
        self.steps.append(torch.cat([one.flatten() for one in gradients]))


def test_units_gradients_on_the_unet_are_those_of_a_plain_loop():
    """Two units of two rows each: norms and clipped sum as ordinary backward passes give them, for every weight."""
    network, schedule = build_network(settings(), seed=0), build_schedule()
    weights = list(network.parameters())
    random = torch.Generator().manual_seed(0)
    pictures, noise = (torch.randn(4, 3, 32, 32, generator=random) for _ in range(2))
    conditions = (torch.rand(4, 18, generator=random) < 0.3).float()
    times = torch.tensor([5, 300, 700, 950])

    def losses(rows):
        return denoising_losses(network, schedule, pictures[rows], conditions[rows], times[rows], noise[rows], 5.0)

    norms, summed = [], [torch.zeros_like(weight) for weight in weights]
    for rows in ([0, 1], [2, 3]):
        gradients = torch.autograd.grad(losses(rows).sum(), weights)
        norm = torch.sqrt(sum(one.square().sum() for one in gradients))
        norms.append(float(norm))
        for total, one in zip(summed, gradients, strict=True):
            total += one * min(1.0, 0.01 / float(norm))
    total = ClippedSum(weights, 0.01)
    found = PerUnitGradients(weights).add(lambda: losses([0, 1, 2, 3]), units=2, into=total)
    assert found.tolist() == pytest.approx(norms, rel=1e-3)
    for mine, theirs in zip(total.total, summed, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6 + 1e-3 * float(theirs.abs().max()))


def test_one_patient_moves_a_step_by_at_most_the_clipping_norm(tmp_path, monkeypatch):
    """The step with noise taken out, over all units and over none: each adds at most C, divided by a constant."""
    asked = settings(**{**PRIVATE, "privacy": {"epsilon": 8.0, "multiplicity": 2, "max_grad_norm": 0.05}})
    monkeypatch.setattr(ClippedSum, "release", lambda self, noise_std, entropy: self.total)
    seen = learning(3)
    stepper = Stepper()
    coins = {"drawn": np.array([0, 1, 2])}
    private = PrivateFit(asked, seen, tmp_path, keys=KeyStore(tmp_path / "keys"), budget=None, resumed=None)
    private._sampler.draw = lambda: coins["drawn"]
    private._entropy = lambda count: bytes(count)  # the same pictures, times and noise each time
    shelf = shelf_of(seen, 32, progress=SILENT)
    assert private.advance(stepper, shelf) > 0
    coins["drawn"] = np.array([0, 1])
    private.advance(stepper, shelf)
    coins["drawn"] = np.array([], dtype=np.int64)
    private.advance(stepper, shelf)
    everyone, without, nobody = (step * asked.batch_size for step in stepper.steps)
    assert float((everyone - without).norm()) <= 0.05 * (1 + 1e-5)
    assert float((everyone - without).norm()) > 0.04  # gradients are longer than C, so the bound is nearly met
    assert float(nobody.norm()) == 0
    assert private.advance(stepper, shelf) is None, "the account holds three steps"
    assert private.account.steps == 3 and len(stepper.steps) == 3


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    root = tmp_path_factory.mktemp("private")
    keys = KeyStore(root / "keys")
    budget = Budget(root / "budget.json", keys)
    budget.create(population="clinic", unit=Unit.PATIENT, epsilon=9.0, delta=1e-5)
    result = fit(settings(**PRIVATE), learning(), root / "gen", budget=budget.path, keys=keys)
    return result, root / "gen", budget, keys


def test_the_statement_and_the_budget(fitted):
    result, out, budget, _ = fitted
    said = json.loads((out / "privacy.json").read_text())
    assert said["mechanism"] == "denoising" and 0 < said["epsilon"] <= 8 and said["steps"]["accounted"] == 3
    assert said["steps"]["lost_to_interruptions"] == 0 and said["noise"]["sensitivity"] == 1
    assert said["sampling"]["sample_rate"] == pytest.approx(2 / 6) and said["scope"]["covers_patients"]
    entry = budget.state().entries[0]
    assert entry.settled and entry.event.steps == 3 and str(entry.purpose) == "generator"
    manifest = json.loads((out / "ethicclip_generator.json").read_text())
    assert manifest["differential_privacy"]["epsilon"] == said["epsilon"]
    assert manifest["data"]["pictures"] is None and manifest["learnt"] is None and result.pictures is None
    assert "6 pictures" not in (out / "README.md").read_text()


def test_a_set_drawn_from_it_says_whose_epsilon(fitted, tmp_path):
    from ethicclip.generation.diffusion import DiffusionSettings, generate_learned

    generate_learned(DiffusionSettings(generator=str(fitted[1]), count=1, steps=1), tmp_path / "pairs")
    manifest = json.loads((tmp_path / "pairs" / "manifest.json").read_text())
    assert "differential privacy: epsilon" in " ".join(manifest["notes"])
    assert manifest["generator"]["privacy"]["unit"] == "patient"


def test_steps_lost_to_a_kill_stay_paid_for(tmp_path, monkeypatch):
    keys = KeyStore(tmp_path / "keys")
    asked = settings(**PRIVATE, checkpoint_steps=2)
    applied = PrivateFit.advance
    calls = []

    def cut(self, stepper, shelf):
        calls.append(1)
        loss = applied(self, stepper, shelf)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return loss

    monkeypatch.setattr(PrivateFit, "advance", cut)
    with pytest.raises(RuntimeError, match="killed"):
        fit(asked, learning(), tmp_path / "gen", keys=keys)
    result = fit(asked, learning(), tmp_path / "gen", keys=keys, resume=True)
    assert result.statement is not None
    # Two steps were paid for, one was kept at the checkpoint after step 2; one more fits into the budget of three.
    assert result.statement.steps.accounted == 3 and result.statement.steps.lost_to_interruptions == 1
    account = tmp_path / "gen" / "restricted" / "account.json"
    account.write_text(account.read_text().replace('"steps": 3', '"steps": 1'))
    with pytest.raises(IntegrityError):
        PrivateFit(asked, learning(), account.parent, keys=keys, budget=None, resumed=1)


def test_what_a_private_fit_refuses(fitted, tmp_path):
    _, _, budget, keys = fitted
    with pytest.raises(UsageError, match="outside the account"):
        fit(settings(**PRIVATE), learning(), tmp_path / "a", watch=lambda samples, step: 0)
    with pytest.raises(UsageError, match="probability"):
        fit(settings(**{**PRIVATE, "batch_size": 100}), learning(), tmp_path / "b")
    with pytest.raises(UsageError, match="overspent"):
        fit(settings(**PRIVATE), learning(), tmp_path / "c", budget=budget.path, keys=keys)
    with pytest.raises(UsageError, match="looking at patients"):
        settings(**PRIVATE, stop_on_leak=True)
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
