"""The model: open_clip towers from JSON configs, one fundus preprocessing, load and save without pickles."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.clip.folder import load as load
    from ethicclip.clip.folder import save as save
    from ethicclip.clip.model import ClipModel as ClipModel
    from ethicclip.clip.model import create as create
    from ethicclip.clip.preprocessing import FundusPreprocess as FundusPreprocess

_HOMES = {
    "ClipModel": "ethicclip.clip.model",
    "FundusPreprocess": "ethicclip.clip.preprocessing",
    "create": "ethicclip.clip.model",
    "load": "ethicclip.clip.folder",
    "save": "ethicclip.clip.folder",
}

__all__ = ["ClipModel", "FundusPreprocess", "create", "load", "save"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
