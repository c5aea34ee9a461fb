"""No label of a figure is cut off, whatever the classes are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from ethicclip.evaluation import compare_figures, figures
from ethicclip.evaluation.bootstrap import Resampler
from ethicclip.evaluation.paired import paired_scores
from ethicclip.evaluation.representations import compare_representations
from ethicclip.evaluation.scoring import Predictions, score
from ethicclip.evaluation.single_statistics import baselines
from ethicclip.evaluation.subgroups import subgroup_table

NAMES = [
    "normal fundus",
    "late age-related macular degeneration",
    "severe non-proliferative diabetic retinopathy",
    "青光眼",
    "cataract",
    "a name without any space_to_break_the_line_at",
]


def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, classes: int, *, grades: bool) -> dict[str, Figure]:
    """Draw every figure and keep it instead of writing it."""
    kept: dict[str, Figure] = {}

    def keep(figure: Figure, stem: Path) -> None:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        kept[stem.name] = figure

    monkeypatch.setattr(figures, "save_figure", keep)
    monkeypatch.setattr(compare_figures, "save_figure", keep)
    rng = np.random.default_rng(0)
    truth = np.tile(np.arange(classes), 12)
    logits = rng.standard_normal((len(truth), classes)) + 2 * np.eye(classes)[truth]
    groups = np.arange(len(truth)) // 2
    scored = Predictions(
        truth=truth,
        logits=logits,
        groups=groups,
        classes=tuple(f"c{index}" for index in range(classes)),
        positive=1 if classes == 2 else None,
        grades=tuple(range(classes)) if grades else None,
        normal=0,
    )
    resampler = Resampler(groups=groups, resamples=100)
    found = score(scored, resampler, specificities=(0.8,), bins=10)
    values = rng.standard_normal((len(truth), 3))
    found["single_statistics"] = {"by_statistic": baselines(values, scored, resampler, seed=0)}
    parts = ["a camera with quite a long name" if index % 3 else "男" for index in range(len(truth))]
    found["subgroups"] = {"camera": subgroup_table(scored, parts, resampler)}
    figures.draw_figures(tmp_path, scored, found, resampler, names=NAMES[:classes], bins=10)
    other = replace(scored, logits=logits + 0.5 * rng.standard_normal(logits.shape))
    compared = paired_scores(scored, other, resampler)
    words = {"a": "en", "b": "zh", "b_minus_a": "zh_minus_en"}
    renamed = {
        name: {words.get(key, key): value for key, value in entry.items()}
        for name, entry in compared.items()
        if name not in ("auroc_one_vs_rest", "agreement")
    }
    by_class = {
        name: {words[key]: value for key, value in entry.items()}
        for name, entry in compared["auroc_one_vs_rest"].items()
    }
    compare_figures.draw_comparison(
        tmp_path,
        {
            "scores": compared,
            "languages": {"a": {"scores": {**renamed, "auroc_one_vs_rest": by_class}}, "b": {"reason": "one language"}},
            "representations": compare_representations(
                logits, other.logits, groups, truth, count=5, permutations=20, seed=0, level=0.95
            ),
        },
        names={"a": "a run with quite a long name", "b": "学习"},
        classes=dict(zip(scored.classes, NAMES, strict=False)),
        positive=classes == 2,
    )
    return kept


@pytest.mark.parametrize(("classes", "grades"), [(2, False), (6, False), (5, True)])
@pytest.mark.filterwarnings("error:Glyph")
def test_every_label_is_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, classes: int, grades: bool) -> None:
    kept = drawn(monkeypatch, tmp_path, classes, grades=grades)
    compared = {"differences", "languages_a", "likeness"}
    assert set(kept) == {"scores", "confusion", "roc", "reliability", "subgroups"} | compared
    for name, figure in kept.items():
        width, height = figure.canvas.get_width_height()
        for text in figure.findobj(Text):
            visible = text.get_visible() and text.get_text() and (text.axes is None or text.axes.get_visible())
            # Ticks outside the limits of their axis exist but are not drawn.
            if not visible or not _drawn(text, figure):
                continue
            box = text.get_window_extent()
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
            assert inside, (name, text.get_text(), box)


def _drawn(text: Text, figure: Figure) -> bool:
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [tick.label1 for tick in axis.get_major_ticks()] + [tick.label2 for tick in axis.get_major_ticks()]
            if any(text is label for label in labels):
                shown = [tick.label1 for tick in axis._update_ticks()]  # type: ignore[attr-defined]
                return any(text is label for label in shown)
    return True
