from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ethicclip.errors import BadInputError, IntegrityError, LedgerLockedError, UsageError
from ethicclip.provenance import (
    Artifact,
    KeyStore,
    admit_signer,
    artifact_of_file,
    artifact_of_folder,
    commit_cohort,
    latest,
    list_runs,
    read_ledger,
    verify,
    verify_ledger,
)


def test_a_journey_is_recorded(ledger: Path) -> None:
    snapshot = read_ledger(ledger)
    assert [(run.verb, run.status, run.verdict) for run in snapshot.runs] == [
        ("generate", "finished", None),
        ("audit-leakage", "finished", "PASS"),
        ("train", "finished", None),
    ]
    audit = snapshot.runs[1]
    assert audit.settings == {"alpha": 0.05} and audit.seed == 0 and audit.seconds > 0
    assert [a.kind for a in snapshot.artifacts_of(audit.run_id, "used")] == ["pair_set", "cohort"]
    assert [(m.name, m.high, m.n) for m in snapshot.metrics_of(audit.run_id)] == [
        ("copies", 0.01, 300),
        ("far_half", 0.6, 300),
    ]
    assert snapshot.by_artifact[snapshot.edges[0].artifact].path == "pairs"
    assert [(e.kind, e.payload) for e in snapshot.events if e.run_id] == [("resumed", {"shards": 0})]
    assert len(snapshot.heads) == 3
    assert latest(ledger, "train").run_id == snapshot.runs[2].run_id and latest(ledger, "evaluate") is None
    assert all(run.verb in run.line() for run in list_runs(ledger))
    json.dumps([run.to_json() for run in snapshot.runs])


def test_the_head_is_given_signed_and_kept_outside(tmp_path: Path, record) -> None:
    with record(tmp_path / "l.duckdb") as run:
        assert run.head is None
    assert run.head is not None and run.head.holds()
    lines = (tmp_path / "l.duckdb.heads").read_text().splitlines()
    assert json.loads(lines[-1])["hash"] == run.head.hash


def test_real_data_enters_only_as_a_commitment(tmp_path: Path, record, keys: KeyStore) -> None:
    secret = ["d" * 64, "e" * 64]
    with record(tmp_path / "l.duckdb") as run:
        run.use(commit_cohort(reversed(secret), "clinic", keys))
    written = (tmp_path / "l.duckdb").read_bytes() + (tmp_path / "l.duckdb.heads").read_bytes()
    assert not any(value.encode() in written for value in secret)
    (found,) = read_ledger(tmp_path / "l.duckdb").artifacts
    assert found.id.startswith("hmac-sha256:") and found.path is None and found.size_bytes is None
    assert commit_cohort(secret, "other name", keys).id == found.id
    assert commit_cohort(secret, "clinic", KeyStore(tmp_path / "other keys")).id != found.id


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": "a" * 64, "origin": "real"},
        {"commitment": "a" * 64, "origin": "real", "path": "x"},
        {},
        {"sha256": "a" * 64, "commitment": "a" * 64},
        {"sha256": "A" * 64},
        {"sha256": "a" * 63},
        {"sha256": "a" * 64, "origin": "imaginary"},
    ],
)
def test_what_may_not_stand_in_a_ledger_is_refused(wrong) -> None:
    with pytest.raises(UsageError):
        Artifact(kind="cohort", **wrong)


