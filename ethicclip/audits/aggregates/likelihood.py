"""Feature Likelihood Divergence and its generalisation gap (Jiralerspong et al. 2023).

A mixture with one Gaussian at every synthetic image, its width fitted to the reference, is asked how likely the
control is. Copies make their Gaussians collapse onto the reference, which the control then pays for. Widths are fitted
by expectation maximisation where the authors' code takes fifty steps of Adam; the rest (standardised features, the wide
component while fitting, 100 times the difference in negative log-likelihood a dimension) is theirs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ethicclip.audits.aggregates.value import Aggregate, Interval, clustered_mean

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_COMPONENTS = 64
_MOST = 1200
"""Pictures a side: the mixture holds a distance for each pair. Larger sets are sampled, which n then says."""
_STEPS = 25
_NARROWEST, _WIDEST = -40.0, 20.0
_WIDE_SHARE = 0.9**2


def reduced(parts: list[Floats]) -> list[Doubles]:
    """The parts on the first principal components of all of them together, standardised (blind to the sides)."""
    together = np.concatenate(parts).astype(np.float64)
    mean = together.mean(axis=0)
    _, values, axes = np.linalg.svd(together - mean, full_matrices=False)
    kept = max(1, min(_COMPONENTS, int((values > 1e-6 * max(float(values[0]), 1e-12)).sum())))
    scale = np.maximum(values[:kept] / np.sqrt(max(1, len(together) - 1)), 1e-9)
    return [(part.astype(np.float64) - mean) @ axes[:kept].T / scale for part in parts]


def squared_distances(first: Doubles, second: Doubles) -> Doubles:
    """Squared Euclidean distances, float64 (n, m), never negative."""
    squared = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :] - 2 * first @ second.T
    return np.asarray(np.maximum(squared, 0.0))


def fit_widths(distances: Doubles, wide: Doubles, dimensions: int) -> Doubles:
    """Log variances of the Gaussians that make the fitted points most likely.

    Args:
        distances: Squared distances of fitted points to centres, float64 (n, m).
        wide: Squared distances of fitted points to their mean, float64 (n,).
        dimensions: Of the space.
    """
    widths = np.log((distances.min(axis=0) + 1e-3) / dimensions)
    wide_width = 0.0
    for _ in range(_STEPS):
        logs = _log_densities(distances, widths, dimensions) - np.log(distances.shape[1])
        others = -0.5 * _WIDE_SHARE * wide / np.exp(wide_width) - dimensions / 2 * wide_width
        top = np.maximum(logs.max(axis=1), others)
        weights = np.exp(logs - top[:, None])
        wide_weights = np.exp(others - top)
        total = weights.sum(axis=1) + wide_weights
        weights /= total[:, None]
        wide_weights /= total
        mass = weights.sum(axis=0)
        moved = (weights * distances).sum(axis=0) / np.maximum(dimensions * mass, 1e-300)
        widths = np.where(mass > 1e-12, np.log(np.maximum(moved, np.exp(_NARROWEST))), widths)
        widths = np.clip(widths, _NARROWEST, _WIDEST)
        spread = float((wide_weights * _WIDE_SHARE * wide).sum() / max(dimensions * wide_weights.sum(), 1e-300))
        wide_width = float(np.clip(np.log(max(spread, 1e-12)), _NARROWEST, _WIDEST))
    return np.asarray(widths)


def negative_log_likelihood(distances: Doubles, widths: Doubles, dimensions: int) -> Doubles:
    """Negative log-likelihood a dimension of each point, constants of the dimension left out, float64 (n,)."""
    logs = _log_densities(distances, widths, dimensions) - np.log(distances.shape[1])
    top = logs.max(axis=1)
    return np.asarray(-(top + np.log(np.exp(logs - top[:, None]).sum(axis=1))) / dimensions)


def _log_densities(distances: Doubles, widths: Doubles, dimensions: int) -> Doubles:
    return -0.5 * distances / np.exp(widths)[None, :] - dimensions / 2 * widths[None, :]


def _fitted(centres: Doubles, points: Doubles) -> Doubles:
    wide = ((points - points.mean(axis=0)) ** 2).sum(axis=1)
    return fit_widths(squared_distances(points, centres), wide, points.shape[1])


def likelihood_divergence(
    synthetic: Floats,
    reference: tuple[Floats, Indices],
    control: tuple[Floats, Indices],
    *,
    rng: np.random.Generator,
) -> tuple[Aggregate, Aggregate]:
    """FLD (control under a mixture fitted to the reference) and gap (reference minus control), intervals by patient.

    The control value of each is the same with reference and control exchanged.
    """
    parts = [synthetic, reference[0], control[0]]
    rows = [np.sort(rng.permutation(len(part))[:_MOST]) for part in parts]
    generated, seen, unseen = reduced([part[row] for part, row in zip(parts, rows, strict=True)])
    seen_by, unseen_by = reference[1][rows[1]], control[1][rows[2]]
    forth = _both(generated, seen, seen_by, unseen, unseen_by, rng)
    back = _both(generated, unseen, unseen_by, seen, seen_by, rng)
    return (
        _aggregate(
            forth[0],
            back[0],
            name="feature likelihood divergence",
            note="Higher is worse: unlike the real pictures, or fitted to the reference alone. Fitted by expectation "
            "maximisation on principal components.",
        ),
        _aggregate(
            forth[1],
            back[1],
            name="feature likelihood gap",
            note="Far below its control value when the reference is likelier than patients that were not seen. The fit "
            "itself makes it negative without any copy.",
        ),
    )


def _aggregate(found: Interval, exchanged: Interval, *, name: str, note: str) -> Aggregate:
    return Aggregate(
        name=name,
        source="Jiralerspong et al. 2023",
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        n=found.n,
        control=exchanged.estimate,
        control_means="reference and control exchanged",
        method=found.method,
        note=note,
    )


def _both(
    generated: Doubles,
    fitted: Doubles,
    fitted_by: Indices,
    held_out: Doubles,
    held_out_by: Indices,
    rng: np.random.Generator,
) -> tuple[Interval, Interval]:
    dimensions = generated.shape[1]
    widths = _fitted(generated, fitted)
    unseen = negative_log_likelihood(squared_distances(held_out, generated), widths, dimensions)
    seen = negative_log_likelihood(squared_distances(fitted, generated), widths, dimensions)
    # The floor: a mixture at one half of the fitted side, fitted to the other half, patients kept whole.
    names = np.unique(fitted_by)
    half = np.isin(fitted_by, rng.permutation(names)[: len(names) // 2])
    base = _fitted(fitted[half], fitted[~half])
    floor = negative_log_likelihood(squared_distances(held_out, fitted[half]), base, dimensions)
    difference = clustered_mean(100 * (unseen - floor), held_out_by)
    first, second = clustered_mean(100 * seen, fitted_by), clustered_mean(100 * unseen, held_out_by)
    gap = first.estimate - second.estimate
    spread = float(np.hypot(first.high - first.estimate, second.high - second.estimate))
    return (
        replace(difference, method="t interval by patient, given the fit"),
        Interval(
            estimate=gap,
            low=gap - spread,
            high=gap + spread,
            n=first.n + second.n,
            method="t interval by patient on each side, given the fit",
        ),
    )
