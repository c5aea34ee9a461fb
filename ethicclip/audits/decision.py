"""The decision rule: the sides are revealed here, after every score is final, and a verdict follows.

LEAK when target-decoy rejects a patient and the far half of pairs is at its null share, or when a pair is confirmed
on its own. PASS only with a control, measured power and enough described pictures. Everything else is INCONCLUSIVE,
with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from ethicclip.audits.comparison import Pair
from ethicclip.audits.power import KindPower, hardest_of
from ethicclip.audits.settings import AuditSettings
from ethicclip.audits.statistics import (
    Share,
    TailModel,
    TargetDecoy,
    closest_per_patient,
    fit_tail,
    reference_share,
    target_decoy,
)

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

UNFITTED_START = 90.0
"""Confirmation starts here when there are too few impostor pairs to fit a tail: beyond every impostor pair of the
project's development eyes; the verdict says that it was not calibrated on the user's own."""

_LEAST_INLIERS = 8
_NEAR_EXACT_TILE = 0.35


class Verdict(StrEnum):
    """What an audit concludes."""

    PASS = "PASS"  # noqa: S105
    LEAK = "LEAK"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The real pictures' patients and their sides.

    Attributes:
        unit: Patient (after linking ids that share an eye) of each real picture, int64 (pictures,); -1 for pictures
            that take no part.
        in_reference: Side of each unit, bool (units,).
        has_control: Whether a control was given.
    """

    unit: Indices
    in_reference: Flags
    has_control: bool

    @property
    def reference_patients(self) -> int:
        """n_R."""
        return int(self.in_reference.sum())

    @property
    def control_patients(self) -> int:
        """n_C."""
        return int((~self.in_reference).sum())


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The outcome of the comparison for a set of pictures, as arrays.

    Attributes:
        score: Score of the nearest pair, 0 where there is none, float64 (n,).
        unit: Its patient, int64 (n,), -1 where there is none.
        reference_score, control_score: Score of the best pair on each side, 0 where none was verified.
        confirmable: Whether the best pair on the reference side has evidence that can stand alone, bool (n,).
    """

    score: Doubles
    unit: Indices
    reference_score: Doubles
    control_score: Doubles
    confirmable: Flags


def reveal(results: Sequence[Sequence[Pair]], pool: Pool) -> Scored:
    """Lay the sides over the finished comparison."""
    count = len(results)
    score, unit = np.zeros(count), np.full(count, -1, dtype=np.int64)
    best = {True: np.zeros(count), False: np.zeros(count)}
    confirmable = np.zeros(count, dtype=np.bool_)
    for row, pairs in enumerate(results):
        for rank, pair in enumerate(pairs):
            patient = int(pool.unit[pair.picture])
            if rank == 0:
                score[row], unit[row] = pair.score, patient
            side = bool(pool.in_reference[patient])
            if pair.score > best[side][row]:
                best[side][row] = pair.score
                if side:
                    confirmable[row] = stands_alone(pair)
    return Scored(
        score=score, unit=unit, reference_score=best[True], control_score=best[False], confirmable=confirmable
    )


def stands_alone(pair: Pair) -> bool:
    """Whether a pair has geometry or pixels enough to be confirmed on its own, once its score passes."""
    return pair.verification.inliers >= _LEAST_INLIERS or pair.tile < _NEAR_EXACT_TILE


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a score means, learnt from pairs of other patients.

    Attributes:
        impostors: Best scores of real pictures with *other* patients, float64 (n,).
        tail: Model of their upper tail.
        screen: Floor of target-decoy: a quantile of the impostor scores.
    """

    impostors: Doubles
    tail: TailModel
    screen: float


