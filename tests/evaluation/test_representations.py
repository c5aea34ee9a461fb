"""CKA against its definition and a known population value; neighbours by hand; references that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from ethicclip.errors import BadInputError
from ethicclip.evaluation import representations
from ethicclip.evaluation.representations import (
    cka,
    compare_representations,
    neighbours,
    overlaps,
    patient_permutation,
)


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al. 2012, equation 5, written out over matrices of images by images."""

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        n, one = len(k), np.ones(len(k))
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        terms = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        return float((terms - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3)))

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


@pytest.mark.parametrize("seed", range(5))
def test_cka_is_its_definition_and_blind_to_axes_scale_and_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 7))
    y[:, :4] += x
    assert cka(x, y) == pytest.approx(by_definition(x, y))
    turn = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    assert cka(x, 3 * y @ turn + rng.normal(size=7)) == pytest.approx(cka(x, y))
    assert cka(x, x) == pytest.approx(1.0)


def test_cka_of_unrelated_wide_representations_is_zero_where_the_plain_one_is_not() -> None:
    rng = np.random.default_rng(0)
    found, plain = [], []
    for _ in range(30):
        x, y = rng.normal(size=(40, 200)), rng.normal(size=(40, 200))
        found.append(cka(x, y))
        x, y = x - x.mean(0), y - y.mean(0)
        plain.append(np.sum((x.T @ y) ** 2) / np.sqrt(np.sum((x.T @ x) ** 2) * np.sum((y.T @ y) ** 2)))
    assert abs(np.mean(found)) < 0.02
    assert np.mean(plain) > 0.7


def test_constant_and_too_few() -> None:
    assert np.isnan(cka(np.ones((9, 2)), np.arange(18.0).reshape(9, 2)))
    with pytest.raises(BadInputError, match="four or more"):
        cka(np.ones((3, 2)), np.ones((3, 2)))
    found = compare_representations(
        np.ones((4, 2)), np.ones((4, 2)), np.arange(4), np.zeros(4, int), count=2, permutations=5, seed=0, level=0.95
    )
    assert "too few" in found["reason"]


def test_neighbours_by_hand_leave_out_the_same_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    angles = np.radians([0, 1, 10, 30, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    groups = np.array([0, 0, 1, 2, 3])
    near = neighbours(5 * vectors, groups, 2)
    assert near.tolist() == [[2, 3], [2, 3], [1, 0], [2, 1], [3, 2]]
    monkeypatch.setattr(representations, "_CELLS", 10)
    assert np.array_equal(neighbours(vectors, groups, 2), near)
    other = np.array([[2, 4], [2, 3], [3, 4], [4, 2], [0, 1]])
    assert overlaps(near, other).tolist() == [0.5, 1.0, 0.0, 0.5, 0.0]


def test_permutations_keep_patients_together_and_labels_alike() -> None:
    groups = np.array([0, 0, 1, 1, 2, 3, 3])
    labels = [1, 0, 0, 1, 0, 1, 1]
    seen = set()
    for seed in range(30):
        target = patient_permutation(groups, labels, np.random.default_rng(seed))
        assert sorted(target) == list(range(7))
        assert [labels[row] for row in target] == labels
        assert len(set(groups[target[:2]])) == 1
        # Patients 2 and 3 have nobody like them.
        assert target[4:].tolist() == [4, 5, 6]
        seen.add(tuple(target))
    assert seen == {tuple(range(7)), (3, 2, 1, 0, 4, 5, 6)}


def world(rng: np.random.Generator, patients: int, mix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    groups = np.repeat(np.arange(patients), 2)
    x = 0.8 * rng.normal(size=(patients, 4))[groups] + 0.6 * rng.normal(size=(2 * patients, 4))
    return x, x @ mix + rng.normal(size=(2 * patients, 3)), groups


def test_intervals_of_cka_cover_a_known_value() -> None:
    mix = np.random.default_rng(5).normal(size=(4, 3))
    # x has unit covariance, so the population's CKA is |mix|^2 / (|I| |mix' mix + I|).
    inside = mix.T @ mix + np.eye(3)
    truth = (mix**2).sum() / np.sqrt(4 * (inside**2).sum())
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(150):
        x, y, groups = world(rng, 50, mix)
        found = compare_representations(x, y, groups, groups % 2, count=5, permutations=1, seed=seed, level=0.95)[
            "cka"
        ]["value"]
        covered += found.low <= truth <= found.high
        assert found.patients == 50
    # 150 repeats of a true 95 % give at least 90 % with probability .99.
    assert covered / 150 >= 0.9, covered


def test_references_tell_relation_from_labels_alone() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), 2)
    labels = (np.arange(60) % 2)[groups]
    signal = np.stack([4.0 * labels, rng.normal(size=120)], axis=1)
    # Both know the label; the second shares nothing else with the first.
    other = np.stack([4.0 * labels, rng.normal(size=120)], axis=1)
    found = compare_representations(signal, other, groups, labels, count=5, permutations=99, seed=0, level=0.95)["cka"]
    assert found["value"].estimate > 0.3
    assert found["unrelated"].p_value == 0.01
    assert abs(found["unrelated"].mean) < 0.1
    assert found["same_label"].p_value > 0.05
    assert found["same_label"].mean == pytest.approx(found["value"].estimate, abs=0.05)
    same = compare_representations(signal, signal * 2, groups, labels, count=5, permutations=99, seed=0, level=0.95)
    assert same["cka"]["same_label"].p_value == 0.01
    assert same["neighbour_overlap"]["value"].estimate == 1.0
    assert same["neighbour_overlap"]["by_chance"] == pytest.approx(5 / 119)
