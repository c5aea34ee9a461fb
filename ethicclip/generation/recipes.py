"""What a user may fix of an eye and its photograph; whatever is left out is drawn from the priors.

Names and limits are checked here, before anything is drawn. Whether the fixed findings go together is found out by
drawing: conditions and grades always follow by rule from the findings, so a recipe can ask for an eye that does not
exist, and then says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ethicclip.generation.findings import LesionKind
from ethicclip.settings import Settings
from ethicclip.terms import Condition

Limits = Mapping[str, tuple[float, float]]

_SHARE = (0.0, 1.0)

ANATOMY: Limits = {
    "disc_fovea_um": (3760, 6530),
    "disc_angle_deg": (-1, 15),
    "disc_height_um": (1100, 2600),
    "disc_width_um": (900, 2500),
    "disc_tilt_deg": (-60, 60),
    "fovea_radius_um": (190, 310),
    "macula_radius_um": (750, 1800),
    "arcade_height_um": (2500, 4400),
    "artery_um": (95, 180),
    "vein_um": (110, 200),
    "tortuosity": (0.12, 1.6),
    "tessellation": _SHARE,
    "choroid_contrast": _SHARE,
    "foveal_reflex": _SHARE,
    "ring_reflex": _SHARE,
    "nerve_fibre_sheen": (0, 1.1),
}
NERVE: Limits = {
    "nerve_fibre_defect": _SHARE,
    "pallor": _SHARE,
    "swelling": _SHARE,
    "crescent": (0, 2),
    "crescent_span_rad": (0, 2 * math.pi),
}
VASCULATURE: Limits = {"arteriolar_narrowing": _SHARE, "nicking": _SHARE, "copper_wiring": _SHARE}
MEDIA: Limits = {"nuclear": _SHARE, "cortical": _SHARE, "posterior_subcapsular": _SHARE}
MYOPIA: Limits = {"staphyloma": _SHARE, "diffuse_atrophy": _SHARE}
PHOTOGRAPH: Limits = {
    "rotation_deg": (-12, 12),
    "radius": (0.8, 1),
    "cut": (0.7, 1),
    "gamma": (0.7, 1.5),
    "saturation": (0.5, 1.5),
    "vignette": _SHARE,
    "blur": (0, 25),
    "sharpening": _SHARE,
    "haze": (0, 0.9),
    "shadow": _SHARE,
    "crescent": _SHARE,
    "glare": _SHARE,
    "ghosts": (0, 8),
    "dust": (0, 20),
    "streaks": (0, 5),
    "aberration": (-4, 4),
    "noise": (0, 0.05),
    "black_level": (0, 0.05),
    "quality": (10, 100),
}
"""Limits of the fields of `ethicclip.generation.findings` that a recipe may fix, section by section.

