"""Generators of the hub: only where `hub:` is written, only safetensors and configurations, and clear words offline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ethicclip.errors import BadInputError, UsageError
from ethicclip.generation.diffusion import DiffusionSettings, fit, open_generator
from ethicclip.generation.diffusion import hub as hub_module
from ethicclip.generation.diffusion.making import DiffusionEngine, generate_learned

from .small import learning, settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    out = tmp_path_factory.mktemp("hub") / "gen"
    fit(settings(steps=1, pretrain_steps=0), learning(), out)
    return out


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, no network."""
    from huggingface_hub import constants

    root = tmp_path / "cache"
    root.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub_module._fetched.cache_clear()
    yield root
    hub_module._fetched.cache_clear()


def cached(root, source, name="clinic/eyes"):
    """Lay a folder into the cache as the hub's own client does: refs, blobs' place, a snapshot of one commit."""
    place = root / ("models--" + name.replace("/", "--"))
    shutil.copytree(source, place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    return place / "snapshots" / COMMIT


def asked(name, **changed):
    return DiffusionSettings.build({"generator": name, "count": 1, "steps": 2, "format": "png", **changed})


def test_a_cached_generator_is_the_one_of_its_folder(generator, cache, tmp_path):
    cached(cache, generator)
    for name in ("hub:clinic/eyes", f"hub:clinic/eyes@{COMMIT}"):
        opened = open_generator(asked(name))
        assert opened.conditional and opened.digest == open_generator(asked(str(generator))).digest
    assert open_generator(asked("hub:clinic/eyes")).name == "clinic/eyes"
    picture = DiffusionEngine(asked("hub:clinic/eyes")).image(0)
    assert (picture == DiffusionEngine(asked(str(generator))).image(0)).all()
    generate_learned(asked("hub:clinic/eyes"), tmp_path / "pairs")
    manifest = json.loads((tmp_path / "pairs" / "manifest.json").read_text())
    assert manifest["licence"] == "clinic only" and "without differential privacy" in " ".join(manifest["notes"])
    assert manifest["generator"]["settings"]["generator"] == "hub:clinic/eyes"


def test_only_what_a_pipeline_needs_is_fetched(generator, monkeypatch):
    """What is asked of the hub: the index, then configurations and safetensors of its parts; no code and no pickle."""
    import fnmatch

    import huggingface_hub

    wanted = []

    def download(name, *, revision, allow_patterns, ignore_patterns):
        wanted.append((name, revision, allow_patterns, ignore_patterns))
        return str(generator)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    hub_module._fetched.cache_clear()
    assert hub_module.located("hub:clinic/eyes@v2") == Path(generator)
    hub_module._fetched.cache_clear()
    assert [(name, revision) for name, revision, _, _ in wanted] == [("clinic/eyes", "v2")] * 2
    assert wanted[0][2] == ["model_index.json"]

    def fetched(file):
        allowed, ignored = wanted[1][2:]
        return any(fnmatch.fnmatch(file, one) for one in allowed) and not any(
            fnmatch.fnmatch(file, one) for one in ignored
        )

    assert fetched("unet/diffusion_pytorch_model.safetensors") and fetched("scheduler/scheduler_config.json")
    assert fetched("ethicclip_generator.json")
    for file in ("pipeline.py", "unet/my_unet.py", "unet/diffusion_pytorch_model.bin", "v1-5-pruned.safetensors"):
        assert not fetched(file), file
    assert not fetched("unet/diffusion_pytorch_model.fp16.safetensors") and not fetched("restricted/log.csv")


def test_offline_the_message_says_what_to_do(generator, cache):
    with pytest.raises(BadInputError, match="not in the local cache, and the hub cannot be reached") as caught:
        open_generator(asked("hub:clinic/eyes"))
    assert "hf download clinic/eyes" in caught.value.next_step and "HF_HUB_OFFLINE" in caught.value.next_step
    shutil.rmtree(cached(cache, generator, "clinic/half") / "unet")
    with pytest.raises(BadInputError, match="hub cannot be reached") as caught:
        open_generator(asked("hub:clinic/half"))
    assert "unet" in caught.value.details[0]


def test_nothing_is_fetched_without_the_word(monkeypatch, tmp_path):
    import huggingface_hub

    def download(*given, **named):
        raise AssertionError("nobody asked for the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError, match="not the folder of a diffusers pipeline") as caught:
        open_generator(asked("clinic/eyes"))
    assert "hub:clinic/eyes" in caught.value.next_step
    with pytest.raises(UsageError, match="names no generator of the hub"):
        open_generator(asked("hub:eyes"))


def test_code_and_pickles_of_the_hub_are_refused_too(generator, cache):
    folder = cached(cache, generator, "clinic/code")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "unet": ["my_unet", "MyUNet"]}))
    with pytest.raises(BadInputError, match="code that comes with it"):
        open_generator(asked("hub:clinic/code"))
    folder = cached(cache, generator, "clinic/pickle")
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_name("diffusion_pytorch_model.bin"))
    with pytest.raises(BadInputError, match="pickles"):
        open_generator(asked("hub:clinic/pickle"))
