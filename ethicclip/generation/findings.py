"""What is in an eye and how it was photographed: the typed description that all pictures, labels and words come from.

Lengths are micrometres on the retina. The frame is that of a RIGHT eye seen as photographed: the fovea is the
origin, x grows towards the nose (the optic disc lies at positive x), y grows downwards (inferior). A left eye is
described in the same frame and mirrored by the camera.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

UM_PER_DEGREE = 280.0
"""Retinal length of one degree of field: 45 degrees over 512 pixels give 25 um a pixel."""


class Laterality(StrEnum):
    """Which eye."""

    LEFT = "left"
    RIGHT = "right"


class Quadrant(StrEnum):
    """Quarter of the field, about the midpoint between disc and fovea."""

    SUPERIOR_TEMPORAL = "superior_temporal"
    INFERIOR_TEMPORAL = "inferior_temporal"
    SUPERIOR_NASAL = "superior_nasal"
    INFERIOR_NASAL = "inferior_nasal"


class Process(StrEnum):
    """The disease process a lesion belongs to; the same blot has another meaning in another disease."""

    DIABETIC = "diabetic"
    HYPERTENSIVE = "hypertensive"
    OCCLUSIVE = "occlusive"
    DEGENERATIVE = "degenerative"
    GLAUCOMATOUS = "glaucomatous"
    MYOPIC = "myopic"
    INTERFACE = "interface"
    SCARRING = "scarring"
    AGEING = "ageing"


class LesionKind(StrEnum):
    """Signs that have a place and a size."""

    MICROANEURYSM = "microaneurysm"
    DOT_HAEMORRHAGE = "dot_haemorrhage"
    BLOT_HAEMORRHAGE = "blot_haemorrhage"
    FLAME_HAEMORRHAGE = "flame_haemorrhage"
    HARD_EXUDATE = "hard_exudate"
    COTTON_WOOL_SPOT = "cotton_wool_spot"
    IRMA = "irma"
    NEW_VESSELS_DISC = "new_vessels_disc"
    NEW_VESSELS_ELSEWHERE = "new_vessels_elsewhere"
    PRERETINAL_HAEMORRHAGE = "preretinal_haemorrhage"
    VITREOUS_HAEMORRHAGE = "vitreous_haemorrhage"
    LASER_SCAR = "laser_scar"
    DISC_HAEMORRHAGE = "disc_haemorrhage"
    DRUSEN = "drusen"
    PIGMENT_CLUMP = "pigment_clump"
    GEOGRAPHIC_ATROPHY = "geographic_atrophy"
    SUBRETINAL_HAEMORRHAGE = "subretinal_haemorrhage"
    NEOVASCULAR_MEMBRANE = "neovascular_membrane"
    SUBRETINAL_FLUID = "subretinal_fluid"
    DISCIFORM_SCAR = "disciform_scar"
    PATCHY_ATROPHY = "patchy_atrophy"
    LACQUER_CRACK = "lacquer_crack"
    MACULAR_HOLE = "macular_hole"
    EPIRETINAL_MEMBRANE = "epiretinal_membrane"
    MACULAR_THICKENING = "macular_thickening"


HAEMORRHAGES = frozenset(
    {LesionKind.DOT_HAEMORRHAGE, LesionKind.BLOT_HAEMORRHAGE, LesionKind.FLAME_HAEMORRHAGE},
)
"""Bleeding within the retina, as the 4-2-1 rule counts it."""


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One sign at one place.

    Attributes:
        x_um, y_um: Centre in the frame of this module.
        diameter_um: Diameter of the disc of equal area.
        aspect: Length over width.
        angle_rad: Direction of the long axis, from +x towards +y.
        strength: Visibility from 0 to 1.
    """

    kind: LesionKind
    process: Process
    x_um: float
    y_um: float
    diameter_um: float
    aspect: float = 1.0
    angle_rad: float = 0.0
    strength: float = 1.0

    @property
    def foveal_distance_um(self) -> float:
        """Distance of the centre from the fovea."""
        return math.hypot(self.x_um, self.y_um)


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What is healthy variation, in micrometres and fractions from 0 to 1."""

    disc_fovea_um: float
    disc_angle_deg: float
    disc_height_um: float
    disc_width_um: float
    disc_tilt_deg: float
    fovea_radius_um: float
    macula_radius_um: float
    arcade_height_um: float
    artery_um: float
    vein_um: float
    tortuosity: float
    pigmentation: float
    tessellation: float
    choroid_contrast: float
    foveal_reflex: float
    ring_reflex: float
    nerve_fibre_sheen: float

    @property
    def disc_centre_um(self) -> tuple[float, float]:
        """Centre of the disc: nasal of the fovea and a little above it."""
        angle = math.radians(self.disc_angle_deg)
        return self.disc_fovea_um * math.cos(angle), -self.disc_fovea_um * math.sin(angle)


@dataclass(frozen=True, kw_only=True)
class NerveHead:
    """The optic nerve head.

    Attributes:
        cup_ratio: Vertical cup-to-disc ratio.
        notch: Where the rim is lost: "", "inferior" or "superior".
        nerve_fibre_defect: 0 (none) to 1 (wide, dark wedge) on the side of the notch.
        pallor: 0 (pink rim) to 1 (white).
        swelling: 0 (sharp edge) to 1 (blurred, raised).
        crescent: Width of the peripapillary atrophy in disc radii, at its widest.
        crescent_span_rad: How far round the disc it reaches.
    """

    cup_ratio: float
    notch: str = ""
    nerve_fibre_defect: float = 0.0
    pallor: float = 0.0
    swelling: float = 0.0
    crescent: float = 0.0
    crescent_span_rad: float = 1.2


@dataclass(frozen=True, kw_only=True)
class Vasculature:
    """Changes of the retinal vessels; quadrants in the order of `Quadrant`."""

    arteriolar_narrowing: float = 0.0
    nicking: float = 0.0
    copper_wiring: float = 0.0
    venous_beading: tuple[Quadrant, ...] = ()
    occluded: tuple[Quadrant, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Media:
    """Opacity of the lens from 0 (clear) to 1 (no view of the retina), by type; vitreous excluded."""

    nuclear: float = 0.0
    cortical: float = 0.0
    posterior_subcapsular: float = 0.0

    @property
    def density(self) -> float:
        """The opacity that hides the retina most."""
        return max(self.nuclear, self.cortical, self.posterior_subcapsular)


@dataclass(frozen=True, kw_only=True)
class MyopicChange:
    """Changes of a long eye, each 0 to 1."""

    staphyloma: float = 0.0
    diffuse_atrophy: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Eye:
    """Everything in one eye that a picture could show."""

    laterality: Laterality
    age: int
    anatomy: Anatomy
    nerve: NerveHead
    vasculature: Vasculature = Vasculature()
    media: Media = Media()
    myopia: MyopicChange = MyopicChange()
    lesions: tuple[Lesion, ...] = ()

    def of(self, *kinds: LesionKind, process: Process | None = None) -> tuple[Lesion, ...]:
        """The lesions of these kinds, of one process when given."""
        return tuple(item for item in self.lesions if item.kind in kinds and process in (None, item.process))

    def quadrant(self, lesion: Lesion) -> Quadrant:
        """The quarter of the field that a lesion lies in."""
        disc_x, disc_y = self.anatomy.disc_centre_um
        name = "superior" if lesion.y_um < disc_y / 2 else "inferior"
        return Quadrant(f"{name}_{'nasal' if lesion.x_um > disc_x / 2 else 'temporal'}")


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """How the picture was taken. Lengths relative to the radius of the field; colours are display levels 0 to 1.

    Attributes:
        field_deg: Angle of view, across the circle.
        centre_x_um, centre_y_um: What the optical axis points at, in the frame of this module.
        rotation_deg: Roll of camera or head.
        radius: Radius of the lit circle over half the picture's side.
        cut: Half height that the sensor kept, in radii (1 = round field).
        stretch: Height over width of a pixel's footprint (pictures squeezed into a square).
        colour: Mean red, green and blue of the retina.
        blur: Standard deviation of the optical blur, in thousandths of the picture's side.
        haze: Veil over everything, 0 to 1.
        shadow: Darkening away from the light, 0 to 1; `crescent` light at the rim; `glare` a patch of stray light.
        ghosts, dust, streaks: Counts of lens reflections, dust spots (many on a dirty lens) and scratches.
        quality: JPEG quality inside the camera; 100 = none.
    """

    camera: str
    field_deg: float
    centre_x_um: float
    centre_y_um: float
    rotation_deg: float
    radius: float
    cut: float
    stretch: float
    colour: tuple[float, float, float]
    gamma: float
    saturation: float
    vignette: float
    blur: float
    sharpening: float
    haze: float
    shadow: float
    crescent: float
    glare: float
    ghosts: int
    dust: int
    streaks: int
    aberration: float
    noise: float
    black_level: float
    quality: int

    @property
    def defects(self) -> tuple[str, ...]:
        """What is wrong with the picture, worst first; empty for a good one."""
        found = {
            "defocus": self.blur / 9.0,
            "haze": self.haze / 0.42,
            "uneven_light": max(self.shadow / 0.62, self.glare / 0.62, self.crescent / 0.75),
            "dark": 0.30 / max(self.colour[0], 0.05),
        }
        return tuple(name for name, value in sorted(found.items(), key=lambda item: -item[1]) if value > 1.0)

    @property
    def readable(self) -> bool:
        """Whether a reader could grade the retina from it."""
        return self.blur < 16.0 and self.haze < 0.72 and self.colour[0] > 0.18


VIEWPOINT = ("field_deg", "centre_x_um", "centre_y_um", "rotation_deg", "radius", "cut", "stretch")
"""The part of a `Photograph` that says what is seen: two that agree in it can be taken of one rendered scene."""


def as_json(value: Any) -> Any:
    """Dataclasses as JSON types, numbers to six significant digits so that they read well."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: as_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, StrEnum):
        return value.value
    return value


def summary(eye: Eye, photograph: Photograph) -> dict[str, Any]:
    """The findings of a record: everything but the single lesions, which are counted by kind and quadrant."""
    counts: dict[str, dict[str, Any]] = {}
    for kind in LesionKind:
        lesions = eye.of(kind)
        if lesions:
            places = Counter(eye.quadrant(item).value for item in lesions)
            counts[kind.value] = {
                "count": len(lesions),
                "quadrants": dict(sorted(places.items())),
                "largest_um": as_json(max(item.diameter_um for item in lesions)),
                "nearest_fovea_um": as_json(min(item.foveal_distance_um for item in lesions)),
            }
    return {
        "age": eye.age,
        "anatomy": as_json(eye.anatomy),
        "nerve": as_json(eye.nerve),
        "vasculature": as_json(eye.vasculature),
        "media": as_json(eye.media),
        "myopia": as_json(eye.myopia),
        "lesions": counts,
        "photograph": as_json(photograph) | {"defects": list(photograph.defects), "readable": photograph.readable},
    }