def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "deep" / "new")
    first = (keys.public_key(), keys.commit("cohort", b"x"))
    assert (keys.public_key(), keys.commit("cohort", b"x")) == first
    assert keys.commit("patient", b"x") != first[1]
    for path in (keys.signing_path, keys.commitment_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys.signing_path.write_text("half a key")
    with pytest.raises(BadInputError, match="signing"):
        keys.public_key()


def test_where_keys_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ETHICCLIP_HOME", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert KeyStore.default().folder == tmp_path / "xdg" / "ethicclip"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert KeyStore.default().folder == Path.home() / ".config" / "ethicclip"
    monkeypatch.setenv("ETHICCLIP_HOME", str(tmp_path / "mine"))
    assert KeyStore.default().folder == tmp_path / "mine"


def test_a_folder_is_named_by_its_listing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "b").write_text("b")
        (tmp_path / name / "a").write_text("a")
    (tmp_path / "two" / ".x.1.partial").write_text("unfinished")
    one, two = (artifact_of_folder(tmp_path / name, kind="pair_set") for name in ("one", "two"))
    assert one.id == two.id and one.size_bytes == 2
    (tmp_path / "two" / "a").rename(tmp_path / "two" / "c")
    assert artifact_of_folder(tmp_path / "two", kind="pair_set").id != one.id
    with pytest.raises(BadInputError):
        artifact_of_folder(tmp_path / "three", kind="pair_set")
    with pytest.raises(BadInputError):
        artifact_of_file(tmp_path / "three", kind="verdict")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (KeyboardInterrupt(), "interrupted", 130),
        (BadInputError("the cohort is empty"), "failed", 3),
        (RuntimeError("a bug"), "failed", 1),
        (SystemExit(2), "failed", 2),
    ],
)
def test_every_way_to_end_is_recorded_and_passes_through(tmp_path: Path, record, error, status, code) -> None:
    with pytest.raises(type(error)), record(tmp_path / "l.duckdb") as run:
        run.generate(Artifact(kind="pair_set", sha256="a" * 64))
        raise error
    (found,) = list_runs(tmp_path / "l.duckdb")
    assert (found.status, found.exit_code) == (status, code)
    assert len(read_ledger(tmp_path / "l.duckdb").artifacts) == 1
    assert "the cohort is empty" not in str(read_ledger(tmp_path / "l.duckdb"))


def test_a_failed_gate_is_a_finished_run(tmp_path: Path, record) -> None:
    with record(tmp_path / "l.duckdb") as run:
        run.note_exit(10, "LEAK")
    (found,) = list_runs(tmp_path / "l.duckdb")
    assert (found.status, found.exit_code, found.verdict) == ("finished", 10, "LEAK")


def test_numbers_that_are_none_are_kept_as_such(tmp_path: Path, record) -> None:
    with record(tmp_path / "l.duckdb") as run:
        run.metric("auroc", float("nan"), float("-inf"), float("inf"), 0)
    (metric,) = read_ledger(tmp_path / "l.duckdb").metrics
    assert (metric.estimate, metric.low, metric.high, metric.n) == (None, None, None, 0)
    assert verify(tmp_path / "l.duckdb").ok


def test_what_is_no_event_is_refused(tmp_path: Path, record) -> None:
    with record(tmp_path / "l.duckdb") as run:
        for kind, payload in (("rows", {}), ("signer", {}), ("own", {"x": object()}), ("own", {"x": float("nan")})):
            with pytest.raises(UsageError):
                run.event(kind, payload)
    with pytest.raises(UsageError, match="seed"), record(tmp_path / "l.duckdb", seed=2**70):
        pass


def test_hostile_names_are_kept_and_harm_nothing(tmp_path: Path, record) -> None:
    names = ["'; DROP TABLE runs; --", "<script>", "\x00\x1b[31m", "眼底", "x" * 10_000, os.fsdecode(b"\xff\xfe")]
    with record(tmp_path / "l.duckdb") as run:
        for i, name in enumerate(names):
            run.use(Artifact(kind="file", sha256=f"{i:064x}", alias=name))
            run.event("seen", {"name": name.encode("utf-8", "replace").decode()})
    found = read_ledger(tmp_path / "l.duckdb")
    assert [a.alias for a in found.artifacts[:5]] == names[:5] and found.artifacts[5].alias == "\\udcff\\udcfe"
    assert verify(tmp_path / "l.duckdb").ok


def test_the_same_runs_give_the_same_records(tmp_path: Path, fresh_record) -> None:
    heads = []
    for name in ("one", "two"):
        with fresh_record()(tmp_path / name / "l.duckdb", settings={"b": 1, "a": [2.5]}) as run:
            run.metric("x", 0.1, n=3)
        heads.append(run.head)
    assert heads[0] == heads[1]


