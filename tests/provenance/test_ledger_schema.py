"""Versions of the schema, the documented views, and a snapshot while another process writes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from ethicclip.errors import BadInputError
from ethicclip.provenance import Artifact, commit_cohort, read_ledger, read_verified, store, verify, verify_ledger
from ethicclip.provenance.schema import ALL_TABLES, SCHEMA_VERSION, SINCE, TABLES, VIEWS, create_statements, tables_of


@pytest.fixture
def first_version(tmp_path: Path, record, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger as the first release wrote it."""
    path = tmp_path / "old.duckdb"
    with monkeypatch.context() as patch:
        patch.setattr(store, "SCHEMA_VERSION", 1)
        patch.setattr(store, "create_statements", lambda: create_statements(1))
        patch.setattr(store, "TABLES", {name: TABLES[name] for name in TABLES if name not in SINCE})
        with record(path) as run:
            run.generate(Artifact(kind="pair_set", sha256="a" * 64, origin="synthetic"))
    return path


def test_an_older_ledger_is_read_and_verified_as_it_is(first_version: Path) -> None:
    before = first_version.read_bytes()
    outcome = verify(first_version)
    assert outcome.ok and not any("members" in note for note in outcome.notes)
    assert read_ledger(first_version).members == ()
    assert first_version.read_bytes() == before


def test_the_next_run_migrates_and_every_head_still_holds(first_version: Path, record, keys, alter) -> None:
    with record(first_version) as run:
        run.use(commit_cohort(["b" * 64], "clinic", keys, patients=["p1"]))
    outcome = verify(first_version)
    assert outcome.ok and outcome.checked["members"] == 1 and outcome.checked["heads"] == 2
    (migrated,) = [event for event in read_ledger(first_version).events if event.kind == "migrated"]
    assert (migrated.payload["from"], migrated.payload["to"]) == (1, SCHEMA_VERSION)
    with record(first_version):
        pass
    assert len([event for event in read_ledger(first_version).events if event.kind == "migrated"]) == 1
    alter(first_version, *(f"DROP VIEW {view}" for view in VIEWS), "DROP TABLE members")
    assert any(finding.table == "members" for finding in verify(first_version).findings)


def test_a_newer_ledger_is_refused_by_name_of_version(ledger: Path, alter, record) -> None:
    alter(ledger, "INSERT INTO meta SELECT max(row) + 1, 'schema_version', '99' FROM meta")
    for look in (verify, read_ledger):
        with pytest.raises(BadInputError, match="schema 99"):
            look(ledger)
    with pytest.raises(BadInputError, match="schema 99"), record(ledger):
        pass


def test_every_version_has_its_tables() -> None:
    assert set(tables_of(1)) == set(ALL_TABLES) - {"members"} and set(tables_of(SCHEMA_VERSION)) == set(ALL_TABLES)


def test_the_documented_queries_run(ledger: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()
    queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert len(queries) >= 6
    connection = duckdb.connect(str(ledger), read_only=True)
    for query in queries:
        assert connection.execute(query).description
    connection.close()
    documented = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert set(ALL_TABLES) | set(VIEWS) <= documented


WRITER = """
import sys
from pathlib import Path
from ethicclip.provenance import Artifact, KeyStore, record_run
for i in range(int(sys.argv[3])):
    with record_run(Path(sys.argv[1]), verb="generate", settings={"i": i}, keys=KeyStore(Path(sys.argv[2]))) as run:
        run.generate(Artifact(kind="pair_set", sha256=f"{i:064x}"))
        print(i, flush=True)
"""


def test_a_snapshot_is_taken_while_a_run_writes(ledger: Path, keys) -> None:
    command = [sys.executable, "-c", WRITER, str(ledger), str(keys.folder), "12"]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    writer.stdout.readline()
    seen = []
    while writer.poll() is None:
        snapshot, outcome = read_verified(ledger, wait_s=20)
        assert outcome.ok, outcome.lines()
        assert outcome.checked["runs"] == len(snapshot.runs)
        seen.append(len(snapshot.runs))
    writer.communicate()
    assert writer.returncode == 0 and seen == sorted(seen)
    assert len(read_ledger(ledger).runs) == 15 and verify_ledger(ledger).ok
