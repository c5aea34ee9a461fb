"""Private Evolution: patients vote, under noise, for the phantom's parameters; no network is trained."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.generation.evolution.evolving import EvolutionResult as EvolutionResult
    from ethicclip.generation.evolution.evolving import evolve as evolve
    from ethicclip.generation.evolution.settings import EvolutionSettings as EvolutionSettings

_HOMES = {
    "EvolutionResult": "ethicclip.generation.evolution.evolving",
    "EvolutionSettings": "ethicclip.generation.evolution.settings",
    "evolve": "ethicclip.generation.evolution.evolving",
}

__all__ = ["EvolutionResult", "EvolutionSettings", "evolve"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
