"""``ethicclip audit-text``: do captions, file names, metadata or pixels name a person?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import BadInputError

if TYPE_CHECKING:
    from ethicclip.audits.text import Sought, TextResult
    from ethicclip.progress import Progress

NAME = "audit-text"


def command(
    pairs: Annotated[Path, typer.Argument(help="The set to scan: a pair set or a folder of images.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the result; restricted.")],
    reports: Annotated[
        Path | None,
        typer.Option("--reports", help="Table of real reports that the generator saw.", show_default=False),
    ] = None,
    control_reports: Annotated[
        Path | None,
        typer.Option("--control-reports", help="Table of other patients' reports: what is habit.", show_default=False),
    ] = None,
    column: Annotated[str, typer.Option("--column", help="Column of the tables that holds the report.")] = "report",
    names: Annotated[
        Path | None,
        typer.Option("--names", help="Text file of names that must not occur, one a line.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Threads; changes no result.")] = 2,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Scan captions, file names, metadata and pixels for identifiers and for passages of real reports.

    Exit 0 nothing found, 10 identifiers or copied passages, 11 something that a person has to look at.
    """
    from ethicclip.audits.text import Sought

    sought = Sought(
        names=[] if names is None else _lines(names),
        reports=None if reports is None else _reports(reports, column),
        control_reports=None if control_reports is None else _reports(control_reports, column),
    )
    result = perform(sought, pairs, out, workers=workers, ledger=ledger, progress=console_progress())
    if json:
        print_json(result.to_json())
    else:
        print_lines(*result.lines(), f"evidence: {out} (restricted: it names people)")
    return result.exit_code


def perform(sought: Sought, pairs: Path, out: Path, *, workers: int, ledger: Path, progress: Progress) -> TextResult:
    """Scan a set and record it."""
    from ethicclip.audits.text import audit_text
    from ethicclip.cli.recording import images_artifact, record_text_metrics, recorded, text_artifacts
    from ethicclip.pairs import open_images
    from ethicclip.settings import Settings

    images = open_images(pairs)
    with recorded(ledger, NAME, Settings()) as run:
        run.use(images_artifact(pairs, images))
        result = audit_text(images, sought, out, workers=workers, progress=progress)
        for artifact in text_artifacts(out):
            run.generate(artifact)
        record_text_metrics(run, result.document)
        run.note_exit(int(result.exit_code), result.verdict)
    return result


def _reports(table: Path, column: str) -> list[str]:
    from ethicclip.cohorts.cohort import missing_column
    from ethicclip.cohorts.tables import read_table

    columns = read_table(table)
    if column not in columns:
        raise missing_column(column, list(columns), of=str(table))
    return [text for text in columns[column] if text]


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"the list of names {path} cannot be read: {error}", next_step="Save it as UTF-8, one name a line."
        ) from None
