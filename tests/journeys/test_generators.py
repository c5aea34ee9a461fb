"""Generators from the command line: a recipe by votes, a network, sets drawn from both, a guard, and the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from ethicclip.provenance import read_ledger

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


def test_a_guard_says_what_it_dropped_and_what_that_costs(fitted: Path, world: World) -> None:
    out = world.root / "guarded"
    sides = ["--guard", world.root / "split" / "reference", "--control", world.root / "split" / "control"]
    draw = ["generate", "--engine", "diffusion", "--generator", fitted, "--count", 3, "--steps", 2, "--out", out]
    answer = world.call(*draw, *sides)
    assert answer.code == 0, answer.err
    notes = " ".join(json.loads((out / "manifest.json").read_text())["notes"])
    assert "A guard dropped 0 of 3 pictures" in notes and "No epsilon holds" in notes
    assert (world.root / "guarded.guard" / "audit" / "verdict.json").is_file()
    assert not (world.root / "guarded.guard" / "drawn").exists()
    run = [run for run in read_ledger(world.ledger).runs if run.verb == "generate"][-1]
    assert run.status == "finished"


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
    ],
)
def test_mistakes_have_their_code(world: World, tmp_path: Path, code: int, words: str, arguments: list[object]) -> None:
    places = {"population": str(world.root / "population"), "nothing": str(world.root / "nothing")}
    asked = [one.format(**places) if isinstance(one, str) else one for one in arguments]
    answer = world.call(*asked, "--out", tmp_path / "out")
    assert answer.code == code and words in answer.err, answer.err
    assert not (tmp_path / "out").exists()
