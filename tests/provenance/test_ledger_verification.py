from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from ethicclip.errors import BadInputError, IntegrityError
from ethicclip.provenance import Artifact, KeyStore, artifact_of_file, read_ledger, verify, verify_ledger
from ethicclip.provenance.chain import GENESIS_HASH, event_hash, sign_head
from ethicclip.provenance.schema import TABLES, VIEWS

TEXT, NUMBER = "'changed'", "12345"


def named(outcome) -> list[str]:
    return [f"{finding.table} {finding.record}" for finding in outcome.findings]


def test_an_untouched_ledger_is_intact_under_any_name(ledger: Path) -> None:
    outcome = verify(ledger)
    assert outcome.ok and outcome.findings == ()
    assert outcome.checked["runs"] == 3 and outcome.checked["artifact files"] == 2
    moved = ledger.rename(ledger.with_name("holiday.jpg"))
    outcome = verify(moved)
    assert outcome.ok and any("no heads file" in note for note in outcome.notes)
    assert json.loads(json.dumps(outcome.to_json()))["status"] == "intact"
    assert any("intact" in line for line in outcome.lines())


EDITS = [(table, column, kind) for table, columns in TABLES.items() for column, kind in columns if column != "row"]


@pytest.mark.parametrize(("table", "column", "kind"), EDITS)
def test_every_edited_value_is_named(ledger: Path, alter, table: str, column: str, kind: str) -> None:
    value = TEXT if kind == "VARCHAR" else NUMBER
    alter(ledger, f"UPDATE {table} SET {column} = {value} WHERE row = 2")
    assert any(name.startswith(f"{table} row 2 ") for name in named(verify(ledger)))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("row", [1, 2, "last"])
def test_every_deleted_row_is_named(ledger: Path, alter, table: str, row: int | str) -> None:
    connection = duckdb.connect(str(ledger))
    last = connection.execute(f"SELECT max(row) FROM {table}").fetchall()[0][0]
    connection.close()
    number = last if row == "last" else row
    alter(ledger, f"DELETE FROM {table} WHERE row = {number}")
    assert f"{table} row {number}" in named(verify(ledger))


@pytest.mark.parametrize("table", TABLES)
def test_every_inserted_row_is_named(ledger: Path, alter, table: str) -> None:
    alter(ledger, f"INSERT INTO {table} SELECT * REPLACE (99 AS row) FROM {table} WHERE row = 1")
    assert any(name.startswith(f"{table} row 99") for name in named(verify(ledger)))
    alter(ledger, f"DELETE FROM {table} WHERE row = 99", f"INSERT INTO {table} SELECT * FROM {table} WHERE row = 1")
    assert any(name.startswith(f"{table} row 1 ") for name in named(verify(ledger)))
    alter(ledger, f"UPDATE {table} SET row = NULL WHERE row = 1")
    assert any(name.startswith(f"{table} row None") for name in named(verify(ledger)))


@pytest.mark.parametrize("table", TABLES)
def test_every_reordered_row_is_named(ledger: Path, alter, table: str) -> None:
    alter(ledger, f"UPDATE {table} SET row = 3 - row WHERE row IN (1, 2)")
    found = named(verify(ledger))
    assert any(name.startswith(f"{table} row 1 ") for name in found)
    assert any(name.startswith(f"{table} row 2 ") for name in found)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_emptied_dropped_or_altered_is_named(ledger: Path, alter, table: str) -> None:
    alter(ledger, f"DELETE FROM {table}")
    assert f"{table} row 1" in named(verify(ledger))
    alter(ledger, *(f"DROP VIEW {view}" for view in VIEWS), f"ALTER TABLE {table} ADD COLUMN extra INTEGER")
    assert f"{table} (whole table)" in named(verify(ledger))
    alter(ledger, f"DROP TABLE {table}")
    if table == "meta":
        with pytest.raises(BadInputError):
            verify(ledger)
    else:
        assert f"{table} (whole table)" in named(verify(ledger))


