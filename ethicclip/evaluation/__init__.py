"""Zero-shot scores of a model on labelled real eyes, with intervals by patient."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.evaluation.run import EvaluateResult as EvaluateResult
    from ethicclip.evaluation.run import evaluate as evaluate
    from ethicclip.evaluation.settings import EvaluateSettings as EvaluateSettings
    from ethicclip.evaluation.zero_shot import ZeroShotModel as ZeroShotModel

_HOMES = {
    "EvaluateResult": "ethicclip.evaluation.run",
    "EvaluateSettings": "ethicclip.evaluation.settings",
    "ZeroShotModel": "ethicclip.evaluation.zero_shot",
    "evaluate": "ethicclip.evaluation.run",
}

__all__ = ["EvaluateResult", "EvaluateSettings", "ZeroShotModel", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
