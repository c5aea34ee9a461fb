"""Draws what an eye has: a plan (which conditions, at what age), then findings that carry the plan out.

The plan only steers. What an eye is labelled with is derived from its findings (`grading`); an eye whose findings
came out otherwise than planned is drawn again. What a recipe fixes is drawn from a stream of its own: fixing one
finding leaves all others of a picture as they were.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np

from ethicclip.errors import UsageError
from ethicclip.generation import fixing, grading
from ethicclip.generation.disease import diabetic_lesions, macular_degeneration
from ethicclip.generation.disease_other import (
    disc_haemorrhage,
    epiretinal_membrane,
    hypertensive_lesions,
    macular_hole,
    myopic_lesions,
    occlusion_lesions,
    scars,
)
from ethicclip.generation.findings import (
    Anatomy,
    Eye,
    Laterality,
    Lesion,
    Media,
    MyopicChange,
    NerveHead,
    Process,
    Quadrant,
    Vasculature,
)
from ethicclip.generation.findings import LesionKind as Kind
from ethicclip.generation.recipes import FindingsRecipe
from ethicclip.generation.settings import Axis, GenerateSettings
from ethicclip.terms import Condition

_ATTEMPTS = 24
"""Draws of an eye for a plan before it is given up: some findings come out otherwise by chance."""
_OPEN_PLANS, _OPEN_ATTEMPTS = 150, 3
"""The same where fixed findings decide which plans are possible: many plans, few draws of each."""

BALANCED = {
    Condition.NORMAL: 0.26,
    Condition.DIABETIC_RETINOPATHY: 0.24,
    Condition.GLAUCOMA: 0.12,
    Condition.AGE_RELATED_MACULAR_DEGENERATION: 0.12,
    Condition.CATARACT: 0.07,
    Condition.PATHOLOGIC_MYOPIA: 0.06,
    Condition.HYPERTENSIVE_RETINOPATHY: 0.03,
    Condition.RETINAL_VEIN_OCCLUSION: 0.03,
    Condition.EPIRETINAL_MEMBRANE: 0.03,
    Condition.MACULAR_HOLE: 0.02,
    Condition.CHORIORETINAL_ATROPHY: 0.02,
}
"""Shares of the leading condition when every disease is to be learnt."""

PREVALENCE = {
    Condition.NORMAL: 0.70,
    Condition.DIABETIC_RETINOPATHY: 0.10,
    Condition.GLAUCOMA: 0.03,
    Condition.AGE_RELATED_MACULAR_DEGENERATION: 0.06,
    Condition.CATARACT: 0.04,
    Condition.PATHOLOGIC_MYOPIA: 0.02,
    Condition.HYPERTENSIVE_RETINOPATHY: 0.02,
    Condition.RETINAL_VEIN_OCCLUSION: 0.008,
    Condition.EPIRETINAL_MEMBRANE: 0.014,
    Condition.MACULAR_HOLE: 0.002,
    Condition.CHORIORETINAL_ATROPHY: 0.006,
}
"""Rough shares in an eye clinic's screening of adults; orders of magnitude, not epidemiology."""

_GRADES = {"balanced": (0.25, 0.3, 0.22, 0.23), "prevalence": (0.4, 0.42, 0.1, 0.08)}
_AGES = {
    Condition.NORMAL: (47, 17),
    Condition.DIABETIC_RETINOPATHY: (57, 10),
    Condition.AGE_RELATED_MACULAR_DEGENERATION: (72, 8),
    Condition.CATARACT: (68, 9),
    Condition.PATHOLOGIC_MYOPIA: (54, 13),
}
_LONG_AND_HEALTHY = 0.32
"""Share of eyes as long as those of pathologic myopia without its atrophy, whatever else they have."""
_COMORBID = {
    Condition.CATARACT: 0.05,
    Condition.GLAUCOMA: 0.04,
    Condition.DIABETIC_RETINOPATHY: 0.04,
    Condition.AGE_RELATED_MACULAR_DEGENERATION: 0.04,
    Condition.HYPERTENSIVE_RETINOPATHY: 0.03,
    Condition.EPIRETINAL_MEMBRANE: 0.02,
}
"""How often a diseased eye has one of these as well."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an eye is meant to have."""

    conditions: tuple[Condition, ...]
    dr_grade: int
    age: int
    laterality: Laterality
    pigmentation: float
    recipe: FindingsRecipe = field(default_factory=FindingsRecipe)

    def has(self, condition: Condition) -> bool:
        """Whether the plan holds a condition."""
        return condition in self.conditions


