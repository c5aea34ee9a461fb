"""Which of a pair's captions a step shows: one phrasing in one language, drawn by (seed, epoch, key)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ethicclip.terms import Condition, dr_grade_name, name
from ethicclip.terms.conditions import Language, filled_name

Phrasings = Mapping[Language, tuple[str, ...]]


def captions_of(record: Mapping[str, Any], caption: str, languages: Sequence[Language]) -> Phrasings:
    """The phrasings by language; `caption` (English) stands in where a record has none in the languages asked for."""
    stored = record.get("captions") or {}
    found: dict[Language, tuple[str, ...]] = {}
    for language in languages:
        texts = stored.get(language) or ()
        if texts:
            found[language] = (texts,) if isinstance(texts, str) else tuple(texts)
    return found or {"en": (caption,)}


def named_captions(record: Mapping[str, Any], languages: Sequence[Language]) -> Phrasings:
    """The plain names of what the record's labels say, as a zero-shot prompt says them; empty for unknown labels."""
    labels = record.get("labels") or ()
    if not labels or any(label not in _CONDITIONS for label in labels):
        return {}
    grade = record.get("grade")
    result: dict[Language, tuple[str, ...]] = {}
    for language in languages:
        names = [name(Condition(label), language) for label in labels]
        joined = ("、" if language == "zh" else ", ").join(names)
        texts = list(filled_name(joined, language))
        # A grade says more than the diagnosis, and prompts for grades use the grade's own name.
        if isinstance(grade, int) and grade > 0 and list(labels) == ["diabetic_retinopathy"]:
            texts += filled_name(dr_grade_name(grade, language), language)
        result[language] = tuple(texts)
    return result


def draw_caption(
    phrasings: Phrasings,
    named: Phrasings,
    prompt_share: float,
    generator: np.random.Generator,
) -> str:
    """One caption: a language, then a phrasing of it, or with probability `prompt_share` a plain name."""
    choice, language_draw, phrasing_draw = generator.random(3)
    pool = named if named and choice < prompt_share else phrasings
    languages = sorted(pool)
    texts = pool[languages[int(language_draw * len(languages))]]
    return texts[int(phrasing_draw * len(texts))]


def label_tokens(record: Mapping[str, Any]) -> frozenset[str]:
    """What decides how alike two pairs are: the labels, and the grade as a label of its own."""
    tokens = {str(label) for label in record.get("labels") or ()}
    grade = record.get("grade")
    if tokens and isinstance(grade, int) and grade > 0:
        tokens.add(f"grade_{grade}")
    return frozenset(tokens)


_CONDITIONS = frozenset(condition.value for condition in Condition)
