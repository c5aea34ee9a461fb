"""Leakage audits: is a synthetic image a copy of a reference patient's, how many are, and how sure are we."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.audits.beside import AuditHistory as AuditHistory
    from ethicclip.audits.decision import Verdict as Verdict
    from ethicclip.audits.deduplication import same_eye_pairs as same_eye_pairs
    from ethicclip.audits.leakage import audit_leakage as audit_leakage
    from ethicclip.audits.leakage import prepare_real as prepare_real
    from ethicclip.audits.results import AuditResult as AuditResult
    from ethicclip.audits.settings import AuditSettings as AuditSettings
    from ethicclip.audits.text import TextResult as TextResult
    from ethicclip.audits.text import audit_text as audit_text

_HOMES = {
    "AuditHistory": "ethicclip.audits.beside",
    "AuditResult": "ethicclip.audits.results",
    "AuditSettings": "ethicclip.audits.settings",
    "TextResult": "ethicclip.audits.text",
    "Verdict": "ethicclip.audits.decision",
    "audit_leakage": "ethicclip.audits.leakage",
    "audit_text": "ethicclip.audits.text",
    "prepare_real": "ethicclip.audits.leakage",
    "same_eye_pairs": "ethicclip.audits.deduplication",
}

__all__ = [
    "AuditHistory",
    "AuditResult",
    "AuditSettings",
    "TextResult",
    "Verdict",
    "audit_leakage",
    "audit_text",
    "prepare_real",
    "same_eye_pairs",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
