"""Drawing: the same picture whatever is drawn beside it, pipelines made elsewhere, marks, and what is refused."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ethicclip.errors import BadInputError, IntegrityError, UsageError
from ethicclip.generation.diffusion import DiffusionSettings, fit, generate_learned, open_generator
from ethicclip.generation.diffusion.drawing import LANE, first_noise, pixel_solver, solver_times
from ethicclip.generation.diffusion.foreign import ForeignSource
from ethicclip.generation.diffusion.making import DiffusionEngine
from ethicclip.generation.diffusion.network import class_labels
from ethicclip.generation.learning import Known
from ethicclip.generation.marking import TRAINED, source_type
from ethicclip.pairs import PairSet
from ethicclip.terms import Condition

from .small import learning, settings


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    out = tmp_path_factory.mktemp("draw") / "gen"
    fit(settings(steps=1, pretrain_steps=0), learning(), out)
    return out


def asked(generator, **changed):
    return DiffusionSettings.build({"generator": str(generator), "count": 18, "steps": 3, "format": "png", **changed})


def test_a_picture_depends_on_its_number_alone(generator, tmp_path):
    """Few or many, one process or two, one shard or several: the same bytes."""
    generate_learned(asked(generator, shard_size=9), tmp_path / "one")
    generate_learned(asked(generator, shard_size=9), tmp_path / "two", workers=2)
    one, two = PairSet.open(tmp_path / "one"), PairSet.open(tmp_path / "two")
    assert one.digest == two.digest
    alone = DiffusionEngine(asked(generator, count=10**6)).pair(17)
    assert alone.image == one.read(17).image and alone.record["labels"] == one.read(17).record["labels"]
    assert one.sha256(3) != one.sha256(4)
    assert DiffusionEngine(asked(generator, seed=1)).pair(3).image != one.read(3).image


def test_a_set_of_a_learned_generator_is_marked_and_says_whose(generator, tmp_path):
    generate_learned(asked(generator, count=2), tmp_path / "pairs", leave_out=frozenset({0}), notes=("guarded",))
    pairs = PairSet.open(tmp_path / "pairs")
    assert len(pairs) == 1 and pairs.key(0) == "000000001"
    assert source_type(pairs.read(0).image) == TRAINED
    manifest = json.loads((tmp_path / "pairs" / "manifest.json").read_text())
    notes = " ".join(manifest["notes"])
    assert manifest["origin"] == "synthetic" and TRAINED in manifest["marking"] and manifest["licence"] == "clinic only"
    assert "without differential privacy" in notes and "guarded" in notes
    assert str(generator.parent) not in json.dumps(manifest)


def test_it_is_what_a_stock_loop_draws(generator):
    """The same pipeline in the hands of stock diffusers, with the loop that the guide prints."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(str(generator), local_files_only=True)
    engine = DiffusionEngine(asked(generator, steps=4))
    from ethicclip.generation.diffusion.conditions import vector

    lane = range(LANE)
    labels = class_labels(torch.from_numpy(np.stack([vector(engine.asked(n)) for n in lane])), pipeline.unet)
    solver = pixel_solver(pipeline.scheduler.config)
    solver.set_timesteps(timesteps=solver_times(pipeline.scheduler, 4, 32))
    sample = first_noise([(0, n) for n in lane], 32)
    with torch.no_grad():
        for time in solver.timesteps:
            wanted = pipeline.unet(sample, time, class_labels=labels).sample
            without = pipeline.unet(sample, time, class_labels=torch.zeros_like(labels)).sample
            sample = solver.step(without + 2.0 * (wanted - without), time, sample).prev_sample
    theirs = ((sample + 1) * 127.5).clamp(0, 255).round().numpy().transpose(0, 2, 3, 1)
    mine = np.stack([engine.image(n) for n in lane]).astype(float)
    assert np.abs(mine - theirs).max() <= 1


