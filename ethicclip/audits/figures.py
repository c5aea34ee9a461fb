"""Figures of an audit: pairs for a reader, scores on each side, power. Deterministic bytes, no dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ethicclip.audits.comparison import Pair
from ethicclip.audits.describing import Pictures
from ethicclip.audits.description.frame import Frame, working_frame
from ethicclip.audits.naming import name_transformation
from ethicclip.audits.power import SILENCE, KindPower
from ethicclip.audits.settings import AuditSettings
from ethicclip.files import atomic_path
from ethicclip.imaging import Pixels

_TILE = 256
_INK, _QUIET, _ALARM, _CALM, _THIRD = "#1b1f24", "#68707a", "#b3261e", "#2f6f9f", "#8a8f98"


@dataclass(frozen=True, kw_only=True)
class SheetPair:
    """One row of the contact sheet."""

    image: int
    pair: Pair
    rule: str
    confirmed: bool


def contact_sheet(
    path: Path, pairs: Sequence[SheetPair], synthetic: Pictures, real: Pictures, settings: AuditSettings
) -> None:
    """Synthetic image, reference picture and their aligned overlay, two pairs a row, strongest first."""
    columns = 2 if len(pairs) > 1 else 1
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(7.0 * columns, 2.62 * rows + 0.75), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    top = 1 - 0.62 / (2.62 * rows + 0.75)
    grid = figure.add_gridspec(
        rows, 3 * columns, left=0.012, right=0.988, bottom=0.012, top=top, wspace=0.03, hspace=0.13
    )
    figure.text(
        0.014, 1 - 0.16 / (2.62 * rows + 0.75), "Nearest pairs", fontsize=15, weight="bold", color=_INK, va="top"
    )
    figure.text(
        0.986,
        1 - 0.2 / (2.62 * rows + 0.75),
        "synthetic image  |  reference picture  |  overlay in the reference's frame "
        "(grey: both agree; magenta: reference only; green: synthetic only)   RESTRICTED",
        fontsize=8.5,
        color=_QUIET,
        ha="right",
        va="top",
    )
    for number, one in enumerate(pairs):
        row, column = divmod(number, columns)
        copy = working_frame(synthetic.image(one.image, max_side=4 * settings.side), side=settings.side)
        source = working_frame(real.image(one.pair.picture, max_side=4 * settings.side), side=settings.side)
        tiles = (_square(copy.pixels), _square(source.pixels), _square(_overlay(copy, source, one.pair)))
        for place, tile in enumerate(tiles):
            axes = figure.add_subplot(grid[row, 3 * column + place])
            axes.imshow(tile, interpolation="none")
            _bare(axes, _ALARM if one.rule != "not flagged" else "#c9ced4")
            if place == 0:
                axes.set_title(_headline(number, one), fontsize=9, loc="left", color=_INK, pad=4)
    _save(figure, path)


def _headline(number: int, one: SheetPair) -> str:
    pair = one.pair
    return (
        f"{number + 1}.  score {pair.score:.0f}   {pair.verification.inliers} inliers   "
        f"{name_transformation(pair)}   [{one.rule}{', confirmed' if one.confirmed else ''}]"
    )


def _bare(axes: Axes, colour: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_edgecolor(colour)
        spine.set_linewidth(1.4)


def _square(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    side = max(height, width)
    canvas = np.zeros((side, side, 3), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top : top + height, left : left + width] = image
    return cv2.resize(canvas, (_TILE, _TILE), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _overlay(copy: Frame, source: Frame, pair: Pair) -> Pixels:
    """The synthetic image laid on the reference: where both agree the vessels are grey, where not they are coloured."""
    pixels = copy.pixels[:, ::-1] if pair.flipped else copy.pixels
    centre_x = copy.pixels.shape[1] - 1 - copy.centre[0] if pair.flipped else copy.centre[0]
    into = np.array(
        [[1 / copy.radius, 0, -centre_x / copy.radius], [0, 1 / copy.radius, -copy.centre[1] / copy.radius]]
    )
    linear, shift = pair.verification.affine[:, :2], pair.verification.affine[:, 2]
    matrix: npt.NDArray[np.float64] = source.radius * (linear @ into)
    matrix[:, 2] += source.radius * shift + np.array(source.centre)
    size = (source.pixels.shape[1], source.pixels.shape[0])
    moved = cv2.warpAffine(np.ascontiguousarray(pixels), matrix, size).astype(np.uint8)
    inside = (
        cv2.warpAffine((copy.mask[:, ::-1] if pair.flipped else copy.mask).astype(np.uint8) * 255, matrix, size) > 127
    )
    first, second = _flattened(moved, inside), _flattened(source.pixels, source.mask)
    return np.dstack([second, first, second])


def _flattened(image: Pixels, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Vessels dark on even grey; grey outside the field, so that its rim makes no halo."""
    weight = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.float32)
    green = image[..., 1].astype(np.float32) * weight
    sigma = 0.05 * max(green.shape)
    mean = cv2.GaussianBlur(green, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    even = (green - mean) * weight
    lit = weight > 0
    spread = max(1.0, float(np.percentile(np.abs(even[lit]), 95))) if lit.any() else 1.0
    return np.asarray(np.clip(128 + 100 * even / spread, 0, 255), dtype=np.uint8)


def score_densities(
    path: Path,
    *,
    reference: npt.NDArray[np.float64],
    control: npt.NDArray[np.float64] | None,
    impostors: npt.NDArray[np.float64],
    threshold: float,
) -> None:
    """Nearest scores of the synthetic set to the reference, to the control, and of real eyes to other patients."""
    figure = Figure(figsize=(7.2, 3.6), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(111)
    top = max([threshold * 1.2, *(float(part.max(initial=0.0)) for part in (reference, impostors))]) * 1.05
    edges = np.concatenate([[0.0], np.geomspace(1.0, max(top, 2.0), 48)])
    series = [
        (impostors, "real eyes, other patients", _THIRD, True),
        (control, "synthetic to control", _CALM, False),
        (reference, "synthetic to reference", _ALARM, False),
    ]
    for values, label, colour, filled in series:
        if values is None or not len(values):
            continue
        counts, _ = np.histogram(np.minimum(values, edges[-1]), bins=edges)
        shares = counts / len(values)
        if filled:
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.3, label=label)
        else:
            axes.stairs(shares, edges, color=colour, linewidth=1.6, label=label)
    axes.axvline(threshold, color=_INK, linestyle="--", linewidth=1)
    axes.annotate(
        "confirmed",
        (threshold, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, -12),
        textcoords="offset points",
        fontsize=8,
        color=_INK,
    )
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlim(0, edges[-1])
    axes.set_xlabel("score of the nearest pair (higher is nearer a copy)")
    axes.set_ylabel("share of images")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    _save(figure, path)


def power_curves(path: Path, power: Sequence[KindPower]) -> None:
    """Probability that the complete rule stays silent, against the number of planted copies, one line a kind."""
    figure = Figure(figsize=(7.2, 3.6), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(111)
    palette = mpl.colormaps["viridis"]
    for number, one in enumerate(power):
        numbers = [0, *(m for m, _, _ in one.curve)]
        silence = [1.0, *(silent / total for _, silent, total in one.curve)]
        colour = palette(number / max(1, len(power) - 1))
        noticed = "never" if one.fewest_noticed is None else str(one.fewest_noticed)
        axes.plot(
            numbers, silence, marker="o", markersize=3, linewidth=1.3, color=colour, label=f"{one.kind} ({noticed})"
        )
    axes.axhline(SILENCE, color=_INK, linestyle="--", linewidth=1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("planted copies of the kind in the set")
    axes.set_ylabel("probability of silence")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, title="kind (fewest noticed)", title_fontsize=8)
    figure.tight_layout()
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    kind = path.suffix.removeprefix(".")
    metadata: dict[str, str | None] = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "ethicclip", "svg.fonttype": "path"}), atomic_path(path) as partial:
        figure.savefig(partial, format=kind, metadata=metadata)
