"""The field's words: conditions, their names, aliases, findings and prompts in English and Chinese."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.terms.conditions import SKIPPED_LABELS as SKIPPED_LABELS
    from ethicclip.terms.conditions import Condition as Condition
    from ethicclip.terms.conditions import Language as Language
    from ethicclip.terms.conditions import UnknownLabelError as UnknownLabelError
    from ethicclip.terms.conditions import condition_for as condition_for
    from ethicclip.terms.conditions import dr_grade_name as dr_grade_name
    from ethicclip.terms.conditions import dr_grade_prompts as dr_grade_prompts
    from ethicclip.terms.conditions import findings as findings
    from ethicclip.terms.conditions import is_skipped as is_skipped
    from ethicclip.terms.conditions import label_captions as label_captions
    from ethicclip.terms.conditions import label_names as label_names
    from ethicclip.terms.conditions import name as name
    from ethicclip.terms.conditions import name_prompts as name_prompts
    from ethicclip.terms.conditions import prompts as prompts
    from ethicclip.terms.structures import STRUCTURES as STRUCTURES
    from ethicclip.terms.vocabulary import Concept as Concept
    from ethicclip.terms.vocabulary import Vocabulary as Vocabulary

_HOMES = {
    "SKIPPED_LABELS": "ethicclip.terms.conditions",
    "Condition": "ethicclip.terms.conditions",
    "Language": "ethicclip.terms.conditions",
    "UnknownLabelError": "ethicclip.terms.conditions",
    "condition_for": "ethicclip.terms.conditions",
    "dr_grade_name": "ethicclip.terms.conditions",
    "dr_grade_prompts": "ethicclip.terms.conditions",
    "findings": "ethicclip.terms.conditions",
    "is_skipped": "ethicclip.terms.conditions",
    "label_captions": "ethicclip.terms.conditions",
    "label_names": "ethicclip.terms.conditions",
    "name": "ethicclip.terms.conditions",
    "name_prompts": "ethicclip.terms.conditions",
    "prompts": "ethicclip.terms.conditions",
    "STRUCTURES": "ethicclip.terms.structures",
    "Concept": "ethicclip.terms.vocabulary",
    "Vocabulary": "ethicclip.terms.vocabulary",
}

__all__ = [
    "SKIPPED_LABELS",
    "STRUCTURES",
    "Concept",
    "Condition",
    "Language",
    "UnknownLabelError",
    "Vocabulary",
    "condition_for",
    "dr_grade_name",
    "dr_grade_prompts",
    "findings",
    "is_skipped",
    "label_captions",
    "label_names",
    "name",
    "name_prompts",
    "prompts",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
