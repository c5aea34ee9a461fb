"""Text that may come from anywhere, made fit to be read: no control characters, no endless line, plain numbers.

HTML is escaped by the template; this module cares for what escaping leaves: characters that hide, reorder or flood.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 600
_ADDRESS = re.compile(r"\b(?:https?|ftp|file|javascript|data)://?", re.IGNORECASE)
_HARMLESS = frozenset("\n\t")
_ESTIMATE_PARTS = ("estimate", "low", "high", "n")

GLOSSARY = (
    (
        "Reference",
        "real patients whose images the generator may have seen; the question is whether the set shows them.",
    ),
    (
        "Control",
        "other patients of the same pool, whom the generator never saw: what looks like a copy of them is chance.",
    ),
    ("Copy", "a synthetic image whose retina is that of a reference patient, however disguised. A retina identifies."),
    ("Planted copies", "copies made on purpose and hidden in the set, to measure whether the audit would notice them."),
    (
        "Bound",
        "the largest number of copies that could be there unnoticed, for the hardest kind that had to be planted.",
    ),
    ("False discovery rate", "of the patients that the audit names, the share that it may name wrongly."),
    (
        "Interval",
        "the values that the data do not contradict, at 95 % unless said otherwise. Few patients, wide interval.",
    ),
    (
        "Commitment",
        "a keyed hash in place of a patient's data: it can be checked by who holds the key, and by no one else.",
    ),
    (
        "Ledger head",
        "a short number that stands for every record up to a moment, signed. Keep it, and later edits show.",
    ),
    (
        "Epsilon",
        "the bound of differential privacy: how much one patient's data can change what comes out. None is claimed "
        "unless a section says so, with its unit and its accountant.",
    ),
    (
        "Stale",
        "something that the audit rests on was changed after it; its verdict speaks of what was, not of what is.",
    ),
)
"""Words that a reader without this trade needs."""


def clean(text: str, limit: int = LONGEST) -> str:
    """Show control, format and private characters as escapes, cut what is longer than `limit`.

    Addresses lose their scheme: some viewers turn them into links, and a page of evidence leads nowhere.
    """
    shown = _ADDRESS.sub("", text[: limit + 1])
    if any(character not in _HARMLESS and unicodedata.category(character)[0] == "C" for character in shown):
        shown = "".join(
            character
            if character in _HARMLESS or unicodedata.category(character)[0] != "C"
            else character.encode("unicode_escape", "surrogatepass").decode()
            for character in shown
        )
    if len(text) > limit:
        return f"{shown[:limit]}... ({len(text)} characters)"
    return shown


def clean_all(value: Any) -> Any:
    """`clean` every string in JSON types, names of fields included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(name), 200): clean_all(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [clean_all(item) for item in value]
    return value


def number(value: Any) -> str:
    """A number as text: grouped thousands, at most four significant decimals; other values as they are."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def interval(estimate: Any, low: Any = None, high: Any = None, n: Any = None, unit: str | None = None) -> str:
    """An estimate with its interval and sample size, or what is missing of them."""
    if not isinstance(estimate, int | float):
        return "could not be computed"
    text = _rounded(estimate)
    if isinstance(low, int | float) and isinstance(high, int | float):
        text += f" [{_rounded(low)}, {_rounded(high)}]"
    if n is not None:
        text += f" (n = {number(n)}{' ' + unit if unit else ''})"
    return text


def _rounded(value: float) -> str:
    """Shares to three places, since an interval makes further ones idle; small ones to two digits; others `number`."""
    if isinstance(value, float) and 0.01 <= abs(value) <= 1:
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, float) and 0 < abs(value) < 0.01:
        return f"{value:.2g}"
    return number(value)


def label(name: str) -> str:
    """A field's name as words."""
    words = name.replace("_", " ").replace("/", " / ").strip()
    return words[:1].upper() + words[1:]


def sentence(text: str) -> str:
    """A remark as a sentence: with a capital and an end."""
    stripped = text.strip()
    end = "" if not stripped or stripped[-1] in ".!?)" else "."
    return stripped[:1].upper() + stripped[1:] + end


def day(time: str | None) -> str:
    """The day of an ISO 8601 time."""
    return (time or "")[:10] or "unknown"


def moment(time: str | None) -> str:
    """An ISO 8601 time in UTC, to the minute."""
    return f"{time[:16].replace('T', ' ')} UTC" if time else "unknown"


def short(text: str, length: int = 16) -> str:
    """The beginning of a hash or of a long name."""
    return text if len(text) <= length else f"{text[:length]}\u2026"


def facts_of(values: Any, *, skip: Sequence[str] = ()) -> list[tuple[str, str]]:
    """A mapping as (name, text) pairs: estimates with their intervals, nested mappings joined, long lists counted.

    Names in `skip` are left out at every depth.
    """
    found: list[tuple[str, str]] = []
    if not isinstance(values, Mapping):
        return found
    everywhere = skip
    if "estimate" in values:
        found.append(("Estimate", interval(*(values.get(part) for part in _ESTIMATE_PARTS))))
        skip = (*skip, *_ESTIMATE_PARTS)
    for name, value in values.items():
        if name in skip:
            continue
        if isinstance(value, Mapping) and "estimate" in value:
            found.append((label(name), interval(*(value.get(part) for part in _ESTIMATE_PARTS))))
        elif isinstance(value, Mapping):
            found.extend((f"{label(name)}: {inner.lower()}", text) for inner, text in facts_of(value, skip=everywhere))
        elif isinstance(value, list | tuple):
            plain = all(not isinstance(item, Mapping | list | tuple) for item in value)
            short = plain and len(value) <= 12
            found.append((label(name), ", ".join(number(item) for item in value) if short else f"{len(value)} entries"))
        else:
            found.append((label(name), number(value)))
    return found
