"""Lesion recipes of myopia, vascular disease, the vitreoretinal interface and scars."""

from __future__ import annotations

import math

import numpy as np

from ethicclip.generation.disease import Generator, Place, flame_haemorrhages
from ethicclip.generation.findings import Anatomy, Lesion, Process, Quadrant
from ethicclip.generation.findings import LesionKind as Kind


def _one(
    random: Generator,
    kind: Kind,
    process: Process,
    place: Place,
    diameter_um: float,
    *,
    strength: float,
    aspect: float = 1.0,
) -> Lesion:
    return Lesion(
        kind=kind,
        process=process,
        x_um=float(place[0]),
        y_um=float(place[1]),
        diameter_um=float(diameter_um),
        aspect=float(aspect),
        angle_rad=float(random.uniform(0, math.pi)),
        strength=float(strength),
    )


def _towards(quadrant: Quadrant) -> tuple[float, float]:
    return (1.0 if "nasal" in quadrant.value else -1.0), (-1.0 if "superior" in quadrant.value else 1.0)


def myopic_lesions(random: Generator, anatomy: Anatomy, *, patchy: bool, cracks: bool) -> list[Lesion]:
    """Patches of chorioretinal atrophy and lacquer cracks of a long eye."""
    lesions = []
    if patchy:
        for _ in range(int(random.integers(1, 8))):
            # Patches lie in the posterior pole and run together.
            place = (random.normal(600, 1900), random.normal(200, 1400))
            size = np.clip(1500 * math.exp(random.normal(0, 0.7)), 350, 5600)
            lesions.append(
                _one(
                    random, Kind.PATCHY_ATROPHY, Process.MYOPIC, place, size,
                    strength=random.uniform(0.5, 1.0), aspect=random.uniform(1, 1.8),
                )
            )  # fmt: skip
        for _ in range(int(random.integers(0, 7))):
            place = (random.normal(300, 1500), random.normal(0, 1200))
            lesions.append(
                _one(
                    random, Kind.PIGMENT_CLUMP, Process.MYOPIC, place, random.uniform(80, 420),
                    strength=random.uniform(0.4, 1.0), aspect=random.uniform(1, 2),
                )
            )  # fmt: skip
    if cracks:
        for _ in range(int(random.integers(1, 4))):
            place = (random.normal(500, 1200), random.normal(0, 900))
            lesions.append(
                _one(
                    random,
                    Kind.LACQUER_CRACK,
                    Process.MYOPIC,
                    place,
                    random.uniform(900, 3200),
                    strength=random.uniform(0.5, 1),
                )
            )
    return lesions


def occlusion_lesions(random: Generator, anatomy: Anatomy, occluded: tuple[Quadrant, ...]) -> list[Lesion]:
    """Bleeding of a vein occlusion: flames and blots in the quarters that the vein drains."""
    process = Process.OCCLUSIVE
    lesions: list[Lesion] = []
    disc_x, disc_y = anatomy.disc_centre_um
    for quadrant in occluded:
        sign_x, sign_y = _towards(quadrant)
        count = int(random.integers(10, 46))
        flames: list[Place] = []
        blots: list[Place] = []
        while len(flames) + len(blots) < count:
            # Along the arcade: from the disc outwards, fanning out.
            reach, angle = abs(random.normal(0, 3300)) + 900, random.normal(0.95, 0.42)
            x = disc_x + sign_x * reach * math.cos(angle) * (1.15 if sign_x < 0 else 1.0)
            y = disc_y + sign_y * min(reach * abs(math.sin(angle)), 5200)
            if math.hypot(x - disc_x, y - disc_y) > 950:
                (flames if random.random() < 0.62 else blots).append((float(x), float(y)))
        lesions += flame_haemorrhages(random, anatomy, flames, process)
        for place in blots:
            size = np.clip(210 * math.exp(random.normal(0, 0.5)), 80, 700)
            lesions.append(
                _one(
                    random, Kind.BLOT_HAEMORRHAGE, process, place, size,
                    strength=random.uniform(0.5, 1), aspect=random.uniform(1, 1.7),
                )
            )  # fmt: skip
        if random.random() < 0.5:
            for place in flames[: int(random.integers(1, 4))]:
                shifted = (place[0] + random.normal(0, 400), place[1] + random.normal(0, 400))
                lesions.append(
                    _one(
                        random, Kind.COTTON_WOOL_SPOT, process, shifted, random.uniform(250, 650),
                        strength=random.uniform(0.4, 0.9), aspect=random.uniform(1, 1.6),
                    )
                )  # fmt: skip
    if random.random() < 0.5:
        lesions.append(
            _one(
                random, Kind.MACULAR_THICKENING, process, (random.normal(0, 300), random.normal(0, 300)),
                random.uniform(1500, 3200), strength=random.uniform(0.3, 1),
            )
        )  # fmt: skip
    return lesions


