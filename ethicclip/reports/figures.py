"""Figures that a verb drew and the ledger recorded, taken over as they are when they are still those.

Only vector figures that hold no picture: an SVG could carry a photograph, or point outside.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from ethicclip.files import sha256_bytes
from ethicclip.provenance import RunRecord
from ethicclip.reports.document import Picture
from ethicclip.reports.evidence import Evidence
from ethicclip.reports.pictures import Shown

LARGEST_FIGURE_BYTES = 600_000
_SAID = {
    "roc": "ROC curves: sensitivity against false positives for each class, with 95 % bands by patient. The areas "
    "under the curves stand in the table of classes.",
    "reliability": "Reliability: how often the model is right against how sure it says it is. The diagonal is perfect "
    "calibration.",
    "subgroups": "Scores by subgroup with intervals; the table of subgroups says the same.",
    "differences": "Scores of both models on the same eyes, and their differences; the table says the same.",
    "likeness": "How alike the two models see, beside what unrelated pictures and labels alone give.",
    "scores": "How near synthetic images come to reference and to control eyes: densities of the audit's score.",
}
_UNSAFE = re.compile(
    r"<\s*(?:script|image|foreignObject|iframe|a|animate|set)\b|<!ENTITY|\son\w+\s*=|@import|url\(\s*['\"]?(?!#)"
    r"|(?:xlink:)?href\s*=\s*['\"](?!#)",
    re.IGNORECASE,
)


def recorded_figures(evidence: Evidence, run: RunRecord, names: tuple[str, ...]) -> Shown:
    """The figures of a run with these names, in that order, as far as their content is the recorded one."""
    found: dict[str, tuple[str, str]] = {}
    for record in evidence.snapshot.artifacts_of(run.run_id, "generated"):
        place = evidence.snapshot.place(record)
        if record.kind != "figure" or place is None or Path(place).suffix != ".svg":
            continue
        try:
            data = place.read_bytes()
        except OSError:
            continue
        whole = f"sha256:{sha256_bytes(data)}" == record.id and len(data) <= LARGEST_FIGURE_BYTES
        if whole and harmless(data):
            found[place.stem] = (record.id.partition(":")[2], base64.b64encode(data).decode())
    chosen = [name for name in names if name in found]
    return Shown(
        pictures=tuple(Picture(key=name, sha256=found[name][0], alt=_SAID[name]) for name in chosen),
        data={found[name][0]: f"data:image/svg+xml;base64,{found[name][1]}" for name in chosen},
        note="",
    )


def harmless(data: bytes) -> bool:
    """Whether an SVG holds neither script nor picture nor a reference outside itself."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "<svg" in text and _UNSAFE.search(text) is None