def test_the_ledger_is_free_while_a_run_works(tmp_path: Path, record) -> None:
    with record(tmp_path / "l.duckdb"), record(tmp_path / "l.duckdb", verb="split") as inner:
        inner.note_exit(0)
    assert [run.status for run in list_runs(tmp_path / "l.duckdb")] == ["finished", "finished"]
    assert verify(tmp_path / "l.duckdb").ok


HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
connection.close()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_lock_names_its_holder(ledger: Path, record) -> None:
    process = hold(ledger)
    try:
        with pytest.raises(LedgerLockedError, match=f"process {process.pid}") as caught, record(ledger, wait_s=0.2):
            pytest.fail("the body must not run")
        assert int(caught.value.exit_code) == 75
        with pytest.raises(LedgerLockedError):
            verify_ledger(ledger, wait_s=0.1)
    finally:
        process.communicate("\n")


def test_a_short_lock_is_waited_for(ledger: Path, record) -> None:
    process = hold(ledger)
    timer = threading.Timer(0.4, lambda: process.communicate("\n"))
    timer.start()
    with record(ledger, wait_s=20):
        pass
    timer.join()
    assert len(list_runs(ledger)) == 4


def test_a_lock_at_the_end_does_not_hide_the_body_s_error(ledger: Path, record) -> None:
    process = None
    try:
        with pytest.raises(RuntimeError, match="of the body") as caught, record(ledger, end_wait_s=0.1):
            process = hold(ledger)
            raise RuntimeError("of the body")
        assert any("not in the ledger" in note for note in caught.value.__notes__)
    finally:
        assert process is not None
        process.communicate("\n")
    assert list_runs(ledger)[-1].status == "unfinished"


@pytest.mark.parametrize("content", [b"", b"hello" * 5000, None])
def test_what_is_not_a_ledger_is_bad_input(tmp_path: Path, record, content: bytes | None) -> None:
    path = tmp_path / "thing"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(BadInputError), record(path):
        pass
    with pytest.raises(BadInputError):
        list_runs(path)
    with pytest.raises(BadInputError):
        verify(path)


def test_another_database_is_left_alone(tmp_path: Path, record, alter) -> None:
    path = tmp_path / "other.duckdb"
    alter(path, "CREATE TABLE patients (name VARCHAR)")
    with pytest.raises(BadInputError, match="not a ledger"), record(path):
        pass
    with pytest.raises(BadInputError, match="no ledger at"):
        list_runs(tmp_path / "absent.duckdb")


def test_another_writer_must_be_admitted(ledger: Path, record, keys: KeyStore, tmp_path: Path) -> None:
    other = KeyStore(tmp_path / "other")
    with pytest.raises(BadInputError, match="signed by key"), record(ledger, keys=other):
        pass
    admit_signer(ledger, other.public_key(), keys=keys)
    with record(ledger, keys=other):
        pass
    outcome = verify(ledger, known_key=keys.public_key())
    assert outcome.ok and set(outcome.public_keys) == {keys.public_key(), other.public_key()}
    with pytest.raises(BadInputError):
        admit_signer(ledger, "ab" * 32, keys=KeyStore(tmp_path / "third"))


def test_a_cut_ledger_is_not_written_on(ledger: Path, record, tmp_path: Path) -> None:
    old = tmp_path / "old copy"
    old.write_bytes(ledger.read_bytes())
    with record(ledger):
        pass
    ledger.write_bytes(old.read_bytes())
    with pytest.raises(IntegrityError, match="does not hold event"), record(ledger):
        pass


def test_a_new_ledger_may_follow_one_that_was_deleted(ledger: Path, record) -> None:
    ledger.unlink()
    with record(ledger):
        pass
    outcome = verify(ledger)
    assert outcome.ok and any("another ledger" in note for note in outcome.notes)


def test_torch_is_never_imported(ledger: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import ethicclip.provenance as p;"
        "assert not {'duckdb', 'pyarrow', 'cryptography'} & set(sys.modules);"
        "from ethicclip.provenance import Artifact, KeyStore; assert 'duckdb' not in sys.modules;"
        f"assert p.verify(Path({str(ledger)!r})).ok; p.lineage(Path({str(ledger)!r}), 'tiny');"
        "assert not {'torch', 'faiss', 'cv2', 'matplotlib'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