def calibrate(impostors: Doubles, settings: AuditSettings) -> Calibration:
    """Fit the impostor tail and the floor of target-decoy; blind to the sides."""
    return Calibration(
        impostors=impostors,
        tail=fit_tail(impostors, fallback=UNFITTED_START),
        screen=float(np.quantile(impostors, settings.screen_quantile)) if len(impostors) else 0.0,
    )


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the rule finds before it concludes.

    Attributes:
        competition: Target-decoy over distinct nearest patients.
        rows: Synthetic image behind each row of the competition.
        by_competition: Images flagged by it, further images of a rejected patient included, bool (n,).
        confirmed: Images with a confirmed reference pair, bool (n,).
        confirmation_threshold: Score that a pair must pass to be confirmed.
        control_tail: Tail of the best control-side scores, None without a control.
        far_half, everything: Share that the reference won among the far half and among all, None without a control.
    """

    competition: TargetDecoy
    rows: Indices
    by_competition: Flags
    confirmed: Flags
    confirmation_threshold: float
    control_tail: TailModel | None
    far_half: Share | None
    everything: Share | None

    @property
    def flagged(self) -> Flags:
        """Images flagged by any rule that counts."""
        return self.confirmed | (self.by_competition & (not self.fits_in_general))

    @property
    def fits_in_general(self) -> bool:
        """Whether even the far half leans to one side, so that target-decoy alone says nothing of copies."""
        return self.far_half is not None and self.far_half.excludes


def find(scored: Scored, pool: Pool, calibration: Calibration, settings: AuditSettings) -> Findings:
    """Run target-decoy, confirmation and the far half on revealed scores."""
    threshold, control_tail = confirmation_threshold(scored, pool, calibration, settings)
    rows = closest_per_patient(scored.score, scored.unit)
    sides = pool.in_reference[scored.unit[rows]]
    competition = target_decoy(
        scored.score[rows],
        sides,
        reference_patients=pool.reference_patients,
        control_patients=pool.control_patients,
        alpha=settings.alpha,
        floor=calibration.screen,
    )
    by_competition = np.zeros(len(scored.score), dtype=np.bool_)
    if competition.threshold is not None:
        patients = np.unique(scored.unit[rows[competition.rejected]])
        by_competition = np.isin(scored.unit, patients) & (scored.score >= competition.threshold)
    far_half = everything = None
    with_patient = np.flatnonzero(scored.unit >= 0)
    if pool.has_control and pool.control_patients and len(with_patient):
        rng = np.random.default_rng([settings.seed, 41])
        far = with_patient[scored.score[with_patient] <= np.median(scored.score[with_patient])]
        level = settings.far_half_level
        far_half = reference_share(scored.unit[far], pool.in_reference, rng=rng, level=level)
        everything = reference_share(scored.unit[with_patient], pool.in_reference, rng=rng, level=level)
    return Findings(
        competition=competition,
        rows=rows,
        by_competition=by_competition,
        confirmed=scored.confirmable & (scored.reference_score > threshold),
        confirmation_threshold=threshold,
        control_tail=control_tail,
        far_half=far_half,
        everything=everything,
    )


def confirmation_threshold(
    scored: Scored, pool: Pool, calibration: Calibration, settings: AuditSettings
) -> tuple[float, TailModel | None]:
    """The score at which the whole audit expects at most so many false confirmations.

    Two tails are asked and the higher threshold counts: real pictures against other patients, and the synthetic set
    against the control, whose patients it cannot have copied. The second guards against a synthetic set that is, as a
    whole, unlike the real pictures that the first was learnt from.
    """
    trials, allowed = max(1, len(scored.score)), settings.expected_false_confirmations
    threshold = calibration.tail.threshold(expected=allowed, trials=trials)
    control_tail = None
    if pool.has_control and pool.control_patients:
        control_tail = fit_tail(scored.control_score)
        if control_tail.fitted:
            threshold = max(threshold, control_tail.threshold(expected=allowed, trials=trials))
    return threshold, control_tail


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """The verdict and its one-sentence reason."""

    verdict: Verdict
    reason: str


def conclude(
    findings: Findings,
    pool: Pool,
    power: Sequence[KindPower],
    settings: AuditSettings,
    *,
    synthetic: int,
    undescribed: int,
) -> Conclusion:
    """Apply the decision rule; the first reason that holds is named."""
    confirmed, rejected = int(findings.confirmed.sum()), int(findings.competition.rejected.sum())
    if confirmed or (rejected and not findings.fits_in_general):
        return Conclusion(verdict=Verdict.LEAK, reason=_leak_reason(confirmed, rejected, findings, settings))
    blocker = _blocker(findings, pool, power, settings, synthetic=synthetic, undescribed=undescribed)
    if blocker:
        return Conclusion(verdict=Verdict.INCONCLUSIVE, reason=blocker)
    hardest = hardest_of(power)
    return Conclusion(
        verdict=Verdict.PASS,
        reason=f"no copy was found, and {hardest.fewest_noticed} planted copies among {synthetic} images would have "
        f"been noticed for every required kind (hardest: {hardest.kind})",
    )


def _leak_reason(confirmed: int, rejected: int, findings: Findings, settings: AuditSettings) -> str:
    parts = []
    if confirmed:
        parts.append(f"{confirmed} synthetic images are confirmed copies of reference pictures")
    if rejected and not findings.fits_in_general:
        parts.append(
            f"target-decoy finds copies of {rejected} reference patients "
            f"at a false discovery rate of {settings.alpha:g}"
        )
    return "; ".join(parts)


def _blocker(
    findings: Findings,
    pool: Pool,
    power: Sequence[KindPower],
    settings: AuditSettings,
    *,
    synthetic: int,
    undescribed: int,
) -> str | None:
    if not pool.has_control:
        return "no control was given; without other patients of the same pool there is no PASS"
    if pool.control_patients < settings.least_control_patients:
        return (
            f"the control has {pool.control_patients} patients left, "
            f"under the {settings.least_control_patients} that a PASS needs"
        )
    if findings.fits_in_general:
        return (
            "the generator fits the reference in general, or the control is not exchangeable with it: "
            "even the far half of pairs leans to one side"
        )
    if undescribed > settings.most_undescribed * synthetic:
        return f"{undescribed} of {synthetic} synthetic images show nothing that could be compared"
    if not settings.required_kinds or settings.power_copies == 0:
        return "power was not measured; a PASS needs measured power"
    measured = {one.kind: one for one in power}
    weak = []
    for kind in settings.required_kinds:
        one = measured.get(kind)
        if one is None or one.fewest_noticed is None:
            weak.append(f"{kind} (no number of copies would be noticed)")
        elif one.fewest_noticed > settings.max_leak_rate * synthetic:
            weak.append(f"{kind} ({one.fewest_noticed} of {synthetic})")
    if weak:
        return (
            f"too little power to exclude a leak rate of {settings.max_leak_rate:g}: the fewest copies noticed are "
            + ", ".join(weak[:4])
            + (f" and {len(weak) - 4} more kinds" if len(weak) > 4 else "")
        )
    return None
