"""Careful reading of JSON that others wrote: a missing or misshapen field becomes an empty one, never an error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ethicclip.provenance import ArtifactRecord
from ethicclip.reports.document import Fact, Score
from ethicclip.reports.wording import clean, clean_all, facts_of

_PATH = re.compile(r"^(~|\.{0,2}/|[A-Za-z]:\\|\\\\)|[/\\].*[/\\]")


def settings_facts(settings: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Settings for people; whatever looks like a path of the machine is withheld, since it may name a person."""
    return as_facts(facts_of(clean_all(_without_paths(settings))))


def _without_paths(value: Any) -> Any:
    if isinstance(value, str):
        return "(a path; withheld)" if _PATH.search(value) else value
    if isinstance(value, Mapping):
        return {name: _without_paths(item) for name, item in value.items()}
    return [_without_paths(item) for item in value] if isinstance(value, list | tuple) else value


def as_facts(pairs: Iterable[tuple[str, str]]) -> tuple[Fact, ...]:
    """Pairs of name and text as facts."""
    return tuple(Fact(name=name, text=text) for name, text in pairs)


def items(content: Mapping[str, Any], name: str) -> Sequence[Any]:
    """A list under a name, or an empty one."""
    value = content.get(name)
    return value if isinstance(value, list) else []


def fields(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A mapping under a name, or an empty one."""
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def alias_of(record: ArtifactRecord | None) -> str:
    """What people call an artifact."""
    return clean(record.alias or record.kind, 120) if record is not None else "(not recorded)"


def as_number(value: Any) -> float | None:
    """A number, or None."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_integer(value: Any) -> int | None:
    """A whole number, or None."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_score(name: str, value: Any, unit: str | None) -> Score:
    """An estimate with its interval; `n` counts patients where the unit is the patient."""
    parts = value if isinstance(value, Mapping) else {}
    low, high = as_number(parts.get("low")), as_number(parts.get("high"))
    people = as_integer(parts.get("patients")) if unit == "patient" else as_integer(parts.get("n"))
    return Score(
        name=name,
        estimate=as_number(parts.get("estimate")),
        low=low,
        high=high,
        n=people,
        unit=f"{unit}s" if unit else None,
        note=str(parts.get("reason") or ""),
    )
