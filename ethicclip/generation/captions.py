"""Captions from findings, by a grammar in data files: signs, diagnosis, eye and quality, in English and Chinese.

A clinician can mend a phrase in ``captions_en.yaml`` or ``captions_zh.yaml`` without reading Python. Every phrase
used states a finding of the eye; a healthy eye's caption names no disease.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import yaml

from ethicclip.generation import grading
from ethicclip.generation.findings import HAEMORRHAGES, Eye, Lesion, Photograph, Process, Quadrant
from ethicclip.generation.findings import LesionKind as Kind
from ethicclip.terms import Condition

_MEDIA_DENSITY = 0.45
"""Lens opacity from which nobody calls the picture clear."""

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")

Sign = tuple[str, dict[str, str]]
"""Name of a sign in the grammar, and what fills its slots."""


@functools.cache
def grammar(language: str) -> dict[str, Any]:
    """The grammar of a language, "en" or "zh"."""
    text = importlib.resources.files("ethicclip.generation").joinpath(f"captions_{language}.yaml").read_text("utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


_MACULA_UM = 2750.0
"""Radius of the macula between the arcades; lesions that all lie within are named as macular."""


def _counted(eye: Eye, lesions: Sequence[Lesion]) -> dict[str, str]:
    """What fills the slots of a sign that can be counted: how many, and where most of them lie."""
    count = len(lesions)
    places = Counter(eye.quadrant(item).value for item in lesions)
    most, share = max(places.items(), key=lambda item: item[1])
    if all(item.foveal_distance_um <= _MACULA_UM for item in lesions):
        place = "macula"
    elif count >= 3 and share >= 0.75 * count:
        place = "quadrant"
    else:
        place = "all" if len(places) == len(Quadrant) and count >= 8 else "none"
    amount = "single" if count == 1 else "few" if count <= 4 else "several" if count <= 15 else "many"
    return {"amount": amount, "count": str(count), "place": place, "quadrant": most}


_COUNTED = {
    Kind.COTTON_WOOL_SPOT: "cotton_wool_spot",
    Kind.HARD_EXUDATE: "hard_exudate",
    Kind.MICROANEURYSM: "microaneurysm",
    Kind.FLAME_HAEMORRHAGE: "flame",
}
_PRESENT = {
    Kind.IRMA: "irma",
    Kind.NEW_VESSELS_DISC: "new_vessels_disc",
    Kind.NEW_VESSELS_ELSEWHERE: "new_vessels_elsewhere",
    Kind.PRERETINAL_HAEMORRHAGE: "preretinal",
    Kind.VITREOUS_HAEMORRHAGE: "vitreous",
    Kind.LASER_SCAR: "laser",
    Kind.MACULAR_THICKENING: "thickening",
    Kind.DISC_HAEMORRHAGE: "disc_haemorrhage",
    Kind.GEOGRAPHIC_ATROPHY: "geographic_atrophy",
    Kind.SUBRETINAL_HAEMORRHAGE: "subretinal_blood",
    Kind.NEOVASCULAR_MEMBRANE: "membrane",
    Kind.SUBRETINAL_FLUID: "fluid",
    Kind.DISCIFORM_SCAR: "scar",
    Kind.LACQUER_CRACK: "lacquer_crack",
    Kind.EPIRETINAL_MEMBRANE: "membrane_macula",
    Kind.MACULAR_HOLE: "hole",
}


def _lesion_signs(eye: Eye) -> list[Sign]:
    signs: list[Sign] = []
    for kind, name in _PRESENT.items():
        if eye.of(kind):
            signs.append((name, {}))
    if grading.dr_grade(eye) > 0 and grading.has_macular_oedema(eye) and eye.of(Kind.HARD_EXUDATE):
        signs.append(("exudate_macula", {}))
    places = [eye.quadrant(item) for item in eye.of(*HAEMORRHAGES, process=Process.DIABETIC)]
    if places and min(places.count(item) for item in Quadrant) > 20:
        signs.append(("severe_blood", {}))
    elif blood := eye.of(Kind.DOT_HAEMORRHAGE, Kind.BLOT_HAEMORRHAGE):
        signs.append(("dot_blot", _counted(eye, blood)))
    for kind, name in _COUNTED.items():
        if lesions := eye.of(kind):
            signs.append((name, _counted(eye, lesions)))
    drusen = eye.of(Kind.DRUSEN)
    sizes = {
        "large_drusen": [item for item in drusen if item.diameter_um >= grading.LARGE_DRUSEN_UM],
        "medium_drusen": [item for item in drusen if item.diameter_um >= grading.MEDIUM_DRUSEN_UM],
        "few_drusen": list(drusen),
    }
    for name, chosen in sizes.items():
        if chosen:
            single = name == "few_drusen" and len(chosen) == 1
            signs.append(("one_druse", {}) if single else (name, _counted(eye, chosen)))
            break
    if eye.of(Kind.PIGMENT_CLUMP, process=Process.DEGENERATIVE):
        signs.append(("pigment", {}))
    if eye.of(Kind.PATCHY_ATROPHY, process=Process.MYOPIC):
        signs.append(("patchy_atrophy", {}))
    if eye.of(Kind.PATCHY_ATROPHY, process=Process.SCARRING):
        signs.append(("old_scars", {}))
    return signs


def _nerve_signs(eye: Eye) -> list[Sign]:
    nerve, myopic = eye.nerve, grading.has_pathologic_myopia(eye)
    signs: list[Sign] = []
    if grading.has_glaucoma(eye):
        signs.append(("large_cup", {}))
        if nerve.notch:
            signs.append(("notch", {"side": nerve.notch}))
        if nerve.nerve_fibre_defect > 0.2:
            signs.append(("fibre_defect", {"side": nerve.notch or "inferior"}))
        if nerve.pallor > 0.35:
            signs.append(("pallor", {}))
    if nerve.swelling > 0.3:
        signs.append(("swelling", {}))
    if nerve.crescent > 0.25:
        signs.append(("myopic_crescent" if myopic else "crescent", {}))
    return signs


def _vessel_signs(eye: Eye) -> list[Sign]:
    vessels = eye.vasculature
    signs: list[Sign] = []
    if vessels.venous_beading:
        signs.append(("beading", {}))
    if len(vessels.occluded) == len(Quadrant):
        signs.append(("central_occlusion", {}))
    elif vessels.occluded:
        signs.append(("branch_occlusion", {"quadrant": vessels.occluded[0].value}))
    for name, value in (
        ("narrowing", vessels.arteriolar_narrowing),
        ("nicking", vessels.nicking),
        ("copper", vessels.copper_wiring),
    ):
        if value > 0.3:
            signs.append((name, {}))
    return signs


def signs_of(eye: Eye) -> list[Sign]:
    """Every sign that a reader could name, the telling ones first."""
    signs = _nerve_signs(eye) + _vessel_signs(eye) + _lesion_signs(eye)
    if eye.media.density >= grading.CATARACT_DENSITY:
        degree = "mild" if eye.media.density < _MEDIA_DENSITY else "moderate" if eye.media.density < 0.68 else "dense"
        signs.insert(0, (f"lens_{degree}", {}))
    if eye.myopia.staphyloma > 0:
        signs.append(("staphyloma", {}))
    if eye.myopia.diffuse_atrophy > 0:
        signs.append(("diffuse_atrophy", {}))
    if eye.anatomy.tessellation > 0.55:
        signs.append(("tigroid" if grading.has_pathologic_myopia(eye) else "tessellated", {}))
    return signs


def healthy_signs(eye: Eye) -> list[Sign]:
    """What a reader could say of a healthy eye's disc, vessels, macula and background, as far as it is so."""
    signs: list[Sign] = [("normal_disc", {}), ("normal_vessels", {})]
    if not any(item.foveal_distance_um <= _MACULA_UM for item in eye.lesions):
        signs.append(("normal_macula", {}))
    if eye.anatomy.foveal_reflex > 0.3:
        signs.append(("foveal_reflex", {}))
    if not eye.lesions and eye.anatomy.tessellation <= 0.4:
        signs.append(("normal_ground", {}))
    return signs


