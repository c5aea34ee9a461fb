"""What a zero-shot score can be asked about: the built-in conditions and grades, and classes of the user's own.

A prompts file is YAML, one entry per class::

    drusen:
      prompts: [Drusen at the macula., Soft drusen.]     # or {en: [...], zh: [...]}
      aliases: [soft drusen]
    glaucoma:                                            # a canonical id or name: replaces its prompts
      prompts: [Enlarged optic cup.]

Prompts from a file are used word for word, without the templates. A class of the file wins over a built-in alias
of the same name, so that ``npdr`` can become a class of its own; a class named ``0`` ... ``4`` makes those labels
plain classes rather than grades.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from ethicclip.errors import BadInputError
from ethicclip.terms.conditions import (
    DR_GRADES,
    LANGUAGES,
    Condition,
    Language,
    UnknownLabelError,
    condition_spellings,
    dr_grade_for,
    dr_grade_name,
    dr_grade_prompts,
    filled_name,
    is_skipped,
    label_key,
    name,
    name_prompts,
    prompts,
)

PromptKind = Literal["knowledge", "name"]

_EXAMPLE = 'Write for example `drusen: {prompts: ["Drusen at the macula."], aliases: ["soft drusen"]}`.'


@dataclass(frozen=True, kw_only=True)
class Concept:
    """One class that a model can be asked about.

    Attributes:
        id: The canonical id: a condition's, a grade "0".."4", or the user's own name.
        grade: The ICDR grade when the concept is one.
        is_normal: Whether it is the absence of disease (the negative of a pair of classes).
        given: Prompts of the user by language, used word for word; empty for a built-in concept.
    """

    id: str
    grade: int | None = None
    is_normal: bool = False
    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def name(self, language: Language = "en") -> str:
        """What to call it."""
        if self.grade is not None:
            return dr_grade_name(self.grade, language)
        condition = _CONDITIONS.get(self.id)
        return name(condition, language) if condition else self.id.replace("_", " ")

    def prompts(self, language: Language = "en", kind: PromptKind = "knowledge") -> tuple[str, ...]:
        """What to ask the text encoder.

        Raises:
            BadInputError: The user's file has no prompt in this language.
        """
        if self.given:
            if not self.given.get(language):
                raise BadInputError(
                    f"the prompts file has no {language!r} prompt for {self.id!r}",
                    next_step=f"Add prompts: {{{language}: [...]}}, or choose another language.",
                )
            return self.given[language]
        if self.grade is not None:
            named = filled_name(dr_grade_name(self.grade, language), language)
            return dr_grade_prompts(self.grade, language) if kind == "knowledge" else named
        condition = Condition(self.id)
        return prompts(condition, language) if kind == "knowledge" else name_prompts(condition, language)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Labels -> concepts.

    Attributes:
        own: Concepts of the user's file, by `label_key` of every spelling.
        own_spellings: The same as written -> id.
        replaced: Built-in concepts whose prompts the file replaced, by id.
    """

    own: Mapping[str, Concept] = field(default_factory=dict)
    own_spellings: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, Concept] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None) -> Vocabulary:
        """The built-in words, and those of a prompts file.

        Raises:
            BadInputError: The file cannot be read or used; the message says which class and why.
        """
        return cls() if path is None else _from_file(path)

    def condition_for(self, label: str) -> Concept | None:
        """The class of the user or the condition that a label means; None when it means neither."""
        key = label_key(label)
        if key in self.own:
            return self.own[key]
        value = _CONDITION_KEYS.get(key)
        return None if value is None else self.condition(Condition(value))

    def condition(self, condition: Condition) -> Concept:
        """The concept of a built-in condition."""
        built_in = Concept(id=condition.value, is_normal=condition is Condition.NORMAL)
        return self.replaced.get(condition.value, built_in)

    def grade(self, grade: int) -> Concept:
        """The concept of an ICDR grade."""
        return Concept(id=str(grade), grade=grade, is_normal=grade == 0)

    def resolve(self, labels: Iterable[str], *, where: str = "") -> dict[str, Concept]:
        """Label -> concept for every distinct label that is not skipped.

        When every label can be a grade ("0".."4", "mild" ...) and they are not all conditions, all are grades;
        the user's own classes come first.

        Args:
            labels: The values of a column, skipped ones included, empty ones left out by the caller.
            where: Such as "column 'label'", for the message.

        Raises:
            UnknownLabelError: With every unknown label and its count.
        """
        counts = Counter(label for label in labels if not is_skipped(label))
        as_conditions = {label: self.condition_for(label) for label in counts}
        grades = {label: dr_grade_for(label) for label in counts}
        all_grades = None not in grades.values() and not any(label_key(label) in self.own for label in counts)
        if all_grades and None in as_conditions.values():
            return {label: self.grade(grade) for label, grade in grades.items() if grade is not None}
        unknown = {label: counts[label] for label, concept in as_conditions.items() if concept is None}
        if unknown:
            raise UnknownLabelError(unknown, known=self.spellings(), where=where)
        return {label: concept for label, concept in as_conditions.items() if concept is not None}

    def spellings(self) -> dict[str, str]:
        """Every known spelling -> id, the user's first."""
        return {**self.own_spellings, **condition_spellings()}

    def in_order(self, concepts: Iterable[Concept]) -> tuple[Concept, ...]:
        """Distinct concepts in the order of every table: health, conditions as in the data file, grades, then own."""
        ranks = {value: rank for rank, value in enumerate([*Condition, *map(str, DR_GRADES)])}
        distinct = {concept.id: concept for concept in concepts}

        def place(concept: Concept) -> tuple[bool, int, str]:
            return (not concept.is_normal, ranks.get(concept.id, len(ranks)), concept.id)

        return tuple(sorted(distinct.values(), key=place))


