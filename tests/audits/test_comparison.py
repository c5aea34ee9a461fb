"""Description, search, verification, artefacts and the ladder, each on its own."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ethicclip.audits.agreement import Agreement, agreement, dense_evidence
from ethicclip.audits.artefacts import artefact_keypoints
from ethicclip.audits.comparison import Pair
from ethicclip.audits.description.frame import vessel_plane, without_paint, working_frame
from ethicclip.audits.description.local import LocalFeatures, Recipe, describe_picture
from ethicclip.audits.description.pixel import global_descriptors, is_empty, mirrored, thumbnail, worst_tiles
from ethicclip.audits.ladder import HARSH, KINDS, ORDINARY, plant
from ethicclip.audits.naming import ANOTHER_PHOTOGRAPH, CHANGED_COPY, COPY, name_relation, name_transformation
from ethicclip.audits.search import nearest
from ethicclip.audits.verification import (
    Tolerances,
    Verification,
    fit_affine,
    fit_similarity,
    significance,
    verify_pair,
)
from ethicclip.errors import UsageError
from ethicclip.imaging import Pixels, field_of_view

from .eyes import draw_eye

RECIPE = Recipe(side=192, keypoints=250)


def features(seed: int) -> LocalFeatures:
    return described(draw_eye(seed))


def described(image: Pixels) -> LocalFeatures:
    return describe_picture(image, RECIPE)[0]


def test_mirrored_features_are_those_of_the_mirrored_picture() -> None:
    eye = draw_eye(1)
    turned = described(np.ascontiguousarray(eye[:, ::-1]))
    derived = described(eye).mirrored()
    distance = np.linalg.norm(derived.descriptors[:, None].astype(float) - turned.descriptors[None], axis=2)
    same = distance.argmin(axis=1)
    close = distance.min(axis=1) < 150
    assert close.mean() > 0.7
    assert np.median(np.abs(derived.places - turned.places[same])[close]) < 0.02
    twice = derived.mirrored()
    assert (twice.descriptors == described(eye).descriptors).all()


@pytest.mark.parametrize("side", [112, 224, 400])
def test_the_size_of_a_picture_does_not_matter(side: int) -> None:
    first, second = features(2), described(draw_eye(2, side=side))
    same = verify_pair(second, first, Tolerances())
    other = verify_pair(described(draw_eye(3, side=side)), first, Tolerances())
    assert same.inliers >= 25
    assert same.score > 3 * max(other.score, 10)
    assert float(np.linalg.det(same.affine[:, :2])) == pytest.approx(1.0, abs=0.1)


def test_verification_recovers_the_rotation() -> None:
    source = draw_eye(4)
    copy = plant("rotation15", source, np.random.default_rng(0))
    found = verify_pair(described(copy), features(4), Tolerances())
    turn = np.degrees(np.arctan2(found.affine[1, 0], found.affine[0, 0]))
    assert abs(abs(turn) - 15) < 1.5
    pair = Pair(picture=0, flipped=True, score=1.0, votes=0.0, tile=1.0, verification=found)
    assert name_transformation(pair).startswith(f"flip+rotation {turn:.0f}")


def test_verification_of_empty_pictures_is_nothing() -> None:
    empty = described(np.zeros((100, 100, 3), np.uint8))
    assert len(empty) == 0
    assert verify_pair(empty, features(1), Tolerances()).score == 0


def test_a_crop_is_found_whatever_part_it_shows() -> None:
    """The source agrees with a crop of a third of its side by keypoints and between them; another eye does not."""
    source, other = draw_eye(4, side=384), draw_eye(6, side=384)
    crop = plant("crop30", source, np.random.default_rng(2))
    (part, part_plane), (whole, plane), (stranger, stranger_plane) = (
        describe_picture(one, Recipe()) for one in (crop, source, other)
    )
    right, wrong = verify_pair(part, whole, Tolerances()), verify_pair(part, stranger, Tolerances())
    assert right.score > 3 * max(wrong.score, 10)
    assert float(np.linalg.det(right.affine[:, :2])) < 0.5
    evidence = dense_evidence(agreement(part_plane, plane, right.affine))
    assert evidence > 20 > dense_evidence(agreement(part_plane, stranger_plane, wrong.affine))


def test_agreement_is_one_for_a_picture_with_itself_turned() -> None:
    eye = draw_eye(4)
    turned = np.ascontiguousarray(np.rot90(eye))
    first, second = (describe_picture(one, RECIPE)[1] for one in (eye, turned))
    # rot90 moves (x, y) to (y, -x) about the centre.
    found = agreement(first, second, np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]))
    assert found.correlation > 0.9
    assert found.local > 0.8
    upright = agreement(first, second, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    assert dense_evidence(upright) < 20 < dense_evidence(found)
    assert agreement(first, second, np.zeros((2, 3))).pixels == 0


@pytest.mark.parametrize("sigma", [0, 20, 40])
def test_noise_does_not_hide_the_field(sigma: int) -> None:
    eye, rng = draw_eye(5, side=384), np.random.default_rng(0)
    noisy = np.clip(eye + rng.normal(0, sigma, eye.shape), 0, 255).astype(np.uint8)
    assert field_of_view(noisy).radius == pytest.approx(field_of_view(eye).radius, rel=0.03)


def test_fits_by_hand() -> None:
    source = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
    # A quarter turn, twice the size, moved by (5, -1): (x, y) -> (-2y + 5, 2x - 1).
    target = np.column_stack([-2 * source[:, 1] + 5, 2 * source[:, 0] - 1])
    for fit in (fit_similarity, fit_affine):
        assert fit(source, target) == pytest.approx(np.array([[0, -2, 5], [2, 0, -1]]), abs=1e-9)


def test_significance_by_hand() -> None:
    # 3 matches, all agree, chance 0.1: 3 proposals * 0.1 ** 2 = 0.03, minus log10 is 1.5229.
    assert significance(3, 3, 0.1) == pytest.approx(1.5229, abs=1e-4)
    # 2 of 3: one of two others agrees or both, 0.19; times 3 is 0.57.
    assert significance(2, 3, 0.1) == pytest.approx(-np.log10(0.57), abs=1e-6)
    assert significance(1, 10, 0.1) == 0.0


@pytest.mark.parametrize("memory_bytes", [1 << 29, 20_000])
def test_search_is_exact_and_ordered_whatever_the_blocks(memory_bytes: int) -> None:
    rng = np.random.default_rng(0)
    database = rng.normal(size=(3000, 24)).astype(np.float32)
    database[100] = database[2500]
    queries = np.concatenate([database[[2500, 7]], rng.normal(size=(40, 24)).astype(np.float32)])
    distances, rows = nearest(queries, database, 5, memory_bytes=memory_bytes)
    every = np.linalg.norm(queries[:, None].astype(float) - database[None].astype(float), axis=2)
    expected = np.lexsort((np.broadcast_to(np.arange(3000), every.shape), every), axis=1)[:, :5]
    assert (rows == expected).all()
    assert distances == pytest.approx(np.take_along_axis(every, expected, axis=1))
    assert rows[0, :2].tolist() == [100, 2500]
    assert distances[0, 0] == 0.0


def test_search_looks_twice_where_rounding_hides_neighbours() -> None:
    """Far from the origin float32 products are off by more than neighbours are apart; the order is exact still."""
    rng = np.random.default_rng(1)
    database = (300 + rng.normal(size=(400, 16))).astype(np.float32)
    queries = (300 + rng.normal(size=(30, 16))).astype(np.float32)
    distances, rows = nearest(queries, database, 3)
    every = np.linalg.norm(queries[:, None].astype(float) - database[None].astype(float), axis=2)
    assert (distances[:, 0] == every.min(axis=1)).all()
    assert (rows[:, 0] == every.argmin(axis=1)).all()


def test_search_refuses_unequal_widths() -> None:
    with pytest.raises(UsageError):
        nearest(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32), 1)


def test_paint_leaves_the_mask_and_an_eye_keeps_all_of_its_own() -> None:
    eye = draw_eye(4, side=256)
    whole = working_frame(eye, side=192)
    assert without_paint(whole, unit=96).mask.sum() > 0.999 * whole.mask.sum()
    covered = eye.copy()
    covered[60:140, 90:170] = (90, 90, 90)
    frame = working_frame(covered, side=192)
    left = without_paint(frame, unit=96).mask
    lost = frame.mask.sum() - left.sum()
    assert 0.8 < lost / (80 * frame.scale + 6) ** 2 < 1.2
    centre = (np.array([130, 100]) - np.array(frame.origin)) * frame.scale
    assert not left[round(centre[1]), round(centre[0])]


def test_grain_is_averaged_only_where_it_is_heavy() -> None:
    eye = draw_eye(4, side=192)
    rng = np.random.default_rng(2)
    noisy = np.clip(eye + rng.normal(0, 30, eye.shape), 0, 255).astype(np.uint8)
    clean, grainy = (working_frame(one, side=192, field=field_of_view(eye)) for one in (eye, noisy))
    planes = [vessel_plane(one, blur=1.0, clip_limit=3.0, unit=96).astype(float) for one in (clean, grainy)]
    # Without the averaging it is 0.82.
    assert np.corrcoef(planes[0][clean.mask], planes[1][clean.mask])[0, 1] > 0.87


@pytest.mark.parametrize(
    ("flipped", "turn", "scale", "correlation", "tile", "relation"),
    [
        (False, 0, 1.0, 0.98, 0.9, COPY),
        (True, 40, 0.5, 0.96, 0.9, COPY),
        (False, 0, 1.0, 0.5, 0.2, COPY),
        (False, 5, 1.1, 0.8, 0.9, ANOTHER_PHOTOGRAPH),
        (True, 5, 1.1, 0.8, 0.9, CHANGED_COPY),
        (False, 90, 1.0, 0.8, 0.9, CHANGED_COPY),
        (False, 0, 0.4, 0.8, 0.9, CHANGED_COPY),
    ],
)
def test_relations_by_hand(
    flipped: bool, turn: float, scale: float, correlation: float, tile: float, relation: str
) -> None:
    cos, sin = scale * np.cos(np.deg2rad(turn)), scale * np.sin(np.deg2rad(turn))
    affine = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
    verification = Verification(score=100, inliers=40, matches=60, affine=affine, spread=1.0)
    dense = Agreement(correlation=correlation, local=0.5, pixels=9000)
    pair = Pair(picture=0, flipped=flipped, score=120, votes=0.1, tile=tile, verification=verification, agreement=dense)
    assert name_relation(pair) == relation


def test_pixels_know_copies_from_other_eyes() -> None:
    eye, other = thumbnail(draw_eye(5)), thumbnail(draw_eye(6))
    copy = thumbnail(plant("jpeg70", draw_eye(5), np.random.default_rng(0)))
    same, near, far = worst_tiles(eye, np.stack([eye, copy, other]))
    assert same == pytest.approx(0.0, abs=1e-5)
    assert near < 0.35 < far
    assert (mirrored(mirrored(eye)) == eye).all()
    assert np.linalg.norm(global_descriptors(np.stack([eye, other])), axis=1) == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize("value", [0, 90, 255])
def test_a_uniform_picture_is_empty(value: int) -> None:
    assert is_empty(thumbnail(np.full((100, 100, 3), value, np.uint8)))
    assert not is_empty(thumbnail(draw_eye(1)))


def test_artefacts_are_what_recurs_at_one_place_of_the_sensor() -> None:
    """A smudge that five patients share is dropped; their vessels are kept, and so is what one patient repeats."""
    rng = np.random.default_rng(0)
    pictures, smudged = [], []
    for seed in range(5):
        eye = draw_eye(20 + seed)
        stamp = np.random.default_rng(99).integers(0, 160, size=(6, 6, 3), dtype=np.uint8)
        eye[50:86, 100:136] = cv2.resize(stamp, (36, 36), interpolation=cv2.INTER_CUBIC)
        found = described(eye)
        pictures.append(found)
        smudged.append(np.abs(found.sensor * 192 - np.array([118, 68])).max(axis=1) < 10)
    dropped = artefact_keypoints(pictures, np.arange(5))
    inside = np.concatenate([bad[mask] for bad, mask in zip(dropped, smudged, strict=True)])
    outside = np.concatenate([bad[~mask] for bad, mask in zip(dropped, smudged, strict=True)])
    assert inside.mean() > 0.3
    assert outside.mean() < 0.02
    one_patient = artefact_keypoints(pictures, np.zeros(5, dtype=np.int64))
    assert not any(bad.any() for bad in one_patient)
    order = rng.permutation(5)
    again = artefact_keypoints([pictures[i] for i in order], np.arange(5)[order])
    assert all((again[place] == dropped[i]).all() for place, i in enumerate(order))


def test_every_rung_keeps_shape_and_is_repeatable() -> None:
    source, other = draw_eye(8), draw_eye(9)
    assert len(ORDINARY) >= 16
    assert len(HARSH) >= 12
    for kind in KINDS:
        first = plant(kind, source, np.random.default_rng(3), other=other)
        assert first.shape == source.shape
        assert first.dtype == np.uint8
        assert (first == plant(kind, source, np.random.default_rng(3), other=other)).all(), kind
        assert (first != source).any(), kind
    with pytest.raises(UsageError, match="upside"):
        plant("upside", source, np.random.default_rng(0))