def diagnoses_of(eye: Eye) -> list[str]:
    """Names, in the grammar, of an eye's diagnoses."""
    names = []
    for condition in grading.conditions(eye):
        if condition is Condition.DIABETIC_RETINOPATHY:
            names.append(f"dr_{grading.dr_grade(eye)}")
        elif condition is Condition.AGE_RELATED_MACULAR_DEGENERATION:
            names.append(f"amd_{grading.amd_stage(eye)}")
        elif condition is Condition.RETINAL_VEIN_OCCLUSION:
            central = len(eye.vasculature.occluded) == len(Quadrant)
            names.append("central_occlusion" if central else "branch_occlusion")
        else:
            names.append(condition.value)
    return names


class _Writer:
    def __init__(self, eye: Eye, photograph: Photograph, language: str, random: np.random.Generator) -> None:
        self.eye, self.photograph, self.random, self.grammar = eye, photograph, random, grammar(language)
        self.found, self.diagnoses = signs_of(eye), diagnoses_of(eye)
        self.normal = self.diagnoses == [Condition.NORMAL.value]

    def pick(self, phrases: list[str]) -> str:
        text = phrases[int(self.random.integers(len(phrases)))]
        while match := _CHOICE.search(text):
            options = match.group(1).split("|")
            text = text[: match.start()] + options[int(self.random.integers(len(options)))] + text[match.end() :]
        return text

    def fill(self, text: str, slots: dict[str, str]) -> str:
        return _SLOT.sub(lambda match: self.slot(match.group(1), slots), text)

    def slot(self, name: str, slots: dict[str, str]) -> str:
        eye, photograph = self.eye, self.photograph
        if name in ("eye", "tag"):
            return self.pick(self.grammar[name][eye.laterality.value])
        if name in ("amount", "place", "quadrant", "side"):
            return self.fill(self.pick(self.grammar[name][slots[name]]), slots)
        if name == "count":
            count = int(slots["count"])
            return str(self.grammar["numbers"].get(count, count))
        if name == "tens":
            # The next lower ten, so that "more than" is true.
            return str((int(slots["count"]) - 1) // 10 * 10)
        if name == "s":
            return str(self.grammar["plural"]["one" if slots["count"] == "1" else "more"])
        if name == "lens":
            media = eye.media
            kinds = {
                "nuclear": media.nuclear,
                "cortical": media.cortical,
                "posterior_subcapsular": media.posterior_subcapsular,
            }
            return self.pick(self.grammar["lens"][max(kinds, key=lambda kind: kinds[kind])])
        if name == "cup":
            return f"{eye.nerve.cup_ratio:.1f}"
        if name == "cup_fine":
            # Readers estimate in steps of 0.05.
            return f"{round(eye.nerve.cup_ratio * 20) / 20:.2f}"
        if name == "age":
            return str(eye.age)
        if name == "field":
            return str(round(photograph.field_deg / 5) * 5)
        if name == "centre":
            disc_x, _ = eye.anatomy.disc_centre_um
            part = photograph.centre_x_um / disc_x
            return self.pick(self.grammar["centre"]["macula" if part < 0.25 else "disc" if part > 0.75 else "between"])
        if name == "quality":
            return self.pick(self.grammar["quality"][self.quality()])
        if name == "view":
            return self.fill(self.pick(self.grammar["view"]), {})
        if name == "signs":
            return self.signs()
        return self.impression()

    def quality(self) -> str:
        """The kind of quality to speak of: what is worst, or how far an opaque lens lets see."""
        if not self.photograph.readable:
            return "unreadable"
        if self.photograph.defects:
            return self.photograph.defects[0]
        return "media" if self.eye.media.density >= _MEDIA_DENSITY else "good"

    def join(self, parts: list[str], last: str) -> str:
        if len(parts) == 1:
            return parts[0]
        comma: str = self.grammar["join"]["comma"]
        return comma.join(parts[:-1]) + self.pick(self.grammar["join"][last]) + parts[-1]

    def signs(self) -> str:
        found = self.found
        if self.normal:
            healthy = healthy_signs(self.eye)
            chosen = self.random.permutation(len(healthy))[: int(self.random.integers(1, len(healthy) + 1))]
            found = found + [healthy[int(item)] for item in chosen]
        fewest, most_named = self.grammar["signs_named"]
        most = int(self.random.integers(fewest, most_named + 1))
        if len(found) > most:
            # Readers name the main signs; which of them varies.
            kept = np.sort(self.random.permutation(len(found))[:most])
            found = [found[int(item)] for item in kept]
        texts = [self.fill(self.pick(self.grammar["signs"][name]), slots) for name, slots in found]
        return self.join(texts, "healthy" if self.normal else "last")

    def impression(self) -> str:
        return self.join(
            [self.fill(self.pick(self.grammar["diagnoses"][name]), {}) for name in self.diagnoses], "diagnoses"
        )

    def write(self) -> str:
        frames = "normal_frames" if self.normal else "frames"
        if not self.photograph.readable:
            # Nobody lists signs of a picture that cannot be read; what the eye has is known all the same.
            frames = "unreadable_frames"
        text = self.fill(self.pick(self.grammar[frames]), {}).strip()
        stop = self.grammar["join"]["stop"]
        if stop != ".":
            return text
        sentences = re.split(r"(?<=[.:]) ", text)
        return " ".join(part[:1].upper() + part[1:] for part in sentences)


def example_signs(eye: Eye, photograph: Photograph, language: str, random: np.random.Generator) -> dict[str, str]:
    """Every sign of an eye by its name in the grammar, each in one wording; for tables."""
    writer = _Writer(eye, photograph, language, random)
    return {
        name: writer.fill(writer.pick(writer.grammar["signs"][name][:1]), slots)
        for name, slots in (healthy_signs(eye) if writer.normal else writer.found)
    }


def write_captions(
    eye: Eye, photograph: Photograph, language: str, random: np.random.Generator, *, count: int
) -> list[str]:
    """Different captions of one picture; fewer than `count` only if the grammar has no more to say.

    Args:
        eye: Findings.
        photograph: Field, centre and quality.
        language: "en" or "zh".
        random: The picture's stream for captions of this language.
        count: How many.
    """
    writer = _Writer(eye, photograph, language, random)
    found: list[str] = []
    for _ in range(count * 6):
        text = writer.write()
        if text not in found:
            found.append(text)
        if len(found) == count:
            break
    return found
