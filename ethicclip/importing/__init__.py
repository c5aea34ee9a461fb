"""Brings foreign collections in as pair sets: SynFundus-1M, any image-caption table, a real cohort with its labels."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.importing.cohort import import_cohort as import_cohort
    from ethicclip.importing.folder import import_folder as import_folder
    from ethicclip.importing.rows import ImportResult as ImportResult
    from ethicclip.importing.settings import CohortSettings as CohortSettings
    from ethicclip.importing.settings import FolderSettings as FolderSettings
    from ethicclip.importing.settings import SynFundusSettings as SynFundusSettings
    from ethicclip.importing.synfundus import import_synfundus as import_synfundus

_HOMES = {
    "CohortSettings": "ethicclip.importing.settings",
    "FolderSettings": "ethicclip.importing.settings",
    "ImportResult": "ethicclip.importing.rows",
    "SynFundusSettings": "ethicclip.importing.settings",
    "import_cohort": "ethicclip.importing.cohort",
    "import_folder": "ethicclip.importing.folder",
    "import_synfundus": "ethicclip.importing.synfundus",
}

__all__ = [
    "CohortSettings",
    "FolderSettings",
    "ImportResult",
    "SynFundusSettings",
    "import_cohort",
    "import_folder",
    "import_synfundus",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