def draw_plan(
    random: np.random.Generator,
    sampling: str | dict[Condition, float],
    recipe: FindingsRecipe,
    fixed: np.random.Generator | None = None,
    balance: Collection[Axis] = (),
) -> Plan:
    """Draw which conditions an eye has, or take them from the recipe.

    Args:
        random: Source of what is left to chance.
        sampling: "balanced", "prevalence" or shares of leading conditions.
        recipe: What is fixed.
        fixed: Source of values within the recipe's ranges and of evenly drawn subgroup axes; `random` when None.
        balance: Axes drawn evenly.
    """
    fixed = random if fixed is None else fixed
    tables = {"balanced": BALANCED, "prevalence": PREVALENCE}
    shares = sampling if isinstance(sampling, dict) else tables[sampling]
    names, weights = list(shares), np.array(list(shares.values()))
    leading = names[int(random.choice(len(names), p=weights / weights.sum()))]
    grade_draw = 1 + int(random.choice(4, p=_GRADES["prevalence" if sampling == "prevalence" else "balanced"]))
    also = random.random(len(_COMORBID)) < np.array(list(_COMORBID.values()))
    oedema = random.random() < 0.3
    mean, spread = _AGES.get(leading, (62, 11))
    # An age over 89 is an identifier of a person (HIPAA 164.514(b)(2)(C)); an invented eye need not look like one.
    age = int(np.clip(random.normal(mean, spread), 18, 89))
    pigmentation = float(np.clip(random.normal(0.5, 0.2), 0, 1))
    side = Laterality.LEFT if random.random() < 0.5 else Laterality.RIGHT
    if "age" in balance:
        # Macular degeneration of a young eye would be another disease.
        age = int(fixed.integers(50 if leading is Condition.AGE_RELATED_MACULAR_DEGENERATION else 18, 90))
    if "pigmentation" in balance:
        pigmentation = float(fixed.uniform(0, 1))
    if recipe.age is not None:
        age = int(fixed.integers(recipe.age[0], recipe.age[1] + 1))
    if recipe.pigmentation is not None:
        pigmentation = float(fixed.uniform(*recipe.pigmentation))
    if recipe.conditions is not None:
        chosen = set(recipe.conditions)
    else:
        chosen = {leading}
        if leading is not Condition.NORMAL:
            chosen |= {item for item, taken in zip(_COMORBID, also, strict=True) if taken}
            if age < 50:
                chosen -= {Condition.AGE_RELATED_MACULAR_DEGENERATION} - {leading}
        if recipe.dr_grade is not None:
            chosen -= {Condition.DIABETIC_RETINOPATHY, Condition.NORMAL}
        if recipe.implied:
            chosen = (chosen - {Condition.NORMAL}) | recipe.implied
        if Condition.DIABETIC_RETINOPATHY in chosen and oedema and (recipe.dr_grade or grade_draw) >= 2:
            chosen.add(Condition.DIABETIC_MACULAR_OEDEMA)
    grade = recipe.dr_grade if recipe.dr_grade is not None else grade_draw
    if Condition.DIABETIC_RETINOPATHY not in chosen:
        grade = 0
    elif Condition.DIABETIC_MACULAR_OEDEMA in chosen:
        grade = max(grade, 2) if recipe.dr_grade is None else grade
    conditions = tuple(item for item in Condition if item in chosen) or (Condition.NORMAL,)
    return Plan(
        conditions=conditions,
        dr_grade=grade,
        age=age,
        laterality=Laterality(recipe.eye) if recipe.eye else side,
        pigmentation=pigmentation,
        recipe=recipe,
    )