_CONDITIONS = {condition.value: condition for condition in Condition}

_CONDITION_KEYS = {label_key(spelling): value for spelling, value in condition_spellings().items()}


def _from_file(path: Path) -> Vocabulary:
    own: dict[str, Concept] = {}
    spellings: dict[str, str] = {}
    replaced: dict[str, Concept] = {}
    built_in = {label_key(spelling): c for c in Condition for spelling in (c.value, name(c, "en"), name(c, "zh"))}
    for raw_id, entry in _read_mapping(path).items():
        class_id = str(raw_id).strip()
        given, aliases = _read_class(entry, where=f"class {class_id!r} of {path}")
        condition = built_in.get(label_key(class_id))
        concept = Concept(
            id=condition.value if condition else class_id, is_normal=condition is Condition.NORMAL, given=given
        )
        if condition:
            replaced[condition.value] = concept
        for spelling in (class_id, *aliases):
            before = own.setdefault(label_key(spelling), concept)
            if before is not concept:
                raise BadInputError(
                    f"{spelling!r} names both {before.id!r} and {concept.id!r} in {path}",
                    next_step="Give every name and alias to one class only.",
                )
            spellings[spelling] = concept.id
    return Vocabulary(own=own, own_spellings=spellings, replaced=replaced)


def _read_mapping(path: Path) -> Mapping[Any, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(
            f"the prompts file {path} cannot be read: {error.strerror}", next_step="Check the path."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(f"the prompts file {path} is not YAML: {error}", next_step=_EXAMPLE) from None
    if not isinstance(loaded, Mapping) or not loaded:
        raise BadInputError(f"the prompts file {path} holds no class", next_step=_EXAMPLE)
    return loaded


def _read_class(entry: Any, *, where: str) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    fields = entry if isinstance(entry, Mapping) else {"prompts": entry}
    unknown = sorted(str(key) for key in fields if key not in ("prompts", "aliases"))
    if unknown:
        raise BadInputError(f"{where} has unknown fields: {', '.join(unknown)}", next_step=_EXAMPLE)
    raw = fields.get("prompts")
    by_language = raw if isinstance(raw, Mapping) else dict.fromkeys(LANGUAGES, raw)
    strange = sorted(str(key) for key in by_language if key not in LANGUAGES)
    if strange or not by_language:
        raise BadInputError(
            f"{where} has prompts in {', '.join(strange) or 'no language'}",
            next_step=f"Languages are {', '.join(LANGUAGES)}.",
        )
    given = {str(language): _texts(value, where=f"prompts of {where}") for language, value in by_language.items()}
    return given, _texts(fields.get("aliases", ()), where=f"aliases of {where}", least=0)


def _texts(value: Any, *, where: str, least: int = 1) -> tuple[str, ...]:
    values: Sequence[Any] = [value] if isinstance(value, str | int | float) else value
    if not isinstance(values, list | tuple) or len(values) < least:
        raise BadInputError(f"{where} are not a list of at least {least} text(s)", next_step=_EXAMPLE)
    texts = tuple(str(item).strip() for item in values if isinstance(item, str | int | float))
    if len(texts) != len(values) or not all(texts):
        raise BadInputError(f"{where} hold something that is not text", next_step=_EXAMPLE)
    return texts
