"""Exports: what a ledger holds, in the formats of other ecosystems; reads ledger and artifacts, measures nothing."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.exports.exporting import ExportResult as ExportResult
    from ethicclip.exports.exporting import Format as Format
    from ethicclip.exports.exporting import export as export

__all__ = ["ExportResult", "Format", "export"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("ethicclip.exports.exporting"), name)
