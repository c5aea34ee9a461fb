"""Scores of models on labelled real eyes, alone and compared, with intervals by patient."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.evaluation.comparing import CompareResult as CompareResult
    from ethicclip.evaluation.comparing import compare as compare
    from ethicclip.evaluation.retrieval import RetrievalResult as RetrievalResult
    from ethicclip.evaluation.retrieval import retrieve as retrieve
    from ethicclip.evaluation.run import EvaluateResult as EvaluateResult
    from ethicclip.evaluation.run import evaluate as evaluate
    from ethicclip.evaluation.settings import CompareSettings as CompareSettings
    from ethicclip.evaluation.settings import EvaluateSettings as EvaluateSettings
    from ethicclip.evaluation.settings import RetrievalSettings as RetrievalSettings
    from ethicclip.evaluation.zero_shot import ZeroShotModel as ZeroShotModel

_HOMES = {
    "CompareResult": "ethicclip.evaluation.comparing",
    "CompareSettings": "ethicclip.evaluation.settings",
    "EvaluateResult": "ethicclip.evaluation.run",
    "EvaluateSettings": "ethicclip.evaluation.settings",
    "RetrievalResult": "ethicclip.evaluation.retrieval",
    "RetrievalSettings": "ethicclip.evaluation.settings",
    "ZeroShotModel": "ethicclip.evaluation.zero_shot",
    "compare": "ethicclip.evaluation.comparing",
    "evaluate": "ethicclip.evaluation.run",
    "retrieve": "ethicclip.evaluation.retrieval",
}

__all__ = [
    "CompareResult",
    "CompareSettings",
    "EvaluateResult",
    "EvaluateSettings",
    "RetrievalResult",
    "RetrievalSettings",
    "ZeroShotModel",
    "compare",
    "evaluate",
    "retrieve",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