def draw_anatomy(random: np.random.Generator, plan: Plan) -> Anatomy:
    """Healthy variation, by the sources of the table in the module's documentation (Beijing Eye Study and others)."""
    # Many long eyes are tessellated and nothing more (META-PM category 1): that alone is no pathologic myopia.
    long_eye = plan.has(Condition.PATHOLOGIC_MYOPIA) or random.random() < _LONG_AND_HEALTHY
    youth = max(0.0, 1 - plan.age / 60)
    scale = math.exp(random.normal(0, 0.085))
    # The vessels of a long eye are stretched.
    slender = float(random.uniform(0.82, 1.0)) if long_eye else 1.0
    tessellated = 0.12 + random.beta(1.3, 2.2) * (0.5 + 0.5 * plan.age / 70)
    return Anatomy(
        disc_fovea_um=float(np.clip(random.normal(4760, 340), 3760, 6530)),
        disc_angle_deg=float(np.clip(random.normal(7, 3), -1, 15)),
        disc_height_um=1860 * scale * float(np.clip(random.normal(1, 0.04), 0.9, 1.1)),
        disc_width_um=1750
        * scale
        * float(np.clip(random.normal(1, 0.05), 0.85, 1.12))
        * (random.uniform(0.72, 1) if long_eye else 1),
        disc_tilt_deg=float(random.normal(0, 18 if long_eye else 9)),
        fovea_radius_um=float(np.clip(random.normal(250, 20), 190, 310)),
        macula_radius_um=float(np.clip(random.normal(1250, 200), 750, 1800)),
        arcade_height_um=float(np.clip(random.normal(3800, 450), 2600, 5000)),
        artery_um=slender * float(np.clip(random.normal(135, 15.6), 95, 180)),
        vein_um=slender * float(np.clip(random.normal(151, 15.2), 110, 200)),
        tortuosity=float(np.clip(0.5 * math.exp(random.normal(0, 0.5)), 0.12, 1.6)),
        pigmentation=plan.pigmentation,
        tessellation=float(np.clip(random.uniform(0.6, 1.0) if long_eye else tessellated, 0, 1)),
        choroid_contrast=float(random.uniform(0.45, 1.0) if long_eye else random.uniform(0.2, 0.65)),
        foveal_reflex=float(random.uniform(0, 1) if random.random() < 0.35 + 0.4 * youth else 0.0),
        ring_reflex=float(
            random.uniform(0.1, 1.0) * (0.4 + 0.9 * youth) if random.random() < 0.2 + 0.5 * youth else 0.0
        ),
        nerve_fibre_sheen=float(np.clip(random.normal(0.3 + 0.8 * youth, 0.3), 0, 1.4)),
    )


def _draw_nerve(random: np.random.Generator, plan: Plan, anatomy: Anatomy) -> tuple[NerveHead, list[Lesion]]:
    limit = grading.cup_limit(anatomy.disc_height_um)
    median = float(np.interp(anatomy.disc_height_um / 1000, (1.2, 1.5, 1.8, 1.9), (0.33, 0.42, 0.50, 0.55)))
    ageing = max(0.0, plan.age - 40) / 60
    crescent = float(random.uniform(0.05, 0.35 + 0.2 * ageing)) if random.random() < 0.28 + 0.3 * ageing else 0.0
    if anatomy.tessellation > 0.6 and random.random() < 0.6:
        crescent = max(crescent, float(random.uniform(0.1, 1.1)))
    nerve = NerveHead(
        cup_ratio=float(np.clip(random.normal(median, (limit - median) / 1.96), 0.05, limit)),
        pallor=float(np.clip(random.normal(0.06, 0.05), 0, 0.2)),
        crescent=crescent,
        crescent_span_rad=float(random.uniform(0.7, 1.7)),
    )
    lesions: list[Lesion] = []
    if plan.has(Condition.GLAUCOMA):
        notch = "inferior" if random.random() < 0.52 else "superior" if random.random() < 0.75 else ""
        if plan.recipe.notch is not None:
            notch = plan.recipe.notch.removeprefix("none")
        defect = float(random.uniform(0.15, 1)) if notch and random.random() < 0.6 else 0.0
        ratio = float(limit + 0.01 + (0.94 - limit) * random.beta(1.0, 2.6))
        if not notch:
            ratio = float(random.uniform(0.85, 0.95))
        nerve = replace(
            nerve,
            cup_ratio=ratio,
            notch=notch,
            nerve_fibre_defect=defect,
            pallor=float(np.clip(random.normal(0.25, 0.12), 0, 0.7)),
            crescent=max(crescent, float(random.uniform(0, 0.5))),
        )
        if notch and random.random() < 0.14:
            lesions.append(disc_haemorrhage(random, anatomy, notch))
    if plan.has(Condition.PATHOLOGIC_MYOPIA):
        span = float(random.uniform(1.1, 2.2)) if random.random() < 0.6 else float(random.uniform(3, 6))
        nerve = replace(
            nerve,
            crescent=float(random.uniform(0.6, 2.2)),
            crescent_span_rad=span,
            pallor=float(random.uniform(0.1, 0.5)),
        )
    return nerve, lesions


