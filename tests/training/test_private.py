"""Private runs: they keep their account, stop at the budget, and let nothing private out of the restricted folder."""

from __future__ import annotations

import dataclasses
import json
import math
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from toy import ToySource

from ethicclip import clip
from ethicclip.clip.shipped import builtin_folder
from ethicclip.errors import BadInputError, ExitCode, IntegrityError, UsageError
from ethicclip.pairs.canaries import read_canaries
from ethicclip.privacy import Budget, Mechanism, Unit
from ethicclip.privacy.clipping import ClippedSum
from ethicclip.privacy.units import PoissonSampler
from ethicclip.provenance import KeyStore
from ethicclip.training import TrainSettings, train, train_private
from ethicclip.training import private as private_module
from ethicclip.training.bank import bank_losses, log_prior, public_bank
from ethicclip.training.frozen import KeptFeatures
from ethicclip.training.loading import Batch
from ethicclip.training.private_steps import GroupedContributions, PromptBankContributions, Reader
from ethicclip.training.trained_part import choose_parameters, set_mode


@dataclass(frozen=True, kw_only=True)
class Clinic(ToySource):
    """Two pairs a patient."""

    origin: str = "real"

    def patient_id(self, index: int) -> str:
        return f"p{(self.first + index) // 2}"


def settings(**changes: object) -> TrainSettings:
    given = changes.pop("privacy", {})
    # Given noise spares most tests the calibration; equal numbers spare them the accountants as well.
    usual = {"epsilon": 8.0, "noise_multiplier": 1.0, "text_steps": 0, "groups": 2}
    privacy = None if given is None else {**usual, **dict(given)}
    values = {"model": "nano", "epochs": 2, "batch_size": 6, "checkpoint_steps": 3, "privacy": privacy, **changes}
    return TrainSettings.build(values)


