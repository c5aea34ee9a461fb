"""The report as PDF/A: typst from a template and the document's JSON; the same document gives the same bytes.

The text is data to typst, never markup. PDF/A wants a glyph for every character, so what the shipped fonts do not
cover is written as its code, as in U+1F600.
"""

from __future__ import annotations

import base64
import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from ethicclip.files import canonical_json
from ethicclip.reports import charts
from ethicclip.reports.document import Report
from ethicclip.reports.wording import GLOSSARY

STANDARDS = ["a-2a", "ua-1"]
"""PDF/A-2a: archivable, tagged, every character mapped to Unicode. PDF/UA-1: readable by a screen reader."""

# In a Chinese font these are as wide as a character.
_QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u2026": "..."})
_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/svg+xml": "svg"}


def render_pdf(report: Report, pictures: Mapping[str, str]) -> bytes:
    """The PDF of a report.

    Args:
        report: The document.
        pictures: Data URIs by sha256, as the page uses them.
    """
    import typst  # noqa: PLC0415 - a large library that only the PDF needs

    drawings = _drawings(report)
    used = {sha256: data.partition(",")[0][5:].partition(";")[0] for sha256, data in pictures.items()}
    document = covered(report.to_json()) | {
        "pictures": {sha256: _SUFFIXES[media] for sha256, media in used.items()},
        "drawings": sorted(drawings),
        "glossary": [{"name": name, "text": text} for name, text in GLOSSARY],
    }
    with _fonts() as fonts, tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "report.json").write_bytes(canonical_json(document))
        template = resources.files("ethicclip.reports") / "templates" / "report.typ"
        (root / "main.typ").write_bytes(template.read_bytes())
        for sha256, data in pictures.items():
            suffix = _SUFFIXES[used[sha256]]
            (root / f"picture-{sha256}.{suffix}").write_bytes(base64.b64decode(data.partition(",")[2]))
        for name, figure in drawings.items():
            (root / f"drawing-{name}.svg").write_text(figure, encoding="utf-8")
        made = typst.compile(
            root / "main.typ",
            root=root,
            font_paths=[fonts],
            ignore_system_fonts=True,
            pdf_standards=STANDARDS,  # type: ignore[arg-type]
            timestamp=int(datetime.fromisoformat(report.written).timestamp()),
        )
    return bytes(made)


def covered(value: Any) -> Any:
    """JSON types with every character that the fonts lack written as its code."""
    if isinstance(value, str):
        # A percent sign stays with its number.
        kept = value.replace(" %", "\u00a0%")
        return kept if kept.isascii() else _covered_text(kept)
    if isinstance(value, Mapping):
        return {str(name): covered(item) for name, item in value.items()}
    return [covered(item) for item in value] if isinstance(value, list | tuple) else value


def _covered_text(text: str) -> str:
    return "".join(c if ord(c) in _coverage() else f"U+{ord(c):04X}" for c in text.translate(_QUOTES))


@functools.cache
def _coverage() -> frozenset[int]:
    text = (resources.files("ethicclip.reports") / "fonts" / "coverage.txt").read_text(encoding="ascii")
    codes = {0x0A, 0x09}
    for line in text.split():
        first, last = (int(part, 16) for part in line.split("-"))
        codes |= set(range(first, last + 1))
    return frozenset(codes)


def _drawings(report: Report) -> dict[str, str]:
    figures = {"lineage": charts.lineage_drawing(report.lineage)}
    figures |= {f"power-{i}": charts.standalone(charts.power_curves(a.power)) for i, a in enumerate(report.audits)}
    figures |= {f"loss-{i}": charts.standalone(charts.loss_curve(run.loss)) for i, run in enumerate(report.trainings)}
    return {name: covered(figure) for name, figure in figures.items() if figure}


@contextmanager
def _fonts() -> Iterator[Path]:
    """The folder of the shipped fonts as a path, also when the package lies in an archive."""
    with resources.as_file(resources.files("ethicclip.reports") / "fonts") as folder:
        yield folder
