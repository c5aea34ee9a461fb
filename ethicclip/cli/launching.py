"""Several processes of one command line, as `torchrun` starts them; read without torch."""

from __future__ import annotations

import os


def alone() -> bool:
    """Whether no other process takes part."""
    return os.environ.get("WORLD_SIZE", "1") == "1"


def writes() -> bool:
    """Whether this is the process that prints and records; one that runs alone is."""
    return os.environ.get("RANK", "0") == "0"
