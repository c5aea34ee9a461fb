"""A small simulated world, made once: a population, its split, a pair set, each recorded in one ledger."""

from __future__ import annotations

import contextlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ethicclip.cli.main import run as run_cli


@dataclass(frozen=True)
class Answer:
    """What one command line gave back."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


def call(*arguments: object) -> Answer:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_cli([str(argument) for argument in arguments])
    return Answer(int(code), out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class World:
    """Where the small world lies."""

    root: Path
    ledger: Path

    def call(self, *arguments: object) -> Answer:
        """Run a command line that records into this world's ledger."""
        return call(*arguments, "--ledger", self.ledger)


@pytest.fixture(scope="session", autouse=True)
def _own_keys(tmp_path_factory: pytest.TempPathFactory) -> Any:
    before = os.environ.get("ETHICCLIP_HOME")
    os.environ["ETHICCLIP_HOME"] = str(tmp_path_factory.mktemp("keys"))
    yield
    if before is None:
        del os.environ["ETHICCLIP_HOME"]
    else:
        os.environ["ETHICCLIP_HOME"] = before


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A population of 30 simulated patients, split, and 40 pairs."""
    from ethicclip.generation import simulate_cohort

    root = tmp_path_factory.mktemp("world")
    made = World(root=root, ledger=root / "ledger.duckdb")
    simulate_cohort(root / "population", patients=30, seed=1, size=192)
    assert made.call("split", root / "population", "--out", root / "split").code == 0
    assert made.call("generate", "--count", 40, "--out", root / "pairs", "--size", 128).code == 0
    return made
