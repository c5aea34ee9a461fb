"""Figures as inline SVG: small, without script or remote reference, the same bytes for the same numbers.

Colours come from the page's style sheet through classes, so that figures follow it in print as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from ethicclip.provenance.drawing import Node, draw
from ethicclip.reports.document import LineagePart, PowerRow, Score
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


def power_curves(rows: Sequence[PowerRow]) -> Markup:
    """Small multiples, one a kind of copy: the chance that the whole rule notices, against the number of copies."""
    drawn = [row for row in rows if len(row.curve) > 1]
    if not drawn:
        return Markup("")
    columns, width, height = 3, 200, 132
    last = max(m for row in drawn for m, _, _ in row.curve)
    parts = [_power_panel(row, (i % columns) * width, (i // columns) * height, last) for i, row in enumerate(drawn)]
    total = height * math.ceil(len(drawn) / columns)
    said = escape(
        "Power of the audit: chance of noticing planted copies against their number. "
        + "; ".join(f"{row.words}: {f'{row.m} copies' if row.m is not None else 'not reached'}" for row in drawn)
        + " are noticed with 95 % confidence"
    )
    return Markup('<svg class="plot power" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        columns * width, total, said, Markup("").join(parts)
    )


def _power_panel(row: PowerRow, left: float, top: float, last: int) -> Markup:
    x0, x1, y0, y1 = left + 28, left + 188, top + 26, top + 104

    def x(m: float) -> float:
        return round(x0 + (x1 - x0) * m / last, 1)

    points = [(0.0, 0.0), *((m, 1 - silent / n) for m, n, silent in row.curve)]
    path = " ".join(f"{'L' if i else 'M'}{x(m)} {y1 - (y1 - y0) * p:.1f}" for i, (m, p) in enumerate(points))
    mark = Markup("")
    if row.m is not None:
        mark = Markup('<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(x(row.m), y0, y1)
    return Markup(
        '<text class="head" x="{}" y="{}">{}</text>'
        '<line class="axis" x1="{x0}" x2="{x0}" y1="{y0}" y2="{y1}"/>'
        '<line class="axis" x1="{x0}" x2="{x1}" y1="{y1}" y2="{y1}"/>'
        '<text x="{}" y="{}" text-anchor="end">1</text><text x="{}" y="{}" text-anchor="end">0</text>'
        '<text x="{x0}" y="{below}">0</text><text x="{x1}" y="{below}" text-anchor="end">{last} copies</text>'
        '{mark}<path class="curve" d="{path}"/>'
    ).format(
        left + 4,
        top + 14,
        row.words,
        x0 - 4,
        y0 + 6,
        x0 - 4,
        y1 + 2,
        x0=x0,
        x1=x1,
        y0=y0,
        y1=y1,
        below=y1 + 15,
        last=last,
        mark=mark,
        path=path,
    )


STANDALONE = (
    "text{font:11px 'EthicCLIP Noto Sans SC',sans-serif;fill:#51606e}"
    ".head{font-weight:700;fill:#17212b}.axis{stroke:#d5dce2}.curve{fill:none;stroke:#0d4f5c;stroke-width:1.6}"
    ".mark{stroke:#7a4a00;stroke-width:1.5;stroke-dasharray:3 2}"
)


def standalone(figure: Markup, style: str = STANDALONE) -> str:
    """A figure of this module as a file of its own, with the colours that a page would give it."""
    text = str(figure)
    if not text:
        return ""
    head, _, rest = text.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}'


def lineage_figure(lineage: LineagePart) -> Markup:
    """Runs and artifacts from top (data) to bottom (scores), joined by lines; every text in it is escaped."""
    return Markup(draw(_nodes(lineage), lineage.edges, standalone=False))  # noqa: S704 - draw escapes every text


def lineage_drawing(lineage: LineagePart) -> str:
    """The same as a file of its own."""
    return draw(_nodes(lineage), lineage.edges, standalone=True).replace("system-ui", "'EthicCLIP Noto Sans SC'")


def _nodes(lineage: LineagePart) -> list[Node]:
    return [
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