def hypertensive_lesions(random: Generator, anatomy: Anatomy) -> list[Lesion]:
    """Flames and cotton wool round the disc, in the worse half of cases; none in the rest."""
    if random.random() < 0.55:
        return []
    disc_x, disc_y = anatomy.disc_centre_um

    def round_disc() -> Place:
        angle, reach = random.uniform(0, 2 * math.pi), random.uniform(1200, 3600)
        return float(disc_x + reach * math.cos(angle)), float(disc_y + reach * math.sin(angle))

    flames = [round_disc() for _ in range(int(random.integers(1, 9)))]
    lesions = flame_haemorrhages(random, anatomy, flames, Process.HYPERTENSIVE)
    for _ in range(int(random.integers(0, 6))):
        lesions.append(
            _one(
                random, Kind.COTTON_WOOL_SPOT, Process.HYPERTENSIVE, round_disc(), random.uniform(260, 700),
                strength=random.uniform(0.5, 1), aspect=random.uniform(1, 1.6),
            )
        )  # fmt: skip
    return lesions


def disc_haemorrhage(random: Generator, anatomy: Anatomy, notch: str) -> Lesion:
    """A splinter across the disc margin, on the side of the notch."""
    disc_x, disc_y = anatomy.disc_centre_um
    side = -1.0 if notch == "superior" else 1.0
    angle = side * random.uniform(0.9, 2.1)
    reach = anatomy.disc_height_um / 2 * random.uniform(0.95, 1.15)
    return Lesion(
        kind=Kind.DISC_HAEMORRHAGE,
        process=Process.GLAUCOMATOUS,
        x_um=float(disc_x + reach * math.cos(angle)),
        y_um=float(disc_y + reach * math.sin(angle)),
        diameter_um=float(random.uniform(130, 240)),
        aspect=float(random.uniform(2.5, 5)),
        angle_rad=float(angle),
        strength=float(random.uniform(0.7, 1)),
    )


def epiretinal_membrane(random: Generator) -> list[Lesion]:
    """A sheet with folds over the macula."""
    place = (random.normal(0, 500), random.normal(0, 500))
    return [
        _one(
            random, Kind.EPIRETINAL_MEMBRANE, Process.INTERFACE, place, random.uniform(1800, 4600),
            strength=random.uniform(0.4, 1), aspect=random.uniform(1, 1.5),
        )
    ]  # fmt: skip


def macular_hole(random: Generator) -> list[Lesion]:
    """A round full-thickness defect of the fovea."""
    place = (random.normal(0, 40), random.normal(0, 40))
    size = random.uniform(300, 850)
    return [_one(random, Kind.MACULAR_HOLE, Process.INTERFACE, place, size, strength=random.uniform(0.6, 1))]


def scars(random: Generator, anatomy: Anatomy) -> list[Lesion]:
    """Old chorioretinal scars: bare patches with pigmented borders, anywhere."""
    lesions = []
    for _ in range(int(random.integers(1, 4))):
        place = (random.normal(0, 2600), random.normal(0, 2400))
        size = np.clip(1100 * math.exp(random.normal(0, 0.5)), 400, 3600)
        lesions.append(
            _one(
                random, Kind.PATCHY_ATROPHY, Process.SCARRING, place, size,
                strength=random.uniform(0.5, 1), aspect=random.uniform(1, 1.6),
            )
        )  # fmt: skip
        for _ in range(int(random.integers(1, 5))):
            near = (place[0] + random.normal(0, size * 0.4), place[1] + random.normal(0, size * 0.4))
            lesions.append(
                _one(
                    random, Kind.PIGMENT_CLUMP, Process.SCARRING, near, random.uniform(100, 400),
                    strength=random.uniform(0.5, 1), aspect=random.uniform(1, 2),
                )
            )  # fmt: skip
    return lesions
