"""``ethicclip import``: foreign collections as pair sets; one command for each kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import console_progress, print_json, print_lines
from ethicclip.errors import ExitCode

if TYPE_CHECKING:
    from ethicclip.importing import ImportResult

NAME = "import"
HELP = "Bring foreign collections in as pair sets: SynFundus-1M, any images with captions, a real cohort."

app = typer.Typer(name=NAME, help=HELP, no_args_is_help=True, rich_markup_mode=None)

Out = Annotated[Path, typer.Option("--out", help="Folder of the pair set.")]
MaxSide = Annotated[int | None, typer.Option("--max-side", help="Shrink larger pictures to this.", show_default="no")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes; changes no byte.")]
Licence = Annotated[
    str | None, typer.Option("--licence", help="Of the pictures, such as CC-BY-4.0; required.", show_default=False)
]


@app.callback()
def _group() -> None:
    """Bring foreign collections in as pair sets: SynFundus-1M, any images with captions, a real cohort.

    The licence goes into the manifest and from there into the card and record of whatever is trained on the set. An
    import that was cut off goes on when the same command is given again, and ends with the same bytes.
    """


@app.command("synfundus")
def synfundus(
    annotations: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet, JSON or JSON Lines.")],
    images: Annotated[Path, typer.Argument(help="Folder of the pictures.")],
    out: Out,
    readable: Annotated[
        str | None, typer.Option("--readable", help="Take any, fundus or all (all flags set).", show_default="fundus")
    ] = None,
    max_side: MaxSide = None,
    workers: Workers = 1,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Make a pair set of SynFundus-1M or a part of it; licence CC-BY-NC-SA-4.0, carried on."""
    from ethicclip.cli.recording import file_artifact, recorded_import
    from ethicclip.importing import SynFundusSettings, import_synfundus
    from ethicclip.settings import resolve

    settings = resolve(
        SynFundusSettings,
        verb="import-synfundus",
        config=config,
        overrides=set_ or (),
        flags={"readable": readable, "max_side": max_side},
    )
    with recorded_import(ledger, "synfundus", settings) as record:
        result = import_synfundus(annotations, images, out, settings, workers=workers, progress=console_progress())
        record(result, file_artifact("annotations", annotations, origin="synthetic"))
    return _told(result, json)


@app.command("folder")
def folder(
    source: Annotated[
        Path, typer.Argument(metavar="TABLE_OR_FOLDER", help="Columns file and caption; or pictures with texts beside.")
    ],
    out: Out,
    licence: Licence = None,
    origin: Annotated[
        str | None, typer.Option("--origin", help="Whose eyes: synthetic, real or mixed.", show_default="real")
    ] = None,
    max_side: MaxSide = None,
    workers: Workers = 1,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Make a pair set of any images with captions; what nobody calls synthetic counts as real, and is restricted."""
    from ethicclip.cli.recording import import_source_artifact, recorded_import
    from ethicclip.importing import FolderSettings, import_folder
    from ethicclip.settings import resolve

    flags = {"licence": licence, "origin": origin, "max_side": max_side}
    settings = resolve(FolderSettings, verb="import-folder", config=config, overrides=set_ or (), flags=flags)
    with recorded_import(ledger, "folder", settings) as record:
        result = import_folder(source, out, settings, workers=workers, progress=console_progress())
        record(result, import_source_artifact(result, source.stem))
    return _told(result, json)


@app.command("cohort")
def cohort(
    cohort_: Annotated[Path, typer.Argument(metavar="COHORT", help="Labelled eyes, as every verb reads them.")],
    out: Out,
    licence: Licence = None,
    label_column: options.LabelColumn = None,
    max_side: MaxSide = None,
    workers: Workers = 1,
    config: options.Config = None,
    set_: options.Set = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Make a restricted pair set of a cohort: captions from labels, patients in the index, never marked synthetic."""
    from ethicclip.cli.recording import cohort_artifact, recorded_import
    from ethicclip.cohorts import read_cohort
    from ethicclip.importing import CohortSettings, import_cohort
    from ethicclip.settings import resolve

    eyes = read_cohort(cohort_)
    # A simulated population is phantoms, whose licence is known.
    known = "CC0-1.0" if eyes.simulated else None
    flags = {"licence": licence or known, "max_side": max_side, "label_column": label_column}
    settings = resolve(CohortSettings, verb="import-cohort", config=config, overrides=set_ or (), flags=flags)
    with recorded_import(ledger, "cohort", settings) as record:
        result = import_cohort(eyes, out, settings, workers=workers, progress=console_progress())
        record(result, cohort_artifact(eyes))
    return _told(result, json)


def _told(result: ImportResult, json: bool) -> int:
    print_json(result.to_json()) if json else print_lines(*result.lines())
    return ExitCode.PASS
