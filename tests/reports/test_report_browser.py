"""The page in a real browser, from a file: nothing on the console, nothing asked of a network, nothing cut off.

Contrast is computed from the style sheet's own colours, for light pages and for every chip and banner.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from ethicclip.reports import ReportSettings, write_report
from tests.reports.browser import Browser, chromium
from tests.reports.test_report_page import HOSTILE


@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt-get install chromium)")
def test_the_page_in_chromium(make_world, tmp_path: Path) -> None:
    world = make_world(captions=HOSTILE, cohort="<svg onload=alert(1)>\u202eclinic")
    long = "x" * 400
    with world.record("generate", {"engine": "phantom", long: long}) as run:
        run.note_exit(0, long)
    with Browser() as browser:
        for audience in ("shareable", "restricted"):
            settings = ReportSettings(audience=audience, formats=("html",), title=f"Evidence {long[:280]}")
            page = write_report(settings, world.ledger, tmp_path / audience, keys=world.keys).out / "report.html"
            for width in (390, 1280):
                seen = browser.look(page, width=width)
                assert seen.console == []
                assert [url for url in seen.requests if not url.startswith("data:")] == [page.as_uri()]
                assert seen.scroll_width <= width, (width, seen.wide)
                assert seen.wide == [] and seen.clipped == [], (width, seen)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    """WCAG 2.2, 1.4.3."""
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_text_has_contrast() -> None:
    style = (resources.files("ethicclip.reports") / "templates" / "report.css").read_text()
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", style))
    pairs = [(colours[name], colours[f"{name}-bg"]) for name in ("pass", "leak", "open", "none")]
    pairs += [(colours[ink], colours[back]) for ink in ("ink", "soft", "deep") for back in ("paper", "shade", "tint")]
    pairs += [(colours["ink"], colours["open-bg"]), (colours["soft"], colours["open-bg"]), ("#ffffff", colours["leak"])]
    pairs += [("#4f3000", colours["open-bg"]), ("#601111", colours["leak-bg"])]
    assert all(contrast(*pair) >= 4.5 for pair in pairs), [(pair, contrast(*pair)) for pair in pairs]
    # The PDF uses the same colours.
    pdf = (resources.files("ethicclip.reports") / "templates" / "report.typ").read_text()
    used = set(re.findall(r'rgb\("(#[0-9a-f]{6})"\)', pdf))
    assert used <= {*colours.values(), "#4f3000", "#601111", "#8fbcc2"}
