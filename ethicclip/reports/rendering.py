"""From the document to one HTML page that loads nothing: no script, no remote address, a policy that forbids both."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ethicclip.reports import charts, wording
from ethicclip.reports.document import Report, State


def render(report: Report, pictures: Mapping[str, str]) -> str:
    """The page; the same document and pictures give the same text."""
    style = _file("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_file),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "day": wording.day,
        "number": wording.number,
        "moment": wording.moment,
        "short": wording.short,
    }
    environment.globals |= {
        "bar": charts.bar,
        "lineage_figure": charts.lineage_figure,
        "loss_curve": charts.loss_curve,
        "power_curves": charts.power_curves,
        "interval": wording.interval,
        "states": list(State),
        "glossary": wording.GLOSSARY,
    }
    return environment.get_template("report.html.j2").render(
        report=report,
        pictures=dict(pictures),
        style=Markup(style),  # noqa: S704 - our own style sheet
        policy=policy,
    )


def _file(name: str) -> str:
    return (resources.files("ethicclip.reports") / "templates" / name).read_text(encoding="utf-8")
