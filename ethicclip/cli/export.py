"""``ethicclip export``: the ledger in the formats of other ecosystems."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines, printable
from ethicclip.errors import ExitCode

NAME = "export"


class FormatName(StrEnum):
    """The formats, spelled here so that help needs no heavy import; a test compares them with the room's."""

    PROV = "prov"
    INTOTO = "intoto"
    OPENLINEAGE = "openlineage"
    CROISSANT = "croissant"
    DATASET_CARD = "dataset-card"
    MODEL_CARD = "model-card"
    RO_CRATE = "ro-crate"
    CLIP_BENCHMARK = "clip-benchmark"
    MLFLOW = "mlflow"


def command(
    format_: Annotated[FormatName, typer.Argument(metavar="FORMAT", help=", ".join(FormatName))],
    out: Annotated[Path, typer.Option("--out", help="File, or folder for ro-crate, clip-benchmark and mlflow.")],
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="SUBJECT", help="A run's id, or path, alias or hash of an artifact.", show_default="all of it"
        ),
    ] = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Write what the ledger holds for other tools: provenance, signed attestations, catalogue entries, cards, bundles.

    clip-benchmark takes a pair set or a cohort on disk; of a real cohort its folder shows patients.
    """
    from ethicclip.exports import Format, export

    result = export(Format(format_.value), ledger, out, subject=subject)
    print_json(result.to_json()) if json else print_lines(*(printable(line) for line in result.lines()))
    return ExitCode.PASS
