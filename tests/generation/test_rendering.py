"""What is drawn looks as its finding says, measured in the scene before camera and light come in."""

from __future__ import annotations

import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest

from ethicclip.generation import FindingsRecipe, GenerateSettings, PhantomEngine
from ethicclip.generation.findings import VIEWPOINT, Media
from ethicclip.generation.rendering.acquisition import take_photograph
from ethicclip.generation.rendering.background import choroid
from ethicclip.generation.rendering.scene import render_scene
from ethicclip.generation.rendering.view import View
from ethicclip.generation.streams import Stream, stream


def _engine(size: int = 224, **findings: object) -> PhantomEngine:
    recipe = FindingsRecipe.build({"conditions": ["normal"], "quality": "good", "field_deg": [43, 45], **findings})
    return PhantomEngine(GenerateSettings(count=60, size=size, seed=21, findings=recipe))


def test_the_rim_is_orange_and_the_cup_pale() -> None:
    """In green the disc rises from fundus to rim to cup; the step to the rim is the larger in red."""
    steps = []
    for index in range(8):
        scene = _engine(cup_ratio=[0.45, 0.55]).scene(index)
        cup, disc = scene.masks["cup"] > 0.95, scene.masks["disc"] > 0.95
        blood = scene.masks["artery"] + scene.masks["vein"] < 0.05
        around = (cv2.dilate(scene.masks["disc"], np.ones((25, 25))) > 0.9) & (scene.masks["disc"] < 0.02)
        if disc.sum() < 80:
            continue
        levels = [
            scene.reflectance[:, part & blood].mean(axis=1) for part in (around, disc & (scene.masks["cup"] < 0.3), cup)
        ]
        steps.append([levels[1] - levels[0], levels[2] - levels[1]])
    rim, cup_step = np.array(steps).mean(axis=0)
    assert len(steps) >= 4
    assert rim[0] > 0.25 and cup_step[1] > 0.1
    assert rim[0] - cup_step[0] > rim[1] - cup_step[1]


def test_a_wider_cup_shows_as_a_wider_pale_area() -> None:
    shares = []
    for ratio in (0.3, 0.9):
        condition = "normal" if ratio < 0.6 else "glaucoma"
        scene = _engine(conditions=[condition], cup_ratio=[ratio, ratio + 0.02]).scene(4)
        shares.append(scene.masks["cup"].sum() / scene.masks["disc"].sum())
    assert shares[0] < 0.2 < 0.6 < shares[1]


def test_veins_are_darker_than_arteries_most_of_all_in_red() -> None:
    red = []
    for index in range(4):
        scene = _engine(size=512).scene(index)
        disc = cv2.dilate(scene.masks["disc"], np.ones((9, 9))) > 0
        vein = (scene.masks["vein"] > 0.45) & (scene.masks["artery"] < 0.02) & ~disc
        artery = (scene.masks["artery"] > 0.45) & (scene.masks["vein"] < 0.02) & ~disc
        red.append([scene.reflectance[0, vein].mean(), scene.reflectance[0, artery].mean()])
    vein_red, artery_red = np.array(red).mean(axis=0)
    assert vein_red < artery_red - 0.05


@pytest.mark.parametrize("size", [224, 512])
def test_the_choroid_is_the_same_at_every_size(size: int) -> None:
    eye, photograph = _engine().case(1)
    small = choroid(eye, stream(5), View.of(eye, photograph, 200))
    other = choroid(eye, stream(5), View.of(eye, photograph, size))
    shrunk = cv2.resize(other, (200, 200), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.93
    assert 0.15 < small.mean() < 0.4


def test_the_denser_the_cataract_the_fainter_the_vessels() -> None:
    engine = _engine()
    eye, photograph = engine.case(2)
    scene = engine.scene(2)
    tree = scene.masks["vein"] > 0.4
    contrasts = []
    for density in (0.0, 0.35, 0.9):
        clouded = replace(eye, media=Media(nuclear=density))
        clear = replace(photograph, ghosts=0, dust=0, streaks=0, noise=0.0, quality=100)
        green = take_photograph(scene, clouded, clear, stream(3))[..., 1].astype(np.float32)
        contrasts.append(float((cv2.GaussianBlur(green, (0, 0), 6) - green)[tree].mean()))
    assert contrasts[0] > 1.5 * contrasts[1] > 4.5 * contrasts[2]


def test_photographs_of_one_eye_share_its_findings_and_its_place_in_the_field() -> None:
    settings = GenerateSettings(count=9, size=128, seed=3, photographs=3)
    engine = PhantomEngine(settings)
    cases = [engine.case(index) for index in range(6)]
    assert cases[0][0] == cases[1][0] == cases[2][0] != cases[3][0]
    for name in VIEWPOINT:
        assert getattr(cases[1][1], name) == getattr(cases[0][1], name)
    assert cases[1][1] != cases[0][1]
    pairs = [engine.pair(index) for index in range(6)]
    assert [pair.record["eye_number"] for pair in pairs] == [0, 0, 0, 1, 1, 1]
    assert len({pair.image for pair in pairs}) == 6
    for pair in pairs[1:3]:
        assert all(np.array_equal(pair.masks[name], pairs[0].masks[name]) for name in ("disc", "artery", "vein"))
    # A pair depends on (seed, index) alone: another order, another engine or process, the same bytes.
    assert [PhantomEngine(settings).pair(index).image for index in (5, 1)] == [pairs[5].image, pairs[1].image]
    assert pickle.loads(pickle.dumps(engine)).pair(1).image == pairs[1].image
    # The first photograph of an eye is the one that would have been taken alone.
    alone = settings.model_copy(update={"photographs": 1})
    assert PhantomEngine(alone).pair(1).image == pairs[3].image


def test_a_scene_does_not_depend_on_the_light() -> None:
    engine = _engine(size=128)
    eye, photograph = engine.case(0)
    other = replace(photograph, haze=0.5, blur=9.0, colour=(0.3, 0.2, 0.1))
    key = (0, 21, 0)
    np.testing.assert_array_equal(
        render_scene(eye, photograph, 128, key).reflectance, render_scene(eye, other, 128, key).reflectance
    )
    assert Stream.PICTURE != Stream.CHOROID
