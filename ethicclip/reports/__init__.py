"""The report: from the ledger and its artifact files to one page, one JSON document and a signed manifest."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.reports.document import Report as Report
    from ethicclip.reports.document import State as State
    from ethicclip.reports.gating import GateResult as GateResult
    from ethicclip.reports.gating import gate as gate
    from ethicclip.reports.settings import ReportSettings as ReportSettings
    from ethicclip.reports.writing import ReportResult as ReportResult
    from ethicclip.reports.writing import verify_report as verify_report
    from ethicclip.reports.writing import write_report as write_report

_HOMES = {
    "GateResult": "gating",
    "Report": "document",
    "ReportResult": "writing",
    "ReportSettings": "settings",
    "State": "document",
    "gate": "gating",
    "verify_report": "writing",
    "write_report": "writing",
}

__all__ = ["GateResult", "Report", "ReportResult", "ReportSettings", "State", "gate", "verify_report", "write_report"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib  # noqa: PLC0415 - the front door opens a room only when asked

        return getattr(importlib.import_module(f"ethicclip.reports.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
