"""Options that several verbs share, so that they are spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_LEDGER = Path("ethicclip.duckdb")

Ledger = Annotated[
    Path,
    typer.Option("--ledger", envvar="ETHICCLIP_LEDGER", help="The DuckDB ledger that records every run."),
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file of settings, one mapping per verb.", show_default=False),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set any setting, such as size=512.", show_default=False),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of all randomness.", show_default="0")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print counts, disk and time; write nothing.")]

LabelColumn = Annotated[
    str | None, typer.Option("--label-column", help="Column that holds the label.", show_default="label")
]
Classes = Annotated[
    str | None, typer.Option("--classes", help="Which labels, a,b,c; the rest is left out.", show_default="all known")
]
Prompts = Annotated[
    Path | None, typer.Option("--prompts", help="YAML of prompts for your own classes.", show_default=False)
]

Delta = Annotated[float | None, typer.Option("--delta", help="Target delta.", show_default="min(1e-5, 1/(10 units))")]
Mechanism = Annotated[
    str | None, typer.Option("--mechanism", help="prompt-bank or grouped.", show_default="prompt-bank")
]
PrivacyUnit = Annotated[
    str | None, typer.Option("--unit", help="Whose presence is hidden: patient or pair.", show_default="patient")
]
MaxGradNorm = Annotated[
    float | None, typer.Option("--max-grad-norm", help="Clipping norm C of a unit or group.", show_default="1")
]


def comma_list(text: str | None) -> tuple[str, ...] | None:
    """Split ``a,b,c`` into its parts; None stays None (not typed)."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())
