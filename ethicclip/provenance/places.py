"""How paths and names are written into a ledger."""

from __future__ import annotations

import functools
import os
from pathlib import Path


def recorded_path(path: Path, ledger: Path) -> str:
    """Relative to the ledger's folder when below it, so that ledger and artifacts can move together."""
    parent = _resolved(os.path.dirname(os.path.abspath(path)))  # noqa: PTH100, PTH120 - a hundred thousand times a run
    folder = _resolved(os.path.dirname(os.path.abspath(ledger)))  # noqa: PTH100, PTH120
    name = path.name
    if parent == folder:
        return recorded_text(name) or ""
    if parent.startswith(folder.rstrip("/") + "/"):
        return recorded_text(f"{parent[len(folder.rstrip('/')) + 1 :]}/{name}") or ""
    return recorded_text(f"{parent}/{name}") or ""


def recorded_text(value: str | None) -> str | None:
    """File names may hold bytes that are not UTF-8; the ledger keeps them visible as escapes."""
    if value is None or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()


@functools.lru_cache(maxsize=512)
def _resolved(folder: str) -> str:
    return Path(os.path.realpath(folder)).as_posix()
