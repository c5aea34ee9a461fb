"""Anatomy in micrometres: what is drawn has the sizes that the literature gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethicclip.generation import FindingsRecipe, GenerateSettings, PhantomEngine
from ethicclip.generation.rendering.vessels import daughters, grow
from ethicclip.generation.rendering.view import Canvas, View
from ethicclip.generation.streams import stream


@given(
    mother=st.floats(20, 200), ratio=st.floats(0.3, 1.0), exponent=st.floats(1.8, 3.0)
)  # fmt: skip
def test_murrays_law_conserves_the_power_sum(mother: float, ratio: float, exponent: float) -> None:
    first, second = daughters(np.array([mother]), np.array([ratio]), np.array([exponent]))
    assert first**exponent + second**exponent == pytest.approx(mother**exponent)
    assert second <= first


@pytest.mark.parametrize("index", range(3))
def test_every_bifurcation_of_a_tree_obeys_murrays_law(index: int) -> None:
    eye, _ = PhantomEngine(GenerateSettings(count=3, seed=4)).case(index)
    tree = grow(eye, stream(1, index))
    mother, first, second, exponent = tree.bifurcations.T
    assert len(mother) > 100
    np.testing.assert_allclose(first**exponent + second**exponent, mother**exponent)
    assert (np.abs(exponent - 2.05) < 0.3).all()


def test_arteries_are_thinner_than_veins_and_trunks_leave_the_disc() -> None:
    ratios = []
    for index in range(8):
        eye, _ = PhantomEngine(
            GenerateSettings(count=8, seed=5, findings=FindingsRecipe.build({"conditions": ["normal"]}))
        ).case(index)
        tree = grow(eye, stream(2, index))
        gap = np.hypot(*(tree.start_um - np.array(eye.anatomy.disc_centre_um)).T)
        near = tree.trunk & (gap > 800) & (gap < 1800)
        ratios.append(tree.diameter_um[near & tree.artery].mean() / tree.diameter_um[near & ~tree.artery].mean())
    assert 0.6 < np.mean(ratios) < 0.95


def test_no_vessel_crosses_the_foveal_avascular_zone() -> None:
    eye, _ = PhantomEngine(GenerateSettings(count=1, seed=6)).case(0)
    tree = grow(eye, stream(3))
    assert np.hypot(*tree.end_um.T).min() > eye.anatomy.fovea_radius_um


@pytest.mark.parametrize("size", [128, 224, 512])
@pytest.mark.parametrize("field_deg", [30, 45, 60])
def test_disc_to_fovea_is_measured_in_micrometres_at_any_size(size: int, field_deg: float) -> None:
    """The disc's centre of mass in the picture, times the length of a pixel, is within the published range."""
    findings = FindingsRecipe.build({"conditions": ["normal"], "field_deg": [field_deg, field_deg], "quality": "good"})
    engine = PhantomEngine(GenerateSettings(count=40, size=size, seed=8, findings=findings))
    checked = 0
    for index in range(40):
        eye, photograph = engine.case(index)
        view = View.of(eye, photograph, size)
        disc_px = view.to_pixels(np.array(eye.anatomy.disc_centre_um))
        margin = 1300 / view.um_per_px
        if photograph.stretch != 1 or (disc_px < margin).any() or (disc_px > size - 1 - margin).any():
            continue
        disc = engine.scene(index).masks["disc"]
        y, x = np.mgrid[:size, :size]
        centre = np.array([(x * disc).sum(), (y * disc).sum()]) / disc.sum()
        fovea = view.to_pixels(np.zeros(2))
        distance_um = np.hypot(*(centre - fovea)) * view.um_per_px
        assert 3760 - 150 <= distance_um <= 6530 + 150
        assert distance_um == pytest.approx(eye.anatomy.disc_fovea_um, rel=0.02)
        area_um2 = float(disc.sum()) * view.um_per_px**2
        expected = np.pi / 4 * eye.anatomy.disc_height_um * eye.anatomy.disc_width_um
        assert area_um2 == pytest.approx(expected, rel=0.12)
        checked += 1
        if checked == 2:
            break
    assert checked


def test_the_disc_is_on_the_nasal_side() -> None:
    for side, sign in (("right", 1), ("left", -1)):
        findings = FindingsRecipe.build({"eye": side})
        engine = PhantomEngine(GenerateSettings(count=4, findings=findings))
        for index in range(4):
            eye, photograph = engine.case(index)
            view = View.of(eye, photograph, 224)
            across = view.to_pixels(np.array(eye.anatomy.disc_centre_um)) - view.to_pixels(np.zeros(2))
            assert sign * across[0] > 0


@settings(max_examples=20, deadline=None)
@given(diameter=st.floats(60, 400), size=st.sampled_from([128, 224, 512, 1024]))
def test_a_drawn_spot_keeps_its_physical_size(diameter: float, size: int) -> None:
    from dataclasses import replace

    from tests.generation.test_grading import HEALTHY

    _, photograph = PhantomEngine(GenerateSettings(count=1)).case(0)
    photograph = replace(photograph, centre_x_um=0.0, centre_y_um=0.0, stretch=1.0)
    view = View.of(HEALTHY, photograph, size)
    canvas = Canvas(view)
    canvas.strokes(np.array([[-1500.0, 0.0]]), np.array([[1500.0, 0.0]]), np.array([diameter]), np.array([1.0]))
    area = float(canvas.coverage().sum()) * view.um_per_px**2
    # A stroke is as long as it is plus its round ends; its width is rounded to a fine pixel, its coverage to 24 steps.
    width = area / (3000 + np.pi / 4 * diameter)
    assert width == pytest.approx(diameter, abs=1.1 * canvas.um_per_px + 0.03 * diameter)
