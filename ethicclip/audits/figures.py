"""Figures of an audit: pairs for a reader, scores and distances on each side, power. Same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch

from ethicclip.audits.comparison import Pair
from ethicclip.audits.describing import Pictures
from ethicclip.audits.description.local import LocalFeatures
from ethicclip.audits.naming import name_relation, name_transformation
from ethicclip.audits.overlays import Laid, lay, square
from ethicclip.audits.power import SILENCE, KindPower
from ethicclip.files import atomic_path
from ethicclip.imaging import Pixels

Doubles = npt.NDArray[np.float64]

_SIDE = 384
"""Working pixels across the field in the pictures, whatever the audit compared at: maps are in radii."""
_TILE = 256
_LINES = 40
_INK, _QUIET, _ALARM, _CALM, _THIRD = "#1b1f24", "#68707a", "#b3261e", "#2f6f9f", "#8a8f98"
_SYNTHETIC, _REFERENCE = "#c62828", "#00838f"


@dataclass(frozen=True, kw_only=True)
class SheetPair:
    """One pair to be shown."""

    image: int
    pair: Pair
    rule: str
    confirmed: bool

    def headline(self, number: int) -> str:
        """What stands above it."""
        verified = ", confirmed" if self.confirmed else ""
        return (
            f"{number}.  score {self.pair.score:.0f}   {self.pair.verification.inliers} inliers   "
            f"{name_transformation(self.pair)}   [{self.rule}{verified}]"
        )


def contact_sheet(path: Path, pairs: Sequence[SheetPair], synthetic: Pictures, real: Pictures) -> None:
    """Synthetic image, reference picture and their aligned vessels, two pairs a row, strongest first."""
    columns = 2 if len(pairs) > 1 else 1
    rows = -(-len(pairs) // columns)
    height = 2.62 * rows + 0.95
    figure = _figure(7.0 * columns, height, dpi=110)
    grid = figure.add_gridspec(
        rows, 3 * columns, left=0.012, right=0.988, bottom=0.012, top=1 - 0.82 / height, wspace=0.03, hspace=0.13
    )
    figure.text(
        0.014, 1 - 0.14 / height, "Nearest pairs   RESTRICTED", fontsize=14, weight="bold", color=_INK, va="top"
    )
    figure.text(
        0.014,
        1 - 0.42 / height,
        "synthetic image | reference picture | vessels aligned: synthetic red, reference cyan, both black",
        fontsize=8.5,
        color=_QUIET,
        va="top",
    )
    for number, one in enumerate(pairs):
        row, column = divmod(number, columns)
        laid = _laid(one, synthetic, real, None)
        for place, tile in enumerate(
            (square(laid.synthetic, _TILE), square(laid.reference, _TILE), square(laid.vessels, _TILE, ground=255))
        ):
            axes = figure.add_subplot(grid[row, 3 * column + place])
            axes.imshow(tile, interpolation="none")
            _bare(axes, _ALARM if one.rule != "not flagged" else "#c9ced4")
            if place == 0:
                axes.set_title(one.headline(number + 1), fontsize=9, loc="left", color=_INK, pad=4)
    _save(figure, path)


def pair_page(
    path: Path,
    number: int,
    one: SheetPair,
    synthetic: Pictures,
    real: Pictures,
    features: tuple[LocalFeatures, LocalFeatures],
) -> None:
    """One pair for somebody who has to be convinced: both pictures, one laid on the other, vessels, and matches."""
    laid = _laid(one, synthetic, real, features)
    figure = _figure(9.6, 7.35, dpi=110)
    grid = figure.add_gridspec(2, 3, left=0.015, right=0.985, bottom=0.02, top=0.875, wspace=0.04, hspace=0.14)
    figure.text(0.016, 0.985, f"Pair {one.headline(number)}", fontsize=12, weight="bold", color=_INK, va="top")
    figure.text(
        0.016,
        0.943,
        f"RESTRICTED: shows a patient's retina. The match is a {name_relation(one.pair)}. "
        + ("The synthetic image is shown mirrored." if one.pair.flipped else "The synthetic image is shown as it is."),
        fontsize=9,
        color=_QUIET,
        va="top",
    )
    panels = [
        (grid[0, 0], laid.synthetic, "synthetic image", 0),
        (grid[0, 1], laid.reference, "reference picture", 0),
        (grid[0, 2], laid.moved, "reference laid on the synthetic image", 0),
        (grid[1, 0], laid.vessels, "vessels: synthetic red, reference cyan", 255),
    ]
    for place, pixels, title, ground in panels:
        axes = figure.add_subplot(place)
        axes.imshow(square(pixels, 2 * _TILE, ground=ground), interpolation="none")
        _bare(axes, "#c9ced4")
        axes.set_title(title, fontsize=9, loc="left", color=_INK, pad=3)
    _draw_matches(figure, [figure.add_subplot(grid[1, 1]), figure.add_subplot(grid[1, 2])], laid)
    _save(figure, path)


def _draw_matches(figure: Figure, axes: Sequence[Axes], laid: Laid) -> None:
    shown = laid.matches[:_LINES]
    for panel, pixels in zip(axes, (laid.synthetic, laid.reference), strict=True):
        grey = np.repeat(pixels[..., 1:2], 3, axis=2)
        panel.imshow(square(np.asarray(grey, dtype=np.uint8), 2 * _TILE), interpolation="none")
        _bare(panel, "#c9ced4")
    axes[0].set_title(f"{len(shown)} of {len(laid.matches)} keypoints that coincide", fontsize=9, loc="left", pad=3)
    palette = mpl.colormaps["turbo"]
    for i, match in enumerate(shown):
        first = _in_square(match[:2], laid.synthetic)
        second = _in_square(match[2:], laid.reference)
        colour = palette(i / max(1, len(shown) - 1))
        for panel, place in ((axes[0], first), (axes[1], second)):
            panel.plot(*place, marker="o", markersize=3.2, markerfacecolor="none", markeredgecolor=colour)
        figure.add_artist(
            ConnectionPatch(
                xyA=first,
                coordsA=axes[0].transData,
                xyB=second,
                coordsB=axes[1].transData,
                color=colour,
                linewidth=0.6,
                alpha=0.75,
            )
        )


def _in_square(place: Doubles, pixels: Pixels) -> tuple[float, float]:
    height, width = pixels.shape[:2]
    longest = max(height, width)
    scale = 2 * _TILE / longest
    return (
        (float(place[0]) + (longest - width) // 2 + 0.5) * scale - 0.5,
        (float(place[1]) + (longest - height) // 2 + 0.5) * scale - 0.5,
    )


def _laid(
    one: SheetPair,
    synthetic: Pictures,
    real: Pictures,
    features: tuple[LocalFeatures, LocalFeatures] | None,
) -> Laid:
    return lay(
        synthetic.image(one.image, max_side=4 * _SIDE),
        real.image(one.pair.picture, max_side=4 * _SIDE),
        one.pair,
        side=_SIDE,
        features=features,
    )


def _bare(axes: Axes, colour: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_edgecolor(colour)
        spine.set_linewidth(1.4)


def score_densities(
    path: Path,
    *,
    reference: Doubles,
    control: Doubles | None,
    impostors: Doubles,
    threshold: float,
) -> None:
    """Nearest scores of the synthetic set to the reference, to the control, and of real eyes to other patients."""
    figure = _figure(7.2, 3.8)
    axes = figure.add_subplot(111)
    top = max([threshold * 1.2, *(float(part.max(initial=0.0)) for part in (reference, impostors))]) * 1.05
    edges = np.concatenate([[0.0], np.geomspace(1.0, max(top, 2.0), 48)])
    _densities(
        axes,
        edges,
        [
            (impostors, "real eyes, other patients", _THIRD, True),
            (control, "synthetic to control", _CALM, False),
            (reference, "synthetic to reference", _ALARM, False),
        ],
    )
    axes.axvline(threshold, color=_INK, linestyle="--", linewidth=1)
    # On the side with more room, so that the word never leaves the axes.
    left = np.log1p(threshold) > 0.7 * np.log1p(edges[-1])
    axes.annotate(
        "confirmed from here",
        (threshold, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if left else 4, 4),
        textcoords="offset points",
        fontsize=8,
        color=_INK,
        ha="right" if left else "left",
    )
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlim(0, edges[-1])
    axes.set_xlabel("score of the nearest pair (higher is nearer a copy)")
    _finish(figure, axes, path)


def distance_densities(path: Path, *, reference: Doubles, control: Doubles, space: str) -> None:
    """Distance of each synthetic image to the nearest reference and control picture by a global descriptor."""
    figure = _figure(7.2, 3.8)
    axes = figure.add_subplot(111)
    together = np.concatenate([reference, control])
    top = float(together.max(initial=0.1)) * 1.03
    _densities(
        axes,
        np.linspace(0.0, top, 46),
        [
            (control if len(control) else None, "synthetic to control", _CALM, True),
            (reference, "synthetic to reference", _ALARM, False),
        ],
    )
    axes.set_xlim(0, top)
    axes.set_xlabel(f"distance to the nearest real picture by the descriptor {space!r} (0: equal)")
    _finish(figure, axes, path)


def _densities(axes: Axes, edges: Doubles, series: Sequence[tuple[Doubles | None, str, str, bool]]) -> None:
    for values, label, colour, filled in series:
        if values is None or not len(values):
            continue
        counts, _ = np.histogram(np.minimum(values, edges[-1]), bins=edges)
        if filled:
            axes.stairs(
                counts / len(values), edges, fill=True, color=colour, alpha=0.3, label=f"{label} (n = {len(values)})"
            )
        else:
            axes.stairs(counts / len(values), edges, color=colour, linewidth=1.6, label=f"{label} (n = {len(values)})")
    axes.set_ylabel("share of images")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def power_curves(path: Path, power: Sequence[KindPower]) -> None:
    """Probability that the complete rule stays silent, against the number of planted copies; one panel a kind."""
    columns = min(3, len(power))
    rows = -(-len(power) // columns)
    figure = _figure(2.6 * columns + 0.4, 1.9 * rows + 0.75)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel, one in zip(panels, power, strict=False):
        numbers = [0, *(m for m, _, _ in one.curve)]
        silence = [1.0, *(silent / total for _, silent, total in one.curve)]
        panel.plot(numbers, silence, marker="o", markersize=3, linewidth=1.4, color=_CALM)
        panel.axhline(SILENCE, color=_INK, linestyle="--", linewidth=0.8)
        noticed = "never noticed" if one.fewest_noticed is None else f"noticed from {one.fewest_noticed}"
        panel.set_title(f"{one.kind}: {noticed}", fontsize=8.5, color=_INK)
        panel.set_ylim(-0.03, 1.05)
        panel.set_xlim(left=0)
        panel.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=True))
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(power) :]:
        panel.set_visible(False)
    figure.supxlabel("planted copies in the set (dashed: silence at 0.05)", fontsize=9)
    figure.supylabel("probability of silence", fontsize=9)
    figure.tight_layout()
    _save(figure, path)


def _figure(width: float, height: float, dpi: int = 100) -> Figure:
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _finish(figure: Figure, axes: Axes, path: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    kind = path.suffix.removeprefix(".")
    metadata: dict[str, str | None] = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "ethicclip", "svg.fonttype": "path"}), atomic_path(path) as partial:
        figure.savefig(partial, format=kind, metadata=metadata)
