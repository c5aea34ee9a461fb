"""Lesion recipes: which signs a disease puts where, how many and how large.

Sizes follow phantom.md's table (microaneurysms 10-100 um, drusen by AREDS, new vessels by ETDRS); counts and places
are field knowledge, kept moderate: most disease in a clinic is not the textbook's plate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ethicclip.generation.findings import Anatomy, Lesion, Process, Quadrant
from ethicclip.generation.findings import LesionKind as Kind
from ethicclip.generation.rendering.shapes import fibre_direction

Generator = np.random.Generator
Place = tuple[float, float]

_DISC_MARGIN_UM = 1150.0


def _clear_of_disc(anatomy: Anatomy, x: float, y: float) -> bool:
    disc_x, disc_y = anatomy.disc_centre_um
    return math.hypot(x - disc_x, y - disc_y) > _DISC_MARGIN_UM


def _places(
    random: Generator, anatomy: Anatomy, count: int, *, spread_um: float = 2700, nearest_um: float = 0.0
) -> list[Place]:
    """Places in the posterior pole, off the disc, at least `nearest_um` from the fovea."""
    found: list[Place] = []
    # Capillaries close in places: lesions come in groups about such a place, and singly.
    groups = random.normal((600, 0), (spread_um, spread_um * 0.9), (max(1, count // 6), 2))
    gathered = random.uniform(0.0, 0.8)
    while len(found) < count:
        if random.random() < gathered:
            x, y = groups[int(random.integers(len(groups)))] + random.normal(0, 650, 2)
        else:
            x, y = random.normal(600, spread_um), random.normal(0, spread_um * 0.9)
        if _clear_of_disc(anatomy, x, y) and math.hypot(x, y) > nearest_um:
            found.append((float(x), float(y)))
    return found


def _many(
    random: Generator, places: list[Place], kind: Kind, process: Process, size: Callable[[], float], **fixed: float
) -> list[Lesion]:
    return [
        Lesion(
            kind=kind,
            process=process,
            x_um=x,
            y_um=y,
            diameter_um=float(size()),
            strength=fixed.get("strength", float(random.uniform(0.3, 1.0))),
            aspect=fixed.get("aspect", float(random.uniform(1.0, 1.6))),
            angle_rad=float(random.uniform(0, math.pi)),
        )
        for x, y in places
    ]


def _lognormal(random: Generator, median: float, spread: float, low: float, high: float) -> Callable[[], float]:
    return lambda: float(np.clip(median * math.exp(random.normal(0, spread)), low, high))


def _exactly(value: float) -> Callable[[], float]:
    return lambda: value


def flame_haemorrhages(random: Generator, anatomy: Anatomy, places: list[Place], process: Process) -> list[Lesion]:
    """Bleeding that follows the nerve fibres; behind a closed vein it runs together."""
    median = 360 if process is Process.OCCLUSIVE else 250
    return [
        Lesion(
            kind=Kind.FLAME_HAEMORRHAGE,
            process=process,
            x_um=x,
            y_um=y,
            diameter_um=float(np.clip(median * math.exp(random.normal(0, 0.5)), 110, 1400)),
            aspect=float(random.uniform(2.0, 5.0)),
            angle_rad=fibre_direction(anatomy, x, y) + float(random.normal(0, 0.12)),
            strength=float(random.uniform(0.35, 1.0)),
        )
        for x, y in places
    ]


def exudates(
    random: Generator,
    anatomy: Anatomy,
    process: Process,
    *,
    clusters: int,
    nearest_um: float,
    centre: Place | None = None,
) -> list[Lesion]:
    """Hard exudate in clusters, some of them rings (circinate) round leaking vessels."""
    found = []
    for cluster in range(clusters):
        x, y = (
            centre if centre and cluster == 0 else _places(random, anatomy, 1, spread_um=1900, nearest_um=nearest_um)[0]
        )
        count = int(np.clip(18 * math.exp(random.normal(0, 0.8)), 3, 90))
        radius = random.uniform(180, 900)
        ring = random.random() < 0.35
        start, arc = random.uniform(0, 2 * math.pi), random.uniform(1.5, 2 * math.pi)
        for _ in range(count):
            angle = start + random.uniform(0, arc)
            distance = radius * (random.normal(1, 0.12) if ring else math.sqrt(random.random()))
            spot = (x + distance * math.cos(angle), y + distance * math.sin(angle))
            size = float(np.clip(62 * math.exp(random.normal(0, 0.55)), 22, 300))
            if math.hypot(*spot) - size / 2 >= nearest_um:
                found += _many(random, [spot], Kind.HARD_EXUDATE, process, _exactly(size))
    return found


def diabetic_lesions(
    random: Generator, anatomy: Anatomy, grade: int, *, oedema: bool
) -> tuple[list[Lesion], tuple[Quadrant, ...]]:
    """Lesions and beaded quadrants of a retina of this ICDR grade."""
    if grade == 0:
        return [], ()
    process = Process.DIABETIC
    aneurysm, dot = _lognormal(random, 62, 0.3, 25, 110), _lognormal(random, 110, 0.3, 60, 190)
    blot = _lognormal(random, 230, 0.4, 130, 520)
    burden = random.uniform(0.3, 1.0) if grade < 4 else random.uniform(0.0, 1.0)
    count = int(1 + random.gamma(1.6, 3.2)) if grade == 1 else int(4 + 34 * burden * random.random())
    lesions = _many(random, _places(random, anatomy, count), Kind.MICROANEURYSM, process, aneurysm)
    if grade == 1:
        return lesions, ()
    heavier = 1.0 if grade == 2 else 1.9
    dots, blots = 2 + int(18 * burden * heavier * random.random()), int(10 * burden * heavier * random.random())
    lesions += _many(random, _places(random, anatomy, dots), Kind.DOT_HAEMORRHAGE, process, dot)
    lesions += _many(random, _places(random, anatomy, blots), Kind.BLOT_HAEMORRHAGE, process, blot)
    if random.random() < 0.4:
        places = _places(random, anatomy, int(random.integers(1, 5)), spread_um=3000, nearest_um=1200)
        lesions += flame_haemorrhages(random, anatomy, places, process)
    if oedema:
        angle, away = random.uniform(0, 2 * math.pi), random.uniform(300, 900)
        centre = (away * math.cos(angle), away * math.sin(angle))
        lesions += exudates(random, anatomy, process, clusters=int(random.integers(1, 4)), nearest_um=60, centre=centre)
        lesions.append(
            Lesion(
                kind=Kind.MACULAR_THICKENING, process=process, x_um=centre[0] * 0.5, y_um=centre[1] * 0.5,
                diameter_um=float(random.uniform(1000, 2800)), strength=float(random.uniform(0.3, 1.0)),
            )
        )  # fmt: skip
    elif random.random() < 0.6:
        lesions += exudates(random, anatomy, process, clusters=int(random.integers(1, 5)), nearest_um=650)
    if random.random() < (0.3 if grade == 2 else 0.55):
        places = _places(random, anatomy, int(random.integers(1, 6)), spread_um=2900, nearest_um=1500)
        lesions += _many(random, places, Kind.COTTON_WOOL_SPOT, process, _lognormal(random, 420, 0.3, 220, 800))
    if grade == 2:
        return lesions, ()
    beaded: tuple[Quadrant, ...] = ()
    ways = random.random(3)
    if grade == 3 or ways[0] < 0.5:
        if ways[1] < 0.22:
            middle_x, middle_y = anatomy.disc_centre_um[0] / 2, anatomy.disc_centre_um[1] / 2
            for sign_x in (-1, 1):
                for sign_y in (-1, 1):
                    wanted = int(random.integers(22, 32))
                    own: list[Place] = []
                    while len(own) < wanted:
                        x, y = (
                            middle_x + sign_x * abs(random.normal(0, 3300)),
                            middle_y + sign_y * abs(random.normal(0, 3300)),
                        )
                        if _clear_of_disc(anatomy, x, y):
                            own.append((x, y))
                    lesions += _many(random, own, Kind.DOT_HAEMORRHAGE, process, dot)
        if ways[2] < 0.45 or ways[1] >= 0.22:
            places = _places(random, anatomy, int(random.integers(1, 5)), spread_um=3000, nearest_um=1400)
            lesions += _many(random, places, Kind.IRMA, process, _lognormal(random, 620, 0.3, 350, 1100))
        if ways[2] > 0.5:
            chosen = random.permutation(len(Quadrant))[: int(random.integers(2, 5))]
            beaded = tuple(list(Quadrant)[int(item)] for item in sorted(chosen))
    if grade == 4:
        lesions += _proliferation(random, anatomy)
    return lesions, beaded


def _proliferation(random: Generator, anatomy: Anatomy) -> list[Lesion]:
    process = Process.DIABETIC
    disc_x, disc_y = anatomy.disc_centre_um
    lesions: list[Lesion] = []
    which = random.random(4)
    if which[0] < 0.45:
        lesions += _many(
            random, [(disc_x + float(random.normal(0, 250)), disc_y + float(random.normal(0, 300)))],
            Kind.NEW_VESSELS_DISC, process, _lognormal(random, 1500, 0.25, 900, 2600),
        )  # fmt: skip
    if which[1] < 0.6 or not lesions:
        places = _places(random, anatomy, int(random.integers(1, 4)), spread_um=3300, nearest_um=2000)
        sizes = _lognormal(random, 1450, 0.25, 900, 2800)
        lesions += _many(random, places, Kind.NEW_VESSELS_ELSEWHERE, process, sizes)
    if which[2] < 0.32:
        places = _places(random, anatomy, int(random.integers(1, 3)), spread_um=2600, nearest_um=1200)
        lesions += [
            Lesion(
                kind=Kind.PRERETINAL_HAEMORRHAGE, process=process, x_um=x, y_um=y,
                diameter_um=float(random.uniform(900, 3200)), aspect=float(random.uniform(1.0, 1.8)),
                strength=float(random.uniform(0.75, 1.0)),
            )
            for x, y in places
        ]  # fmt: skip
    if which[3] < 0.15:
        places = _places(random, anatomy, 1, spread_um=3000)
        lesions += _many(
            random, places, Kind.VITREOUS_HAEMORRHAGE, process, _lognormal(random, 6000, 0.3, 3500, 11000),
            strength=float(random.uniform(0.35, 1.0)),
        )  # fmt: skip
    if random.random() < 0.35:
        lesions += laser_scars(random, anatomy)
    return lesions


def laser_scars(random: Generator, anatomy: Anatomy) -> list[Lesion]:
    """Panretinal photocoagulation: a loose grid outside the arcades."""
    spacing = random.uniform(750, 1100)
    places = []
    for column in range(-11, 12):
        for row in range(-11, 12):
            x = (column + 0.5 * (row % 2)) * spacing + random.normal(0, 0.22 * spacing)
            y = row * spacing * 0.87 + random.normal(0, 0.22 * spacing)
            if (
                math.hypot((x + 600) / 1.1, y) > 4300
                and _clear_of_disc(anatomy, x * 0.8 + 900, y)
                and random.random() < 0.75
            ):
                places.append((float(x), float(y)))
    return _many(random, places, Kind.LASER_SCAR, Process.DIABETIC, _lognormal(random, 330, 0.3, 150, 650), aspect=1.15)


def macular_degeneration(random: Generator, anatomy: Anatomy, stage: str) -> list[Lesion]:
    """Lesions of AMD at a stage named as `grading.amd_stage` does."""
    process = Process.DEGENERATIVE
    small = _lognormal(random, 50, 0.2, 30, 62)
    medium, large = _lognormal(random, 85, 0.2, 64, 120), _lognormal(random, 170, 0.3, 126, 380)
    spread = random.uniform(600, 1700)

    def macular(count: int, wide: float = 1.0) -> list[Place]:
        found: list[Place] = []
        while len(found) < count:
            x, y = random.normal(0, spread * wide, 2)
            if _clear_of_disc(anatomy, x, y) and math.hypot(x, y) < 3300:
                found.append((float(x), float(y)))
        return found

    def near_fovea(distance: float) -> Place:
        x, y = random.normal(0, distance, 2)
        return float(x), float(y)

    late = stage in ("atrophic", "neovascular")
    share = (random.uniform(0.0, 0.8) if late else 1.0) * math.exp(random.normal(0, 0.6))
    lesions = _many(random, macular(int(min(4 + 50 * random.random() * share, 160)), 1.3), Kind.DRUSEN, process, small)
    lesions += _many(
        random, macular(int(min(5 + 40 * random.random() * share, 120)), 1.15), Kind.DRUSEN, process, medium
    )
    if stage != "early" and (not late or random.random() < 0.6):
        lesions += _many(
            random, macular(int(min(3 + 60 * random.random() ** 1.5 * share, 120))), Kind.DRUSEN, process, large
        )
    if stage != "early" and random.random() < 0.5:
        clumps = _lognormal(random, 130, 0.4, 60, 320)
        lesions += _many(random, macular(int(random.integers(1, 9)), 0.6), Kind.PIGMENT_CLUMP, process, clumps)
    if stage == "atrophic":
        for _ in range(int(random.integers(1, 4))):
            lesions += _many(
                random, [near_fovea(550)], Kind.GEOGRAPHIC_ATROPHY, process, _lognormal(random, 1500, 0.5, 450, 4200),
                strength=float(random.uniform(0.45, 0.95)),
            )  # fmt: skip
    if stage == "neovascular":
        centre = near_fovea(500)
        scarred = random.random() < 0.45
        kind = Kind.DISCIFORM_SCAR if scarred else Kind.NEOVASCULAR_MEMBRANE
        size = _lognormal(random, 1900 if scarred else 1250, 0.35, 500, 4200)
        lesions += _many(random, [centre], kind, process, size)
        if not scarred or random.random() < 0.3:
            if random.random() < 0.55:
                lesions += _many(
                    random, [(centre[0] + float(random.normal(0, 500)), centre[1] + float(random.normal(0, 500)))],
                    Kind.SUBRETINAL_HAEMORRHAGE, process, _lognormal(random, 1500, 0.5, 450, 5000),
                )  # fmt: skip
            lesions += _many(
                random, [centre], Kind.SUBRETINAL_FLUID, process, _lognormal(random, 2600, 0.3, 1400, 5000)
            )
        if random.random() < 0.45:
            lesions += exudates(random, anatomy, process, clusters=int(random.integers(1, 3)), nearest_um=300)
    return lesions
