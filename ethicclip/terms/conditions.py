"""Canonical conditions, and the words for them, read from ``conditions.yaml``.

Why data and not code: a clinician corrects a phrase without reading Python. What this room does not hold: the
phrases of captions, which live with the generator.
"""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import yaml

from ethicclip.errors import BadInputError, UsageError

Language = Literal["en", "zh"]

LANGUAGES: tuple[Language, ...] = ("en", "zh")

SKIPPED_LABELS = frozenset({"other", "multiple"})
"""Labels that name no condition: such rows are left out of a zero-shot score, and counted."""

DR_GRADES = (0, 1, 2, 3, 4)
"""The ICDR severity scale (Wilkinson et al., Ophthalmology 2003)."""

_SHOWN = 20

HOW_TO_ADD = (
    "Rename the label, choose the labels to score with --classes, or add it in a prompts file (--prompts FILE): "
    '`new_name: {prompts: ["..."], aliases: ["..."]}`.'
)


class Condition(StrEnum):
    """What an eye can have; the value is the id used in files."""

    NORMAL = "normal"
    DIABETIC_RETINOPATHY = "diabetic_retinopathy"
    DIABETIC_MACULAR_OEDEMA = "diabetic_macular_oedema"
    GLAUCOMA = "glaucoma"
    AGE_RELATED_MACULAR_DEGENERATION = "age_related_macular_degeneration"
    CATARACT = "cataract"
    PATHOLOGIC_MYOPIA = "pathologic_myopia"
    HYPERTENSIVE_RETINOPATHY = "hypertensive_retinopathy"
    RETINAL_VEIN_OCCLUSION = "retinal_vein_occlusion"
    EPIRETINAL_MEMBRANE = "epiretinal_membrane"
    MACULAR_HOLE = "macular_hole"
    CHORIORETINAL_ATROPHY = "chorioretinal_atrophy"


class UnknownLabelError(BadInputError):
    """Labels that no condition, alias or prompts file explains."""

    def __init__(self, counts: Mapping[str, int], *, known: Mapping[str, str], where: str = "") -> None:
        """Name every unknown label with its count and its nearest known one.

        Args:
            counts: Unknown label -> number of rows.
            known: Every known spelling -> canonical id.
            where: Such as "column 'label'".
        """
        self.counts = dict(counts)
        keys = {label_key(spelling): spelling for spelling in known}
        lines = []
        for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            near = difflib.get_close_matches(label_key(label), list(keys), n=1, cutoff=0.6)
            hint = f"; did you mean {keys[near[0]]!r} ({known[keys[near[0]]]})?" if near else ""
            lines.append(f"{label!r}: {count} row(s){hint}")
        if len(lines) > _SHOWN:
            lines = [*lines[:_SHOWN], f"and {len(lines) - _SHOWN} more"]
        ids = list(dict.fromkeys(known.values()))
        skipped = ", ".join(sorted(SKIPPED_LABELS))
        super().__init__(
            f"{len(counts)} label(s){' in ' + where if where else ''} are not known",
            details=[*lines, f"known: {', '.join(ids)}, and their aliases; skipped: {skipped}"],
            next_step=HOW_TO_ADD,
        )


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One condition or grade as the data file has it; every mapping is keyed by language."""

    names: Mapping[str, str]
    aliases: tuple[str, ...]
    findings: Mapping[str, tuple[str, ...]]
    prompts: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The whole data file."""

    templates: Mapping[str, tuple[str, ...]]
    name_templates: Mapping[str, tuple[str, ...]]
    label_templates: Mapping[str, tuple[str, ...]]
    eyes: Mapping[str, Mapping[str, str]]
    name_joins: Mapping[str, str]
    conditions: Mapping[Condition, Entry]
    dr_grades: Mapping[int, Entry]


def label_key(label: str) -> str:
    """The form in which labels are compared: no case, spaces, underscores, hyphens or apostrophes; NFKC."""
    return re.sub(r"[\s_\-‐-―'’]+", "", unicodedata.normalize("NFKC", label).casefold())


def is_skipped(label: str) -> bool:
    """Whether a label names no condition on purpose ("other", "multiple")."""
    return label_key(label) in SKIPPED_LABELS


@functools.cache
def terms() -> Terms:
    """The data file, parsed once."""
    text = importlib.resources.files("ethicclip.terms").joinpath("conditions.yaml").read_text(encoding="utf-8")
    raw: dict[str, Any] = yaml.safe_load(text)
    return Terms(
        templates=_by_language(raw["templates"]),
        name_templates=_by_language(raw["name_templates"]),
        label_templates=_by_language(raw["label_templates"]),
        eyes={language: dict(raw["eyes"][language]) for language in LANGUAGES},
        name_joins={language: str(raw["name_joins"][language]) for language in LANGUAGES},
        conditions={condition: _entry(raw["conditions"][condition.value]) for condition in Condition},
        dr_grades={grade: _entry(raw["dr_grades"][grade]) for grade in DR_GRADES},
    )


def condition_for(label: str) -> Condition:
    """The condition a label means, by id, name or alias.

    Raises:
        UnknownLabelError: The label is not known (this includes the labels in `SKIPPED_LABELS`).

    Example:
        >>> condition_for("Diabetic_Retinopathy"), condition_for("no DR")
        (<Condition.DIABETIC_RETINOPATHY: 'diabetic_retinopathy'>, <Condition.NORMAL: 'normal'>)
    """
    found = _condition_keys().get(label_key(label))
    if found is None:
        raise UnknownLabelError({label: 1}, known=condition_spellings())
    return found


