"""What labels add: few-shot probes by patients a class, between zero-shot and the linear probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ethicclip.evaluation.bootstrap import Estimate
from ethicclip.evaluation.figures import BASELINE, CHANCE, INK, MODEL, STYLE, save_figure


def draw_probes(folder: Path, found: Mapping[str, Any], *, classes: int) -> None:
    """Write probes.svg and .png: balanced accuracy without labels, from k patients a class, and from all others.

    Nothing is written where no k leaves patients to be scored.

    Args:
        folder: Where to.
        found: Nested scores with `Estimate` leaves: "balanced_accuracy", "few_shot" and, where it was asked for,
            "linear_probe".
        classes: How many there are, for the level of chance.
    """
    shots = [
        (f"{count}", entry["balanced_accuracy"])
        for count, entry in sorted(found["few_shot"]["shots"].items(), key=lambda item: int(item[0]))
        if "balanced_accuracy" in entry
    ]
    if not shots:
        return
    points: list[tuple[str, Estimate, str]] = [("none:\nzero-shot", found["balanced_accuracy"], MODEL)]
    points += [(count, estimate, BASELINE) for count, estimate in shots]
    if "linear_probe" in found:
        points.append(("4 of 5\npatients", found["linear_probe"]["balanced_accuracy"], INK))
    with mpl.rc_context(STYLE):
        save_figure(_points(points, chance=1 / classes), folder / "probes")


def _points(points: Sequence[tuple[str, Estimate, str]], *, chance: float) -> Figure:
    figure = Figure(figsize=(1.6 + 0.75 * len(points), 3.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(chance, color=CHANCE, linewidth=0.8, linestyle=":")
    for place, (_, estimate, colour) in enumerate(points):
        if estimate.estimate is None:
            axes.text(place, 0.5, "undefined", ha="center", va="center", fontsize=7.5, color=INK, rotation=90)
            continue
        if estimate.low is not None and estimate.high is not None:
            axes.plot([place, place], [estimate.low, estimate.high], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(place, estimate.estimate, "o", markersize=5, color=colour)
    axes.set_xticks(range(len(points)), [title for title, _, _ in points], fontsize=8)
    axes.set_xlim(-0.6, len(points) - 0.4)
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("labelled patients of each class; chance dotted", fontsize=8.5)
    axes.set_ylabel("balanced accuracy")
    return figure
