"""Which engine a command line means, before its settings can be read: each engine has settings of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ConfigDict

from ethicclip.errors import UsageError
from ethicclip.settings import Settings, resolve


class _Choice(Settings):
    model_config = ConfigDict(extra="ignore")

    engine: str | None = None


def chosen_engine(
    verb: str, flag: str | None, config: Path | None, overrides: Sequence[str], *, known: Sequence[str], default: str
) -> str:
    """The engine that flag, ``--set``, the settings file or else the default name.

    Raises:
        UsageError: It is none of `known`.
    """
    found = resolve(_Choice, verb=verb, config=config, overrides=overrides, flags={"engine": flag}).engine or default
    if found not in known:
        raise UsageError(f"there is no engine {found!r}", next_step=f"Choose one of: {', '.join(known)}.")
    return found
