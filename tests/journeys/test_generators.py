"""Generators from the command line: a recipe by votes, a network, sets drawn from both, a guard, and the ledger."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

from ethicclip.cohorts import read_cohort
from ethicclip.generation import GenerateSettings
from ethicclip.generation.diffusion import drawing, making, trainer
from ethicclip.generation.learning import Known
from ethicclip.generation.phantom import PhantomEngine
from ethicclip.pairs import PairSet
from ethicclip.provenance import read_ledger

from ..generation.diffusion.small import make_autoencoder
from .conftest import World

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "generator.schema.json"
SMALL = [
    *("--size", 32, "--steps", 2, "--pretrain-steps", 1, "--batch-size", 2),
    *("--set", "channels=16", "--set", "layers=1", "--set", "multipliers=[1, 2]", "--set", "pretrain_phantoms=2"),
]


@pytest.fixture(scope="module")
def fitted(world: World) -> Path:
    out = world.root / "network"
    answer = world.call("fit-generator", world.root / "population", "--out", out, *SMALL, "--json")
    assert answer.code == 0, answer.err
    assert answer.json()["steps"] == 3 and answer.json()["pictures"] > 20
    return out


def test_a_network_is_fitted_recorded_and_drawn_from(fitted: Path, world: World) -> None:
    document = json.loads((fitted / "ethicclip_generator.json").read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    pairs = world.root / "drawn"
    draw = ["generate", "--engine", "diffusion", "--generator", fitted, "--count", 3, "--steps", 2]
    assert world.call(*draw, "--out", pairs).code == 0
    snapshot = read_ledger(world.ledger)
    fit, drawn = [run for run in snapshot.runs if run.verb in ("fit-generator", "generate")][-2:]
    used = {record.kind for record in snapshot.artifacts_of(fit.run_id, "used")}
    made = {record.id for record in snapshot.artifacts_of(fit.run_id, "generated")}
    assert used == {"cohort"} and made <= {record.id for record in snapshot.artifacts_of(drawn.run_id, "used")}
    patient = (world.root / "population" / "cohort.csv").read_text().splitlines()[1].split(",")[1]
    assert "drawn" in world.call("withdraw", patient).out


def test_an_autoencoder_goes_along_in_the_ledger(world: World, tmp_path: Path) -> None:
    brought, out = make_autoencoder(tmp_path / "vae"), tmp_path / "latent"
    latent = ["--set", f"autoencoder={brought}", "--set", "deduplicate=false", "--pretrain-steps", 0]
    answer = world.call("fit-generator", world.root / "population", "--out", out, *SMALL, *latent, "--json")
    assert answer.code == 0, answer.err
    document = json.loads((out / "ethicclip_generator.json").read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["autoencoder"] == answer.json()["autoencoder"] and document["settings"]["autoencoder"] == "vae"
    pairs = ["--generator", out, "--count", 1, "--steps", 1, "--out", tmp_path / "pairs"]
    assert world.call("generate", "--engine", "diffusion", *pairs).code == 0
    assert document["autoencoder"]["sha256"] in (tmp_path / "pairs" / "manifest.json").read_text()
    snapshot = read_ledger(world.ledger)
    run = [run for run in snapshot.runs if run.verb == "fit-generator"][-1]
    used = {record.kind: record for record in snapshot.artifacts_of(run.run_id, "used")}
    assert used["autoencoder"].id == "sha256:" + document["autoencoder"]["sha256"]


def test_a_start_goes_along_in_the_ledger(fitted: Path, world: World, tmp_path: Path) -> None:
    """Who withdraws is told of the generator, and of the one that began with it, whatever that one learnt then."""
    world.call("generate", "--count", 2, "--size", 128, "--out", tmp_path / "phantoms")
    begun = ["fit-generator", tmp_path / "phantoms", "--start", fitted, "--steps", 1, "--batch-size", 2]
    answer = world.call(*begun, "--out", tmp_path / "later", "--json")
    assert answer.code == 0, answer.err
    document = json.loads((tmp_path / "later" / "ethicclip_generator.json").read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["start"] == answer.json()["start"] and document["start"]["name"] == fitted.name
    run = [run for run in read_ledger(world.ledger).runs if run.verb == "fit-generator"][-1]
    assert run.settings["size"] == 32 and run.settings["channels"] == 16, "the shape that it has, not the default's"
    patient = (world.root / "population" / "cohort.csv").read_text().splitlines()[1].split(",")[1]
    told = world.call("withdraw", patient, "--json").out
    assert run.run_id in told


PLANTED = (1, 4)


class Leaking:
    """A generator that gives two pictures of the reference back, and eyes that nobody has for the others."""

    name, digest, side, conditional = "leaking", "0" * 64, 192, True

    def __init__(self, reference: Path) -> None:
        self._eyes = read_cohort(reference)
        self._phantoms = PhantomEngine(GenerateSettings(count=100, size=self.side, seed=77, masks=False))

    def askable(self, known: Known) -> Known:
        return known

    def draw(self, asked: Sequence[Known], keys: Sequence[tuple[int, int]], *, steps: int, guidance: float) -> Any:
        return np.stack(
            [self._eyes.image(number) if number in PLANTED else self._phantoms.image(number) for _, number in keys]
        )


def test_a_guard_drops_planted_copies_and_says_what_that_costs(
    fitted: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, reference = world.root / "guarded", world.root / "split" / "reference"
    monkeypatch.setattr(making, "open_generator", lambda settings: Leaking(reference))
    statement = {"epsilon": 3.0, "delta": 1e-5, "adjacency": "add or remove", "scope": {"whose": "patients"}}
    monkeypatch.setattr(making, "privacy_of", lambda settings: statement)
    draw = ["generate", "--engine", "diffusion", "--generator", fitted, "--count", 6, "--out", out]
    answer = world.call(*draw, "--guard", reference, "--control", world.root / "split" / "control")
    assert answer.code == 0, answer.err
    assert "A guard dropped 2 of 6 pictures" in answer.err
    kept = PairSet.open(out)
    assert [int(kept.key(row)) for row in range(len(kept))] == [0, 2, 3, 5]
    manifest = json.loads((out / "manifest.json").read_text())
    notes = " ".join(manifest["notes"])
    assert "A guard dropped 2 of 6 pictures that resembled patients (2 by " in notes
    assert "No epsilon holds for this set, although its generator had one." in notes
    assert manifest["counts"]["pairs"] == 4
    with (world.root / "guarded.guard" / "audit" / "flagged.csv").open(newline="") as stream:
        flagged = {row["file"]: row for row in csv.DictReader(stream)}
    assert len(flagged) == 2, "the audit stays beside the set, readable to its owner only"
    assert (world.root / "guarded.guard").stat().st_mode & 0o077 == 0
    assert not (world.root / "guarded.guard" / "drawn").exists()
    snapshot = read_ledger(world.ledger)
    run = [run for run in snapshot.runs if run.verb == "generate"][-1]
    assert run.status == "finished"
    event = next(dict(one.payload) for one in snapshot.events if one.run_id == run.run_id and one.kind == "guard")
    assert event["drawn"] == 6 and event["dropped"] == 2 and sum(event["reasons"].values()) == 2
    assert set(event["reasons"]) == {row["rule"] for row in flagged.values()}
    assert event["ends_epsilon"] and event["verdict_before"] == "LEAK" and "No epsilon holds" in event["statement"]
    assert not any(row["reference_file"] in json.dumps(event) for row in flagged.values())


def test_a_recipe_by_votes_is_fitted_recorded_and_drawn_from(world: World) -> None:
    out, pairs = world.root / "recipe", world.root / "voted"
    votes = ["--set", "votes=1", "--set", "candidates=16", "--set", "renders=1"]
    fit = ["fit-generator", world.root / "population", "--engine", "evolution", "--epsilon", 8, "--out", out]
    answer = world.call(*fit, *votes, "--json")
    assert answer.code == 0, answer.err
    assert answer.json()["privacy"]["scope"]["covers_patients"] is False, "the population is simulated"
    recipe = ["generate", "--config", out / "recipe.yaml", "--count", 2, "--size", 128, "--out", pairs]
    assert world.call(*recipe).code == 0
    run = [run for run in read_ledger(world.ledger).runs if run.verb == "generate"][-1]
    used = read_ledger(world.ledger).artifacts_of(run.run_id, "used")
    assert [record.kind for record in used] == ["generator"]


def test_memory_that_runs_out_is_bad_input_with_advice(
    fitted: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **named: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(drawing, "denoise", full)
    draw = world.call(
        "generate", "--engine", "diffusion", "--generator", fitted, "--count", 1, "--out", tmp_path / "pairs"
    )
    assert draw.code == 3 and "memory ran out at 32 pixels" in draw.err and "--workers" in draw.err
    monkeypatch.setattr(trainer, "denoising_losses", full)
    fit = world.call("fit-generator", world.root / "population", "--out", tmp_path / "gen", *SMALL)
    assert fit.code == 3 and "memory ran out at 32 pixels" in fit.err and "--batch-size" in fit.err


@pytest.fixture(scope="module")
def places(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the mistakes name: a cohort, nothing, a pipeline with broken weights, and one of grey pictures."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    root = tmp_path_factory.mktemp("places")
    shape = {"block_out_channels": (16, 32), "norm_num_groups": 8, "layers_per_block": 1, "sample_size": 32}
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    grey = UNet2DModel(in_channels=1, out_channels=1, **shape, **blocks)
    for name in ("grey", "broken"):
        DDPMPipeline(grey, DDPMScheduler()).save_pretrained(root / name)
    weights = root / "broken" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:999])
    return {
        "population": str(world.root / "population"),
        "nothing": str(world.root / "nothing"),
        "grey": str(root / "grey"),
        "broken": str(root / "broken"),
    }


ODD = ("--size", 100, "--count", 1)
ATTENTION = ("--epsilon", 3, "--pretrain-steps", 0, "--set", "privacy.trained=attention")
TINY = ("--batch-size", 4, "--steps", 100)


@pytest.mark.parametrize(
    ("code", "words", "arguments"),
    [
        (2, "multiple of 8", ["fit-generator", "{population}", "--size", 100]),
        (2, "--budget", ["fit-generator", "{population}", "--budget", "b.json"]),
        (2, "probability", ["fit-generator", "{population}", "--epsilon", 3, "--batch-size", 400]),
        (2, "not for --engine evolution", ["fit-generator", "{population}", "--engine", "evolution", "--steps", 3]),
        (2, "epsilon", ["fit-generator", "{population}", "--engine", "evolution"]),
        (2, "no engine", ["fit-generator", "{population}", "--engine", "gan"]),
        (2, "--control", ["fit-generator", "{population}", "--stop-on-leak"]),
        (3, "does not exist", ["fit-generator", "{nothing}"]),
        (2, "generator", ["generate", "--engine", "diffusion", "--count", 1]),
        (2, "not for --engine phantom", ["generate", "--count", 1, "--guidance", 2]),
        (2, "both sides", ["generate", "--engine", "diffusion", "--count", 1, "--guard", "{population}"]),
        (3, "not the folder", ["generate", "--engine", "diffusion", "--generator", "{population}", "--count", 1]),
        (3, "--generator hub:org/eyes", ["generate", "--engine", "diffusion", "--generator", "org/eyes", "--count", 1]),
        (3, "cannot be loaded", ["generate", "--engine", "diffusion", "--generator", "{broken}", "--count", 1]),
        (3, "1 channels", ["generate", "--engine", "diffusion", "--generator", "{grey}", "--count", 1]),
        (2, "multiple of 8", ["generate", "--engine", "diffusion", "--generator", "{broken}", *ODD]),
        (2, "no noise reaches epsilon 1e-05", ["fit-generator", "{population}", "--epsilon", 1e-5, *TINY]),
        (2, "autoencoder=FOLDER", ["fit-generator", "{population}", "--size", 256]),
        (3, "no finished generator", ["fit-generator", "{population}", "--start", "{grey}"]),
        (2, "they would be fresh", ["fit-generator", "{population}", *ATTENTION]),
        (3, "AutoencoderKL", ["fit-generator", "{population}", "--set", "autoencoder={population}"]),
    ],
)
def test_mistakes_have_their_code(
    world: World, places: dict[str, str], tmp_path: Path, code: int, words: str, arguments: list[object]
) -> None:
    asked = [one.format(**places) if isinstance(one, str) else one for one in arguments]
    answer = world.call(*asked, "--out", tmp_path / "out")
    assert answer.code == code and words in answer.err, answer.err
    assert not (tmp_path / "out").exists()
