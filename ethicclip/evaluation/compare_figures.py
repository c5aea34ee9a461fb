"""Figures of a comparison: scores of both with their differences, languages, and likeness beside its references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ethicclip.evaluation.bootstrap import Estimate
from ethicclip.evaluation.figures import BASELINE, CHANCE, INK, MODEL, STYLE, drawable, save_figure

_REFERENCE = "#616e7c"
_TITLES = {
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "quadratic_kappa": "Quadratic kappa",
    "auroc": "AUROC",
}


def draw_comparison(
    folder: Path,
    found: Mapping[str, Any],
    *,
    names: Mapping[str, str],
    classes: Mapping[str, str],
    positive: bool,
) -> None:
    """Write differences, languages_a, languages_b and likeness, each as .svg and .png.

    Args:
        folder: Where to.
        found: "scores", "representations" and "languages" with `Estimate` leaves.
        names: What to call a and b.
        classes: What to call each class.
        positive: Whether there are two classes, so that one AUROC says all.
    """
    called = {side: f"{side}: {drawable(name, 'model')}" for side, name in names.items()}
    with mpl.rc_context(STYLE):
        rows = _rows(found["scores"], classes, positive, ("a", "b", "b_minus_a"))
        save_figure(_pairs(rows, (called["a"], called["b"]), "b less a"), folder / "differences")
        for side, one in found["languages"].items():
            if "scores" in one:
                rows = _rows(one["scores"], classes, positive, ("en", "zh", "zh_minus_en"))
                words = (f"{called[side]}, English prompts", f"{called[side]}, Chinese prompts")
                save_figure(_pairs(rows, words, "Chinese less English"), folder / f"languages_{side}")
        if "reason" not in found["representations"]:
            save_figure(_likeness(found["representations"]), folder / "likeness")


def _rows(
    scores: Mapping[str, Any], classes: Mapping[str, str], positive: bool, keys: tuple[str, str, str]
) -> list[tuple[str, Estimate, Estimate, Estimate]]:
    chosen = [(title, scores[name]) for name, title in _TITLES.items() if name in scores]
    if not positive:
        chosen += [
            (f"AUROC, {drawable(classes[name], name)}", value) for name, value in scores["auroc_one_vs_rest"].items()
        ]
    return [(title, value[keys[0]], value[keys[1]], value[keys[2]]) for title, value in chosen]


def _pairs(rows: Sequence[tuple[str, Estimate, Estimate, Estimate]], names: tuple[str, str], gap: str) -> Figure:
    """Both scores of each row on the left, their difference on the right, all with intervals."""
    figure = Figure(figsize=(8.4, 1.5 + 0.42 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    for place, (_, first, second, difference) in enumerate(rows):
        _mark(left, first, place - 0.14, MODEL, filled=True)
        _mark(left, second, place + 0.14, BASELINE, filled=False)
        _mark(right, difference, place, INK, filled=True)
    left.set_yticks(range(len(rows)), [title for title, *_ in rows])
    left.set_ylim(len(rows) - 0.4, -0.6)
    lows = [one.low for _, a, b, _ in rows for one in (a, b) if one.low is not None]
    left.set_xlim(min([0.0, *lows]) - 0.02, 1.02)
    left.set_xlabel("score")
    right.axvline(0.0, color=CHANCE, linewidth=0.9, linestyle="--")
    ends = [abs(end) for *_, one in rows for end in (one.low, one.high) if end is not None]
    reach = 1.1 * max([0.05, *ends])
    right.set_xlim(-reach, reach)
    right.xaxis.set_major_locator(MaxNLocator(4))
    right.set_xlabel(gap)
    for axes in (left, right):
        axes.grid(axis="x", color="#e4e7eb", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], color=MODEL, marker="o", markersize=5, linewidth=1.6),
        Line2D([], [], color=BASELINE, marker="o", markersize=5, linewidth=1.6, markerfacecolor="white"),
    ]
    figure.legend(handles, list(names), loc="outside upper left", frameon=False, fontsize=8.5)
    return figure


def _mark(axes: Axes, estimate: Estimate, place: float, colour: str, *, filled: bool) -> None:
    if estimate.estimate is None:
        axes.text(0.5, place, "undefined", ha="center", va="center", fontsize=7.5, transform=axes.get_yaxis_transform())
        return
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
    face = colour if filled else "white"
    axes.plot(estimate.estimate, place, "o", markersize=5, color=colour, markerfacecolor=face)


def _likeness(measures: Mapping[str, Any]) -> Figure:
    """CKA and neighbour overlap with their intervals; grey marks end at the 95th percentile of each reference."""
    figure = Figure(figsize=(6.6, 2.5), layout="constrained")
    axes = figure.subplots()
    titles, place = [], 0
    for name, title in (
        ("cka", "CKA (debiased)"),
        ("neighbour_overlap", f"overlap of {measures['neighbour_overlap']['neighbours']} neighbours"),
    ):
        _mark(axes, measures[name]["value"], place, MODEL, filled=True)
        titles.append(title)
        place += 1
        for key, words in (("unrelated", "patients permuted"), ("same_label", "permuted within labels")):
            reference = measures[name][key]
            if reference is not None:
                axes.plot([reference.mean, reference.upper], [place, place], color=CHANCE, linewidth=4)
                axes.plot(reference.mean, place, "|", color=INK, markersize=8)
            titles.append(words)
            place += 1
    axes.set_yticks(range(len(titles)), titles)
    for label, title in zip(axes.get_yticklabels(), titles, strict=True):
        label.set_color(_REFERENCE if "permuted" in title else INK)
    axes.set_ylim(len(titles) - 0.4, -0.6)
    low = min([0.0, *(axes.get_xlim()[:1])])
    axes.set_xlim(low, 1.02)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("likeness with interval; grey: mean to 95th percentile of the permutations", fontsize=8.5)
    return figure
