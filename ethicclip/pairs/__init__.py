"""The pair set on disk: WebDataset shards, Parquet index, manifest; written atomically, read at random."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.pairs.images import ImageFolder as ImageFolder
    from ethicclip.pairs.images import ImageSource as ImageSource
    from ethicclip.pairs.images import open_images as open_images
    from ethicclip.pairs.pair import Pair as Pair
    from ethicclip.pairs.pair import PairSource as PairSource
    from ethicclip.pairs.reading import PairSet as PairSet
    from ethicclip.pairs.writing import Description as Description
    from ethicclip.pairs.writing import write_pair_set as write_pair_set
    from ethicclip.provenance.artifacts import Origin as Origin

__all__ = [
    "Description",
    "ImageFolder",
    "ImageSource",
    "Origin",
    "Pair",
    "PairSet",
    "PairSource",
    "open_images",
    "write_pair_set",
]

_HOMES = {
    "Description": "ethicclip.pairs.writing",
    "ImageFolder": "ethicclip.pairs.images",
    "ImageSource": "ethicclip.pairs.images",
    "Origin": "ethicclip.provenance.artifacts",
    "Pair": "ethicclip.pairs.pair",
    "PairSet": "ethicclip.pairs.reading",
    "PairSource": "ethicclip.pairs.pair",
    "open_images": "ethicclip.pairs.images",
    "write_pair_set": "ethicclip.pairs.writing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
