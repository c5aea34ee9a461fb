from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from ethicclip.provenance import Artifact, KeyStore, artifact_of_file, artifact_of_folder, commit_cohort, record_run


class Ticking:
    """A clock that moves by one second at each look."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class Numbered:
    """Ids that count up."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.count = prefix, 0

    def __call__(self, moment: datetime) -> str:
        self.count += 1
        return f"{self.prefix}{self.count:04d}"


def recorder(keys: KeyStore, prefix: str):
    clock, ids = Ticking(), Numbered(prefix)

    def start(ledger: Path, **more):
        given = {"verb": "generate", "settings": {"count": 3}, "seed": 0, "env": {"python": "3"}}
        return record_run(ledger, clock=clock, ids=ids, **{"keys": keys, **given, **more})

    return start


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small journey: a set is generated, audited against a real cohort, and a model is trained on it."""
    folder = tmp_path_factory.mktemp("template")
    keys = KeyStore(folder / "keys")
    path = folder / "house" / "evidence.duckdb"
    pairs = path.parent / "pairs"
    (pairs / "shards").mkdir(parents=True)
    (pairs / "shards" / "000000.tar").write_bytes(b"tar")
    (pairs / "manifest.json").write_text("{}")
    verdict = path.parent / "audit" / "verdict.json"
    verdict.parent.mkdir()
    verdict.write_text('{"verdict": "PASS"}')
    record = recorder(keys, "TEMPLATE")
    with record(path) as run:
        run.generate(artifact_of_folder(pairs, kind="pair_set", origin="synthetic", alias="phantoms"))
        run.event("resumed", {"shards": 0})
    with record(path, verb="audit-leakage", settings={"alpha": 0.05}) as run:
        run.use(artifact_of_folder(pairs, kind="pair_set", origin="synthetic", alias="phantoms"))
        people = ("patient-1", "patient-2", "patient-3", "patient-3")
        run.use(commit_cohort(["a" * 64, "b" * 64], "clinic-reference", keys, patients=people))
        run.generate(artifact_of_file(verdict, kind="verdict"))
        run.metric("copies", 0.0, 0.0, 0.01, 300, "patient")
        run.metric("far_half", 0.5, 0.4, 0.6, 300, "patient")
        run.note_exit(0, "PASS")
    with record(path, verb="train", settings={"epochs": 1}) as run:
        run.use(artifact_of_folder(pairs, kind="pair_set", origin="synthetic", alias="phantoms"))
        run.generate(Artifact(kind="model", sha256="c" * 64, alias="tiny"))
        run.metric("loss", 1.5, n=10, unit="step")
        run.note_exit(0)
    return folder


@pytest.fixture
def keys(template: Path, tmp_path: Path) -> KeyStore:
    return KeyStore(Path(shutil.copytree(template / "keys", tmp_path / "keys")))


@pytest.fixture
def record(keys: KeyStore):
    return recorder(keys, "ID")


@pytest.fixture
def fresh_record(keys: KeyStore):
    """Makes recorders that give the same times and ids each."""
    return lambda: recorder(keys, "ID")


@pytest.fixture
def ledger(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template / "house", tmp_path / "house")) / "evidence.duckdb"


@pytest.fixture
def alter() -> Callable[..., None]:
    """Change a ledger behind its back."""

    def change(path: Path, *statements: str) -> None:
        connection = duckdb.connect(str(path))
        try:
            for statement in statements:
                connection.execute(statement).fetchall()
        finally:
            connection.close()

    return change
