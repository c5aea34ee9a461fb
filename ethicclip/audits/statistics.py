"""The audit's statistics: pure functions of arrays, with the sources of their formulas.

Nothing here knows of pictures. "Patient" is the unit whatever it stands for; reference and control are the two
sides of one pool, and `in_reference` says on which side a patient lies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A share or rate with its interval.

    Attributes:
        estimate, low, high: The value and the ends of its interval.
        n: Number of units behind it.
        level: Confidence of the interval.
        method: How the interval was made.
    """

    estimate: float
    low: float
    high: float
    n: int
    level: float
    method: str

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def clopper_pearson(hits: int, trials: int, *, level: float = 0.95) -> Estimate:
    """Two-sided exact interval of a share (Clopper and Pearson 1934); [0, 1] when there was no trial."""
    if trials == 0:
        return Estimate(estimate=0.0, low=0.0, high=1.0, n=0, level=level, method="clopper-pearson")
    rest = (1 - level) / 2
    low = float(beta.ppf(rest, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - rest, hits + 1, trials - hits)) if hits < trials else 1.0
    return Estimate(estimate=hits / trials, low=low, high=high, n=trials, level=level, method="clopper-pearson")


def upper_limit(hits: int, trials: int, *, level: float = 0.95) -> float:
    """One-sided exact upper limit of a share (Clopper and Pearson 1934); 1 when there was no trial."""
    return 1.0 if hits >= trials else float(beta.ppf(level, hits + 1, trials - hits))


def wilson(hits: int, trials: int, *, level: float = 0.95) -> Estimate:
    """Two-sided score interval of a share (Wilson 1927); [0, 1] when there was no trial."""
    if trials == 0:
        return Estimate(estimate=0.0, low=0.0, high=1.0, n=0, level=level, method="wilson")
    z = float(norm.ppf(1 - (1 - level) / 2))
    share = hits / trials
    centre = (hits + z * z / 2) / (trials + z * z)
    half = z / (trials + z * z) * float(np.sqrt(trials * share * (1 - share) + z * z / 4))
    return Estimate(
        estimate=share,
        low=max(0.0, centre - half),
        high=min(1.0, centre + half),
        n=trials,
        level=level,
        method="wilson",
    )


def closest_per_patient(scores: Doubles, patients: Indices) -> Indices:
    """For each distinct nearest patient the row of its closest (highest-scoring) synthetic image, best first.

    Args:
        scores: Score of each synthetic image with its nearest patient, shape (n,).
        patients: That patient, int64 shape (n,); negative where an image has none.
    """
    order = np.lexsort((np.arange(len(scores)), -scores))
    order = order[patients[order] >= 0]
    _, first = np.unique(patients[order], return_index=True)
    return order[np.sort(first)].astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class TargetDecoy:
    """What target-decoy competition rejects.

    Attributes:
        rejected: Which rows are rejected, bool (n,); only reference wins can be.
        threshold: Score of the last row rejected, None when nothing is.
        estimated_fdr: FDR_hat at that threshold, None when nothing is rejected.
        reference_wins, control_wins: Over all rows above the floor.
        fewest: The least number of rejections that alpha allows with these sides; fewer are never rejected.
    """

    rejected: Flags
    threshold: float | None
    estimated_fdr: float | None
    reference_wins: int
    control_wins: int
    fewest: int