@pytest.mark.parametrize("column", ["run_id", "kind", "time", "payload", "prev_hash", "hash"])
@pytest.mark.parametrize("seq", [1, 7, "last"])
def test_every_edited_event_is_named(ledger: Path, alter, column: str, seq: int | str) -> None:
    number = verify(ledger).checked["events"] if seq == "last" else seq
    alter(ledger, f"UPDATE events SET {column} = 'changed' WHERE seq = {number}")
    assert any(name.startswith(f"events event {number} ") for name in named(verify(ledger)))


def test_deleted_inserted_and_reordered_events_are_named(ledger: Path, alter) -> None:
    alter(ledger, "DELETE FROM events WHERE seq = 7")
    assert "events event 7" in named(verify(ledger))
    alter(ledger, "UPDATE events SET seq = seq - 1 WHERE seq > 7")
    assert any(name.startswith("events event 7 ") for name in named(verify(ledger)))


def test_swapped_events_are_named(ledger: Path, alter) -> None:
    alter(ledger, "UPDATE events SET seq = 15 - seq WHERE seq IN (7, 8)")
    found = named(verify(ledger))
    assert any(name.startswith("events event 7 ") for name in found)
    assert any(name.startswith("events event 8 ") for name in found)


def test_a_doubled_event_is_named(ledger: Path, alter) -> None:
    alter(ledger, "INSERT INTO events SELECT * FROM events WHERE seq = 7")
    assert "events event 7" in named(verify(ledger))


def forge(path: Path, change) -> None:
    """Rewrite the chain from the changed event on, so that every event fits its neighbours."""
    connection = duckdb.connect(str(path))
    events = connection.execute("SELECT seq, run_id, kind, time, payload FROM events ORDER BY seq").fetchall()
    connection.execute("DELETE FROM events").fetchall()
    previous = GENESIS_HASH
    for seq, event in enumerate((e for e in (change(*e) for e in events) if e), start=1):
        digest = event_hash(seq, *event[1:], previous)
        connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", [seq, *event[1:], previous, digest])
        previous = digest
    connection.close()


def test_a_chain_rewritten_whole_is_caught_by_the_signed_heads(ledger: Path) -> None:
    def change(seq, run_id, kind, time, payload):
        return (seq, run_id, kind, time, '{"shards":9}' if kind == "resumed" else payload)

    forge(ledger, change)
    outcome = verify(ledger)
    assert "heads head 1" in named(outcome) and "heads file line 1" in named(outcome)
    assert any("rewritten" in finding.problem for finding in outcome.findings)


def cut(path: Path, seq: int, heads: int) -> None:
    """Remove everything after event `seq` as one who knows the format would."""
    connection = duckdb.connect(str(path))
    connection.execute(f"DELETE FROM events WHERE seq > {seq}").fetchall()
    connection.execute(f"DELETE FROM heads WHERE number > {heads}").fetchall()
    kept = json.loads(connection.execute("SELECT head FROM heads ORDER BY number DESC").fetchall()[0][0])["counts"]
    for table in TABLES:
        connection.execute(f"DELETE FROM {table} WHERE row > {kept[table]}").fetchall()
    connection.close()


def test_a_deleted_tail_is_caught_against_a_head_held_elsewhere(ledger: Path) -> None:
    heads = read_ledger(ledger).heads
    cut(ledger, heads[1].seq, 2)
    outcome = verify(ledger)
    assert named(outcome) == ["heads file line 3", "heads head 3"]
    assert f"event(s) {heads[1].seq + 1} to {heads[2].seq} were deleted" in outcome.findings[0].problem
    elsewhere = ledger.with_name("kept.heads")
    ledger.with_name(ledger.name + ".heads").rename(elsewhere)
    assert verify_ledger(ledger).ok, "without any head from elsewhere a clean cut cannot show"
    assert named(verify_ledger(ledger, heads_file=elsewhere)) == ["heads file line 3", "heads head 3"]
    assert named(verify(ledger, head=heads[2].hash)) == [f"head {heads[2].hash}"]
    assert verify(ledger, head=heads[1].hash[:20].upper()).ok
    with pytest.raises(BadInputError):
        verify(ledger, head="not hex")
    with pytest.raises(BadInputError):
        verify(ledger, head="abcd")


