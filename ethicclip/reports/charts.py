"""Figures as inline SVG: small, without script or remote reference, the same bytes for the same numbers.

Colours come from the page's style sheet through classes, so that figures follow it in print as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from ethicclip.provenance.drawing import Node, draw
from ethicclip.reports.document import LineagePart, Score
from ethicclip.reports.wording import interval, number


def bar(score: Score, low_end: float = 0.0, high_end: float = 1.0, mark: float | None = None) -> Markup:
    """An estimate and its interval on a scale from `low_end` to `high_end`; `mark` is a line to compare with."""

    def x(value: float) -> float:
        return round(2 + 196 * (min(max(value, low_end), high_end) - low_end) / (high_end - low_end), 2)

    text = escape(f"{score.name}: {interval(score.estimate, score.low, score.high, score.n, score.unit)}")
    parts = [Markup('<line class="rail" x1="2" x2="198" y1="9" y2="9"/>')]
    if mark is not None:
        parts.append(Markup('<line class="mark" x1="{0}" x2="{0}" y1="1" y2="17"/>').format(x(mark)))
    if score.estimate is not None:
        if score.low is not None and score.high is not None:
            width = max(round(x(score.high) - x(score.low), 2), 1)
            parts.append(Markup('<rect class="span" x="{}" y="6" width="{}" height="6"/>').format(x(score.low), width))
        parts.append(Markup('<rect class="point" x="{}" y="2" width="3" height="14"/>').format(x(score.estimate) - 1.5))
    return Markup(
        '<svg class="bar" viewBox="0 0 200 18" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(text, Markup("").join(parts))


def loss_curve(points: Sequence[tuple[float, float]]) -> Markup:
    """Loss over steps, thinned to at most 240 points."""
    usable = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if len(usable) < 2:
        return Markup("")
    step = max(1, math.ceil(len(usable) / 240))
    thin = usable[::step] if usable[::step][-1] == usable[-1] else [*usable[::step], usable[-1]]
    first, last = thin[0][0], thin[-1][0]
    low, high = min(y for _, y in thin), max(y for _, y in thin)
    width = (last - first) or 1.0
    height = (high - low) or 1.0
    path = " ".join(
        f"{'M' if i == 0 else 'L'}{44 + 366 * (x - first) / width:.1f} {12 + 150 * (high - y) / height:.1f}"
        for i, (x, y) in enumerate(thin)
    )
    said = f"Training loss: {number(thin[0][1])} at step {number(first)}, {number(thin[-1][1])} at step {number(last)}"
    return Markup(
        '<svg class="plot" viewBox="0 0 420 200" role="img" aria-label="{}">'
        '<line class="axis" x1="44" x2="44" y1="8" y2="166"/><line class="axis" x1="44" x2="412" y1="166" y2="166"/>'
        '<text x="38" y="17" text-anchor="end">{}</text><text x="38" y="166" text-anchor="end">{}</text>'
        '<text x="44" y="182">{}</text><text x="410" y="182" text-anchor="end">{}</text>'
        '<text x="228" y="196" text-anchor="middle">step</text><path class="curve" d="{}"/></svg>'
    ).format(said, number(round(high, 3)), number(round(low, 3)), number(first), number(last), path)


def lineage_figure(lineage: LineagePart) -> Markup:
    """Runs and artifacts from top (data) to bottom (scores), joined by lines; every text in it is escaped."""
    nodes = [
        Node(
            id=node.id,
            head=node.text.partition("\n")[0],
            rest=node.text.partition("\n")[2],
            kind=node.kind,
            origin=node.origin,
            stale=node.stale,
        )
        for node in lineage.nodes
    ]
    return Markup(draw(nodes, lineage.edges, standalone=False))  # noqa: S704 - draw escapes every text
