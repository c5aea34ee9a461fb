"""Aggregates of the literature: worked by hand on tiny worlds, and their intervals checked by simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ethicclip.audits.aggregates import Side, all_aggregates
from ethicclip.audits.aggregates.data_copying import c_t, data_copying, z_of_u
from ethicclip.audits.aggregates.likelihood import fit_widths, likelihood_divergence, negative_log_likelihood
from ethicclip.audits.aggregates.linkability import linked, residual_risk, success_rate
from ethicclip.audits.aggregates.nearest_ratios import Neighbours, authenticity, distance_ratio, ratios
from ethicclip.audits.aggregates.text_neighbours import nearest_texts, words
from ethicclip.audits.statistics import reference_share

DIMENSIONS = 6


def population(rng: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray]:
    """Two alike eyes a patient."""
    centres = rng.normal(size=(patients, DIMENSIONS))
    eyes = np.repeat(centres, 2, axis=0) + 0.3 * rng.normal(size=(2 * patients, DIMENSIONS))
    return eyes.astype(np.float32), np.repeat(np.arange(patients), 2)


def test_z_of_u_by_hand() -> None:
    # 3 generated all nearer than 2 held out: U = 0, mean 2.5 with the correction, sd sqrt(6 * 6 / 12).
    assert z_of_u(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0])) == pytest.approx((0 - 2.5) / np.sqrt(3))
    assert z_of_u(np.array([4.0, 5.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx((6 - 2.5) / np.sqrt(3))


def test_cells_with_too_few_images_are_left_out() -> None:
    near, far = np.full(30, 1.0), np.linspace(2, 3, 30)
    cells = np.zeros(30, dtype=np.int64)
    alone = c_t(near, cells, far, cells)
    assert alone is not None
    assert alone < -3
    assert c_t(near[:19], cells[:19], far, cells) is None
    both = c_t(np.append(near, 9.0), np.append(cells, 1), np.append(far, 5.0), np.append(cells, 1))
    assert both == pytest.approx(alone)


def test_authenticity_and_ratio_look_past_the_patient() -> None:
    real = np.array([[0.0, 0], [0.1, 0], [10, 0], [10.1, 0]], dtype=np.float32)
    patients = np.array([0, 0, 1, 1])
    synthetic = np.array([[0.05, 0], [5.0, 0], [-20, 0]], dtype=np.float32)
    neighbours = Neighbours.of(synthetic, real, patients)
    hits, nearby = neighbours.authentic()
    # The spacing of patient 0 is 9.9 to patient 1, whatever its own two eyes are apart.
    assert hits.tolist() == [False, False, True]
    assert nearby.tolist() == [0, 0, 0]
    # Without patient 0 nobody else is left to be near: the nearest picture has no neighbour, so none is authentic.
    assert neighbours.authentic(patients == 0)[0].tolist() == [False, False, False]
    values, _ = ratios(synthetic, real, patients)
    assert values == pytest.approx([0.05 / 9.95, 4.9 / 5.0, 20 / 30], abs=1e-4)


def test_copies_move_every_aggregate_and_habit_none() -> None:
    rng = np.random.default_rng(1)
    reference, control = population(rng, 120), population(rng, 120)
    fresh, _ = population(rng, 100)
    copied = reference[0][:200] + 0.01 * rng.normal(size=(200, DIMENSIONS)).astype(np.float32)
    found = {}
    for name, synthetic in (("fresh", fresh), ("copied", copied)):
        divergence, gap = likelihood_divergence(synthetic, reference, control, rng=np.random.default_rng(0))
        found[name] = {
            "c_t": data_copying(synthetic, reference, control, rng=np.random.default_rng(0)),
            "authenticity": authenticity(synthetic, reference, control, rng=np.random.default_rng(0)),
            "ratio": distance_ratio(synthetic, reference, control, rng=np.random.default_rng(0)),
            "fld": divergence,
            "gap": gap,
        }
        for one in found[name].values():
            assert one.estimate is not None
            assert one.low is not None
            assert one.high is not None
            assert one.low <= one.estimate <= one.high
            assert one.control is not None
    assert found["copied"]["c_t"].estimate < -3 < found["fresh"]["c_t"].estimate
    assert found["copied"]["authenticity"].estimate < 0.05 < found["fresh"]["authenticity"].estimate
    assert found["copied"]["ratio"].estimate < 0.05 < found["fresh"]["ratio"].estimate
    assert found["copied"]["fld"].estimate > found["fresh"]["fld"].estimate + 10
    assert found["copied"]["gap"].estimate < found["copied"]["gap"].control - 50
    assert abs(found["fresh"]["gap"].estimate - found["fresh"]["gap"].control) < 20


def test_widths_fit_as_worked_by_hand() -> None:
    # One centre and two points at squared distance 2 in two dimensions: variance (2 + 2) / (2 * 2), if the wide
    # component, a million away, takes no part.
    widths = fit_widths(np.array([[2.0], [2.0]]), np.array([1e12, 1e12]), 2)
    assert widths[0] == pytest.approx(0.0, abs=1e-6)
    value = negative_log_likelihood(np.array([[2.0]]), widths, 2)
    assert value[0] == pytest.approx(0.5, abs=1e-6)


def test_identical_points_do_not_break_the_likelihood() -> None:
    same = np.zeros((40, 4), dtype=np.float32)
    patients = np.arange(40)
    for one in likelihood_divergence(same, (same, patients), (same, patients), rng=np.random.default_rng(0)):
        assert one.estimate is not None
        assert np.isfinite(one.estimate)


@pytest.mark.parametrize(
    ("successes", "attacks", "value", "error"),
    # Wilson's centre and half-width at z = 1.959964: (s + 1.9207) / (n + 3.8415).
    [(0, 10, 0.13877, 0.13877), (10, 10, 0.86123, 0.13877), (5, 10, 0.5, 0.26341), (30, 100, 0.30740, 0.08852)],
)
def test_success_rates_by_hand(successes: int, attacks: int, value: float, error: float) -> None:
    rate = success_rate(successes, attacks)
    assert (rate.value, rate.error) == pytest.approx((value, error), abs=1e-4)


def test_the_risk_is_not_clipped_and_all_copies_do_not_raise() -> None:
    everything, nothing = success_rate(50, 50), success_rate(0, 50)
    assert residual_risk(everything, everything).value == pytest.approx(0)
    assert residual_risk(everything, nothing).value > 0.9
    below = residual_risk(nothing, everything)
    assert below.value < -1
    assert np.isfinite(below.error)


def test_linked_needs_both_lists() -> None:
    images, texts = np.array([[0, 1], [2, 3], [4, 5]]), np.array([[1, 9], [8, 9], [5, 4]])
    assert linked(images, texts).tolist() == [True, False, True]


def test_texts_are_compared_by_rare_words_in_any_script() -> None:
    assert words("Mild NPDR, 眼底 2/4") == ["mild", "npdr", "眼", "底", "2", "4"]
    captions = ["a healthy eye", "a healthy eye with a large harbour scar", "左眼 视盘 水肿"]
    assert nearest_texts(["scar from the harbour", "视盘水肿"], captions, 1).ravel().tolist() == [1, 2]


def test_every_aggregate_is_named_whether_it_ran_or_not() -> None:
    rng = np.random.default_rng(2)
    reference, control = population(rng, 30), population(rng, 30)
    synthetic, _ = population(rng, 80)
    texts = [f"report {i} of patient {i // 2}" for i in range(60)]
    captions = [f"caption {i}" for i in range(160)]
    seen, unseen = (
        Side(vectors=reference[0], patients=reference[1], texts=texts),
        Side(vectors=control[0], patients=control[1], texts=texts),
    )
    share = reference_share(np.arange(20), np.repeat([True, False], 30), rng=rng)
    full = all_aggregates(synthetic, captions, seen, unseen, share, seed=0)
    assert all(one.ran for one in full)
    assert json.loads(json.dumps([one.to_json() for one in full], allow_nan=False))
    alone = all_aggregates(synthetic, captions, seen, None, None, seed=0)
    few = all_aggregates(synthetic[:5], None, seen, unseen, share, seed=0)
    assert {one.name for one in full if "gap" not in one.name} <= {one.name for one in alone}
    for one in [*alone, *few]:
        assert one.ran or one.note.startswith("not run")
    assert not any(one.ran for one in few[1:])


def test_the_interval_of_authenticity_covers_over_patients_too() -> None:
    """80 worlds, nominal 95 %: an interval from the images alone covered 0.82 (benchmarks/leakage/aggregates.py)."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(80):
        reference, synthetic = population(rng, 60), population(rng, 100)[0][::2]
        found.append(authenticity(synthetic, reference, None, rng=rng))
    truth = float(np.mean([one.estimate for one in found]))
    assert sum(one.low <= truth <= one.high for one in found) >= 71


def test_c_t_seldom_alarms_without_a_copy() -> None:
    """24 worlds without copies: the alarm at -3 has to be rare although eyes share patients."""
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(24):
        reference, control = population(rng, 60), population(rng, 60)
        synthetic, _ = population(rng, 60)
        value = data_copying(synthetic, reference, control, rng=np.random.default_rng(0)).estimate
        alarms += value is not None and value < -3
    assert alarms <= 2
