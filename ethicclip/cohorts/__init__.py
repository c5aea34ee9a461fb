"""Real image collections: read them with their patients, and divide them so that no patient is on two sides."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.cohorts.cohort import Cohort as Cohort
    from ethicclip.cohorts.near_duplicates import find_near_duplicates as find_near_duplicates
    from ethicclip.cohorts.reading import read_cohort as read_cohort
    from ethicclip.cohorts.settings import SplitSettings as SplitSettings
    from ethicclip.cohorts.splitting import SplitResult as SplitResult
    from ethicclip.cohorts.splitting import split_cohort as split_cohort

_HOMES = {
    "Cohort": "ethicclip.cohorts.cohort",
    "SplitResult": "ethicclip.cohorts.splitting",
    "SplitSettings": "ethicclip.cohorts.settings",
    "find_near_duplicates": "ethicclip.cohorts.near_duplicates",
    "read_cohort": "ethicclip.cohorts.reading",
    "split_cohort": "ethicclip.cohorts.splitting",
}

__all__ = ["Cohort", "SplitResult", "SplitSettings", "find_near_duplicates", "read_cohort", "split_cohort"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
