"""Private Evolution: the sensitivity it rests on, that it finds a planted world, and that its recipe generates."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ethicclip.errors import BadInputError, UsageError
from ethicclip.generation import GenerateSettings, PhantomEngine
from ethicclip.generation.evolution import EvolutionSettings, evolve
from ethicclip.generation.evolution.candidates import CLASSES, first_candidates, next_candidates
from ethicclip.generation.evolution.evolving import RECIPE_FILE, terms_of
from ethicclip.generation.evolution.voting import SENSITIVITY, Electorate, thresholded
from ethicclip.generation.learning import Known, LearningSet
from ethicclip.pairs import Origin
from ethicclip.privacy import Budget, Unit, epsilon_of
from ethicclip.provenance import KeyStore
from ethicclip.settings import resolve
from ethicclip.terms import Condition

CANDIDATES = first_candidates(22, seed=1)


def colours(pictures):
    """A cheap fixed embedding: the mean colour of the middle of a picture."""
    return np.stack([p[p.shape[0] // 4 : -p.shape[0] // 4].mean(axis=(0, 1)) / 64 for p in pictures]).astype(np.float32)


def world(camera: str, condition: Condition, patients: int) -> LearningSet:
    """Phantoms of one camera and one condition in the part of patients, two pictures each."""
    recipe = {"camera": camera, "conditions": [condition.value], "quality": "good"}
    engine = PhantomEngine(GenerateSettings.build({"count": 1, "size": 128, "seed": 9, "findings": recipe}))
    return LearningSet(
        alias="planted",
        known=tuple(Known(conditions=(condition,)) for _ in range(2 * patients)),
        patient_ids=tuple(f"p{number // 2}" for number in range(2 * patients)),
        origin=Origin.REAL,
        licence="none",
        hashes=tuple(f"{number:064x}" for number in range(2 * patients)),
        # A patient's second picture repeats the first but for its light: half the drawing.
        fetch=lambda i, _: engine.image(i // 2),
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_unit_moves_the_votes_by_at_most_the_sensitivity(data):
    """The L2 norm of what adding or removing any one unit changes, whatever its pictures and labels are."""
    random = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    count = data.draw(st.integers(1, 7))
    known = [
        Known(conditions=tuple(data.draw(st.lists(st.sampled_from(list(Condition)), max_size=4, unique=True))))
        for _ in range(count)
    ]
    points = (random.normal(size=(count, 3)) * data.draw(st.sampled_from([0.01, 1, 1e4]))).astype(np.float32)
    places = random.normal(size=(len(CANDIDATES), 3)).astype(np.float32)
    electorate = Electorate(points=points, known=known, units=[list(range(count))])
    votes = electorate.votes_of(range(count), CANDIDATES, places)
    assert (votes >= 0).all()
    assert votes.sum() == pytest.approx(1.0)
    assert np.linalg.norm(votes) <= SENSITIVITY + 1e-9


def test_the_bound_is_reached_so_it_is_not_too_wide():
    electorate = Electorate(points=np.zeros((1, 3), np.float32), known=[Known()], units=[[0]])
    votes = electorate.votes_of([0], CANDIDATES, np.zeros((len(CANDIDATES), 3), np.float32))
    assert np.linalg.norm(votes) == SENSITIVITY


def test_noise_has_the_calibrated_deviation_and_never_repeats():
    electorate = Electorate(points=np.zeros((0, 3), np.float32), known=[], units=[])
    places = np.zeros((len(CANDIDATES), 3), np.float32)
    entropy = np.random.default_rng(1).bytes
    drawn = np.stack([electorate.noisy_votes(CANDIDATES, places, 4.0, entropy) for _ in range(400)])
    assert drawn.std() == pytest.approx(4.0, rel=0.05)
    assert abs(drawn.mean()) < 0.2
    assert len(np.unique(drawn)) == drawn.size


@pytest.mark.parametrize(("epsilon", "sigma"), [(1.0, 11.8), (3.0, 4.4), (8.0, 1.9)])
def test_noise_is_that_of_ten_plain_gaussian_releases(epsilon, sigma):
    """The figures of the design notes: T = 10, delta = 1e-5."""
    terms = terms_of(EvolutionSettings(epsilon=epsilon, delta=1e-5, votes=10), units=1000)
    assert terms.noise_multiplier == pytest.approx(sigma, rel=0.02)
    assert epsilon_of([terms.event(10)], 1e-5).value <= epsilon


def test_seats_follow_votes_and_no_class_dies():
    votes = np.zeros(len(CANDIDATES))
    votes[[i for i, one in enumerate(CANDIDATES) if one.condition is Condition.GLAUCOMA]] = (30.0, 10.0)
    after = next_candidates(CANDIDATES, votes, spread=0.2, least=1, random=np.random.default_rng(0))
    counted = {one: sum(item.condition is one for item in after) for one in CLASSES}
    assert len(after) == len(CANDIDATES)
    assert min(counted.values()) == 1
    assert counted[Condition.GLAUCOMA] == len(CANDIDATES) - len(CLASSES) + 1
    strongest = CANDIDATES[int(np.argmax(votes))]
    assert strongest in after


def test_thresholding_looks_at_released_votes_only():
    assert thresholded(np.array([-3.0, 1.0, 5.0]), 2.0).tolist() == [0.0, 0.0, 3.0]


@pytest.fixture(scope="module")
def evolved(tmp_path_factory):
    out = tmp_path_factory.mktemp("evolution") / "gen"
    asked = EvolutionSettings(epsilon=8, votes=3, candidates=33, renders=1, seed=3)
    # One draw of noise: a test must not depend on the operating system's.
    noise = np.random.default_rng(0).bytes
    return evolve(asked, world("crimson", Condition.GLAUCOMA, 30), out, embed=colours, entropy=noise), out


def test_a_planted_world_is_found(evolved):
    """All patients have glaucoma and one red camera: the recipe leans to both.

    Over seven draws of the noise glaucoma got 0.90 to 1.00 of the weight, red cameras 0.13 to 0.99 with a mean of 0.64
    (0.38 by the prior): three votes of thirty patients decide the first surely, and the second mostly.
    """
    result, out = evolved
    mixture = resolve(GenerateSettings, verb="generate", config=out / RECIPE_FILE, flags={"count": 1}).mixture
    weight = sum(part.weight for part in mixture)
    glaucoma = sum(p.weight for p in mixture if p.findings.conditions == (Condition.GLAUCOMA,)) / weight
    red = sum(p.weight for p in mixture if p.findings.camera in ("crimson", "brown", "amber", "orange")) / weight
    assert glaucoma > 0.5
    assert red > 0.6
    assert result.shares["glaucoma"] == pytest.approx(glaucoma, abs=0.01)


def test_the_statement_says_what_was_done(evolved):
    result, out = evolved
    said = json.loads((out / "privacy.json").read_text())
    assert said["mechanism"] == "votes" and said["unit"] == "patient" and said["epsilon"] <= 8
    assert said["sampling"]["sample_rate"] == 1 and said["steps"]["accounted"] == 3
    assert said["scope"]["covers_patients"] and "generator" in said["scope"]["whose"]
    assert said["noise"]["sensitivity"] == 1
    assert result.statement.epsilon == said["epsilon"]


def test_a_set_drawn_from_the_recipe_names_the_statement(evolved, tmp_path):
    from ethicclip.files import sha256_file
    from ethicclip.generation import generate

    _, out = evolved
    asked = resolve(GenerateSettings, verb="generate", config=out / RECIPE_FILE, flags={"count": 3, "size": 128})
    assert asked.fitted is not None and asked.fitted.statement_sha256 == sha256_file(out / "privacy.json")
    generate(asked, tmp_path / "pairs")
    notes = " ".join(json.loads((tmp_path / "pairs" / "manifest.json").read_text())["notes"])
    assert "noisy votes" in notes and "No patient's image entered" not in notes


def test_the_recipe_holds_nothing_but_settings(evolved):
    _, out = evolved
    assert set(yaml.safe_load((out / RECIPE_FILE).read_text())) == {"generate", "fit-generator"}
    assert sorted(path.name for path in out.iterdir()) == ["privacy.json", "recipe.yaml"]


def test_a_mixture_leaves_old_digests_alone_and_draws_by_weight():
    plain = GenerateSettings(count=5)
    assert "mixture" not in plain.resolved() and "fitted" not in plain.resolved()
    parts = [
        {"weight": 3, "findings": {"conditions": ["glaucoma"]}},
        {"weight": 1, "findings": {"conditions": ["cataract"]}},
    ]
    engine = PhantomEngine(GenerateSettings.build({"count": 5, "mixture": parts}))
    drawn = [engine.recipe(number).conditions for number in range(400)]
    assert drawn.count((Condition.GLAUCOMA,)) / 400 == pytest.approx(0.75, abs=0.07)
    with pytest.raises(UsageError, match="mixture"):
        GenerateSettings.build({"count": 1, "mixture": parts, "findings": {"dr_grade": 2}})


def test_refusals(tmp_path):
    learning = world("rose", Condition.NORMAL, 2)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").touch()
    with pytest.raises(BadInputError, match="already holds"):
        evolve(EvolutionSettings(epsilon=1), learning, tmp_path / "a", embed=colours)
    unknown = LearningSet(**{**learning.__dict__, "patient_ids": (None,) * 4})
    with pytest.raises(BadInputError, match="no patient id"):
        evolve(EvolutionSettings(epsilon=1), unknown, tmp_path / "b", embed=colours)
    keys = KeyStore(tmp_path / "keys")
    budget = Budget(tmp_path / "budget.json", keys)
    budget.create(population="p", unit=Unit.PATIENT, epsilon=2.0, delta=1e-5)
    with pytest.raises(UsageError, match="overspent"):
        evolve(EvolutionSettings(epsilon=3), learning, tmp_path / "c", embed=colours, budget=budget.path, keys=keys)
    assert not any((tmp_path / name).exists() for name in "bc")
