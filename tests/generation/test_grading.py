"""Labels by rule: a table of eyes whose grade and diagnoses were worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ethicclip.generation import grading
from ethicclip.generation.findings import (
    Anatomy,
    Eye,
    Laterality,
    Lesion,
    LesionKind,
    Media,
    MyopicChange,
    NerveHead,
    Process,
    Quadrant,
    Vasculature,
)
from ethicclip.terms import Condition

ANATOMY = Anatomy(
    disc_fovea_um=4760, disc_angle_deg=7, disc_height_um=1860, disc_width_um=1750, disc_tilt_deg=0,
    fovea_radius_um=250, macula_radius_um=1250, arcade_height_um=3350, artery_um=135, vein_um=151, tortuosity=0.5,
    pigmentation=0.5, tessellation=0.2, choroid_contrast=0.4, foveal_reflex=0.0, ring_reflex=0.0,
    nerve_fibre_sheen=0.2,
)  # fmt: skip
HEALTHY = Eye(laterality=Laterality.RIGHT, age=50, anatomy=ANATOMY, nerve=NerveHead(cup_ratio=0.45))


def lesion(kind: str, x: float = -1500, y: float = 1500, size: float = 80, process: str = "diabetic") -> Lesion:
    return Lesion(kind=LesionKind(kind), process=Process(process), x_um=x, y_um=y, diameter_um=size)


def eye(*lesions: Lesion, beading: tuple[Quadrant, ...] = ()) -> Eye:
    return replace(HEALTHY, lesions=lesions, vasculature=Vasculature(venous_beading=beading))


def blots(each: int) -> tuple[Lesion, ...]:
    corners = [(-3000, -3000), (-3000, 3000), (6000, -3000), (6000, 3000)]
    return tuple(lesion("blot_haemorrhage", x, y, 200) for x, y in corners for _ in range(each))


FOUR = tuple(Quadrant)


@pytest.mark.parametrize(
    ("case", "grade"),
    [
        (eye(), 0),
        (eye(lesion("microaneurysm")), 1),
        (eye(*[lesion("microaneurysm")] * 90), 1),
        (eye(lesion("microaneurysm"), lesion("dot_haemorrhage")), 2),
        (eye(lesion("hard_exudate")), 2),
        (eye(lesion("microaneurysm"), lesion("cotton_wool_spot")), 2),
        (eye(lesion("microaneurysm"), beading=FOUR[:1]), 2),
        (eye(*blots(20)), 2),
        (eye(*blots(21)), 3),
        (eye(*blots(21)[:-1]), 2),
        (eye(lesion("microaneurysm"), beading=FOUR[:2]), 3),
        (eye(lesion("irma")), 3),
        (eye(lesion("new_vessels_disc")), 4),
        (eye(lesion("new_vessels_elsewhere")), 4),
        (eye(lesion("preretinal_haemorrhage")), 4),
        (eye(lesion("vitreous_haemorrhage")), 4),
        # The same signs of another disease are no diabetic retinopathy.
        (eye(lesion("flame_haemorrhage", process="occlusive")), 0),
        (eye(lesion("cotton_wool_spot", process="hypertensive")), 0),
        (eye(lesion("hard_exudate", process="degenerative")), 0),
    ],
)
def test_the_diabetic_grade_follows_icdr(case: Eye, grade: int) -> None:
    assert grading.dr_grade(case) == grade
    assert (Condition.DIABETIC_RETINOPATHY in grading.conditions(case)) == (grade > 0)


@pytest.mark.parametrize(
    ("disc_um", "limit"), [(1200, 0.60), (1500, 0.68), (1650, 0.71), (1800, 0.74), (1900, 0.75), (2300, 0.75)]
)
def test_the_healthy_cup_grows_with_the_disc(disc_um: float, limit: float) -> None:
    assert grading.cup_limit(disc_um) == pytest.approx(limit)


@pytest.mark.parametrize(
    ("nerve", "splinter", "expected"),
    [
        (NerveHead(cup_ratio=0.70), False, False),
        (NerveHead(cup_ratio=0.80), False, False),  # large, no second sign
        (NerveHead(cup_ratio=0.80, notch="inferior"), False, True),
        (NerveHead(cup_ratio=0.80, nerve_fibre_defect=0.4), False, True),
        (NerveHead(cup_ratio=0.80), True, True),
        (NerveHead(cup_ratio=0.70, notch="inferior"), False, False),
        (NerveHead(cup_ratio=0.86), False, True),
    ],
)
def test_glaucoma_needs_a_large_cup_and_a_second_sign(nerve: NerveHead, splinter: bool, expected: bool) -> None:
    lesions = (lesion("disc_haemorrhage", process="glaucomatous"),) if splinter else ()
    assert grading.has_glaucoma(replace(HEALTHY, nerve=nerve, lesions=lesions)) is expected


@pytest.mark.parametrize(
    ("lesions", "stage"),
    [
        ((lesion("drusen", 300, 0, 62, "ageing"),), ""),
        ((lesion("drusen", 300, 0, 63, "degenerative"),), "early"),
        ((lesion("drusen", 9000, 0, 200, "degenerative"),), ""),  # not macular
        (
            (lesion("drusen", 300, 0, 80, "degenerative"), lesion("pigment_clump", process="degenerative")),
            "intermediate",
        ),
        ((lesion("drusen", 300, 0, 125, "degenerative"),), "intermediate"),
        ((lesion("geographic_atrophy", 0, 0, 900, "degenerative"),), "atrophic"),
        ((lesion("neovascular_membrane", 0, 0, 900, "degenerative"),), "neovascular"),
    ],
)
def test_amd_stages_follow_drusen_size(lesions: tuple[Lesion, ...], stage: str) -> None:
    case = replace(HEALTHY, lesions=lesions)
    assert grading.amd_stage(case) == stage
    assert (Condition.AGE_RELATED_MACULAR_DEGENERATION in grading.conditions(case)) == (stage != "")


@pytest.mark.parametrize(("x", "size", "expected"), [(540, 100, True), (560, 100, False), (-300, 50, True)])
def test_macular_oedema_is_exudate_within_500_um(x: float, size: float, expected: bool) -> None:
    assert grading.has_macular_oedema(eye(lesion("hard_exudate", x, 0, size))) is expected


def test_the_other_diagnoses() -> None:
    def found(**changes: object) -> tuple[Condition, ...]:
        return grading.conditions(replace(HEALTHY, **changes))  # type: ignore[arg-type]

    assert found() == (Condition.NORMAL,)
    assert found(media=Media(nuclear=0.29)) == (Condition.NORMAL,)
    assert found(media=Media(cortical=0.30)) == (Condition.CATARACT,)
    assert found(anatomy=replace(ANATOMY, tessellation=1.0)) == (Condition.NORMAL,)
    assert found(myopia=MyopicChange(staphyloma=0.5)) == (Condition.PATHOLOGIC_MYOPIA,)
    assert found(lesions=(lesion("patchy_atrophy", process="myopic"),)) == (Condition.PATHOLOGIC_MYOPIA,)
    assert found(lesions=(lesion("patchy_atrophy", process="scarring"),)) == (Condition.CHORIORETINAL_ATROPHY,)
    assert found(vasculature=Vasculature(occluded=FOUR[:1])) == (Condition.RETINAL_VEIN_OCCLUSION,)
    assert found(vasculature=Vasculature(arteriolar_narrowing=0.5, nicking=0.5)) == (
        Condition.HYPERTENSIVE_RETINOPATHY,
    )
    assert found(vasculature=Vasculature(arteriolar_narrowing=0.5)) == (Condition.NORMAL,)
    assert found(lesions=(lesion("macular_hole", 0, 0, 400, "interface"),)) == (Condition.MACULAR_HOLE,)


@pytest.mark.parametrize(
    ("x", "y", "quadrant"),
    [
        (-2000, -2000, Quadrant.SUPERIOR_TEMPORAL),
        (-2000, 2000, Quadrant.INFERIOR_TEMPORAL),
        (6000, -2000, Quadrant.SUPERIOR_NASAL),
        (6000, 2000, Quadrant.INFERIOR_NASAL),
    ],
)
def test_quadrants_lie_about_the_middle_between_disc_and_fovea(x: float, y: float, quadrant: Quadrant) -> None:
    assert HEALTHY.quadrant(lesion("microaneurysm", x, y)) is quadrant