def target_decoy(
    scores: Doubles,
    in_reference: Flags,
    *,
    reference_patients: int,
    control_patients: int,
    alpha: float,
    floor: float = -np.inf,
) -> TargetDecoy:
    """Target-decoy competition with the control's patients as decoys (Elias and Gygi 2007; Barber and Candes 2015).

    FDR_hat(t) = n_R / (n_C + 1) * (1 + control wins above t) / max(1, reference wins above t), and the rejections are
    the reference wins down to the last t at which it is at most `alpha`.

    Args:
        scores: One row a distinct nearest patient (see `closest_per_patient`), shape (n,).
        in_reference: Whether that patient is of the reference, bool (n,).
        reference_patients: n_R, distinct patients of the reference.
        control_patients: n_C, distinct patients of the control.
        alpha: Bound on the false discovery rate.
        floor: Rows at or below it take no part. It must be chosen without knowledge of the sides.
    """
    odds = reference_patients / (control_patients + 1)
    fewest = int(np.ceil(odds / alpha - 1e-9))
    rejected = np.zeros(len(scores), dtype=np.bool_)
    rows = np.flatnonzero(scores > floor)
    # Equal scores stand or fall together, so a row's rate is the one at the end of its group of equals.
    order = rows[np.lexsort((rows, -scores[rows]))]
    wins = np.cumsum(in_reference[order])
    losses = np.cumsum(~in_reference[order])
    rates = odds * (1 + losses) / np.maximum(1, wins)
    ends = np.append(scores[order][1:] != scores[order][:-1], True) if len(order) else np.zeros(0, dtype=np.bool_)
    allowed = np.flatnonzero((rates <= alpha) & ends) if control_patients > 0 else np.zeros(0, dtype=np.int64)
    reference_wins = int(wins[-1]) if len(order) else 0
    threshold: float | None = None
    rate: float | None = None
    if len(allowed):
        last = int(allowed[-1])
        kept = order[: last + 1]
        rejected[kept[in_reference[kept]]] = True
        threshold, rate = float(scores[order[last]]), float(rates[last])
    return TargetDecoy(
        rejected=rejected,
        threshold=threshold,
        estimated_fdr=rate,
        reference_wins=reference_wins,
        control_wins=len(order) - reference_wins,
        fewest=fewest,
    )


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of pairs that the reference won, against what chance gives patients of one pool.

    Attributes:
        share: Estimate with the patient-permutation interval.
        expected: n_R / (n_R + n_C).
        excludes: Whether the interval leaves `expected` out.
    """

    share: Estimate
    expected: float
    excludes: bool

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {**self.share.to_json(), "expected": self.expected, "excludes_expected": self.excludes}


def reference_share(
    patients: Indices,
    in_reference: Flags,
    *,
    rng: np.random.Generator,
    level: float = 0.99,
    repetitions: int = 4000,
) -> Share:
    """Share of images whose nearest patient is of the reference, with a patient-permutation interval.

    Images share neighbours, so a binomial interval is too narrow; the sides of all patients are permuted
    instead, and the spread of the share under that null is laid around the share observed.

    Args:
        patients: Nearest patient of each image, int64 (n,), indices into `in_reference`.
        in_reference: Side of every patient of the pool, bool (patients,).
        rng: Source of the permutations.
        level: Confidence of the interval.
        repetitions: Number of permutations.
    """
    expected = float(in_reference.mean()) if len(in_reference) else 0.5
    count = len(patients)
    if count == 0 or in_reference.all() or not in_reference.any():
        estimate = Estimate(estimate=expected, low=0.0, high=1.0, n=count, level=level, method="patient permutation")
        return Share(share=estimate, expected=expected, excludes=False)
    hit, weights = np.unique(patients, return_counts=True)
    observed = float(in_reference[patients].mean())
    null = np.empty(repetitions)
    for i in range(repetitions):
        null[i] = (in_reference[rng.permutation(len(in_reference))[: len(hit)]] * weights).sum() / count
    rest = (1 - level) / 2
    below, above = (float(value) for value in np.quantile(null, [rest, 1 - rest]))
    estimate = Estimate(
        estimate=observed,
        low=max(0.0, observed - (above - expected)),
        high=min(1.0, observed + (expected - below)),
        n=count,
        level=level,
        method="patient permutation",
    )
    return Share(share=estimate, expected=expected, excludes=not below <= observed <= above)


@dataclass(frozen=True, kw_only=True)
class TailModel:
    """An exponential upper tail of impostor scores: P(score > t) = share * exp(-(t - start) / scale) for t >= start.

    Attributes:
        start: Where the tail begins.
        share: Upper limit of the share of impostor scores above `start`.
        scale: Upper limit of the mean excess.
        n: Number of impostor scores.
        fitted: False when there were too few to fit; `start` is then a fixed high value and the model says nothing.
    """

    start: float
    share: float
    scale: float
    n: int
    fitted: bool

    def survival(self, score: float) -> float:
        """Modelled probability that an impostor scores above `score` (at least `start`)."""
        return min(1.0, self.share * float(np.exp(-max(0.0, score - self.start) / self.scale)))

    def threshold(self, *, expected: float, trials: int) -> float:
        """The score that impostors are expected to pass `expected` times in `trials`."""
        allowed = expected / max(1, trials)
        return float(self.start + self.scale * max(0.0, np.log(self.share / allowed)))


FEWEST_IMPOSTORS = 40


def fit_tail(scores: Doubles, *, quantile: float = 0.8, fallback: float = 0.0, level: float = 0.95) -> TailModel:
    """Fit an exponential tail above a quantile by the median excess, after trimming what cannot be an impostor.

    Some scores may not be impostors at all (one eye under two patient ids). Those beyond twice the reach of an
    exponential through the quartiles are set aside first, and the median is used after that, which a quarter of wild
    excesses moves little. Share and scale are upper limits at `level`: the sampling error of a median of m exponential
    excesses is 1 / (ln 2 * sqrt(m)) of the scale.

    Args:
        scores: Impostor scores, shape (n,).
        quantile: Where the tail begins.
        fallback: `start` when there are fewer than `FEWEST_IMPOSTORS` scores.
        level: One-sided confidence of the limits.
    """
    kept = scores[scores <= _beyond_impostors(scores)] if len(scores) else scores
    if len(kept) < FEWEST_IMPOSTORS:
        return TailModel(start=fallback, share=1.0, scale=1.0, n=len(kept), fitted=False)
    start = float(np.quantile(kept, quantile))
    excesses = kept[kept > start] - start
    share = upper_limit(len(excesses), len(kept), level=level)
    if not len(excesses):
        return TailModel(start=start, share=share, scale=1.0, n=len(kept), fitted=True)
    error = float(norm.ppf(level)) / (np.log(2) * np.sqrt(len(excesses)))
    scale = float(np.median(excesses) / np.log(2) * (1 + error))
    return TailModel(start=start, share=share, scale=max(scale, 1e-6), n=len(kept), fitted=True)


def _beyond_impostors(scores: Doubles) -> float:
    """A score that an impostor of an exponential through the quartiles reaches with probability far below 1 / n."""
    middle, upper = (float(value) for value in np.quantile(scores, [0.5, 0.75]))
    scale = max((upper - middle) / float(np.log(2)), 1.0)
    return middle + 2 * scale * float(np.log(0.5 * len(scores) / 0.05 + 1))


def carlini_ratio(distances: Doubles, patients: Indices, *, half: float = 0.5) -> float:
    """Distance to the nearest picture over half the mean distance to the nearest of *other* patients.

    Carlini et al. 2023, section 4; below 1 is a candidate for a reader. It has no error control.

    Args:
        distances: Distances of one synthetic image to its nearest pictures, ascending, shape (k,).
        patients: Patients of those pictures, shape (k,).
        half: The constant of the paper.
    """
    others = distances[patients != patients[0]] if len(patients) else distances
    scale = half * float(others.mean()) if len(others) else 0.0
    return float(distances[0] / scale) if scale > 0 else float("inf")
