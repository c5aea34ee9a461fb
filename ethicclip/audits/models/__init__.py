"""Audits of a trained model: membership, a lower bound on its epsilon, extraction."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.audits.models.audit import ModelAuditResult as ModelAuditResult
    from ethicclip.audits.models.audit import audit_model as audit_model
    from ethicclip.audits.models.one_run import OneRunBound as OneRunBound
    from ethicclip.audits.models.one_run import epsilon_bound as epsilon_bound
    from ethicclip.audits.models.one_run import one_run_bound as one_run_bound
    from ethicclip.audits.models.settings import ModelAuditSettings as ModelAuditSettings

_HOMES = {
    "ModelAuditResult": "audit",
    "ModelAuditSettings": "settings",
    "OneRunBound": "one_run",
    "audit_model": "audit",
    "epsilon_bound": "one_run",
    "one_run_bound": "one_run",
}

__all__ = ["ModelAuditResult", "ModelAuditSettings", "OneRunBound", "audit_model", "epsilon_bound", "one_run_bound"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"ethicclip.audits.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