@pytest.mark.parametrize("keep_heads", [True, False])
def test_a_tail_cut_by_hand_is_named(ledger: Path, alter, keep_heads: bool) -> None:
    last = verify(ledger).checked["events"]
    alter(ledger, f"DELETE FROM events WHERE seq = {last}")
    if not keep_heads:
        alter(ledger, "DELETE FROM heads WHERE number = 3")
        ledger.with_name(ledger.name + ".heads").unlink()
    found = named(verify(ledger))
    assert any(name.startswith("endings row 3") for name in found)


def test_heads_in_the_ledger_are_protected(ledger: Path, alter) -> None:
    alter(ledger, "DELETE FROM heads WHERE number = 2")
    assert "heads head 2" in named(verify(ledger))


def test_an_edited_head_is_named(ledger: Path, alter) -> None:
    alter(ledger, "UPDATE heads SET head = replace(head, '2030', '2031') WHERE number = 2")
    assert "heads head 2" in named(verify(ledger))
    alter(ledger, "UPDATE heads SET head = 'x' WHERE number = 2")
    assert "heads head 2" in named(verify(ledger))


def test_a_deleted_last_head_leaves_an_end_that_no_signature_covers(ledger: Path, alter) -> None:
    alter(ledger, "DELETE FROM heads WHERE number = 3")
    assert named(verify(ledger)) == ["heads head 3"]
    ledger.with_name(ledger.name + ".heads").unlink()
    assert any(name.startswith("events event") for name in named(verify(ledger)))


def test_an_edited_heads_file_is_named(ledger: Path) -> None:
    path = ledger.with_name(ledger.name + ".heads")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace("2030", "2031"), lines[2]]) + "\n")
    assert "heads file line 2" in named(verify(ledger))
    path.write_text("\n".join([lines[0], lines[2]]) + "\n")
    assert "heads file line 2" in named(verify(ledger))
    path.write_text("\n".join([lines[1], lines[0], lines[2]]) + "\n")
    assert not verify(ledger).ok
    path.write_bytes(b"\xff\xfe garbage\n" + lines[0].encode())
    assert "heads file line 1" in named(verify(ledger))
    path.write_text(lines[0] + "\n")
    outcome = verify(ledger)
    assert outcome.ok and any("ends at head 1" in note for note in outcome.notes)


def test_a_ledger_signed_anew_by_another_is_caught(ledger: Path, keys: KeyStore, tmp_path: Path) -> None:
    """One who rewrites everything and signs it with a key of his own passes only where nobody knows the first key."""
    thief = KeyStore(tmp_path / "thief")
    connection = duckdb.connect(str(ledger))
    lines = []
    for head in read_heads(connection):
        forged = sign_head(
            thief,
            ledger=head["ledger"],
            number=head["number"],
            seq=head["seq"],
            hash_=head["hash"],
            counts=head["counts"],
            time=head["time"],
        )
        connection.execute(
            "UPDATE heads SET head = ? WHERE number = ?", [json.dumps(forged.to_json()), head["number"]]
        ).fetchall()
        lines.append(json.dumps(forged.to_json()))
    connection.close()
    ledger.with_name(ledger.name + ".heads").write_text("\n".join(lines) + "\n")
    assert f"heads key {thief.public_key()}" in named(verify(ledger))

    def own_signer(seq, run_id, kind, time, payload):
        return (seq, run_id, kind, time, payload.replace(keys.public_key(), thief.public_key()))

    forge(ledger, own_signer)
    assert f"heads key {keys.public_key()}" in named(verify(ledger, known_key=keys.public_key()))


def read_heads(connection: duckdb.DuckDBPyConnection) -> list[dict]:
    return [json.loads(row[0]) for row in connection.execute("SELECT head FROM heads ORDER BY number").fetchall()]