@pytest.mark.parametrize("steps", [1, 2, 8, 20, 1000])
def test_steps_are_even_in_the_log_of_the_signal_to_noise_ratio(steps):
    from ethicclip.generation.diffusion.network import build_schedule

    schedule = build_schedule()
    times = solver_times(schedule, steps, 64)
    assert times == sorted(set(times), reverse=True) and len(times) <= steps and times[-1] > 0 and times[0] < 999
    if steps in (8, 20):
        alphas = schedule.alphas_cumprod.double()[times]
        apart = torch.diff((alphas / (1 - alphas)).log())
        # Times are whole: near the end of the schedule one of them is a tenth of a step and more.
        assert len(times) == steps and float(apart.max()) < 1.3 * float(apart.min())


def test_few_steps_spread_colours_as_many_do():
    """Pictures of one colour each, drawn by the best possible network: eight steps keep most of the colours' spread.

    The network knows the answer: for pictures of one colour, normal about 0 with deviation s, what v is expected to be
    given the mean of the noisy picture is a formula. Evenly spaced in time, the same steps lose most of the spread.
    """
    from types import SimpleNamespace

    from ethicclip.generation.diffusion.drawing import denoise
    from ethicclip.generation.diffusion.network import build_schedule

    schedule, side, spread = build_schedule(), 16, 0.3
    alphas = schedule.alphas_cumprod.double()

    class Ideal:
        config = SimpleNamespace(block_out_channels=(16,))

        def __call__(self, sample, time, class_labels):
            signal, noise = alphas[int(time)].sqrt(), (1 - alphas[int(time)]).sqrt()
            mean = sample.double().mean((2, 3), keepdim=True)
            known = signal * spread**2 / (signal**2 * spread**2 + noise**2 / side**2)
            picture = (known * mean).expand_as(sample)
            v = (signal * sample.double() - picture) / noise
            return SimpleNamespace(sample=v.float())

    noise = torch.randn(200, 3, side, side, generator=torch.Generator().manual_seed(0))
    custom = pixel_solver(schedule.config)
    custom.set_timesteps(8)
    kept = [
        float(denoise(Ideal(), schedule, noise, torch.zeros(200, 18), times=times, guidance=1.0)
              .mean((2, 3)).std()) / spread
        for times in (solver_times(schedule, 8, side), [int(time) for time in custom.timesteps])
    ]  # fmt: skip
    assert kept[0] > 0.9 and kept[1] < 0.75 * kept[0]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Pipelines made by stock diffusers: an unconditional DDPM and a class-conditional DiT."""
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        DDPMPipeline,
        DDPMScheduler,
        DiTPipeline,
        DiTTransformer2DModel,
        UNet2DModel,
    )

    root = tmp_path_factory.mktemp("elsewhere")
    torch.manual_seed(0)
    widths = {"block_out_channels": (16, 32), "norm_num_groups": 8, "layers_per_block": 1}
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    DDPMPipeline(UNet2DModel(sample_size=32, **widths, **blocks), DDPMScheduler()).save_pretrained(root / "ddpm")
    DDPMPipeline(
        UNet2DModel(sample_size=32, in_channels=1, out_channels=1, **widths, **blocks), DDPMScheduler()
    ).save_pretrained(root / "grey")
    vae = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, sample_size=32,
    )  # fmt: skip
    transformer = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1, sample_size=16,
        patch_size=2, num_embeds_ada_norm=10,
    )  # fmt: skip
    DiTPipeline(transformer, vae, DDIMScheduler()).save_pretrained(root / "dit")
    return root


def test_an_unconditional_pipeline_claims_nothing_of_its_pictures(elsewhere, tmp_path):
    generate_learned(asked(elsewhere / "ddpm", count=3), tmp_path / "pairs")
    pair = PairSet.open(tmp_path / "pairs").read(2)
    assert pair.record["labels"] == [] and pair.caption == "A colour fundus photograph."
    notes = " ".join(json.loads((tmp_path / "pairs" / "manifest.json").read_text())["notes"])
    assert "not known here" in notes
    assert DiffusionEngine(asked(elsewhere / "ddpm")).pair(2).image == pair.image


def test_a_class_conditional_pipeline_is_asked_by_number(elsewhere):
    with pytest.raises(UsageError, match="what the numbers mean"):
        open_generator(asked(elsewhere / "dit"))
    with pytest.raises(UsageError, match="no class 12"):
        open_generator(asked(elsewhere / "dit", classes={12: "glaucoma"}))
    engine = DiffusionEngine(asked(elsewhere / "dit", classes={0: "normal", 3: "glaucoma"}, steps=2))
    assert engine.source.side == 32
    assert {engine.asked(n).conditions[0] for n in range(40)} == {Condition.NORMAL, Condition.GLAUCOMA}
    picture = engine.image(1)
    assert picture.shape == (32, 32, 3) and picture.std() > 0


def test_a_text_pipeline_is_asked_in_captions():
    """What the pipeline is given; a text encoder needs transformers, so one that only listens stands in here."""
    heard = {}

    def pipeline(**given):
        heard.update(given)
        return type("Out", (), {"images": np.zeros((len(given["prompt"]), 40, 40, 3))})

    source = ForeignSource(pipeline, "text", name="t", digest="0" * 64, side=40, classes={}, device=torch.device("cpu"))
    known = Known(conditions=(Condition.GLAUCOMA,), eye="right")
    drawn = source.draw([known], [(0, 5)], steps=7, guidance=3.0)
    assert drawn.shape == (1, 40, 40, 3)
    assert "glaucoma" in heard["prompt"][0].lower() and heard["num_inference_steps"] == 7 and heard["height"] == 40


def broken(source, target, change):
    shutil.copytree(source, target)
    change(target)
    return target


def test_what_is_refused(generator, elsewhere, tmp_path):
    def truncate(folder):
        path = folder / "unet" / "diffusion_pytorch_model.safetensors"
        path.write_bytes(path.read_bytes()[:1000])

    def incomplete(folder):
        path = folder / "unet" / "diffusion_pytorch_model.safetensors"
        save_file(dict(list(load_file(path).items())[1:]), path)

    def pickled(folder):
        path = folder / "unet" / "diffusion_pytorch_model.safetensors"
        path.rename(path.with_name("diffusion_pytorch_model.bin"))

    def own_code(folder):
        index = json.loads((folder / "model_index.json").read_text())
        index["unet"] = ["my_unet", "MyUNet"]
        (folder / "model_index.json").write_text(json.dumps(index))

    def unfinished(folder):
        said = json.loads((folder / "ethicclip_generator.json").read_text())
        (folder / "ethicclip_generator.json").write_text(json.dumps({**said, "finished": False}))

    for name, source, change, kind, words in (
        ("a", generator, truncate, IntegrityError, "not as it was written"),
        ("b", elsewhere / "ddpm", truncate, BadInputError, "cannot be loaded"),
        ("g", elsewhere / "ddpm", incomplete, BadInputError, "incomplete"),
        ("c", elsewhere / "ddpm", pickled, BadInputError, "pickles"),
        ("d", elsewhere / "ddpm", own_code, BadInputError, "code that comes with it"),
        ("e", elsewhere / "grey", lambda folder: None, BadInputError, "1 channels"),
        ("f", generator, unfinished, BadInputError, "not finished"),
    ):
        with pytest.raises(kind, match=re.escape(words)):
            open_generator(asked(broken(source, tmp_path / name, change)))
    with pytest.raises(BadInputError, match="no model_index"):
        open_generator(asked(tmp_path))
    with pytest.raises(UsageError, match="multiple of 8"):
        asked(generator, size=100)
    with pytest.raises(BadInputError, match="dropped"):
        generate_learned(asked(generator, count=1), tmp_path / "none", leave_out=frozenset({0}))
