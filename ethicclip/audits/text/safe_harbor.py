"""The table of the 18 HIPAA identifiers: what was scanned, what was not, and what only a person can say."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from importlib.resources import files
from typing import Any

import yaml


class ScanState(StrEnum):
    """What the scan can say of one identifier."""

    SCANNED = "scanned"
    NOT_SCANNED = "not scanned"
    NEEDS_A_PERSON = "needs a person"


def safe_harbor(found: Mapping[str, int], *, names_given: bool, metadata_scanned: bool) -> list[dict[str, Any]]:
    """One row an identifier: letter, name, state, how, and how many findings.

    Args:
        found: Findings by letter.
        names_given: Whether a list of names was given; without it names are not scanned.
        metadata_scanned: Whether the files' own metadata could be read.
    """
    rows = yaml.safe_load(files("ethicclip.audits.text").joinpath("hipaa18.yaml").read_text(encoding="utf-8"))
    table = []
    for row in rows:
        state = {
            "scanned": ScanState.SCANNED,
            "not scanned": ScanState.NOT_SCANNED,
            "person": ScanState.NEEDS_A_PERSON,
            "lists": ScanState.SCANNED if names_given else ScanState.NOT_SCANNED,
        }[row["state"]]
        if row["letter"] == "M" and not metadata_scanned:
            state = ScanState.NOT_SCANNED
        table.append(
            {
                "letter": row["letter"],
                "identifier": row["name"],
                "state": str(state),
                "how": row["how"],
                "found": found.get(row["letter"], 0),
            }
        )
    return table
