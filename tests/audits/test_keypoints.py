"""Keypoints beside OpenCV's, and what votes are counted on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ethicclip.audits.description.frame import vessel_plane, working_frame
from ethicclip.audits.description.keypoints import Gradients, Keypoints, described, located, scale_space, turned
from ethicclip.audits.description.local import LocalFeatures, Recipe, describe_picture
from ethicclip.audits.retrieval import LocalIndex, VoteSettings

from .eyes import draw_eye


def plane_of(seed: int) -> np.ndarray:
    return vessel_plane(working_frame(draw_eye(seed), side=192), blur=1.0, clip_limit=3.0, unit=96)


def found_on(plane: np.ndarray) -> tuple[Keypoints, np.ndarray]:
    octaves = scale_space(plane)
    gradients = Gradients(octaves)
    points = turned(located(octaves, contrast=0.01, edge=15.0), gradients)
    return points, described(points, gradients)


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float64)


def test_keypoints_are_those_of_opencv_and_are_described_alike() -> None:
    plane = plane_of(1)
    points, mine = found_on(plane)
    sift = cv2.SIFT_create(contrastThreshold=0.01, edgeThreshold=15.0, enable_precise_upscale=True)  # type: ignore[attr-defined]
    peers = sift.detect(plane, None)
    places = np.array([one.pt for one in peers])
    sizes, angles = (np.array([getattr(one, name) for one in peers]) for name in ("size", "angle"))
    apart = np.linalg.norm(points.places[:, None] - places[None], axis=2)
    turn = points.angles[:, None] - np.deg2rad(angles)[None]
    same = (apart < 1) & (np.abs(np.log(points.sizes[:, None] / sizes[None])) < 0.25) & (np.cos(turn) > 0.95)
    # The finest of OpenCV's live between the pixels and are left out on purpose.
    assert same.any(axis=1).mean() > 0.6
    rows = np.flatnonzero(same.any(axis=1))
    partner = np.where(same[rows], apart[rows], np.inf).argmin(axis=1)
    theirs = sift.compute(plane, [peers[i] for i in partner])[1].reshape(-1, 16, 8)[:, :, (-np.arange(8)) % 8]
    likeness = (unit(mine[rows]) * unit(theirs.reshape(-1, 128))).sum(axis=1)
    strangers = (unit(mine[rows]) * unit(np.roll(theirs, 1, axis=0).reshape(-1, 128))).sum(axis=1)
    assert np.median(likeness) > 0.93
    assert np.median(strangers) < 0.8


def test_a_turned_plane_has_the_same_keypoints_turned() -> None:
    # 161 pixels, so that every octave keeps the same pixels of either plane.
    plane = np.ascontiguousarray(plane_of(2)[10:171, 10:171])
    points, mine = found_on(plane)
    again, theirs = found_on(np.ascontiguousarray(np.rot90(plane)))
    # A quarter turn to the left sends (x, y) to (y, width - 1 - x).
    moved = np.column_stack([points.places[:, 1], plane.shape[1] - 1 - points.places[:, 0]])
    apart = np.linalg.norm(moved[:, None] - again.places[None], axis=2)
    turn = np.cos(points.angles[:, None] - np.pi / 2 - again.angles[None])
    partner = np.where(turn > 0.98, apart, np.inf).argmin(axis=1)
    close = (np.where(turn > 0.98, apart, np.inf).min(axis=1) < 0.2) & (points.sizes < 8)
    assert close.sum() > 0.9 * (points.sizes < 8).sum()
    assert np.median((unit(mine[close]) * unit(theirs[partner[close]])).sum(axis=1)) > 0.99


@pytest.mark.parametrize("plane", [np.full((64, 64), 128, np.uint8), np.zeros((8, 200), np.uint8)])
def test_nothing_is_found_on_nothing(plane: np.ndarray) -> None:
    points, rows = found_on(plane)
    assert len(points) == 0
    assert rows.shape == (0, 128)


def test_a_picture_votes_for_itself_and_neither_batches_nor_barred_pictures_change_that() -> None:
    features: list[LocalFeatures] = [
        describe_picture(draw_eye(seed), Recipe(side=192, keypoints=200))[0] for seed in range(12)
    ]
    index = LocalIndex(features, VoteSettings(queries=200))
    nobody = np.zeros((12, 12), dtype=np.bool_)
    together = index.ballots(features, nobody)
    alone = [index.ballots([one], nobody[:1])[0] for one in features]
    for row, (one, other) in enumerate(zip(together, alone, strict=True)):
        assert one.pictures[0] == row
        assert one.votes[0] > 3 * one.votes[1]
        assert (one.pictures == other.pictures).all()
        assert (one.votes == other.votes).all()
    barred = index.ballots(features, np.eye(12, dtype=np.bool_))
    assert all(row not in one.pictures for row, one in enumerate(barred))
    assert max(one.votes[0] for one in barred) < min(one.votes[0] for one in together)
    assert index.ballots(features[:1], nobody[:1], voters=50)[0].pictures[0] == 0