def _draw_media(random: np.random.Generator, plan: Plan) -> Media:
    if plan.has(Condition.CATARACT):
        density = float(np.clip(random.beta(2.2, 1.6), 0, 1) * 0.62 + grading.CATARACT_DENSITY + 0.01)
        kind = ("nuclear", "cortical", "posterior_subcapsular")[int(random.choice(3, p=(0.6, 0.2, 0.2)))]
        return replace(Media(nuclear=float(random.uniform(0, 0.2))), **{kind: density})
    clear = max(0.0, plan.age - 50) / 50
    return Media(nuclear=float(np.clip(random.uniform(0, 0.28) * clear, 0, grading.CATARACT_DENSITY - 0.01)))


def _draw_vessels(random: np.random.Generator, plan: Plan) -> Vasculature:
    changes = Vasculature(copper_wiring=float(random.uniform(0, 0.2)))
    if plan.has(Condition.HYPERTENSIVE_RETINOPATHY):
        changes = replace(
            changes,
            arteriolar_narrowing=float(random.uniform(0.35, 1)),
            nicking=float(random.uniform(0.35, 1)),
            copper_wiring=float(random.uniform(0.2, 1)),
        )
    if plan.has(Condition.RETINAL_VEIN_OCCLUSION):
        temporal = (Quadrant.SUPERIOR_TEMPORAL, Quadrant.INFERIOR_TEMPORAL)
        central = random.random() < 0.35
        if plan.recipe.vein_occlusion is not None:
            central = plan.recipe.vein_occlusion == "central"
        branch = temporal[0] if random.random() < 0.58 else temporal[1]
        changes = replace(changes, occluded=tuple(Quadrant) if central else (branch,))
    return changes


def draw_eye(random: np.random.Generator, plan: Plan, anatomy: Anatomy | None = None) -> Eye:
    """Draw findings that carry out a plan.

    Args:
        random: Source of randomness.
        plan: What the eye is meant to have.
        anatomy: Healthy variation to keep, as of a fellow eye.

    Raises:
        UsageError: Findings that were fixed contradict the conditions wanted.
    """
    eye = _carried_out(random, plan, random, _ATTEMPTS, anatomy)
    if eye is None:
        raise _impossible(plan)
    return eye


def draw_case(
    random: np.random.Generator, fixed: np.random.Generator, settings: GenerateSettings, recipe: FindingsRecipe
) -> Eye:
    """Draw a plan and an eye that carries it out, both as the settings want them.

    Where findings are fixed and conditions are not, plans are drawn until one goes with the findings: the set then has
    the conditions that eyes with these findings have.

    Args:
        random: Source of what is left to chance.
        fixed: Source of what the recipe fixes.
        settings: Sampling and subgroup axes.
        recipe: What is fixed of this eye.

    Raises:
        UsageError: No eye has the fixed findings together.
    """
    plans, attempts = (_OPEN_PLANS, _OPEN_ATTEMPTS) if recipe.is_open else (1, _ATTEMPTS)
    for _ in range(plans):
        plan = draw_plan(random, settings.sampling, recipe, fixed, settings.balance)
        eye = _carried_out(random, plan, fixed, attempts)
        if eye is not None:
            return eye
    raise _impossible(plan)


def _carried_out(
    random: np.random.Generator,
    plan: Plan,
    fixed: np.random.Generator,
    attempts: int,
    anatomy: Anatomy | None = None,
) -> Eye | None:
    """An eye that has what the plan says and what its recipe fixes; None when none came out."""
    recipe = plan.recipe
    for _ in range(attempts):
        eye = _attempt(random, plan, fixing.fixed_anatomy(anatomy or draw_anatomy(random, plan), recipe, fixed))
        if recipe.lesions:
            more = (_attempt(fixed, plan, eye.anatomy).lesions for _ in range(_ATTEMPTS))
            lesions = fixing.fixed_lesions(eye.lesions, recipe, fixed, more)
            if lesions is None:
                continue
            eye = replace(eye, lesions=lesions)
        eye = fixing.fixed_findings(eye, recipe, fixed)
        if grading.conditions(eye) == plan.conditions and grading.dr_grade(eye) == plan.dr_grade:
            return eye
    return None