@pytest.fixture
def keys(tmp_path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


@pytest.mark.parametrize("mechanism", ["prompt-bank", "grouped"])
def test_a_run_states_what_it_did_and_hides_what_it_measured(tmp_path, keys, mechanism):
    out = tmp_path / "run"
    result = train_private(
        settings(privacy={"mechanism": mechanism, "noise_multiplier": None}), [Clinic()], out, keys=keys
    )
    said = json.loads((out / "privacy.json").read_text())
    assert said == result.statement.to_json() == json.loads((out / "run.json").read_text())["differential_privacy"]
    assert said["epsilon"] <= 8.0
    assert said["epsilon"] > 7.9
    assert said["mechanism"] == mechanism
    assert said["unit"] == "patient"
    assert said["adjacency"] == "add or remove one patient"
    assert said["noise"]["sensitivity"] == (1.0 if mechanism == "prompt-bank" else 2.0)
    assert said["noise"]["noise_std"] == pytest.approx(said["noise"]["noise_multiplier"] * said["noise"]["sensitivity"])
    assert said["steps"]["accounted"] == result.steps == 8
    assert said["scope"]["covers_patients"]
    assert "patients in the real pairs" in said["scope"]["whose"]
    assert stat.S_IMODE((out / "restricted").stat().st_mode) == 0o700
    log = (out / "restricted" / "log.csv").read_text()
    assert len(log.splitlines()) == 9
    # What the steps measured stands in no other file.
    losses = {row.split(",")[3] for row in log.splitlines()[1:]} - {"0.0"}
    outside = "".join(
        path.read_text() for path in out.iterdir() if path.is_file() and path.suffix in (".json", ".md", ".csv")
    )
    assert not any(loss in outside for loss in losses)
    for word in ("final_loss", "seconds", "samples_per_s", "toy-1"):
        assert word not in outside
    assert not (out / "log.csv").exists()
    assert not (out / "loss.svg").exists()
    card = (out / "README.md").read_text()
    assert "Whose: the patients" in card
    assert clip.load(out).parameter_count() == result.parameters


def test_noise_falls_on_an_empty_step_and_it_counts(tmp_path, keys):
    seen: list[list[torch.Tensor]] = []
    quiet = settings(privacy={"sample_rate": 1e-9, "delta": 1e-5, "noise_multiplier": 1.0, "max_grad_norm": 3.0})
    quiet = quiet.model_copy(update={"epochs": 1})
    steps = 4
    # One pass at such a rate is a billion steps: the limit is what is tested, not the pass.
    original = private_module._planned_steps
    private_module._planned_steps = lambda settings, rate: steps
    try:
        result = train_private(quiet, [Clinic()], tmp_path / "run", keys=keys, observe=lambda _, g: seen.append(g))
    finally:
        private_module._planned_steps = original
    assert result.steps == len(seen) == steps
    noise = torch.cat([part.flatten() for gradient in seen for part in gradient]) * quiet.batch_size
    # sigma 1, C 3: all of the released gradient is noise of standard deviation 3.
    assert float(noise.std()) == pytest.approx(3.0, rel=0.01)
    rows = (tmp_path / "run" / "restricted" / "log.csv").read_text().splitlines()[1:]
    assert all(row.split(",")[1] == "0" for row in rows)


def reader(source: Clinic, model: clip.ClipModel) -> Reader:
    """Reads chunks of a source's pairs as the loader would, without augmentation."""

    def read(chunks):
        for chunk in chunks:
            pairs = [source.read(index) for index in chunk]
            yield Batch(
                step=0,
                epoch=0,
                pixels=np.stack([model.preprocess.pixels(source.image(index)) for index in chunk]),
                captions=[pair.caption for pair in pairs],
                labels=[frozenset(pair.record["labels"]) for pair in pairs],
            )

    return read


def test_group_gradients_equal_a_plain_loop():
    plain = settings(privacy={"mechanism": "grouped", "groups": 3, "max_group_pairs": 4})
    model = clip.create("nano")
    private = plain.privacy
    assert private is not None
    parameters, _ = choose_parameters(model, private, torch.device("cpu"))
    source = Clinic(count=16)
    sampler = PoissonSampler(8, 1.0)
    labels = np.array([0, 1, 0, 2, 1, 0, 1, 1])
    sampler.labels = lambda count, groups: labels  # type: ignore[method-assign]
    contributions = GroupedContributions(plain, private, model, parameters, torch.device("cpu"), sampler)

    read = reader(source, model)
    units = [[2 * unit, 2 * unit + 1] for unit in range(8)]
    model.model.eval()  # drop path would draw anew
    ours = ClippedSum(parameters, 0.7)
    record = contributions.add(units, read, ours)
    expected = [torch.zeros_like(parameter) for parameter in parameters]
    for group in range(3):
        # Overflow is left out of its own group.
        members = [pair for unit, label in zip(units, labels, strict=True) if label == group for pair in unit][:4]
        gradient = torch.autograd.grad(contributions.loss(next(read([members]))), parameters, allow_unused=True)
        gradient = [g if g is not None else torch.zeros_like(p) for g, p in zip(gradient, parameters, strict=True)]
        norm = torch.cat([g.flatten() for g in gradient]).norm()
        for total, g in zip(expected, gradient, strict=True):
            total += g * min(1.0, 0.7 / float(norm))
    for one, other in zip(ours.total, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    assert record.units == 8


def test_large_units_and_batches_are_read_in_bounded_chunks(tmp_path, keys, monkeypatch):
    sizes = []
    honest = private_module.ChunkReader.__call__

    def counted(self, chunks):
        sizes.extend(len(chunk) for chunk in chunks)
        return honest(self, chunks)

    monkeypatch.setattr(private_module.ChunkReader, "__call__", counted)
    many = settings(batch_size=80, epochs=1, privacy={"unit": "patient", "max_unit_pairs": 1})
    train_private(many, [Clinic(count=160)], tmp_path / "run", keys=keys)
    assert 0 < max(sizes) <= 64
    assert sum(sizes) >= 80  # one step of all units


def interrupted(out: Path, keys: KeyStore, *, after: int, **changes: object) -> TrainSettings:
    """A run that dies in the step after `after`."""
    wanted = settings(**changes)

    def observe(step: int, gradient: list[torch.Tensor]) -> None:
        if step == after + 1:
            raise MemoryError

    with pytest.raises(MemoryError):
        train_private(wanted, [Clinic()], out, keys=keys, observe=observe)
    return wanted


def test_resume_restores_the_account_and_pays_for_lost_steps(tmp_path, keys):
    out = tmp_path / "run"
    wanted = interrupted(out, keys, after=4)  # dies in step 5, the checkpoint is of step 3
    assert json.loads((out / "restricted" / "account.json").read_text())["steps"] == 5
    taken: list[int] = []
    result = train_private(wanted, [Clinic()], out, keys=keys, resume=True, observe=lambda step, _: taken.append(step))
    assert result.resumed_from == 5
    assert taken == [6, 7, 8]
    assert result.statement.steps.model_dump() == {"planned": 8, "accounted": 8, "lost_to_interruptions": 2}
    assert result.statement.epsilon <= 8.0


def test_resume_never_replays_noise(tmp_path, keys):
    seen: dict[str, torch.Tensor] = {}
    for name in ("one", "two"):
        wanted = interrupted(tmp_path / name, keys, after=3)
        train_private(
            wanted,
            [Clinic()],
            tmp_path / name,
            keys=keys,
            resume=True,
            observe=lambda step, gradient, name=name: seen.setdefault(name, gradient[0].clone()),
        )
    assert not torch.equal(seen["one"], seen["two"])


@pytest.mark.parametrize("tampering", ["fewer steps", "gone"])
def test_tampered_account_on_resume_is_12(tmp_path, keys, tampering):
    out = tmp_path / "run"
    wanted = interrupted(out, keys, after=4)
    path = out / "restricted" / "account.json"
    if tampering == "gone":
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"steps": 3}))
    with pytest.raises(IntegrityError) as caught:
        train_private(wanted, [Clinic()], out, keys=keys, resume=True)
    assert caught.value.exit_code == ExitCode.INTEGRITY


