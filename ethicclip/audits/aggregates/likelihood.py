"""Feature Likelihood Divergence and its generalisation gap (Jiralerspong et al. 2023).

A mixture with one Gaussian at every synthetic image, its width fitted to the reference, is asked how likely the
control is. Copies make their Gaussians collapse onto the reference, which the control then pays for. Widths are fitted
by expectation maximisation where the authors' code takes fifty steps of Adam; the rest (standardised features, the wide
component while fitting, 100 times the difference in negative log-likelihood a dimension) is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from ethicclip.audits.aggregates.value import Aggregate

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_COMPONENTS = 64
_MOST = 600
"""Pictures a side: the mixture holds a distance for each pair. Larger sets are sampled, which n then says."""
_STEPS = 25
_STEPS_NEAR = 4
_BOOTSTRAP = 40
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


def fit_widths(
    distances: Doubles,
    wide: Doubles,
    dimensions: int,
    *,
    points: Doubles | None = None,
    centres: Doubles | None = None,
    start: Doubles | None = None,
) -> Doubles:
    """Log variances of the Gaussians that make the fitted points most likely.

    Args:
        distances: Squared distances of fitted points to centres, float64 (n, m).
        wide: Squared distances of fitted points to their mean, float64 (n,).
        dimensions: Of the space.
        points: Weights of the fitted points, float64 (n,); one each by default.
        centres: Weights of the Gaussians, float64 (m,), 0 for those left out; one each by default.
        start: Log variances near the optimum, from which few steps are enough.
    """
    count = np.ones(len(distances)) if points is None else points
    shares = _log_shares(distances.shape[1], centres)
    widths = np.log((distances.min(axis=0) + 1e-3) / dimensions) if start is None else start
    wide_width = 0.0
    for _ in range(_STEPS if start is None else _STEPS_NEAR):
        logs = _log_densities(distances, widths, dimensions) + shares
        others = -0.5 * _WIDE_SHARE * wide / np.exp(wide_width) - dimensions / 2 * wide_width
        top = np.maximum(logs.max(axis=1), others)
        weights = np.exp(logs - top[:, None])
        wide_weights = np.exp(others - top)
        total = (weights.sum(axis=1) + wide_weights) / count.clip(min=1e-300)
        weights /= total[:, None]
        wide_weights /= total
        mass = weights.sum(axis=0)
        moved = (weights * distances).sum(axis=0) / np.maximum(dimensions * mass, 1e-300)
        widths = np.where(mass > 1e-12, np.log(np.maximum(moved, np.exp(_NARROWEST))), widths)
        widths = np.clip(widths, _NARROWEST, _WIDEST)
        spread = float((wide_weights * _WIDE_SHARE * wide).sum() / max(dimensions * wide_weights.sum(), 1e-300))
        wide_width = float(np.clip(np.log(max(spread, 1e-12)), _NARROWEST, _WIDEST))
    return np.asarray(widths)


def negative_log_likelihood(
    distances: Doubles, widths: Doubles, dimensions: int, *, centres: Doubles | None = None
) -> Doubles:
    """Negative log-likelihood a dimension of each point, constants of the dimension left out, float64 (n,)."""
    logs = _log_densities(distances, widths, dimensions) + _log_shares(distances.shape[1], centres)
    top = logs.max(axis=1)
    return np.asarray(-(top + np.log(np.exp(logs - top[:, None]).sum(axis=1))) / dimensions)


def _log_shares(count: int, weights: Doubles | None) -> Doubles:
    if weights is None:
        return np.full(count, -np.log(count))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(weights / weights.sum()))


def _log_densities(distances: Doubles, widths: Doubles, dimensions: int) -> Doubles:
    return -0.5 * distances / np.exp(widths)[None, :] - dimensions / 2 * widths[None, :]


@dataclass(frozen=True, kw_only=True)
class _Figures:
    divergence: float
    gap: float


class _Setting:
    """Distances between one synthetic set, the side that is fitted and the side held out; computed once, drawn often.

    The floor is a mixture at one half of the fitted side's patients, fitted to the other half.
    """

    def __init__(
        self,
        generated: Doubles,
        fitted: Doubles,
        fitted_by: Indices,
        held_out: Doubles,
        held_out_by: Indices,
        rng: np.random.Generator,
    ) -> None:
        self.dimensions = generated.shape[1]
        names, self.fitted_by = np.unique(fitted_by, return_inverse=True)
        _, self.held_out_by = np.unique(held_out_by, return_inverse=True)
        self.half = np.isin(fitted_by, rng.permutation(names)[: len(names) // 2])
        self.seen = squared_distances(fitted, generated)
        self.unseen = squared_distances(held_out, generated)
        self.inner = squared_distances(fitted[~self.half], fitted[self.half])
        self.outer = squared_distances(held_out, fitted[self.half])
        self.wide = ((fitted - fitted.mean(axis=0)) ** 2).sum(axis=1)
        self.widths = fit_widths(self.seen, self.wide, self.dimensions)
        self.floor = fit_widths(self.inner, self.wide[~self.half], self.dimensions)

    def value(self) -> _Figures:
        """The figures of the sets as they are."""
        return self._figures(self.widths, self.floor, None, None, None)

    def drawn(self, rng: np.random.Generator) -> _Figures:
        """The figures with patients of both sides and synthetic images drawn with replacement, as weights."""
        fitted = _multiplicities(self.fitted_by, rng)
        held_out = _multiplicities(self.held_out_by, rng)
        made = _multiplicities(np.arange(self.seen.shape[1]), rng)
        widths = fit_widths(self.seen, self.wide, self.dimensions, points=fitted, centres=made, start=self.widths)
        floor = fit_widths(
            self.inner,
            self.wide[~self.half],
            self.dimensions,
            points=fitted[~self.half],
            centres=fitted[self.half],
            start=self.floor,
        )
        return self._figures(widths, floor, made, fitted, held_out)

    def _figures(
        self, widths: Doubles, floor: Doubles, made: Doubles | None, fitted: Doubles | None, held_out: Doubles | None
    ) -> _Figures:
        unseen = negative_log_likelihood(self.unseen, widths, self.dimensions, centres=made)
        seen = negative_log_likelihood(self.seen, widths, self.dimensions, centres=made)
        base = negative_log_likelihood(
            self.outer, floor, self.dimensions, centres=None if fitted is None else fitted[self.half]
        )
        mean_unseen = float(np.average(unseen, weights=held_out))
        return _Figures(
            divergence=100 * (mean_unseen - float(np.average(base, weights=held_out))),
            gap=100 * (float(np.average(seen, weights=fitted)) - mean_unseen),
        )


def _multiplicities(owners: Indices, rng: np.random.Generator) -> Doubles:
    """How often each row is drawn when whole owners are drawn with replacement, float64 (n,)."""
    count = int(owners.max()) + 1
    return np.asarray(np.bincount(rng.integers(0, count, size=count), minlength=count)[owners], dtype=np.float64)


def likelihood_divergence(
    synthetic: Floats,
    reference: tuple[Floats, Indices],
    control: tuple[Floats, Indices],
    *,
    rng: np.random.Generator,
) -> tuple[Aggregate, Aggregate]:
    """FLD (control under a mixture fitted to the reference) and gap (reference minus control), bootstrap by patient.

    Every draw fits the widths anew. The control value of each is the same with reference and control exchanged.
    """
    parts = [synthetic, reference[0], control[0]]
    rows = [np.sort(rng.permutation(len(part))[:_MOST]) for part in parts]
    generated, seen, unseen = reduced([part[row] for part, row in zip(parts, rows, strict=True)])
    seen_by, unseen_by = reference[1][rows[1]], control[1][rows[2]]
    forth = _Setting(generated, seen, seen_by, unseen, unseen_by, rng)
    value = forth.value()
    back = _Setting(generated, unseen, unseen_by, seen, seen_by, rng).value()
    draws = [forth.drawn(rng) for _ in range(_BOOTSTRAP)]
    patients = len(np.unique(seen_by)) + len(np.unique(unseen_by))
    return (
        _aggregate(
            value.divergence,
            [one.divergence for one in draws],
            back.divergence,
            n=patients,
            name="feature likelihood divergence",
            note="Higher is worse: unlike the real pictures, or fitted to the reference alone. Fitted by expectation "
            "maximisation on principal components.",
        ),
        _aggregate(
            value.gap,
            [one.gap for one in draws],
            back.gap,
            n=patients,
            name="feature likelihood gap",
            note="Far below its control value when the reference is likelier than patients that were not seen. The fit "
            "itself makes it negative without any copy.",
        ),
    )


def _aggregate(value: float, draws: list[float], exchanged: float, *, n: int, name: str, note: str) -> Aggregate:
    half = float(np.std(draws, ddof=1)) * float(student.ppf(0.975, len(draws) - 1))
    return Aggregate(
        name=name,
        source="Jiralerspong et al. 2023",
        estimate=value,
        low=value - half,
        high=value + half,
        n=n,
        control=exchanged,
        control_means="reference and control exchanged",
        method="bootstrapped standard error by patient, t interval",
        note=note,
    )
