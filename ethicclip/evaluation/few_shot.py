"""What a linear classifier reads from the embeddings when a few patients of each class are labelled.

Not zero-shot: it learns from this cohort. Each draw takes k patients a class, one image each, and scores all patients
that were not drawn. The interval holds both kinds of chance: which patients are scored (resampled), and which were
there to learn from. Draws from one cohort share patients, so the mean of D of them varies by more than s^2 / D, where
s^2 is the variance between them: for k of m patients a class by at most s^2 [1/D + (1 - 1/D) k/m], since a U-statistic
of order k has at most k/m of its kernel's variance (Hoeffding, Annals of Mathematical Statistics 1948, theorem 5.2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ethicclip.evaluation import metrics
from ethicclip.evaluation.bootstrap import Resampler, Score, Statistic, freedom_of_mean
from ethicclip.evaluation.linear_probe import fit_and_apply
from ethicclip.evaluation.metrics import Array, Flags, Indices, Weights
from ethicclip.evaluation.scoring import Predictions, patients_by_class

PENALTY = 0.1
"""Of the logistic regression; fixed, since a few shots leave nothing to choose it by."""

NOTE = "learned from this many labelled patients a class of this cohort, scored on the others; not zero-shot"


def few_shot(
    embeddings: npt.NDArray[np.float32],
    predictions: Predictions,
    resampler: Resampler,
    *,
    shots: tuple[int, ...],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Balanced accuracy of linear probes on k patients a class.

    Args:
        embeddings: One row an image, float32 (n, d).
        predictions: For truth, classes and patients; its logits are not used.
        resampler: The same that scores the model.
        shots: Numbers k of patients a class.
        draws: Repetitions of each.
        seed: Of the draws.

    Returns:
        {"note", "draws", "shots": {k: {"balanced_accuracy": Estimate, "between_draws": standard deviation} or
        {"reason"}}}. A k that does not leave a patient of every class to be scored has a reason instead.
    """
    truth, groups, classes = predictions.truth, predictions.groups, len(predictions.classes)
    values = embeddings.astype(np.float64)
    statistics: dict[str, Statistic] = {}
    scores: dict[str, Score] = {}
    found: dict[str, dict[str, Any]] = {}
    for count in dict.fromkeys(shots):
        key = str(count)
        made = [
            _draw(values, truth, groups, classes, count, np.random.default_rng([seed, count, draw]))
            for draw in range(draws)
        ]
        kept = [one for one in made if one is not None]
        if len(kept) < 2:
            found[key] = {"reason": f"a class has too few patients for {count} to learn from and others to be scored"}
            continue
        single = [float(_score(truth, guess, tested, classes, None)) for guess, tested in kept]
        spread = float(np.std(single, ddof=1))
        statistics[key] = _mean_over(kept, truth, classes)
        patients = patients_by_class(truth, groups, classes)
        recalls = np.mean(
            [metrics.recalls(metrics.confusion(truth[t], guess[t], classes)) for guess, t in kept], axis=0
        )
        scores[key] = Score(
            statistic=key,
            value=_itself,
            rows=np.ones(len(truth), dtype=np.bool_),
            rarest=int(patients.min()),
            freedom=freedom_of_mean(recalls, patients),
            floor_variance=spread**2 * (1 / len(kept) + (1 - 1 / len(kept)) * count / int(patients.min())),
            edge_power=classes,
        )
        found[key] = {"between_draws": spread, "draws_used": len(kept)}
    for key, estimate in resampler.estimates(statistics, scores).items():
        found[key]["balanced_accuracy"] = estimate
    return {"note": NOTE, "draws": draws, "shots": found}


def _draw(
    values: Array, truth: Indices, groups: Indices, classes: int, count: int, rng: np.random.Generator
) -> tuple[Indices, Flags] | None:
    """Predictions of all images and which of them may be scored; None where no class-complete rest is left."""
    learned: list[int] = []
    taken = np.zeros(int(groups.max()) + 1, dtype=np.bool_)
    # The rarest class first: a patient with an eye of each may be needed there.
    for index in np.argsort(np.bincount(truth, minlength=classes), kind="stable"):
        rows = np.flatnonzero((truth == index) & ~taken[groups])
        people = np.unique(groups[rows])
        if len(people) <= count:
            return None
        for person in rng.choice(people, size=count, replace=False):
            learned.append(int(rng.choice(rows[groups[rows] == person])))
            taken[person] = True
    tested = ~taken[groups]
    if len(np.unique(truth[tested])) < classes:
        return None
    fit = np.zeros(len(truth), dtype=np.bool_)
    fit[learned] = True
    guess = np.zeros(len(truth), dtype=np.int64)
    guess[tested] = fit_and_apply(values, truth, classes, fit, tested, PENALTY).argmax(axis=1)
    return guess, tested


def _score(truth: Indices, guess: Indices, tested: Flags, classes: int, weights: Weights | None) -> Array:
    chosen = None if weights is None else weights[:, tested]
    return metrics.balanced_accuracy(metrics.confusion(truth[tested], guess[tested], classes, chosen))


def _mean_over(kept: list[tuple[Indices, Flags]], truth: Indices, classes: int) -> Statistic:
    def compute(weights: Weights) -> Array:
        return np.asarray(np.mean([_score(truth, guess, tested, classes, weights) for guess, tested in kept], axis=0))

    return compute


def _itself(values: Array) -> Array:
    return values