def test_given_noise_stops_before_the_budget_is_passed(tmp_path, keys):
    greedy = settings(epochs=4, privacy={"epsilon": 6.0})
    result = train_private(greedy, [Clinic()], tmp_path / "run", keys=keys)
    assert result.statement.steps.planned == 16
    assert 0 < result.steps < 16
    assert result.statement.epsilon <= 6.0


def test_joint_budget_is_reserved_settled_and_refuses(tmp_path, keys):
    path = tmp_path / "budget.json"
    Budget(path, keys).create(population="clinic", unit=Unit.PATIENT, epsilon=6.0, delta=1e-5)
    train_private(settings(), [Clinic()], tmp_path / "one", keys=keys, budget=path)
    entry = Budget(path, keys).state().entries[0]
    assert entry.settled
    assert entry.event.steps == 8
    with pytest.raises(UsageError, match="overspent"):
        train_private(settings(), [Clinic()], tmp_path / "two", keys=keys, budget=path)
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize(
    ("changes", "source", "error", "said"),
    [
        ({"batch_size": 25}, Clinic(), UsageError, "over 1"),
        ({}, ToySource(), BadInputError, "no patient id"),
        ({"model": "RN50"}, Clinic(), UsageError, "batch normalisation"),
        ({"privacy": {"sample_rate": 0.5}}, Clinic(), UsageError, "--delta"),
        ({"privacy": {"sample_rate": 1.5, "delta": 1e-5}}, Clinic(), UsageError, "1.5"),
        ({"privacy": {"class_prior": {"tuberculosis": 1.0}}}, Clinic(), UsageError, "tuberculosis"),
        ({"privacy": {"noise_multiplier": 0.3, "epsilon": 0.1}}, Clinic(), UsageError, "a single step"),
    ],
)
def test_what_cannot_be_private_is_refused_before_anything_is_written(tmp_path, keys, changes, source, error, said):
    with pytest.raises(error, match=said):
        train_private(settings(**changes), [source], tmp_path / "run", keys=keys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("epsilon", [0, -1, math.inf, math.nan])
def test_impossible_epsilon_is_usage(epsilon):
    with pytest.raises(UsageError, match="epsilon"):
        settings(privacy={"epsilon": epsilon})


def test_plain_training_never_runs_on_private_settings(tmp_path):
    with pytest.raises(UsageError, match="train_private"):
        train(settings(), [Clinic()], tmp_path / "run")


def test_synthetic_pairs_protect_records_and_not_patients(tmp_path, keys):
    wanted = settings(privacy={"unit": "pair"}, batch_size=12)
    said = train_private(wanted, [ToySource()], tmp_path / "run", keys=keys).statement
    assert not said.scope.covers_patients
    assert "not any patient" in said.scope.whose


def test_private_size_stays_out_when_the_rate_is_configured(tmp_path, keys):
    wanted = settings(privacy={"sample_rate": 0.25, "delta": 1e-5})
    result = train_private(wanted, [Clinic()], tmp_path / "run", keys=keys)
    assert result.run["data"][0]["pairs"] is None
    assert not any("treated as public" in caveat for caveat in result.statement.caveats)


def test_a_start_model_is_named_by_its_weights(tmp_path, keys):
    clip.save(clip.create("nano", seed=5), tmp_path / "start")
    wanted = settings(privacy={"start": str(tmp_path / "start")})
    said = train_private(wanted, [Clinic()], tmp_path / "run", keys=keys).statement
    assert any("start model, weights sha256" in line for line in said.public_inputs)
    assert any("outside this account" in line for line in said.caveats)
    assert "image tower before its last projection" in said.frozen
    before, after = (clip.load(tmp_path / name).model.state_dict() for name in ("start", "run"))
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        "visual.head.proj.weight",
        "visual.head.proj.bias",
    }


