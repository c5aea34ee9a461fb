"""The probe reads what is in the embeddings, and nothing through a shared patient."""

from __future__ import annotations

import numpy as np

from ethicclip.evaluation.bootstrap import Resampler, patient_folds
from ethicclip.evaluation.linear_probe import probe
from ethicclip.evaluation.scoring import Predictions


def predictions(truth: np.ndarray, groups: np.ndarray, classes: tuple[str, ...]) -> Predictions:
    positive = 1 if len(classes) == 2 else None
    return Predictions(
        truth=truth, logits=np.zeros((len(truth), len(classes))), groups=groups, classes=classes, positive=positive
    )


def test_it_reads_a_linear_sign() -> None:
    rng = np.random.default_rng(0)
    truth, groups = np.tile([0, 1, 2], 60), np.repeat(np.arange(90), 2)
    features = rng.standard_normal((180, 16)).astype(np.float32)
    features[np.arange(180), truth] += 4
    found = probe(features, predictions(truth, groups, ("a", "b", "c")), Resampler(groups=groups), seed=0)
    assert found["balanced_accuracy"].estimate > 0.9
    assert found["auroc_one_vs_rest"]["c"].estimate > 0.97
    assert "not zero-shot" in found["note"]
    assert "auroc" not in found


def test_a_patient_who_is_recognised_is_no_help() -> None:
    # Both pictures of a patient are alike and nothing else tells: a leak between folds would score near 1.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 2)
    truth = rng.integers(0, 2, 60)[groups]
    features = (rng.standard_normal((60, 40))[groups] + 0.01 * rng.standard_normal((120, 40))).astype(np.float32)
    found = probe(features, predictions(truth, groups, ("a", "b")), Resampler(groups=groups), seed=0)
    assert 0.25 < found["auroc"].estimate < 0.75
    assert found["auroc"].low < 0.5 < found["auroc"].high


def test_classes_and_patients_too_few_to_learn_from() -> None:
    truth, groups = np.array([0, 0, 1]), np.array([0, 0, 1])
    found = probe(np.eye(3, dtype=np.float32), predictions(truth, groups, ("a", "b")), Resampler(groups=groups), seed=0)
    assert (found["accuracy"].low, found["auroc"].low) < (1.0, 1.0)


def test_folds_keep_patients_together() -> None:
    groups = np.repeat(np.arange(23), 3)
    folds = patient_folds(groups, 5, seed=1)
    assert all(len(set(folds[groups == patient])) == 1 for patient in range(23))
    assert set(folds) == set(range(5))
    assert np.bincount(folds).min() >= 12
    assert set(patient_folds(np.array([0, 0, 1]), 5, seed=0)) == {0, 1}