def _impossible(plan: Plan) -> UsageError:
    wanted = plan.recipe.model_dump(mode="json", exclude_defaults=True)
    conditions = f"exactly {', '.join(plan.conditions)}" if plan.recipe.conditions else "any set of conditions"
    return UsageError(
        f"no eye with {conditions} and the fixed findings came out of {_OPEN_PLANS if plan.recipe.is_open else 1} "
        f"plan(s)",
        details=[f"findings.{name}: {value}" for name, value in wanted.items()],
        next_step="Loosen the fixed findings: an eye that has them all together must exist.",
    )


def _attempt(random: np.random.Generator, plan: Plan, anatomy: Anatomy) -> Eye:
    nerve, lesions = _draw_nerve(random, plan, anatomy)
    media, vessels, myopia = _draw_media(random, plan), _draw_vessels(random, plan), MyopicChange()
    diabetic, beaded = diabetic_lesions(
        random, anatomy, plan.dr_grade, oedema=plan.has(Condition.DIABETIC_MACULAR_OEDEMA)
    )
    lesions += diabetic
    vessels = replace(vessels, venous_beading=beaded)
    if plan.has(Condition.AGE_RELATED_MACULAR_DEGENERATION):
        stages = ("early", "intermediate", "atrophic", "neovascular")
        stage = stages[int(random.choice(4, p=(0.18, 0.42, 0.18, 0.22)))]
        lesions += macular_degeneration(random, anatomy, plan.recipe.amd_stage or stage)
    elif random.random() < 0.3 * plan.age / 60:
        # Small hard drusen belong to healthy ageing.
        lesions += [
            Lesion(
                kind=Kind.DRUSEN, process=Process.AGEING, x_um=float(random.normal(0, 1500)),
                y_um=float(random.normal(0, 1500)), diameter_um=float(random.uniform(25, 60)),
                strength=float(random.uniform(0.3, 0.9)),
            )
            for _ in range(int(random.integers(1, 9)))
        ]  # fmt: skip
    if plan.has(Condition.PATHOLOGIC_MYOPIA):
        # What a photograph is called pathologic for is plain to see: patches, or atrophy that is not slight. Faint
        # signs alone would teach that every tessellated or hazy fundus is diseased.
        signs = random.random(4)
        patchy = bool(signs[2] < 0.72)
        diffuse = float(random.uniform(0.5 if patchy else 0.7, 1)) if signs[0] < 0.75 or not patchy else 0.0
        staphyloma = float(random.uniform(0.3, 1)) if signs[1] < 0.5 else 0.0
        myopia = MyopicChange(staphyloma=staphyloma, diffuse_atrophy=diffuse)
        lesions += myopic_lesions(random, anatomy, patchy=patchy, cracks=bool(signs[3] < 0.25))
    if vessels.occluded:
        lesions += occlusion_lesions(random, anatomy, vessels.occluded)
        if len(vessels.occluded) == len(Quadrant):
            nerve = replace(nerve, swelling=float(random.uniform(0.2, 0.9)))
    if plan.has(Condition.HYPERTENSIVE_RETINOPATHY):
        lesions += hypertensive_lesions(random, anatomy)
    if plan.has(Condition.EPIRETINAL_MEMBRANE):
        lesions += epiretinal_membrane(random)
        anatomy = replace(anatomy, tortuosity=min(1.6, anatomy.tortuosity * 1.5))
    if plan.has(Condition.MACULAR_HOLE):
        lesions += macular_hole(random)
    if plan.has(Condition.CHORIORETINAL_ATROPHY):
        lesions += scars(random, anatomy)
    return Eye(
        laterality=plan.laterality,
        age=plan.age,
        anatomy=anatomy,
        nerve=nerve,
        vasculature=vessels,
        media=media,
        myopia=myopia,
        lesions=tuple(lesions),
    )