def name(condition: Condition, language: Language = "en") -> str:
    """The preferred name, such as "glaucoma" or "青光眼"."""
    return terms().conditions[condition].names[_language(language)]


def findings(condition: Condition, language: Language = "en") -> tuple[str, ...]:
    """What is seen in a colour fundus photograph, as short phrases."""
    return terms().conditions[condition].findings[_language(language)]


def prompts(condition: Condition, language: Language = "en") -> tuple[str, ...]:
    """Knowledge prompts: captions that say the diagnosis and its findings, in every template."""
    return _filled(terms().templates, terms().conditions[condition].prompts, _language(language))


def name_prompts(condition: Condition, language: Language = "en") -> tuple[str, ...]:
    """Name prompts: the diagnosis alone, in every template."""
    return filled_name(name(condition, language), language)


def dr_grade_name(grade: int, language: Language = "en") -> str:
    """The ICDR name of grade 0-4."""
    return grade_entry(grade).names[_language(language)]


def dr_grade_prompts(grade: int, language: Language = "en") -> tuple[str, ...]:
    """Knowledge prompts of ICDR grade 0-4, in every template."""
    return _filled(terms().templates, grade_entry(grade).prompts, _language(language))


def grade_entry(grade: int) -> Entry:
    """The data of one ICDR grade.

    Raises:
        UsageError: `grade` is not 0-4.
    """
    if grade not in DR_GRADES:
        raise UsageError(f"{grade!r} is not a grade of diabetic retinopathy", next_step="Use 0, 1, 2, 3 or 4.")
    return terms().dr_grades[grade]


def dr_grade_for(label: str) -> int | None:
    """The ICDR grade a label means: "2", "2.0", "moderate NPDR", "中度"; None when it means none."""
    text = label.strip()
    if re.fullmatch(r"[0-4](\.0+)?", text):
        return int(text[0])
    return _grade_keys().get(label_key(label))


def filled_name(text: str, language: Language) -> tuple[str, ...]:
    """A name in every name template, with a capital where the sentence starts with it."""
    return tuple(_sentence(template, text) for template in terms().name_templates[_language(language)])


def label_names(conditions: Iterable[Condition], grade: int | None, language: Language = "en") -> tuple[str, ...]:
    """Names of an eye's conditions; diabetic retinopathy by its grade where that is known and above 0."""
    return tuple(
        dr_grade_name(grade, language)
        if condition is Condition.DIABETIC_RETINOPATHY and grade
        else name(condition, language)
        for condition in conditions
    )


def label_captions(names: Sequence[str], eye: str | None, language: Language = "en") -> tuple[str, ...]:
    """Captions that say these names and the eye, in every template that can be filled.

    Args:
        names: What the eye has, from `label_names` or elsewhere; at least one.
        eye: "left", "right" or None where nobody knows.
        language: Of names and captions.

    Example:
        >>> label_captions(["glaucoma"], "left")[1]
        'Glaucoma, left eye.'
    """
    chosen = _language(language)
    known = terms()
    fills = {"names": known.name_joins[chosen].join(names)}
    if eye is not None and eye in known.eyes[chosen]:
        fills["eye"] = known.eyes[chosen][eye]
    usable = [text for text in known.label_templates[chosen] if "eye" in fills or "{eye}" not in text]
    filled = [text.format(**fills) for text in usable]
    return tuple(text[:1].upper() + text[1:] for text in filled)


def condition_spellings() -> dict[str, str]:
    """Every known spelling of a condition -> its id, in the data file's order."""
    return {
        spelling: condition.value
        for condition, entry in terms().conditions.items()
        for spelling in (condition.value, *entry.names.values(), *entry.aliases)
    }


@functools.cache
def _condition_keys() -> dict[str, Condition]:
    return {label_key(spelling): Condition(value) for spelling, value in condition_spellings().items()}


@functools.cache
def _grade_keys() -> dict[str, int]:
    return {
        label_key(spelling): grade
        for grade, entry in terms().dr_grades.items()
        for spelling in (*entry.names.values(), *entry.aliases)
    }


def _filled(
    templates: Mapping[str, tuple[str, ...]], sentences: Mapping[str, tuple[str, ...]], language: Language
) -> tuple[str, ...]:
    return tuple(template.format(text) for text in sentences[language] for template in templates[language])


def _sentence(template: str, text: str) -> str:
    filled = template.format(text)
    return filled[:1].upper() + filled[1:]


def _language(language: str) -> Language:
    for known in LANGUAGES:
        if language == known:
            return known
    raise UsageError(f"{language!r} is not a language of the terms", next_step=f"Use {' or '.join(LANGUAGES)}.")


def _by_language(raw: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    return {language: tuple(raw[language]) for language in LANGUAGES}


def _entry(raw: Mapping[str, Any]) -> Entry:
    return Entry(
        names={language: str(raw["names"][language]) for language in LANGUAGES},
        aliases=tuple(str(alias) for alias in raw["aliases"]),
        findings=_by_language(raw.get("findings", dict.fromkeys(LANGUAGES, ()))),
        prompts=_by_language(raw["prompts"]),
    )
