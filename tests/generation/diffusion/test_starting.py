"""Starting from a generator: its weights and shape are taken, its patients follow, and what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ethicclip.errors import BadInputError, IntegrityError, UsageError
from ethicclip.generation.diffusion import DiffusionSettings, FitSettings, fit, generate_learned
from ethicclip.pairs import Origin
from ethicclip.provenance import KeyStore

from .small import SMALL, cut_off, learning, make_autoencoder, settings

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
SHORT = {name: SMALL[name] for name in ("steps", "batch_size", "deduplicate", "sheet_steps", "watch_steps")}
"""No shape: it comes from the start."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A generator of synthetic pictures."""
    out = tmp_path_factory.mktemp("start") / "base"
    fit(settings(), replace(learning(), origin=Origin.SYNTHETIC, licence="Apache-2.0"), out)
    return out


def started(base, **changed):
    return FitSettings.build({**SHORT, "start": str(base), **changed})


def test_weights_and_shape_are_those_of_the_start(base, tmp_path):
    """One step at a rate of almost nothing leaves the start's weights, in a shape that nobody named."""
    asked = started(base, steps=1, learning_rate=1e-12)
    assert asked.pretrain_steps == 0 and started(base, pretrain_steps=3).pretrain_steps == 3
    result = fit(asked, learning(), tmp_path / "gen")
    before, after = load_file(base / WEIGHTS), load_file(tmp_path / "gen" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    manifest = json.loads((tmp_path / "gen" / "ethicclip_generator.json").read_text())
    assert manifest["settings"]["size"] == 32 and manifest["settings"]["start"] == "base"
    assert manifest["start"] == result.start and manifest["start"]["origin"] == "synthetic"
    assert manifest["licence"] == "Apache-2.0; clinic only"
    assert "It began with the weights of base" in (tmp_path / "gen" / "README.md").read_text()
    assert any("licence: Apache-2.0" in line for line in result.lines())
    generate_learned(DiffusionSettings(generator=str(tmp_path / "gen"), count=1, steps=1), tmp_path / "pairs")
    assert "began with the weights" in json.loads((tmp_path / "pairs" / "manifest.json").read_text())["notes"][1]


def test_real_eyes_in_a_start_stay_real_eyes(base, tmp_path):
    """What learnt from patients is so marked however synthetic the next pictures are; no private fit begins there."""
    fit(started(base), learning(), tmp_path / "real")
    fit(started(tmp_path / "real"), replace(learning(), origin=Origin.SYNTHETIC), tmp_path / "later")
    assert json.loads((tmp_path / "later" / "ethicclip_generator.json").read_text())["data"]["origin"] == "real"
    for folder in ("real", "later"):
        with pytest.raises(UsageError, match="would not cover"):
            fit(started(tmp_path / folder, privacy={"epsilon": 8.0}), learning(), tmp_path / "private")
    assert not (tmp_path / "private").exists()


def test_only_attention_learns_privately(base, tmp_path):
    """Attention and the projections of conditions move, nothing else; the statement says so and names the start."""
    private = {"epsilon": 8.0, "multiplicity": 1, "trained": "attention"}
    asked = started(base, privacy=private, batch_size=2, steps=2, learning_rate=0.05)
    result = fit(asked, learning(), tmp_path / "gen", keys=KeyStore(tmp_path / "keys"))
    before, after = load_file(base / WEIGHTS), load_file(tmp_path / "gen" / WEIGHTS)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("attentions." in name or "time_emb_proj." in name for name in moved)
    said = result.statement.to_json()
    share = sum(after[name].numel() for name in after if "attentions." in name or "time_emb_proj." in name)
    assert f"{share:,} weights of the UNet, attention" in json.dumps(said)
    assert "weights of base" in json.dumps(said) and "taken as public" in json.dumps(said)
    assert share < 0.5 * sum(one.numel() for one in after.values())


def test_what_a_start_refuses(base, tmp_path):
    with pytest.raises(UsageError, match="another shape") as error:
        fit(started(base, channels=32), learning(), tmp_path / "a")
    assert error.value.details == ("channels is 16 there, not 32",)
    with pytest.raises(UsageError, match="different spaces"):
        fit(started(base, autoencoder=str(make_autoencoder(tmp_path / "vae"))), learning(), tmp_path / "a")
    with pytest.raises(BadInputError, match="no finished generator"):
        fit(started(tmp_path), learning(), tmp_path / "a")
    with pytest.raises(UsageError) as fresh:
        settings(pretrain_steps=0, privacy={"epsilon": 8.0, "trained": "attention"})
    assert "they would be fresh" in fresh.value.details[0]
    assert not (tmp_path / "a").exists()


def test_a_start_that_was_touched_is_refused(base, tmp_path):
    shutil.copytree(base, tmp_path / "copy")
    (tmp_path / "copy" / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(IntegrityError):
        fit(started(tmp_path / "copy"), learning(), tmp_path / "gen")
    assert not (tmp_path / "gen").exists()


def test_a_cut_off_run_goes_on_from_its_own_weights(base, tmp_path):
    asked = started(base, checkpoint_steps=2)
    whole = fit(asked, learning(), tmp_path / "whole")
    cut_off(asked, tmp_path / "cut", before=4)
    again = fit(asked, learning(), tmp_path / "cut", resume=True)
    assert again.resumed_from == 2 and whole.steps == again.steps
    one, other = load_file(tmp_path / "whole" / WEIGHTS), load_file(tmp_path / "cut" / WEIGHTS)
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
