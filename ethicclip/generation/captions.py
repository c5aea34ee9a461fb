"""Captions from findings, by a grammar in data files: signs, diagnosis, eye and quality, in English and Chinese.

A clinician can mend a phrase in ``captions_en.yaml`` or ``captions_zh.yaml`` without reading Python. Every phrase
used states a finding of the eye; a healthy eye's caption names no disease.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from typing import Any

import numpy as np
import yaml

from ethicclip.generation import grading
from ethicclip.generation.findings import HAEMORRHAGES, Eye, Photograph, Process, Quadrant
from ethicclip.generation.findings import LesionKind as Kind
from ethicclip.terms import Condition

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


def _amount(count: int) -> str:
    return "few" if count <= 4 else "several" if count <= 15 else "many"


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
        signs.append(("dot_blot", {"amount": _amount(len(blood))}))
    for kind, name in _COUNTED.items():
        if lesions := eye.of(kind):
            signs.append((name, {"amount": _amount(len(lesions))}))
    drusen = [item.diameter_um for item in eye.of(Kind.DRUSEN)]
    sizes = {
        "large_drusen": [size for size in drusen if size >= grading.LARGE_DRUSEN_UM],
        "medium_drusen": [size for size in drusen if grading.MEDIUM_DRUSEN_UM <= size < grading.LARGE_DRUSEN_UM],
    }
    for name, chosen in sizes.items():
        if chosen:
            signs.append((name, {"amount": _amount(len(chosen))}))
            break
    else:
        if drusen:
            signs.append(("few_drusen", {}))
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
        degree = "mild" if eye.media.density < 0.45 else "moderate" if eye.media.density < 0.68 else "dense"
        signs.insert(0, (f"lens_{degree}", {}))
    if eye.myopia.staphyloma > 0:
        signs.append(("staphyloma", {}))
    if eye.myopia.diffuse_atrophy > 0:
        signs.append(("diffuse_atrophy", {}))
    if eye.anatomy.tessellation > 0.55:
        signs.append(("tigroid" if grading.has_pathologic_myopia(eye) else "tessellated", {}))
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
        if name == "eye":
            return self.pick(self.grammar["eye"][eye.laterality.value])
        if name in ("amount", "quadrant", "side"):
            return self.pick(self.grammar[name][slots[name]])
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
        if name == "age":
            return str(eye.age)
        if name == "field":
            return str(round(photograph.field_deg / 5) * 5)
        if name == "centre":
            disc_x, _ = eye.anatomy.disc_centre_um
            part = photograph.centre_x_um / disc_x
            return self.pick(self.grammar["centre"]["macula" if part < 0.25 else "disc" if part > 0.75 else "between"])
        if name == "quality":
            defects = photograph.defects
            kind = "unreadable" if not photograph.readable else defects[0] if defects else "good"
            return self.pick(self.grammar["quality"][kind])
        if name == "view":
            return self.fill(self.pick(self.grammar["view"]), {})
        if name == "signs":
            return self.signs()
        return self.impression()

    def join(self, parts: list[str], last: str) -> str:
        if len(parts) == 1:
            return parts[0]
        comma: str = self.grammar["join"]["comma"]
        return comma.join(parts[:-1]) + self.pick(self.grammar["join"][last]) + parts[-1]

    def signs(self) -> str:
        found = self.found
        if self.normal:
            healthy: list[Sign] = [("normal_disc", {}), ("normal_macula", {}), ("normal_vessels", {})]
            found = found + [
                healthy[int(item)] for item in self.random.permutation(3)[: int(self.random.integers(1, 4))]
            ]
        most = int(self.random.integers(2, 6))
        if len(found) > most:
            # Readers name the main signs; which of them varies.
            kept = np.sort(self.random.permutation(len(found))[:most])
            found = [found[int(item)] for item in kept]
        return self.join([self.fill(self.pick(self.grammar["signs"][name]), slots) for name, slots in found], "last")

    def impression(self) -> str:
        return self.join(
            [self.fill(self.pick(self.grammar["diagnoses"][name]), {}) for name in self.diagnoses], "diagnoses"
        )

    def write(self) -> str:
        text = self.fill(self.pick(self.grammar["normal_frames" if self.normal else "frames"]), {}).strip()
        stop = self.grammar["join"]["stop"]
        if stop != ".":
            return text
        sentences = re.split(r"(?<=[.:]) ", text)
        return " ".join(part[:1].upper() + part[1:] for part in sentences)


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