Fields with a name of their own in `FindingsRecipe` (age, pigmentation, cup_ratio, field_deg, camera) stand there only.
"""

SECTIONS: Mapping[str, Limits] = {
    "anatomy": ANATOMY,
    "nerve": NERVE,
    "vasculature": VASCULATURE,
    "media": MEDIA,
    "myopia": MYOPIA,
    "photograph": PHOTOGRAPH,
}

SINGLE = frozenset(
    {
        LesionKind.MACULAR_HOLE,
        LesionKind.EPIRETINAL_MEMBRANE,
        LesionKind.MACULAR_THICKENING,
        LesionKind.NEOVASCULAR_MEMBRANE,
        LesionKind.DISCIFORM_SCAR,
        LesionKind.VITREOUS_HAEMORRHAGE,
    }
)
"""Kinds of which an eye has one or none."""

_OWN_NAMES = {"cup_ratio", "notch", "pigmentation", "field_deg", "camera", "occluded", "centre_x_um", "centre_y_um"}
_FLAT: Limits = {"age": (1, 100), "pigmentation": _SHARE, "cup_ratio": (0, 0.98), "field_deg": (25, 60)}


def _pair(value: Any) -> Any:
    """One number is the range from itself to itself."""
    return (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Range = Annotated[tuple[float, float], BeforeValidator(_pair)]
"""(low, high), both ends included, or one number."""
Count = Annotated[tuple[int, int], BeforeValidator(_pair)]


def _within(name: str, value: tuple[float, float], limits: tuple[float, float]) -> None:
    low, high = limits
    if value[0] > value[1]:
        raise ValueError(f"the range {value} of {name} has its low end above its high end")
    if not (low <= value[0] and value[1] <= high):
        raise ValueError(f"{name} {value} is not within {low:g} to {high:g}")


class LesionRecipe(Settings):
    """How many lesions of one kind an eye has, and how large they are; a bare number or range is the count."""

    count: Count | None = None
    diameter_um: Range | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_count(cls, value: Any) -> Any:
        return value if isinstance(value, dict | LesionRecipe) else {"count": value}

    @model_validator(mode="after")
    def _within_limits(self) -> LesionRecipe:
        if self.count is not None:
            _within("count", self.count, (0, 500))
        if self.diameter_um is not None:
            _within("diameter_um", self.diameter_um, (10, 12_000))
        return self


class FindingsRecipe(Settings):
    """Findings to fix; what is left out is drawn. Ranges are [low, high], both ends included, or one number.

    Examples:
        `--set findings.dr_grade=3`, `--set 'findings.conditions=[glaucoma, cataract]'`,
        `--set 'findings.age=[60, 80]'`, `--set 'findings.media.nuclear=[0.5, 0.7]'`,
        `--set 'findings.lesions.drusen=[20, 40]'`, `--set findings.quality=haze`.
    """

    conditions: tuple[Condition, ...] | None = Field(
        default=None, description="Exactly these conditions; [normal] for none."
    )
    dr_grade: int | None = Field(default=None, ge=0, le=4, description="ICDR grade of diabetic retinopathy.")
    amd_stage: Literal["early", "intermediate", "atrophic", "neovascular"] | None = None
    vein_occlusion: Literal["branch", "central"] | None = None
    notch: Literal["none", "inferior", "superior"] | None = Field(default=None, description="Where the rim is lost.")
    eye: Literal["left", "right"] | None = None
    age: Count | None = None
    pigmentation: Range | None = Field(default=None, description="0 fair to 1 dark fundus.")
    cup_ratio: Range | None = Field(default=None, description="Vertical cup-to-disc ratio.")
    camera: str | None = Field(default=None, description="Name of a camera of `ethicclip.generation.cameras`.")
    field_deg: Range | None = Field(default=None, description="Field of view in degrees, within 25 to 60.")
    centre: Literal["macula", "disc", "between"] | None = Field(default=None, description="What the camera aims at.")
    quality: Literal["any", "good", "defocus", "haze", "uneven_light", "dark", "unreadable"] = Field(
        default="any", description="good: no defect; the rest: a good picture but for this defect."
    )
    anatomy: dict[str, Range] = Field(default_factory=dict)
    nerve: dict[str, Range] = Field(default_factory=dict)
    vasculature: dict[str, Range] = Field(default_factory=dict)
    media: dict[str, Range] = Field(default_factory=dict)
    myopia: dict[str, Range] = Field(default_factory=dict)
    photograph: dict[str, Range] = Field(default_factory=dict)
    lesions: dict[LesionKind, LesionRecipe] = Field(default_factory=dict)

    @field_validator(*SECTIONS)
    @classmethod
    def _known_fields(cls, value: dict[str, tuple[float, float]], info: Any) -> dict[str, tuple[float, float]]:
        limits = SECTIONS[info.field_name]
        for name, given in value.items():
            if name not in limits:
                hint = "; findings has a name of its own for it" if name in _OWN_NAMES else ""
                raise ValueError(f"{info.field_name} has no field {name!r} to fix{hint}: choose of {', '.join(limits)}")
            _within(f"{info.field_name}.{name}", given, limits[name])
        return value

    @model_validator(mode="after")
    def _within_domain(self) -> FindingsRecipe:
        for name, limits in _FLAT.items():
            value = getattr(self, name)
            if value is not None:
                _within(name, value, limits)
        if self.conditions is not None:
            self._check_conditions(self.conditions)
        if self.quality in ("good", "any"):
            return self
        clash = sorted({"blur", "haze", "shadow", "crescent", "glare"} & set(self.photograph))
        if clash:
            raise ValueError(f"quality {self.quality} and photograph.{clash[0]} both say how good the picture is")
        return self

    def _check_conditions(self, conditions: tuple[Condition, ...]) -> None:
        if not conditions:
            raise ValueError("conditions is empty; write [normal] for a healthy eye")
        if Condition.NORMAL in conditions and len(conditions) > 1:
            raise ValueError("normal cannot stand beside another condition")
        diabetic = Condition.DIABETIC_RETINOPATHY in conditions
        if self.dr_grade is not None and diabetic != (self.dr_grade > 0):
            raise ValueError(f"dr_grade {self.dr_grade} does not go with the conditions given")
        if Condition.DIABETIC_MACULAR_OEDEMA in conditions and not diabetic:
            raise ValueError("diabetic_macular_oedema needs diabetic_retinopathy beside it")
        missing = sorted(self.implied - set(conditions))
        if missing:
            raise ValueError(f"a stage, type or notch is fixed that needs {missing[0].value} among the conditions")

    @field_validator("lesions")
    @classmethod
    def _possible_counts(cls, value: dict[LesionKind, LesionRecipe]) -> dict[LesionKind, LesionRecipe]:
        for kind in SINGLE & set(value):
            count = value[kind].count
            if count is not None and count[1] > 1:
                raise ValueError(f"an eye has at most one {kind.value}, and {count[1]} are asked for")
        return value

    @property
    def implied(self) -> frozenset[Condition]:
        """Conditions that a fixed grade, stage, type or notch brings along."""
        brought = {
            Condition.DIABETIC_RETINOPATHY: bool(self.dr_grade),
            Condition.AGE_RELATED_MACULAR_DEGENERATION: self.amd_stage is not None,
            Condition.RETINAL_VEIN_OCCLUSION: self.vein_occlusion is not None,
            Condition.GLAUCOMA: self.notch in ("inferior", "superior"),
        }
        return frozenset(condition for condition, present in brought.items() if present)

    @property
    def is_open(self) -> bool:
        """Whether the conditions are left to be drawn although findings that decide on them are fixed."""
        parts = (self.anatomy, self.nerve, self.vasculature, self.media, self.myopia, self.lesions)
        return self.conditions is None and (any(parts) or self.cup_ratio is not None)