def test_the_built_in_model_goes_on_with_its_batch_statistics_frozen(tmp_path, keys):
    wanted = settings(batch_size=12, epochs=1, augment=False, privacy={"start": "builtin"})
    said = train_private(wanted, [Clinic()], tmp_path / "run", keys=keys).statement
    assert said.trained.startswith("47,232 of ")
    before, after = (clip.load(folder).model.state_dict() for folder in (builtin_folder(), tmp_path / "run"))
    assert any("running_mean" in name for name in before)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        "visual.head.proj.weight",
        "visual.head.proj.bias",
    }
    with pytest.raises(UsageError, match="batch normalisation") as caught:
        train_private(
            settings(privacy={"start": "builtin", "trained": "image"}), [Clinic()], tmp_path / "more", keys=keys
        )
    assert caught.value.exit_code == ExitCode.USAGE
    assert "privacy.trained=head" in caught.value.next_step


@pytest.mark.parametrize("name", ["nano", "vit"])
def test_kept_features_give_the_gradients_of_the_whole_tower(name):
    model = clip.create("nano") if name == "nano" else small_transformer()
    private = settings(privacy={"trained": "head"}).privacy
    assert private is not None
    parameters, _ = choose_parameters(model, private, torch.device("cpu"))
    set_mode(model, private.part)
    source = Clinic()
    asked: list[int] = []

    def read(chunks):
        asked.extend(index for chunk in chunks for index in chunk)
        return reader(source, model)(chunks)

    sums = []
    steps = ([[0, 1], [4]], [[4], [2, 3], [0, 1]])
    for options in ({}, {"head_only": True}, {"head_only": True, "kept": KeptFeatures()}):
        asked.clear()
        contributions = PromptBankContributions(model, public_bank(("en",)), parameters, torch.device("cpu"), **options)
        total = ClippedSum(parameters, 0.1)
        for units in steps:
            contributions.add(units, read, total)
        sums.append(torch.cat([part.flatten() for part in total.total]))
    assert sorted(asked) == [0, 1, 2, 3, 4]  # each picture once
    assert float(sums[0].norm()) > 0
    for other in sums[1:]:
        torch.testing.assert_close(other, sums[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("mechanism", ["prompt-bank", "grouped"])
def test_removing_a_unit_moves_the_real_sum_within_the_claim(mechanism):
    most = 0.05  # far below any gradient of this model: everything is clipped, which is the worst case
    wanted = settings(privacy={"mechanism": mechanism, "groups": 2, "max_group_pairs": 4})
    private = wanted.privacy
    assert private is not None
    model = clip.create("nano")
    parameters, _ = choose_parameters(model, private, torch.device("cpu"))
    model.model.eval()  # drop path would draw anew
    source = Clinic(count=12)
    device = torch.device("cpu")
    sampler = PoissonSampler(6, 1.0)
    if mechanism == "grouped":
        contributions = GroupedContributions(wanted, private, model, parameters, device, sampler)
    else:
        contributions = PromptBankContributions(model, public_bank(("en",)), parameters, device)
    # Three units in one group of at most four pairs: one of them overflows, and may not reach the other group.
    labels = {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 1}

    read = reader(source, model)

    def total(units: list[int]) -> torch.Tensor:
        # The same labels for the units that stay: the coupling under which one removal changes one group.
        sampler.labels = lambda count, groups: np.array([labels[unit] for unit in units])  # type: ignore[method-assign]
        clipped = ClippedSum(parameters, most)
        contributions.add([[2 * unit, 2 * unit + 1] for unit in units], read, clipped)
        return torch.cat([part.flatten() for part in clipped.total]).double()

    whole = total(list(range(6)))
    moved = [float((whole - total([unit for unit in range(6) if unit != gone])).norm()) for gone in range(6)]
    factor = private.mechanism.sensitivity_factor
    assert max(moved) <= factor * most * (1 + 1e-5)
    assert max(moved) > 0.3 * most


def small_transformer() -> clip.ClipModel:
    """open_clip's own vision transformer, small: its last projection is a matrix and not a layer."""
    model = clip.create("nano")
    vision = {"image_size": 64, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    towers = open_clip.CLIP(embed_dim=24, vision_cfg=vision, text_cfg=text)
    return dataclasses.replace(model, model=towers, preprocess=dataclasses.replace(model.preprocess, size=64))


@pytest.mark.parametrize("private", [True, False])
def test_canaries_are_put_in_by_coins_that_stay_restricted(tmp_path, keys, private):
    out = tmp_path / "run"
    wanted = settings(canaries=12, epochs=1) if private else settings(canaries=12, epochs=1, privacy=None)
    if private:
        train_private(wanted, [Clinic()], out, keys=keys, canary_seed=4)
    else:
        train(wanted, [Clinic()], out, canary_seed=4)
    record = read_canaries(out / "restricted" / "canaries.json")
    assert record["count"] == len(record["coins"]) == 12
    assert 0 < sum(record["coins"]) < 12
    assert stat.S_IMODE((out / "restricted").stat().st_mode) == 0o700
    assert '"coins"' not in (out / "run.json").read_text()


def test_the_bank_is_public_and_its_targets_are_soft():
    bank = public_bank(("en", "zh"))
    assert len(bank.classes) == len(bank.phrases) == 16
    target = bank.targets([frozenset({"glaucoma", "cataract"}), frozenset({"unheard_of"}), frozenset()])
    assert target[0].sum() == 1.0
    assert sorted(target[0][target[0] > 0].tolist()) == [0.5, 0.5]
    assert target[1:].sum() == 0.0
    assert str(Mechanism.PROMPT_BANK) == "prompt-bank"


def test_a_stated_prior_takes_the_imbalance_out_of_the_loss():
    bank = public_bank(("en",))
    shares = {"normal": 0.6, "glaucoma": 0.2}
    prior = log_prior(bank, shares)
    known = [prior[bank.classes.index(name)].exp().item() for name in shares]
    assert known[0] / known[1] == pytest.approx(3.0)
    assert float(prior.exp().sum()) == pytest.approx(1.0)
    assert not log_prior(bank, None).any()
    # A picture that looks like nothing costs what its class is rare: nothing is learned from how common it is.
    image, classes = torch.zeros(1, 4), torch.eye(16, 4)
    target = bank.targets([frozenset({"glaucoma"})])
    loss = bank_losses(image, classes, torch.tensor(10.0), target, prior)
    assert float(loss) == pytest.approx(-math.log(known[1]), rel=1e-5)
    with pytest.raises(UsageError, match="tuberculosis"):
        log_prior(bank, {"tuberculosis": 1.0})


def test_a_loose_epsilon_has_no_bound_for_replacing_one(tmp_path, keys):
    loose = settings(privacy={"epsilon": 80.0, "noise_multiplier": 0.45})
    said = train_private(loose, [Clinic()], tmp_path / "run", keys=keys).statement
    assert said.epsilon_replace_one is None
    assert "no finite bound" in said.lines()[0]
    assert "no finite bound to replace one" in (tmp_path / "run" / "README.md").read_text()
