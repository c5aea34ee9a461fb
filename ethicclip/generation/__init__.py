"""Makes image-text pairs of eyes that belong to nobody: findings first, then the picture and the words from them."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.generation.contact_sheet import preview as preview
    from ethicclip.generation.generating import GeneratePlan as GeneratePlan
    from ethicclip.generation.generating import GenerateResult as GenerateResult
    from ethicclip.generation.generating import generate as generate
    from ethicclip.generation.generating import plan as plan
    from ethicclip.generation.pair_stream import PhantomStream as PhantomStream
    from ethicclip.generation.phantom import PhantomEngine as PhantomEngine
    from ethicclip.generation.population import simulate_cohort as simulate_cohort
    from ethicclip.generation.recipes import FindingsRecipe as FindingsRecipe
    from ethicclip.generation.resolution import resolution_note as resolution_note
    from ethicclip.generation.settings import GenerateSettings as GenerateSettings

_HOMES = {
    "FindingsRecipe": "ethicclip.generation.recipes",
    "GeneratePlan": "ethicclip.generation.generating",
    "GenerateResult": "ethicclip.generation.generating",
    "GenerateSettings": "ethicclip.generation.settings",
    "PhantomEngine": "ethicclip.generation.phantom",
    "PhantomStream": "ethicclip.generation.pair_stream",
    "generate": "ethicclip.generation.generating",
    "plan": "ethicclip.generation.generating",
    "preview": "ethicclip.generation.contact_sheet",
    "resolution_note": "ethicclip.generation.resolution",
    "simulate_cohort": "ethicclip.generation.population",
}

__all__ = [
    "FindingsRecipe",
    "GeneratePlan",
    "GenerateResult",
    "GenerateSettings",
    "PhantomEngine",
    "PhantomStream",
    "generate",
    "plan",
    "preview",
    "resolution_note",
    "simulate_cohort",
]


def __getattr__(name: str) -> Any:
    """Import a name of the front door when it is first asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
