"""Figures of an evaluation: scores with intervals, confusion, ROC with bands, reliability, subgroups.

Each is written as SVG and PNG, the same bytes for the same input: no date, fixed ids, no global matplotlib state.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator, MultipleLocator

from ethicclip.evaluation import metrics
from ethicclip.evaluation.bootstrap import Estimate, Resampler, Statistic
from ethicclip.evaluation.metrics import Array, Flags, Weights
from ethicclip.evaluation.scoring import REFERABLE_GRADE, Predictions, referable_score
from ethicclip.files import write_bytes

INK, MODEL, BASELINE, CHANCE = "#1f2933", "#1b5e9b", "#b5651d", "#9aa5b1"
_COLOURS = {"model": MODEL, "baseline": BASELINE, "gap": INK}
_GRID = np.linspace(0.0, 1.0, 101)
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "ethicclip",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw_figures(
    folder: Path,
    predictions: Predictions,
    found: dict[str, Any],
    resampler: Resampler,
    *,
    names: Sequence[str],
    bins: int,
) -> None:
    """Write scores, confusion, roc, reliability and (when asked for) subgroups, each as .svg and .png.

    Args:
        folder: Where to.
        predictions: What was scored.
        found: Nested scores with `Estimate` leaves, from `ethicclip.evaluation.scoring.score` and its companions.
        resampler: For the bands of the curves.
        names: What to call each class.
        bins: Of the reliability curve.
    """
    names = [drawable(name, f"class {place + 1}") for place, name in enumerate(names)]
    if predictions.grades is not None:
        names = [f"grade {grade}" for grade in predictions.grades]
    with mpl.rc_context(STYLE):
        save_figure(_scores(predictions, found, names, level=resampler.level), folder / "scores")
        save_figure(_confusion(predictions, names), folder / "confusion")
        save_figure(_roc(predictions, found, resampler, names), folder / "roc")
        save_figure(_reliability(predictions, found, resampler, bins), folder / "reliability")
        if found.get("subgroups"):
            save_figure(_subgroups(found), folder / "subgroups")


def _scores(predictions: Predictions, found: dict[str, Any], names: Sequence[str], *, level: float) -> Figure:
    rows: list[tuple[str, Estimate, str]] = []
    for key, title in (
        ("balanced_accuracy", "Balanced accuracy"),
        ("accuracy", "Accuracy"),
        ("macro_f1", "Macro F1"),
        ("quadratic_kappa", "Quadratic kappa"),
    ):
        if key in found:
            rows.append((title, found[key], "model"))
    singles = found.get("single_statistics", {}).get("by_statistic", {})
    rows[1:1] = [(_alone(name), single["balanced_accuracy"], "baseline") for name, single in singles.items()]
    shown = [predictions.positive] if predictions.positive is not None else range(len(names))
    for index in shown:
        key = predictions.classes[index]
        rows.append((f"AUROC, {names[index]}", found["auroc_one_vs_rest"][key], "model"))
        # Of the baselines the strongest is the one to beat; all are in metrics.json.
        best = max(
            ((single["auroc_one_vs_rest"][key], name) for name, single in singles.items()),
            key=lambda pair: pair[0].estimate or 0.0,
            default=None,
        )
        if best is not None:
            rows.append((_alone(best[1]), best[0], "baseline"))
    figure = Figure(figsize=(6.6, 0.9 + 0.27 * len(rows)), layout="constrained")
    axes = figure.subplots()
    chance = 1 / len(names)
    axes.axvline(chance, color=CHANCE, linewidth=0.8, linestyle=":")
    axes.axvline(0.5, color=CHANCE, linewidth=0.8, linestyle="--")
    _forest(axes, rows)
    lowest = min([0.0, *(estimate.low for _, estimate, _ in rows if estimate.low is not None)])
    axes.set_xlim(lowest - 0.05, 1.02)
    # Under the whole figure: centred on the axes it would run out of the page beside long names.
    figure.supxlabel(
        f"score with {100 * level:g} % interval; hollow: a single statistic of the picture\n"
        "by chance: balanced accuracy dotted, AUROC dashed",
        fontsize=8.5,
    )
    return figure


def _alone(statistic: str) -> str:
    return statistic if statistic.startswith("all") else f"{statistic} alone"


def _forest(axes: Axes, rows: Sequence[tuple[str, Estimate, str]]) -> None:
    for place, (_, estimate, kind) in enumerate(rows):
        colour = _COLOURS[kind]
        if estimate.estimate is None:
            centred = axes.get_yaxis_transform()
            axes.text(0.5, place, "undefined", ha="center", va="center", fontsize=7.5, color=INK, transform=centred)
            continue
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
        face = "white" if kind == "baseline" else colour
        axes.plot(estimate.estimate, place, "o", markersize=5, color=colour, markerfacecolor=face)
    axes.set_yticks(range(len(rows)), [title for title, _, _ in rows])
    for label, (_, _, kind) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(BASELINE if kind == "baseline" else INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def _confusion(predictions: Predictions, names: Sequence[str]) -> Figure:
    counts = metrics.confusion(predictions.truth, predictions.predicted, len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 1.9 + 0.72 * len(names)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.55 else INK
        text = f"{share:.2f}\n{int(counts[row, column])}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour, linespacing=1.25)
    wrapped = ["\n".join(textwrap.wrap(name, 16)) for name in names]
    axes.set_xticks(range(len(names)), wrapped, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(names)), wrapped, fontsize=8)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, label="share of the label's images")
    return figure


def _roc(predictions: Predictions, found: dict[str, Any], resampler: Resampler, names: Sequence[str]) -> Figure:
    panels: list[tuple[str, Flags, Array, Estimate]] = []
    if predictions.positive is not None:
        index = predictions.positive
        panels.append((names[index], predictions.truth == index, predictions.margins[:, index], found["auroc"]))
    else:
        for index, name in enumerate(names):
            if index == predictions.normal and predictions.referred is not None and predictions.grades is None:
                # Health against the rest is disease against health, which has a panel of its own.
                continue
            estimate = found["auroc_one_vs_rest"][predictions.classes[index]]
            panels.append((name, predictions.truth == index, predictions.margins[:, index], estimate))
    if predictions.referred is not None:
        title = f"referable (grade {REFERABLE_GRADE} and above)" if predictions.grades is not None else "any disease"
        truth = predictions.referred[predictions.truth]
        panels.append((title, truth, referable_score(predictions), found["referable"]["auroc"]))
    across = 2 if len(panels) == 4 else min(3, len(panels))
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(0.5 + 2.6 * across, 0.4 + 2.75 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes, (name, positive, scores, estimate) in zip(grid.flat, panels, strict=False):
        low, high = resampler.bands(_sensitivities(positive, scores))
        axes.fill_between(_GRID, low, high, color=MODEL, alpha=0.18, linewidth=0)
        alarms, hits, _ = metrics.roc_curve(positive, scores)
        axes.plot(alarms, hits, color=MODEL, linewidth=1.4, drawstyle="steps-post")
        axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8, linestyle="--")
        axes.set_aspect("equal")
        for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
            axis.set_major_locator(MultipleLocator(0.25))
            limit(-0.02, 1.02)
        title = "\n".join([*textwrap.wrap(name, 30), f"AUROC {_interval_text(estimate)}"])
        axes.set_title(title, fontsize=8.5)
    for place in range(len(panels), across * down):
        grid.flat[place].set_visible(False)
        # The panel above is now the lowest of its column and carries the numbers of the axis.
        grid.flat[place - across].tick_params(labelbottom=True)
    figure.supxlabel("1 - specificity", fontsize=9)
    figure.supylabel("sensitivity", fontsize=9)
    return figure


def _sensitivities(positive: Flags, scores: Array) -> Statistic:
    def compute(weights: Weights) -> Array:
        return metrics.sensitivity_at(positive, scores, 1.0 - _GRID, weights)

    return compute


def _reliability(predictions: Predictions, found: dict[str, Any], resampler: Resampler, bins: int) -> Figure:
    confidence = predictions.probabilities.max(axis=1)
    correct = predictions.predicted == predictions.truth
    mass, mean_confidence, share_right = metrics.calibration_bins(confidence, correct, bins)
    filled = np.flatnonzero(mass > 0)
    figure = Figure(figsize=(4.0, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8, linestyle="--")
    low, high = resampler.bands(_shares_right(confidence, correct, bins))
    upper.vlines(mean_confidence[filled], low[filled], high[filled], color=MODEL, linewidth=1.4)
    upper.plot(mean_confidence[filled], share_right[filled], "o-", color=MODEL, markersize=4.5, linewidth=1.0)
    upper.set_xlim(-0.02, 1.02)
    upper.set_ylim(-0.02, 1.02)
    upper.set_ylabel("share right")
    upper.set_title(f"expected calibration error {_interval_text(found['expected_calibration_error'])}", fontsize=8.5)
    lower.bar((np.arange(bins) + 0.5) / bins, mass, width=0.92 / bins, color=CHANCE)
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.set_ylabel("images")
    lower.set_xlabel("confidence of the predicted class")
    return figure


def _shares_right(confidence: Array, correct: Flags, bins: int) -> Statistic:
    def compute(weights: Weights) -> Array:
        shares = metrics.calibration_bins(confidence, correct, bins, weights)[2]
        # A resample without an image in a bin says nothing about it: half is the middle of what it could be.
        return np.where(np.isnan(shares), 0.5, shares)

    return compute


def _subgroups(found: dict[str, Any]) -> Figure:
    rows: list[tuple[str, Estimate, str]] = []
    gaps: list[tuple[str, Estimate, str]] = []
    nothing = Estimate(estimate=None, reason="too few patients")
    for column, table in found["subgroups"].items():
        for part, entry in table.items():
            shown = f"{drawable(column, 'column')} = {drawable(part, f'part {len(rows) + 1}')}"
            title = f"{shown}  ({entry['images']} images, {entry['patients']} patients)"
            rows.append((title, entry.get("balanced_accuracy", nothing), "model"))
            gaps.append(("", entry.get("gap", {}).get("balanced_accuracy", nothing), "gap"))
    figure = Figure(figsize=(8.4, 0.9 + 0.3 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _forest(right, gaps)
    _forest(left, rows)
    overall = found["balanced_accuracy"].estimate
    if overall is not None:
        left.axvline(overall, color=CHANCE, linewidth=0.8, linestyle="--")
    right.axvline(0.0, color=CHANCE, linewidth=0.8, linestyle="--")
    left.set_xlim(-0.05, 1.05)
    right.margins(x=0.1)
    left.set_xlabel("balanced accuracy")
    right.set_xlabel("gap to all others")
    return figure


def drawable(text: str, otherwise: str) -> str:
    """The text, or a stand-in where the figure's font lacks its letters (Chinese, for one)."""
    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return text if all(ord(letter) in known for letter in text) else otherwise


def _interval_text(estimate: Estimate) -> str:
    if estimate.estimate is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.estimate:.2f}"
    return f"{estimate.estimate:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def save_figure(figure: Figure, stem: Path) -> None:
    """Write the figure as STEM.svg and STEM.png."""
    FigureCanvasAgg(figure)
    # The layout is found once and then kept, so that both files show the same picture.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for suffix, metadata in ((".svg", {"Date": None, "Creator": None}), (".png", {"Software": None})):
        stream = io.BytesIO()
        figure.savefig(stream, format=suffix[1:], metadata=metadata, dpi=160)
        write_bytes(stem.with_suffix(suffix), stream.getvalue())
