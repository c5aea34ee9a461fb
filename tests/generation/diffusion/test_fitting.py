"""Fitting: the loss by hand, a folder that stock diffusers reads, resume to the same weights, checks on the way."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ethicclip.errors import BadInputError, StorageError, UsageError
from ethicclip.generation.diffusion import FitSettings, fit
from ethicclip.generation.diffusion.averaging import Average
from ethicclip.generation.diffusion.conditions import NAMES, captions, mirrored, vector
from ethicclip.generation.diffusion.memory import memory_advice
from ethicclip.generation.diffusion.network import CONDITION_SCALE, build_network, build_schedule, denoising_losses
from ethicclip.generation.diffusion.pictures import draw_step, squared
from ethicclip.generation.learning import Known
from ethicclip.terms import Condition

from .small import learning, picture, settings

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    out = tmp_path_factory.mktemp("fit") / "gen"
    return fit(settings(), learning(), out), out


def test_the_loss_is_min_snr_of_v():
    """A network that says 0: the loss is w |v|^2, with w = min(SNR, 5) / (SNR + 1), by hand."""
    schedule = build_schedule()
    times = torch.tensor([10, 900])
    pictures, noise = torch.full((2, 3, 8, 8), 0.5), torch.full((2, 3, 8, 8), -1.0)

    class Silent:
        config = type("C", (), {"block_out_channels": (16,)})

        def __call__(self, sample, time, class_labels):
            assert class_labels.shape == (2, 64)
            return type("Out", (), {"sample": torch.zeros_like(sample)})

    found = denoising_losses(Silent(), schedule, pictures, torch.zeros(2, len(NAMES)), times, noise, 5.0)
    for row, time in enumerate(times):
        alpha = float(schedule.alphas_cumprod[time])
        ratio = alpha / (1 - alpha)
        v = alpha**0.5 * -1.0 - (1 - alpha) ** 0.5 * 0.5
        assert float(found[row]) == pytest.approx(min(ratio, 5.0) / (ratio + 1) * v * v, rel=1e-4)


def test_conditions_as_numbers_and_words():
    known = Known(conditions=(Condition.DIABETIC_RETINOPATHY,), grade=3, eye="left")
    on = {name for name, value in zip(NAMES, vector(known), strict=True) if value}
    assert on == {"diabetic_retinopathy", "grade_3", "left"}
    assert mirrored(known).eye == "right" and mirrored(Known()) == Known()
    assert vector(Known()).sum() == 0
    said = captions(known, ("en", "zh"))
    assert "left" in said["en"][0].lower() and said["zh"]
    assert "glaucoma" not in " ".join(captions(Known(), ("en",))["en"])


def test_conditions_change_what_the_network_says():
    network = build_network(settings(), seed=0).eval()
    sample, time = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    labels = torch.zeros(1, 64)
    with torch.no_grad():
        without = network(sample, time, class_labels=labels).sample
        labels[0, 2] = CONDITION_SCALE
        assert (network(sample, time, class_labels=labels).sample - without).abs().max() > 1e-4


def test_a_step_is_a_function_of_seed_and_step():
    draw = {"pictures": 10, "batch": 8, "times": 1000, "flip": True, "drop": 0.1}
    assert draw_step(3, 5, **draw) == draw_step(3, 5, **draw) != draw_step(3, 6, **draw)
    times = sorted(draw_step(3, 5, **draw).times)
    assert all(part * 125 <= time < (part + 1) * 125 for part, time in enumerate(times))


def test_pictures_are_squared_about_their_field():
    wide = np.zeros((96, 160, 3), np.uint8)
    wide[:, 32:128] = picture(0)
    assert np.abs(squared(wide, 32).astype(int) - squared(picture(0), 32).astype(int)).mean() < 3


def test_stock_diffusers_loads_the_folder(fitted):
    from diffusers import DDPMPipeline, DiffusionPipeline

    result, out = fitted
    pipeline = DiffusionPipeline.from_pretrained(str(out), local_files_only=True)
    assert type(pipeline) is DDPMPipeline and type(pipeline.unet).__name__ == "UNet2DModel"
    assert sum(weight.numel() for weight in pipeline.unet.parameters()) == result.parameters
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert not list(out.rglob("*.bin")) and not list(out.rglob("*.pt"))


def test_the_folder_says_what_it_is_and_hides_what_shows_patients(fitted):
    result, out = fitted
    said = json.loads((out / "ethicclip_generator.json").read_text())
    assert said["finished"] and said["conditions"] == list(NAMES) and said["data"]["origin"] == "real"
    assert said["licence"] == "clinic only" and set(said["files"]) >= {WEIGHTS}
    assert stat.S_IMODE((out / "restricted").stat().st_mode) == 0o700
    assert (out / "restricted" / "samples" / "step_000006.png").is_file()
    assert result.steps == 6 and result.pictures == 6
    with pytest.raises(BadInputError, match="finished"):
        fit(settings(), learning(), out, resume=True)


class _CutOff(Exception):
    pass


def test_a_run_that_was_cut_off_ends_with_the_same_weights(fitted, tmp_path):
    def cut(samples, step):
        raise _CutOff

    out = tmp_path / "gen"
    with pytest.raises(_CutOff):
        # The check at step 5 ends the run after the checkpoint at 4.
        fit(settings(watch_steps=5), learning(), out, watch=cut)
    with pytest.raises(BadInputError, match="--resume"):
        fit(settings(watch_steps=5), learning(), out)
    with pytest.raises(BadInputError, match="other"):
        fit(settings(watch_steps=5, learning_rate=1e-3), learning(), out, resume=True)
    again = fit(settings(watch_steps=5), learning(), out, resume=True)
    assert again.resumed_from == 4 and again.steps == 6
    mine, theirs = load_file(out / WEIGHTS), load_file(fitted[1] / WEIGHTS)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_copies_found_on_the_way_are_noted_and_end_the_run(tmp_path):
    looked = []

    def check(samples, step):
        looked.append((step, len(list(samples.glob("*.png")))))
        return 3

    asked = settings(watch_steps=3, steps=10, stop_on_leak=True, pretrain_steps=0)
    result = fit(asked, learning(), tmp_path / "gen", watch=check)
    assert looked == [(3, 8)] and result.stopped_on_leak and result.steps == 3
    assert result.copy_rates == ((3, 3, 8),)
    restricted = tmp_path / "gen" / "restricted"
    assert (restricted / "copies.csv").read_text() == "step,copies,samples\n3,3,8\n"
    assert (restricted / "copies.svg").read_text().lstrip().startswith("<?xml")
    assert json.loads((tmp_path / "gen" / "ethicclip_generator.json").read_text())["stopped_on_leak"]


def test_repeats_are_left_out_first():
    kept = learning(8, repeats=2).without_duplicates()
    assert len(kept) == 6
    assert kept.patient_ids == tuple(f"p{i}" for i in range(6))


def test_the_average_is_an_average_and_gives_the_weights_back():
    layer = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.0)
    average = Average(layer, decay=0.9)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    average.update(step=1)  # decay (1 + 1) / (10 + 1)
    with average.applied() as network:
        assert float(network.weight) == pytest.approx(1 - 2 / 11)
    assert float(layer.weight) == 1.0


@pytest.mark.parametrize("size", [36, 50, 100])
def test_a_side_that_cannot_be_halved_is_refused(size):
    with pytest.raises(UsageError, match="multiple of 8"):
        FitSettings.build({"size": size})


def test_out_of_memory_comes_with_advice():
    with pytest.raises(StorageError, match="batch-size"), memory_advice(512, fitting=True):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(StorageError, match="workers"), memory_advice(512):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: not enough memory")
    with pytest.raises(RuntimeError, match="shape"), memory_advice(512):
        raise RuntimeError("shape mismatch")
