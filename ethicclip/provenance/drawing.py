"""Lineage as a picture: runs and artifacts from top (data) to bottom (scores), in SVG without script or remote address.

The same nodes and edges give the same bytes. Inside a page the picture takes its colours from the page's style sheet;
on its own it carries them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

WIDTH, HEIGHT, GAP_X, GAP_Y = 158, 44, 18, 46

STYLE = (
    "text{font:11px system-ui,'Noto Sans','Noto Sans CJK SC','DejaVu Sans',sans-serif;text-anchor:middle;fill:#51606e}"
    ".head{font-weight:650;fill:#17212b}.edge{fill:none;stroke:#7d8b97;stroke-width:1.3}"
    "rect{fill:#fff;stroke:#46535f}.run rect{fill:#e9edf0}.focus rect{stroke-width:3}"
    ".origin-synthetic rect{fill:#e4f0f1;stroke:#0d4f5c}"
    ".origin-real rect,.origin-mixed rect{fill:#fdf0d7;stroke:#7a4a00;stroke-width:2}"
    ".stale rect{stroke:#8f1d1d;stroke-width:2.5;stroke-dasharray:5 3}"
)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A run or an artifact: two lines of text, and what decides its look."""

    id: str
    head: str
    rest: str
    kind: Literal["artifact", "run"]
    origin: str = "none"
    stale: bool = False


def draw(nodes: Sequence[Node], edges: Sequence[tuple[str, str]], *, standalone: bool, focus: str | None = None) -> str:
    """The picture as an ``svg`` element.

    Args:
        nodes: What to show; an empty sequence gives an empty picture.
        edges: Pairs of ids, from what was made earlier to what was made of it.
        standalone: Whether to carry the style, for a file of its own.
        focus: Id of the node to stress.
    """
    if not nodes:
        return ""
    known = {node.id for node in nodes}
    joined = [(start, end) for start, end in edges if start in known and end in known]
    places = _places([node.id for node in nodes], joined)
    width = max(x for x, _ in places.values()) + WIDTH + 8
    height = max(y for _, y in places.values()) + HEIGHT + 8
    parts = []
    for start, end in joined:
        (x1, y1), (x2, y2) = places[start], places[end]
        x1, x2, y1 = x1 + WIDTH / 2, x2 + WIDTH / 2, y1 + HEIGHT
        bend = (y1 + y2) / 2
        parts.append(
            f'<path class="edge" d="M{x1:.0f} {y1:.0f}C{x1:.0f} {bend:.0f} {x2:.0f} {bend:.0f} {x2:.0f} {y2:.0f}"/>'
        )
    for node in nodes:
        x, y = places[node.id]
        look = f"{node.kind} origin-{node.origin}" + (" stale" if node.stale else "")
        look += " focus" if node.id == focus else ""
        round_ = 20 if node.kind == "run" else 3
        parts.append(
            f'<g class="{escape(look)}"><title>{escape(_plain(f"{node.head} {node.rest} {node.id}"))}</title>'
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="{round_}"/>'
            f'<text class="head" x="{x + WIDTH / 2:.0f}" y="{y + 18:.0f}">{escape(_short(node.head))}</text>'
            f'<text x="{x + WIDTH / 2:.0f}" y="{y + 34:.0f}">{escape(_short(node.rest))}</text></g>'
        )
    runs = sum(node.kind == "run" for node in nodes)
    said = f"Lineage: {runs} runs and {len(nodes) - runs} artifacts, from data at the top to results at the bottom"
    extra = f' xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>' if standalone else ">"
    return (
        f'<svg class="lineage" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="{said}"{extra}{"".join(parts)}</svg>'
    )


def levels(names: Sequence[str], edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The longest way down to each node; the number of rounds is bounded, so that a cycle cannot loop."""
    found = dict.fromkeys(names, 0)
    kept = list(edges)
    for _ in range(min(len(names), 200)):
        moved = False
        for start, end in kept:
            if found[end] <= found[start] and found[start] < len(names):
                found[end] = found[start] + 1
                moved = True
        if not moved:
            break
    return found


def _places(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """Rows by level; within a row by the mean place of its neighbours (a few barycentre passes), then centred."""
    level = levels(names, edges)
    rows: dict[int, list[str]] = {}
    for name in names:
        rows.setdefault(level[name], []).append(name)
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for start, end in edges:
        above.setdefault(end, []).append(start)
        below.setdefault(start, []).append(end)
    at = {name: i - (len(row) - 1) / 2 for row in rows.values() for i, name in enumerate(row)}
    for near in (above, below, above, below, above):
        for depth in sorted(rows, reverse=near is below):
            means = {name: _mean(at, near.get(name, ()), at[name]) for name in rows[depth]}
            rows[depth].sort(key=means.__getitem__)
            middle = (len(rows[depth]) - 1) / 2
            at |= {name: i - middle for i, name in enumerate(rows[depth])}
    pitch = WIDTH + GAP_X
    left = min(at.values())
    return {
        name: (4 + (at[name] - left) * pitch, 4 + order * (HEIGHT + GAP_Y))
        for order, depth in enumerate(sorted(rows))
        for name in rows[depth]
    }


def _mean(at: Mapping[str, float], names: Sequence[str], otherwise: float) -> float:
    return sum(at[name] for name in names) / len(names) if names else otherwise


def _short(text: str, cells: int = 23) -> str:
    """Cut to what fits a box; a Chinese character takes two cells."""
    plain, used = _plain(text), 0
    for i, character in enumerate(plain):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > cells:
            return f"{plain[: max(i - 1, 1)]}\u2026"
    return plain


def _plain(text: str) -> str:
    """Control and format characters as escapes: a name cannot reorder or hide what stands beside it."""
    return "".join(
        character
        if unicodedata.category(character)[0] != "C"
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )
