"""Diagnoses derived by rule from findings: a label is true because the picture was made from what it states.

Sources: ICDR severity scale (Wilkinson 2003) for diabetic retinopathy; ETDRS for macular oedema; cup-to-disc
percentiles by disc size of the Blue Mountains Eye Study; Beckman classification (Ferris 2013) and AREDS sizes for
macular degeneration; META-PM (Ohno-Matsui 2015) for pathologic myopia; Keith-Wagener-Barker signs for hypertension.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from ethicclip.generation.findings import HAEMORRHAGES, Eye, Process, Quadrant
from ethicclip.generation.findings import LesionKind as Kind
from ethicclip.terms import Condition

CLINICALLY_SIGNIFICANT_UM = 500.0
"""ETDRS: hard exudate or thickening this near the fovea threatens sight."""

MEDIUM_DRUSEN_UM = 63.0
LARGE_DRUSEN_UM = 125.0

CATARACT_DENSITY = 0.30
"""Lens opacity from which the picture alone would be called cataract; less is a healthy old lens."""

_DISC_MM = (1.2, 1.5, 1.8, 1.9)
_CUP_97_5 = (0.60, 0.68, 0.74, 0.75)


def cup_limit(disc_height_um: float) -> float:
    """The 97.5th percentile of the vertical cup-to-disc ratio of healthy eyes with a disc of this height."""
    return float(np.interp(disc_height_um / 1000, _DISC_MM, _CUP_97_5))


def dr_grade(eye: Eye) -> int:
    """ICDR grade 0 to 4 of the diabetic lesions.

    0 none; 1 microaneurysms only; 2 more than that; 3 more than 20 haemorrhages in each quadrant, or venous
    beading in 2, or IRMA in 1; 4 new vessels, or preretinal or vitreous haemorrhage.
    """

    def diabetic(*kinds: Kind) -> tuple[object, ...]:
        return eye.of(*kinds, process=Process.DIABETIC)

    if diabetic(
        Kind.NEW_VESSELS_DISC, Kind.NEW_VESSELS_ELSEWHERE, Kind.PRERETINAL_HAEMORRHAGE, Kind.VITREOUS_HAEMORRHAGE
    ):
        return 4
    places = Counter(eye.quadrant(item) for item in eye.of(*HAEMORRHAGES, process=Process.DIABETIC))
    four = len(places) == len(Quadrant) and min(places.values()) > 20
    if four or len(set(eye.vasculature.venous_beading)) >= 2 or diabetic(Kind.IRMA):
        return 3
    more = diabetic(*HAEMORRHAGES, Kind.HARD_EXUDATE, Kind.COTTON_WOOL_SPOT) or eye.vasculature.venous_beading
    if more:
        return 2
    return 1 if diabetic(Kind.MICROANEURYSM) else 0


def has_macular_oedema(eye: Eye) -> bool:
    """Diabetic hard exudate whose edge lies within 500 um of the fovea, or thickening that reaches there."""
    signs = eye.of(Kind.HARD_EXUDATE, Kind.MACULAR_THICKENING, process=Process.DIABETIC)
    return any(item.foveal_distance_um - item.diameter_um / 2 <= CLINICALLY_SIGNIFICANT_UM for item in signs)


def has_glaucoma(eye: Eye) -> bool:
    """A cup beyond the 97.5th percentile for its disc with a second sign, or a ratio of 0.85 and more by itself."""
    nerve = eye.nerve
    second = bool(nerve.notch) or nerve.nerve_fibre_defect > 0 or bool(eye.of(Kind.DISC_HAEMORRHAGE))
    return nerve.cup_ratio >= 0.85 or (nerve.cup_ratio > cup_limit(eye.anatomy.disc_height_um) and second)


def amd_stage(eye: Eye) -> str:
    """Stage of macular degeneration, "" when there is none.

    "early": medium drusen; "intermediate": large drusen, or pigment changes beside medium ones; "atrophic";
    "neovascular". Drusen count within two disc diameters of the fovea.
    """
    if eye.of(
        Kind.SUBRETINAL_HAEMORRHAGE, Kind.NEOVASCULAR_MEMBRANE, Kind.DISCIFORM_SCAR, Kind.SUBRETINAL_FLUID,
        process=Process.DEGENERATIVE,
    ):  # fmt: skip
        return "neovascular"
    if eye.of(Kind.GEOGRAPHIC_ATROPHY):
        return "atrophic"
    reach = 2 * eye.anatomy.disc_width_um
    drusen = [item.diameter_um for item in eye.of(Kind.DRUSEN) if item.foveal_distance_um <= reach]
    medium = [size for size in drusen if size >= MEDIUM_DRUSEN_UM]
    if any(size >= LARGE_DRUSEN_UM for size in drusen):
        return "intermediate"
    if medium:
        return "intermediate" if eye.of(Kind.PIGMENT_CLUMP, process=Process.DEGENERATIVE) else "early"
    return ""


def has_pathologic_myopia(eye: Eye) -> bool:
    """META-PM category 2 and above, or a plus sign, or a staphyloma; tessellation alone is not enough."""
    change = eye.myopia
    return (
        change.diffuse_atrophy > 0
        or change.staphyloma > 0
        or bool(eye.of(Kind.PATCHY_ATROPHY, Kind.LACQUER_CRACK, process=Process.MYOPIC))
    )


def has_hypertensive_retinopathy(eye: Eye) -> bool:
    """Narrow arterioles with nicking or copper wiring, or hypertensive bleeding or cotton wool."""
    vessels = eye.vasculature
    moderate = vessels.arteriolar_narrowing > 0.3 and (vessels.nicking > 0.3 or vessels.copper_wiring > 0.3)
    return moderate or any(item.process is Process.HYPERTENSIVE for item in eye.lesions)


def conditions(eye: Eye) -> tuple[Condition, ...]:
    """All conditions of an eye, in the order of `Condition`; (normal,) when there is none."""
    present = {
        Condition.DIABETIC_RETINOPATHY: dr_grade(eye) > 0,
        Condition.DIABETIC_MACULAR_OEDEMA: dr_grade(eye) > 0 and has_macular_oedema(eye),
        Condition.GLAUCOMA: has_glaucoma(eye),
        Condition.AGE_RELATED_MACULAR_DEGENERATION: amd_stage(eye) != "",
        Condition.CATARACT: eye.media.density >= CATARACT_DENSITY,
        Condition.PATHOLOGIC_MYOPIA: has_pathologic_myopia(eye),
        Condition.HYPERTENSIVE_RETINOPATHY: has_hypertensive_retinopathy(eye),
        Condition.RETINAL_VEIN_OCCLUSION: bool(eye.vasculature.occluded),
        Condition.EPIRETINAL_MEMBRANE: bool(eye.of(Kind.EPIRETINAL_MEMBRANE)),
        Condition.MACULAR_HOLE: bool(eye.of(Kind.MACULAR_HOLE)),
        Condition.CHORIORETINAL_ATROPHY: bool(eye.of(Kind.PATCHY_ATROPHY, process=Process.SCARRING)),
    }
    found = tuple(condition for condition in Condition if present.get(condition, False))
    return found or (Condition.NORMAL,)
