"""CLIP pretraining on pair sets: deterministic data order, soft contrastive targets, checkpoints that resume."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.training.finishing import TrainResult as TrainResult
    from ethicclip.training.loop import train as train
    from ethicclip.training.planning import TrainPlan as TrainPlan
    from ethicclip.training.planning import plan as plan
    from ethicclip.training.private import PrivateTrainResult as PrivateTrainResult
    from ethicclip.training.private import train_private as train_private
    from ethicclip.training.settings import PrivateSettings as PrivateSettings
    from ethicclip.training.settings import TrainSettings as TrainSettings

_HOMES = {
    "PrivateSettings": "ethicclip.training.settings",
    "PrivateTrainResult": "ethicclip.training.private",
    "TrainPlan": "ethicclip.training.planning",
    "TrainResult": "ethicclip.training.finishing",
    "TrainSettings": "ethicclip.training.settings",
    "plan": "ethicclip.training.planning",
    "train": "ethicclip.training.loop",
    "train_private": "ethicclip.training.private",
}

__all__ = [
    "PrivateSettings",
    "PrivateTrainResult",
    "TrainPlan",
    "TrainResult",
    "TrainSettings",
    "plan",
    "train",
    "train_private",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
