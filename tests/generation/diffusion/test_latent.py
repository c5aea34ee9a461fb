"""Latent space: a tiny autoencoder made on the spot, a folder that stock diffusers draws from, and whose it is."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ethicclip.errors import BadInputError, IntegrityError, UsageError
from ethicclip.generation.diffusion import DiffusionSettings, fit, generate_learned, open_generator
from ethicclip.generation.diffusion.drawing import LANE, first_noise, solver_for, solver_times
from ethicclip.generation.diffusion.latent import encoded_shelf, open_autoencoder
from ethicclip.generation.diffusion.making import DiffusionEngine
from ethicclip.generation.diffusion.network import class_labels
from ethicclip.generation.diffusion.pictures import Shelf
from ethicclip.progress import SILENT
from ethicclip.provenance import KeyStore
from ethicclip.provenance.artifacts import listing_of_folder

from .small import cut_off, learning, make_autoencoder, picture, settings

CPU = torch.device("cpu")
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    return make_autoencoder(tmp_path_factory.mktemp("brought") / "vae")


@pytest.fixture(scope="module")
def fitted(brought, tmp_path_factory):
    out = tmp_path_factory.mktemp("latent") / "gen"
    return fit(settings(autoencoder=str(brought), flip=True), learning(), out), out


def test_pictures_are_encoded_once_as_they_are_and_mirrored(brought):
    autoencoder = open_autoencoder(brought, CPU)
    shelf = Shelf(pixels=np.stack([picture(i)[:32, :32] for i in range(5)]), known=learning(5).known)
    latents = encoded_shelf(shelf, autoencoder, CPU, flip=True, progress=SILENT)
    batch, conditions = latents.tensors([4, 0], [False, True])
    pictures, wanted = shelf.tensors([4, 0], [False, True])
    assert batch.shape == (2, 4, 16, 16) and torch.equal(conditions, wanted)
    by_hand = autoencoder.model.encode(pictures).latent_dist.mean * 0.5
    assert torch.allclose(batch, by_hand, atol=1e-5)
    assert torch.allclose(autoencoder.decoded(batch), autoencoder.model.decode(by_hand / 0.5).sample, atol=1e-5)


def test_the_folder_is_a_stock_pipeline_and_names_its_autoencoder(fitted, brought):
    from diffusers import AutoencoderKL, DiffusionPipeline, LDMPipeline

    result, out = fitted
    pipeline = DiffusionPipeline.from_pretrained(str(out), local_files_only=True)
    assert isinstance(pipeline, LDMPipeline) and isinstance(pipeline.vqvae, AutoencoderKL)
    assert pipeline.unet.config.in_channels == 4 and pipeline.unet.config.sample_size == 16
    theirs, ours = load_file(brought / WEIGHTS), load_file(out / "vqvae" / WEIGHTS)
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs), "the autoencoder is not trained"
    manifest = json.loads((out / "ethicclip_generator.json").read_text())
    assert manifest["autoencoder"] == {"name": "vae", "sha256": listing_of_folder(brought)[0]} == result.autoencoder
    assert f"vqvae/{WEIGHTS}" in manifest["files"] and str(brought.parent) not in json.dumps(manifest)
    assert "If it learnt patients' pictures it carries them" in (out / "README.md").read_text()
    assert any("carries them" in line for line in result.lines())


def test_it_draws_what_a_stock_loop_draws(fitted, tmp_path):
    from diffusers import DiffusionPipeline

    from ethicclip.generation.diffusion.conditions import vector

    asked = DiffusionSettings.build({"generator": str(fitted[1]), "count": 2, "steps": 3, "format": "png"})
    engine = DiffusionEngine(asked)
    assert engine.source.side == 32
    pipeline = DiffusionPipeline.from_pretrained(str(fitted[1]), local_files_only=True)
    lane = range(LANE)
    labels = class_labels(torch.from_numpy(np.stack([vector(engine.asked(n)) for n in lane])), pipeline.unet)
    solver = solver_for(pipeline.scheduler.config)
    solver.set_timesteps(timesteps=solver_times(pipeline.scheduler, 3, 16))
    sample = first_noise([(0, n) for n in lane], 16, 4)
    with torch.no_grad():
        for time in solver.timesteps:
            wanted = pipeline.unet(sample, time, class_labels=labels).sample
            without = pipeline.unet(sample, time, class_labels=torch.zeros_like(labels)).sample
            sample = solver.step(without + 2.0 * (wanted - without), time, sample).prev_sample
        pictures = pipeline.vqvae.decode(sample / pipeline.vqvae.config.scaling_factor).sample
    theirs = ((pictures + 1) * 127.5).clamp(0, 255).round().numpy().transpose(0, 2, 3, 1)
    assert np.abs(np.stack([engine.image(n) for n in lane]).astype(float) - theirs).max() <= 1
    generate_learned(asked, tmp_path / "pairs")
    notes = " ".join(json.loads((tmp_path / "pairs" / "manifest.json").read_text())["notes"])
    assert "through the autoencoder vae" in notes and "no epsilon" in notes


def test_an_edited_autoencoder_is_noticed(fitted, tmp_path):
    copy = tmp_path / "gen"
    shutil.copytree(fitted[1], copy)
    tensors = load_file(copy / "vqvae" / WEIGHTS)
    save_file({name: value + 1 for name, value in tensors.items()}, copy / "vqvae" / WEIGHTS)
    with pytest.raises(IntegrityError, match="not as it was written"):
        open_generator(DiffusionSettings(generator=str(copy), count=1))


def test_a_resumed_run_wants_the_same_autoencoder(brought, tmp_path):
    asked, whole = settings(autoencoder=str(brought)), tmp_path / "whole"
    fit(asked, learning(), whole)
    cut_off(asked, tmp_path / "cut", before=4)
    other = make_autoencoder(tmp_path / "vae")
    (other / "note.txt").write_text("another folder of the same name")
    with pytest.raises(BadInputError, match="other autoencoder"):
        fit(settings(autoencoder=str(other)), learning(), tmp_path / "cut", resume=True)
    assert fit(asked, learning(), tmp_path / "cut", resume=True).resumed_from == 2
    weights = [load_file(tmp_path / name / "unet" / WEIGHTS) for name in ("whole", "cut")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_private_fit_takes_the_autoencoder_as_public_and_says_so(brought, tmp_path):
    private = {"privacy": {"epsilon": 8.0, "multiplicity": 2}, "steps": 1, "pretrain_steps": 0, "batch_size": 2}
    result = fit(
        settings(autoencoder=str(brought), **private), learning(), tmp_path / "gen", keys=KeyStore(tmp_path / "keys")
    )
    said = json.dumps(result.statement.to_json())
    assert listing_of_folder(brought)[0] in said and "this epsilon does not cover that" in said


def test_what_is_refused(brought, tmp_path):
    def changed(name, change):
        shutil.copytree(brought, tmp_path / name)
        change(tmp_path / name)
        return tmp_path / name

    def incomplete(folder):
        tensors = load_file(folder / WEIGHTS)
        save_file(dict(list(tensors.items())[1:]), folder / WEIGHTS)

    def other_kind(folder):
        said = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**said, "_class_name": "VQModel"}))

    for folder, words in (
        (changed("cut", lambda one: (one / WEIGHTS).write_bytes((one / WEIGHTS).read_bytes()[:999])), "cannot be load"),
        (changed("incomplete", incomplete), "not those of its configuration"),
        (changed("kind", other_kind), "not the folder of a diffusers AutoencoderKL"),
        (changed("pickle", lambda one: (one / WEIGHTS).rename(one / "diffusion_pytorch_model.bin")), "pickles"),
        (make_autoencoder(tmp_path / "grey", channels=1), "takes 1 channels"),
        (tmp_path / "nothing", "not the folder of a diffusers AutoencoderKL"),
    ):
        with pytest.raises(BadInputError, match=words):
            fit(settings(autoencoder=str(folder)), learning(), tmp_path / "out")
    with pytest.raises(UsageError, match="cannot be halved as often") as caught:
        fit(settings(autoencoder=str(brought), size=40, multipliers=(1, 2, 2, 2)), learning(), tmp_path / "out")
    assert "--size 32 or 48" in caught.value.next_step
    for words, wrong in (
        ("needs an autoencoder", {"space": "latent"}),
        ("uses no autoencoder", {"space": "pixel", "autoencoder": str(brought)}),
        ("--set autoencoder=FOLDER", {"size": 256}),
    ):
        with pytest.raises(UsageError, match=words):
            settings(**wrong)
    assert settings(size=256, space="pixel").size == 256
    assert not (tmp_path / "out").exists()
