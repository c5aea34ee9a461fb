"""Words are data too: captions, file names, metadata and burned-in writing, scanned for what names a person."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.audits.text.scanning import Sought as Sought
    from ethicclip.audits.text.scanning import TextScan as TextScan
    from ethicclip.audits.text.scanning import scan_set as scan_set
    from ethicclip.audits.text.writing import TextResult as TextResult
    from ethicclip.audits.text.writing import audit_text as audit_text

_HOMES = {
    "Sought": "ethicclip.audits.text.scanning",
    "TextResult": "ethicclip.audits.text.writing",
    "TextScan": "ethicclip.audits.text.scanning",
    "audit_text": "ethicclip.audits.text.writing",
    "scan_set": "ethicclip.audits.text.scanning",
}

__all__ = ["Sought", "TextResult", "TextScan", "audit_text", "scan_set"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
