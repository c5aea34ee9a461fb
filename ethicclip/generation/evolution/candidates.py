"""What stands for election: a condition and the parameters of the phantom that patients' pictures differ in.

Every value comes from the phantom's own prior or from a change of one; no patient enters here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ethicclip.generation.cameras import CAMERAS
from ethicclip.generation.phantom import PhantomEngine
from ethicclip.generation.recipes import ANATOMY, PHOTOGRAPH, FindingsRecipe
from ethicclip.generation.settings import GenerateSettings
from ethicclip.terms import Condition

Doubles = npt.NDArray[np.float64]

GENES: Mapping[str, tuple[float, float]] = {
    "pigmentation": (0.0, 1.0),
    "field_deg": (30.0, 60.0),
    "anatomy.tessellation": ANATOMY["tessellation"],
    "anatomy.tortuosity": ANATOMY["tortuosity"],
    "photograph.radius": PHOTOGRAPH["radius"],
    "photograph.cut": PHOTOGRAPH["cut"],
    "photograph.gamma": PHOTOGRAPH["gamma"],
    "photograph.saturation": PHOTOGRAPH["saturation"],
    "photograph.vignette": PHOTOGRAPH["vignette"],
    "photograph.blur": (0.0, 12.0),
    "photograph.haze": (0.0, 0.6),
    "photograph.shadow": (0.0, 0.7),
}
"""Parameters that evolve, with their limits: what differs between clinics and cameras, and no single lesion."""

CLASSES = tuple(item for item in Condition if item is not Condition.DIABETIC_MACULAR_OEDEMA)
"""Leading conditions; oedema comes with retinopathy."""

_OTHER_CAMERA = 0.5
"""Chance that a change takes another camera, times the spread."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One recipe: a leading condition, a grade where that is retinopathy, a camera, and a value for each gene.

    Attributes:
        condition: One of `CLASSES`.
        grade: 1 to 4 for diabetic retinopathy, else None.
        camera: Name of a camera.
        genes: Values in the order of `GENES`.
    """

    condition: Condition
    grade: int | None
    camera: str
    genes: tuple[float, ...]

    def findings(self, kernel: float) -> FindingsRecipe:
        """The recipe, each gene within `kernel` of its range about its value."""
        flat: dict[str, object] = {}
        sections: dict[str, dict[str, tuple[float, float]]] = {"anatomy": {}, "photograph": {}}
        for (name, (low, high)), value in zip(GENES.items(), self.genes, strict=True):
            half = kernel * (high - low)
            span = (_rounded(max(low, value - half)), _rounded(min(high, value + half)))
            section, dot, field = name.partition(".")
            if dot:
                sections[section][field] = span
            else:
                flat[name] = span
        return FindingsRecipe.build(
            {
                "conditions": [self.condition.value],
                "dr_grade": self.grade,
                "camera": self.camera,
                "quality": "good",
                **flat,
                **sections,
            }
        )

    def changed(self, random: np.random.Generator, spread: float) -> Candidate:
        """A neighbour: every gene moved by a normal step of `spread` of its range, now and then another camera."""
        limits = np.array(list(GENES.values()))
        moved = np.array(self.genes) + random.normal(0, spread, len(limits)) * (limits[:, 1] - limits[:, 0])
        other = random.random() < _OTHER_CAMERA * spread
        camera = CAMERAS[int(random.integers(len(CAMERAS)))].name
        grade = int(random.integers(1, 5)) if other and self.grade is not None else self.grade
        genes = tuple(float(value) for value in np.clip(moved, limits[:, 0], limits[:, 1]))
        return replace(self, camera=camera if other else self.camera, grade=grade, genes=genes)


def first_candidates(count: int, seed: int) -> list[Candidate]:
    """Candidates as the phantom's prior draws them, equally many of each class.

    Raises:
        UsageError: The prior draws no such eye (a bug).
    """
    found = []
    for number in range(count):
        condition = CLASSES[number % len(CLASSES)]
        recipe = FindingsRecipe(conditions=(condition,))
        engine = PhantomEngine(GenerateSettings(count=1, size=128, seed=seed, findings=recipe))
        # Numbers from high up: a set generated with the same seed shows other eyes.
        index = 2**40 + number
        eye, photograph = engine.case(index)
        from_eye = {"pigmentation": eye.anatomy.pigmentation, "field_deg": photograph.field_deg}
        genes = []
        for name, (low, high) in GENES.items():
            section, dot, field = name.partition(".")
            part = {"anatomy": eye.anatomy, "photograph": photograph}.get(section)
            value = float(getattr(part, field)) if dot else from_eye[name]
            genes.append(min(high, max(low, value)))
        grade = 1 + (number // len(CLASSES)) % 4 if condition is Condition.DIABETIC_RETINOPATHY else None
        found.append(Candidate(condition=condition, grade=grade, camera=photograph.camera, genes=tuple(genes)))
    return found


def next_candidates(
    candidates: Sequence[Candidate], votes: Doubles, *, spread: float, least: int, random: np.random.Generator
) -> list[Candidate]:
    """The next round: seats by the votes of each class, parents by votes within it; the best stand again unchanged.

    Args:
        candidates: This round's.
        votes: Their noisy votes, thresholded: not negative, float64 (candidates,).
        spread: See `Candidate.changed`.
        least: Seats that every class keeps, so that noise does not end it.
        random: Source of the changes.
    """
    by_class = {one: [i for i, item in enumerate(candidates) if item.condition is one] for one in CLASSES}
    totals = np.array([votes[rows].sum() if rows else 0.0 for rows in by_class.values()])
    seats = _seats(totals, len(candidates), least)
    found: list[Candidate] = []
    for (_, rows), count in zip(by_class.items(), seats, strict=True):
        weights = votes[rows]
        weights = np.ones(len(rows)) if weights.sum() <= 0 else weights
        places = (np.arange(count) + random.random()) / count * weights.sum()
        parents = np.searchsorted(np.cumsum(weights), places, side="right").clip(max=len(rows) - 1)
        seen: set[int] = set()
        for parent in parents:
            own = candidates[rows[int(parent)]]
            found.append(own.changed(random, spread) if int(parent) in seen else own)
            seen.add(int(parent))
    return found


def _seats(totals: Doubles, count: int, least: int) -> list[int]:
    """`count` seats by largest remainder, at least `least` for each class."""
    free = count - least * len(totals)
    shares = totals / totals.sum() if totals.sum() > 0 else np.full(len(totals), 1 / len(totals))
    exact = shares * free
    seats = np.floor(exact).astype(int)
    order = np.argsort(-(exact - seats), kind="stable")
    seats[order[: free - int(seats.sum())]] += 1
    return [int(seat) + least for seat in seats]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
