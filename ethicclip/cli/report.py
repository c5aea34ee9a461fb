"""``ethicclip report``: the compliance report from the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines
from ethicclip.errors import ExitCode

if TYPE_CHECKING:
    from ethicclip.reports import ReportResult, ReportSettings

NAME = "report"


def command(
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.")],
    audience: Annotated[
        str | None,
        typer.Option("--audience", help="shareable (no real pixel) or restricted.", show_default="shareable"),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="What to write: html, pdf, json.", show_default="html,pdf,json")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            "--subject",
            help="Path, alias or hash of the released set.",
            show_default="what the latest model was trained on",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Title on the first page.", show_default=False)] = None,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Write the evidence of a ledger as one HTML page, a PDF/A and JSON, signed, to be verified offline.

    A shareable report shows no real pixel and no flagged image; a restricted one does, and says so on every page.
    """
    from ethicclip.reports import ReportSettings
    from ethicclip.settings import resolve

    flags = {"audience": audience, "title": title, "subject": subject, "formats": options.comma_list(format_)}
    settings = resolve(ReportSettings, verb=NAME, config=config, overrides=set_ or (), flags=flags)
    result = perform(settings, out, ledger=ledger)
    print_json(result.to_json()) if json else print_lines(*result.lines())
    return ExitCode.PASS


def perform(settings: ReportSettings, out: Path, *, ledger: Path) -> ReportResult:
    """Write the report, then record that it was written."""
    from ethicclip.cli.recording import file_artifact, recorded
    from ethicclip.reports import write_report

    result = write_report(settings, ledger, out)
    with recorded(ledger, NAME, settings) as run:
        run.generate(file_artifact("report", out / "manifest.json"))
    return result
