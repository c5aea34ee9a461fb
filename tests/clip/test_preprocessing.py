"""The same eye gives the same input, whatever frame it stands in."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ethicclip.clip import FundusPreprocess
from ethicclip.clip.preprocessing import NEUTRAL
from ethicclip.errors import BadInputError

PREPROCESS = FundusPreprocess(size=96)


def eye(side: int = 300, *, light: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / side
    picture = np.zeros((side, side, 3))
    picture[:] = (180, 90, 50)
    picture[np.hypot(y - 0.5, x - 0.7) < 0.08] = (240, 210, 150)
    picture[np.abs(y - 0.5 - 0.2 * np.sin(6 * x)) < 0.01] = (120, 40, 30)
    picture[np.hypot(y - 0.5, x - 0.5) > 0.48] = 0
    return np.clip(picture * light, 0, 255).astype(np.uint8)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_shape_type_and_range():
    tensor = PREPROCESS(eye())
    assert tuple(tensor.shape) == (3, 96, 96)
    assert str(tensor.dtype) == "torch.float32"
    assert tensor[:, 0, 0].tolist() == pytest.approx([(NEUTRAL / 255 - 0.5) / 0.25] * 3, abs=1e-6)


def test_wider_black_margin_changes_little():
    framed = np.zeros((420, 560, 3), np.uint8)
    framed[60:360, 130:430] = eye()
    assert difference(PREPROCESS.pixels(eye()), PREPROCESS.pixels(framed)) < 4


@pytest.mark.parametrize("side", [200, 450, 1200])
def test_resolution_changes_little(side):
    assert difference(PREPROCESS.pixels(eye(600)), PREPROCESS.pixels(eye(side))) < 4


def test_slow_change_of_light_is_removed():
    plain = eye().astype(float)
    ramp = np.linspace(0.8, 1.1, 300)[None, :, None]
    lit = np.clip(plain * ramp, 0, 255).astype(np.uint8)
    before = difference(eye(), lit)
    after = difference(PREPROCESS.pixels(eye()), PREPROCESS.pixels(lit))
    assert after < before / 2


@pytest.mark.parametrize("value", [0, 7, 128, 255])
@pytest.mark.parametrize("shape", [(64, 64), (20, 500), (333, 40)])
def test_uniform_picture_is_neutral_and_finite(value, shape):
    pixels = PREPROCESS.pixels(np.full((*shape, 3), value, np.uint8))
    assert pixels.shape == (96, 96, 3)
    assert np.abs(pixels.astype(int) - NEUTRAL).max() <= 1


def test_is_deterministic_and_leaves_its_input_alone():
    picture = eye()
    kept = picture.copy()
    assert np.array_equal(PREPROCESS.pixels(picture), PREPROCESS.pixels(picture))
    assert np.array_equal(picture, kept)


def test_colours_are_kept_on_request():
    pixels = FundusPreprocess(size=96, local_mean=False).pixels(eye())
    assert tuple(pixels[48, 30]) == pytest.approx((180, 90, 50), abs=3)
    assert not pixels[0, 0].any()


def test_field_cut_at_top_and_bottom_keeps_its_scale():
    cut = eye()
    cut[:40] = cut[-40:] = 0
    whole = PREPROCESS.pixels(eye())
    inner = (slice(30, 66), slice(10, 86))
    assert difference(whole[inner], PREPROCESS.pixels(cut)[inner]) < 6


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)],
)
def test_other_arrays_are_refused(wrong):
    with pytest.raises(BadInputError, match="not uint8 RGB"):
        PREPROCESS.pixels(wrong)


def test_description_round_trip_and_refusal():
    assert FundusPreprocess.from_json(PREPROCESS.to_json()) == PREPROCESS
    with pytest.raises(BadInputError, match="stored preprocessing"):
        FundusPreprocess.from_json({**PREPROCESS.to_json(), "unheard_of": 1})
    with pytest.raises(BadInputError):
        FundusPreprocess(size=8)


def test_threads_of_opencv_change_nothing():
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = PREPROCESS.pixels(eye(700))
        cv2.setNumThreads(2)
        assert np.array_equal(one, PREPROCESS.pixels(eye(700)))
    finally:
        cv2.setNumThreads(before)
