"""Simulated generators whose relation to the reference is known, as points of a descriptor, judged by the real rule.

People are points around a few modes, with two alike pictures each. Distances take the place of the matcher; everything
after it (calibration on other patients, links, target-decoy, the far half, the verdict) is the package's own code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ethicclip.audits.decision import (
    Calibration,
    Conclusion,
    Findings,
    Pool,
    Scored,
    calibrate,
    conclude,
    find,
)
from ethicclip.audits.deduplication import merged_units
from ethicclip.audits.search import nearest
from ethicclip.audits.settings import AuditSettings
from ethicclip.audits.statistics import fit_tail

DIMENSIONS = 12
MODES = 6
ALIKE = 0.25
"""Spread of a person's pictures around the person."""
COPY = 0.02
"""Spread of a copy around its source."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A pool of people divided into reference and control, and the synthetic set of one generator.

    Attributes:
        real: Pictures of both sides, float32 (n, d).
        patients: Whose each is, int64 (n,).
        in_reference: Side of each picture, bool (n,).
        synthetic: float32 (s, d).
        copied: Patient that each synthetic picture is a copy of, -1 for none, int64 (s,).
    """

    real: np.ndarray
    patients: np.ndarray
    in_reference: np.ndarray
    synthetic: np.ndarray
    copied: np.ndarray


class Population:
    """People around modes of unequal weight.

    Args:
        rng: Source of the modes.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.centres = 1.5 * rng.normal(size=(MODES, DIMENSIONS))
        self.weights = rng.dirichlet(np.full(MODES, 2.0))

    def people(self, rng: np.random.Generator, count: int, spread: float = 1.0) -> np.ndarray:
        """Centres of people, (count, d)."""
        modes = rng.choice(MODES, size=count, p=self.weights)
        return self.centres[modes] + spread * rng.normal(size=(count, DIMENSIONS))

    def pictures(self, rng: np.random.Generator, people: np.ndarray, each: int) -> np.ndarray:
        """Pictures of people, (len(people) * each, d)."""
        drawn = np.repeat(people, each, axis=0)
        return drawn + ALIKE * rng.normal(size=drawn.shape)


def fitted_mixture(rng: np.random.Generator, points: np.ndarray, parts: int, count: int) -> np.ndarray:
    """Draws from a Gaussian mixture with diagonal covariances, fitted by expectation maximisation."""
    means = points[rng.choice(len(points), parts, replace=False)]
    variances = np.tile(points.var(axis=0), (parts, 1)) / 4
    weights = np.full(parts, 1 / parts)
    for _ in range(30):
        squared = ((points[:, None] - means[None]) ** 2 / variances[None] + np.log(variances)[None]).sum(axis=2)
        logs = np.log(weights)[None] - 0.5 * squared
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        mass = shares.sum(axis=0) + 1e-9
        means = shares.T @ points / mass[:, None]
        variances = (shares.T @ points**2) / mass[:, None] - means**2 + 1e-3
        weights = mass / mass.sum()
    chosen = rng.choice(parts, size=count, p=weights)
    return means[chosen] + np.sqrt(variances[chosen]) * rng.normal(size=(count, points.shape[1]))


def draw_world(
    generator: str, rng: np.random.Generator, *, patients: int, images: int, copies: int, leaky: int = 0
) -> World:
    """A world of `patients` on each side and `images` synthetic pictures.

    Args:
        generator: ``ideal``, ``mode-seeking``, ``mixture`` or ``kernel`` (the last two are fitted to the reference).
        rng: Source of everything.
        patients: On each side.
        images: Synthetic pictures, copies among them.
        copies: Planted copies of distinct reference patients.
        leaky: Control patients who are reference patients under another name.
    """
    population = Population(rng)
    people = population.people(rng, 2 * patients)
    people[patients : patients + leaky] = people[:leaky]
    real = population.pictures(rng, people, 2)
    if leaky:
        # The same eye again, nearly the same picture: what the matcher links.
        first = real[: 2 * leaky]
        real[2 * patients : 2 * (patients + leaky)] = first + 0.1 * COPY * rng.normal(size=first.shape)
    owners = np.repeat(np.arange(2 * patients), 2)
    reference = real[: 2 * patients]
    fresh = images - copies
    if generator == "mixture":
        synthetic = fitted_mixture(rng, reference, max(2, patients // 10), fresh)
    elif generator == "kernel":
        synthetic = reference[rng.integers(0, len(reference), fresh)] + 0.3 * rng.normal(size=(fresh, DIMENSIONS))
    else:
        spread = 0.4 if generator == "mode-seeking" else 1.0
        synthetic = population.pictures(rng, population.people(rng, fresh, spread), 1)
    sources = rng.choice(patients, size=copies, replace=False)
    planted = reference[2 * sources] + COPY * rng.normal(size=(copies, DIMENSIONS))
    return World(
        real=real.astype(np.float32),
        patients=owners,
        in_reference=np.arange(4 * patients) < 2 * patients,
        synthetic=np.concatenate([synthetic, planted]).astype(np.float32),
        copied=np.concatenate([np.full(fresh, -1), sources]),
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the rule makes of a world.

    Attributes:
        findings, conclusion: The package's own.
        rejected: Patients that target-decoy rejects, int64.
        dropped: Control patients that were dropped because their eye is also in the reference.
    """

    findings: Findings
    conclusion: Conclusion
    rejected: np.ndarray
    dropped: int