CRASH = """
import os, signal, sys
from pathlib import Path
from ethicclip.provenance import KeyStore, record_run
with record_run(Path(sys.argv[1]), verb="train", settings={}, keys=KeyStore(Path(sys.argv[2]))):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_is_a_note_not_a_finding(ledger: Path, keys: KeyStore, record) -> None:
    killed = subprocess.run([sys.executable, "-c", CRASH, str(ledger), str(keys.folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    outcome = verify(ledger)
    assert outcome.ok
    assert any("after the last signature" in note for note in outcome.notes)
    assert any("has no end" in note for note in outcome.notes)
    with record(ledger):
        pass
    assert verify(ledger).ok


def test_a_crash_between_commit_and_heads_file_heals(ledger: Path, record) -> None:
    path = ledger.with_name(ledger.name + ".heads")
    path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines()[:2]))
    assert verify(ledger).ok
    with record(ledger):
        pass
    assert verify(ledger).ok and len(path.read_text().splitlines()) == 4


def test_artifacts_are_compared_with_what_lies_there(ledger: Path, record) -> None:
    shard = ledger.parent / "pairs" / "shards" / "000000.tar"
    shard.write_bytes(b"other")
    assert named(verify(ledger)) == ["artifact file pair_set pairs"]
    shard.write_bytes(b"tar")
    (ledger.parent / "audit" / "verdict.json").unlink()
    outcome = verify(ledger)
    assert outcome.ok and any("absent: verdict" in note for note in outcome.notes)


def test_a_file_written_over_by_a_later_run_is_no_tampering(tmp_path: Path, record) -> None:
    for text in ("one", "two"):
        (tmp_path / "run.json").write_text(text)
        with record(tmp_path / "l.duckdb", verb="train") as run:
            run.generate(artifact_of_file(tmp_path / "run.json", kind="run"))
    outcome = verify(tmp_path / "l.duckdb")
    assert outcome.ok and any("written over" in note for note in outcome.notes)


def test_what_does_not_belong_is_noted(ledger: Path, alter) -> None:
    alter(ledger, "CREATE TABLE mine (x INTEGER)", "CREATE VIEW fake AS SELECT 1 AS x")
    outcome = verify(ledger)
    assert outcome.ok and sum("nothing vouches" in note for note in outcome.notes) == 2
    alter(ledger, "CREATE OR REPLACE VIEW run_list AS SELECT * FROM runs WHERE verb != 'audit-leakage'")
    assert named(verify(ledger)) == ["views run_list"]
    alter(ledger, "CREATE OR REPLACE VIEW run_list AS SELECT * FROM read_csv('/etc/passwd')")
    assert named(verify(ledger)) == ["views run_list"]
    alter(ledger, f"CREATE OR REPLACE VIEW run_list AS SELECT * FROM ({VIEWS['run_list']})")
    assert verify(ledger).ok and any("spelled otherwise" in note for note in verify(ledger).notes)
    alter(ledger, "DROP VIEW run_list")
    assert verify(ledger).ok and any("'run_list' is missing" in note for note in verify(ledger).notes)


def test_a_flood_in_one_table_does_not_hide_another(tmp_path: Path, record, alter) -> None:
    with record(tmp_path / "l.duckdb") as run:
        for i in range(2500):
            run.use(Artifact(kind="pair", sha256=f"{i:064x}"))
    alter(tmp_path / "l.duckdb", "UPDATE artifacts SET kind = 'x'", "UPDATE runs SET verb = 'x'")
    outcome = verify(tmp_path / "l.duckdb")
    assert outcome.more == {"artifacts": 2480} and any(f.table == "runs" for f in outcome.findings)


def test_damage_to_the_file_itself_does_not_pass(ledger: Path) -> None:
    data = ledger.read_bytes()
    assert b"clinic-reference" in data
    ledger.write_bytes(data.replace(b"clinic-reference", b"HIDDEN-reference"))
    with pytest.raises(IntegrityError, match="damaged"):
        verify(ledger)
