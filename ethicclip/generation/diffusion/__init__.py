"""Learned generators: a conditional diffusion model as a standard diffusers folder, fitted, watched and drawn from."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.generation.diffusion.drawing import DiffusionSource as DiffusionSource
    from ethicclip.generation.diffusion.fitting import FitResult as FitResult
    from ethicclip.generation.diffusion.fitting import fit as fit
    from ethicclip.generation.diffusion.making import generate_learned as generate_learned
    from ethicclip.generation.diffusion.opening import open_generator as open_generator
    from ethicclip.generation.diffusion.settings import DiffusionSettings as DiffusionSettings
    from ethicclip.generation.diffusion.settings import FitSettings as FitSettings

_HOMES = {
    "DiffusionSettings": "settings",
    "DiffusionSource": "drawing",
    "FitResult": "fitting",
    "FitSettings": "settings",
    "fit": "fitting",
    "generate_learned": "making",
    "open_generator": "opening",
}

__all__ = [
    "DiffusionSettings",
    "DiffusionSource",
    "FitResult",
    "FitSettings",
    "fit",
    "generate_learned",
    "open_generator",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"ethicclip.generation.diffusion.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