def judged(world: World, settings: AuditSettings, *, swapped: bool = False) -> Outcome:
    """Link, drop, calibrate, compete and conclude, as the audit does; distances stand for the matcher's scores."""
    sides = ~world.in_reference if swapped else world.in_reference
    unit, dropped = _linked(world, sides)
    kept = unit >= 0
    used, renumbered = np.unique(unit[kept], return_inverse=True)
    final = np.full(len(unit), -1, dtype=np.int64)
    final[kept] = renumbered
    seen = np.zeros(len(used), dtype=np.bool_)
    seen[final[kept & sides]] = True
    pool = Pool(unit=final, in_reference=seen, has_control=True)
    rows = np.flatnonzero(kept)
    distances, found = nearest(world.synthetic, world.real[rows], 1)
    units = final[rows[found[:, 0]]]
    scores = _likeness(distances[:, 0])
    scored = Scored(
        score=scores,
        unit=units,
        reference_score=np.where(seen[units], scores, 0.0),
        control_score=np.where(~seen[units], scores, 0.0),
        confirmable=np.zeros(len(scores), dtype=np.bool_),
    )
    calibration: Calibration = calibrate(_impostors(world, kept), settings)
    findings = find(scored, pool, calibration, settings)
    conclusion = conclude(findings, pool, (), settings, synthetic=len(scores), undescribed=0)
    rejected = used[units[findings.rows[findings.competition.rejected]]]
    return Outcome(findings=findings, conclusion=conclusion, rejected=rejected, dropped=dropped)


def _likeness(distances: np.ndarray) -> np.ndarray:
    return np.asarray(-10 * np.log(distances / 100 + 1e-6))


def _strangers(world: World, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each picture that takes part the nearest of another patient: rows, partners, likeness."""
    rows = np.flatnonzero(kept)
    distances, found = nearest(world.real[rows], world.real[rows], 3)
    other = world.patients[rows[found]] != world.patients[rows][:, None]
    first = other.argmax(axis=1)
    each = np.arange(len(rows))
    return rows, rows[found[each, first]], _likeness(distances[each, first])


def _impostors(world: World, kept: np.ndarray) -> np.ndarray:
    return _strangers(world, kept)[2]


def _linked(world: World, sides: np.ndarray) -> tuple[np.ndarray, int]:
    """Unit of each picture, -1 for control patients whose eye is also in the reference; how many patients those are."""
    rows, partners, likeness = _strangers(world, np.ones(len(world.real), dtype=np.bool_))
    threshold = fit_tail(likeness).threshold(expected=0.05, trials=len(rows))
    links = [
        (int(i), int(j), float(score))
        for i, j, score in zip(rows, partners, likeness, strict=True)
        if score > threshold
    ]
    unit = merged_units(world.patients, links)
    seen = np.unique(unit[sides])
    out = ~sides & np.isin(unit, seen)
    return np.where(out, -1, unit), len(np.unique(world.patients[out]))
