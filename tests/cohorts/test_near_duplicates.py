"""A moved, mirrored or recompressed copy is recognised; another eye is not."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from ethicclip.cohorts import find_near_duplicates, read_cohort
from ethicclip.cohorts.near_duplicates import overlay, signature
from ethicclip.cohorts.settings import NEAR_DUPLICATE_THRESHOLD
from tests.cohorts.eyes import draw_eye, folder_of_eyes


def recompressed(image, quality=40):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def turned(image, degrees):
    side = image.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(image, matrix, (side, side))


@pytest.mark.parametrize(
    "change",
    [
        recompressed,
        lambda image: cv2.resize(image, (113, 113), interpolation=cv2.INTER_AREA),
        lambda image: (image * 0.6).astype(np.uint8),
        lambda image: np.pad(image, ((10, 30), (25, 5), (0, 0))),
        lambda image: turned(image, 5),
        lambda image: recompressed(turned(image, -4), 60),
    ],
    ids=["jpeg", "smaller", "darker", "padded", "turned", "turned-jpeg"],
)
def test_changed_copies_are_recognised(change):
    for seed in range(3):
        image = draw_eye(seed)
        copy = change(image)
        assert overlay(signature(image).fine, signature(copy).fine, mirrored=False) > NEAR_DUPLICATE_THRESHOLD + 0.1
        flipped = np.ascontiguousarray(copy[:, ::-1])
        assert overlay(signature(image).fine, signature(flipped).fine, mirrored=True) > NEAR_DUPLICATE_THRESHOLD + 0.1


def test_the_signature_of_a_mirror_image_is_the_mirror_of_the_signature():
    image = draw_eye(5, side=384)
    mine, mirror = signature(image), signature(np.ascontiguousarray(image[:, ::-1]))
    assert mine.coarse.shape == (48, 48) and mine.coarse.dtype == np.float32
    assert float((mine.coarse * mirror.coarse[:, ::-1]).sum()) > 0.99
    assert float(np.square(mine.coarse).sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_without_detail_matches_nothing(value):
    blank = signature(np.full((100, 100, 3), value, dtype=np.uint8))
    assert not blank.coarse.any() and not blank.fine.any()
    assert overlay(blank.fine, blank.fine, mirrored=False) == 0.0


def test_other_eyes_are_not_joined_and_one_patient_is_not_compared_with_itself(tmp_path):
    cohort = read_cohort(folder_of_eyes(tmp_path / "a", [f"{i}" for i in range(30)]))
    assert find_near_duplicates(cohort) == []
    same = read_cohort(folder_of_eyes(tmp_path / "b", ["1", "1", "2"]))
    same.files[2].write_bytes(same.files[0].read_bytes())
    assert find_near_duplicates(same) == []
    same.files[4].write_bytes(same.files[0].read_bytes())
    found = find_near_duplicates(same, workers=1)
    assert [(pair.first, pair.second, pair.mirrored) for pair in found] == [(0, 4, False), (2, 4, False)]
    assert all(pair.score == pytest.approx(1, abs=1e-4) for pair in found)
