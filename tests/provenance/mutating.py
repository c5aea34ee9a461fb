"""A small house of evidence, and every way to tamper with it: what was done, and which record must be named for it.

Used by the benchmark (`mutations.py`) and, in a small random version, by the tests.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from ethicclip.errors import EthicClipError
from ethicclip.files import sha256_bytes, sha256_file, write_json
from ethicclip.provenance import Artifact, KeyStore, artifact_of_file, commit_cohort, record_run, verify
from ethicclip.provenance.chain import sign_head
from ethicclip.provenance.schema import TABLES
from ethicclip.reports import ReportSettings, write_report

Random = np.random.Generator


@dataclass(frozen=True)
class Done:
    """One act of tampering.

    Args:
        kind: flip, delete, insert, reorder, truncate, replace or re-sign.
        what: Kind of record or artifact.
        target: What to verify.
        record: What has to be named, as a part of a finding's line.
        head: A head held elsewhere that the verifier knows, where only that can tell.
        noted: Whether a note is the right answer (absent, crash-like) rather than a finding.
    """

    kind: str
    what: str
    target: Path
    record: str
    head: str | None = None
    noted: bool = False


@dataclass(frozen=True)
class House:
    """Where the evidence lies."""

    folder: Path
    keys: KeyStore

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.folder / "evidence.duckdb"

    @property
    def heads(self) -> Path:
        """Its heads file."""
        return self.folder / "evidence.duckdb.heads"

    @property
    def report(self) -> Path:
        """A sealed report on it."""
        return self.folder / "report"

    def copy(self, to: Path) -> House:
        """The same house in another place."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder, to)
        return House(to, self.keys)


def build(folder: Path) -> House:
    """Split, generate, audit, train, evaluate, withdraw, review, report: every table and every kind of file."""
    house = House(folder / "house", KeyStore(folder / "keys"))
    house.folder.mkdir(parents=True)
    moment = [datetime(2030, 1, 1, tzinfo=UTC)]
    count = [0]

    def clock() -> datetime:
        moment[0] += timedelta(seconds=5)
        return moment[0]

    def ids(_: datetime) -> str:
        count[0] += 1
        return f"RUN{count[0]:023d}"

    def run(verb: str, **settings: Any) -> Any:
        return record_run(house.ledger, verb=verb, settings=settings, seed=1, clock=clock, ids=ids, keys=house.keys)

    def file(kind: str, name: str, data: bytes, **more: Any) -> Artifact:
        place = house.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return artifact_of_file(place, kind=kind, alias=name, **more)

    people = {part: [f"{part}-{i}" for i in range(4)] for part in ("reference", "control")}
    cohorts = {
        part: commit_cohort([sha256_bytes(part.encode())], f"clinic/{part}", house.keys, patients=people[part])
        for part in people
    }
    with run("split", parts=2) as recorded:
        for part, cohort in cohorts.items():
            recorded.generate(cohort)
            recorded.metric(f"patients/{part}", 4)
    with run("generate", engine="phantom") as recorded:
        shards = [_shard(house.folder / "pairs" / "shards" / f"{i:06d}.tar", i) for i in range(2)]
        index = house.folder / "pairs" / "index.parquet"
        index.write_bytes(b"PAR1 a small index PAR1")
        manifest = {
            "schema": "ethicclip/pairset/1",
            "name": "pairs",
            "origin": "synthetic",
            "licence": "CC0-1.0",
            "counts": {"pairs": 8, "labels": {"normal": 8}},
            "shards": shards,
            "index": {"file": "index.parquet", "sha256": sha256_file(index)},
        }
        write_json(house.folder / "pairs" / "manifest.json", manifest)
        pairs = artifact_of_file(
            house.folder / "pairs" / "manifest.json", kind="pair_set", origin="synthetic", alias="pairs"
        )
        recorded.generate(pairs)
        recorded.metric("pairs", 8)
        recorded.event("resumed", {"shards": 0})
    with run("audit-leakage", alpha=0.05) as recorded:
        for artifact in (pairs, *cohorts.values()):
            recorded.use(artifact)
        verdict = {"schema": "ethicclip/verdict/1", "verdict": "PASS", "counts": {"flagged_images": 0}}
        recorded.generate(file("verdict", "audit/verdict.json", json.dumps(verdict).encode()))
        recorded.generate(file("flagged", "audit/flagged.csv", b"file,reference_file\n"))
        recorded.metric("audit/flagged_share", 0.0, 0.0, 0.3, 8, "image")
        recorded.note_exit(0, "PASS")
    with run("train", epochs=1) as recorded:
        recorded.use(pairs)
        model = file("model", "run/model.safetensors", bytes(range(256)) * 8)
        recorded.generate(model)
        recorded.generate(file("training_run", "run/run.json", b'{"schema": "ethicclip/run/1"}'))
        recorded.metric("loss/last", 1.5)
    with run("evaluate") as recorded:
        recorded.use(model)
        recorded.generate(file("metrics", "evaluation/metrics.json", b'{"schema": "ethicclip/metrics/1"}'))
        recorded.generate(file("figure", "evaluation/roc.svg", b"<svg xmlns='http://www.w3.org/2000/svg'></svg>"))
        recorded.metric("balanced_accuracy", 0.5, 0.4, 0.6, 30, "patient")
        recorded.event("reviewed", {"pair": 3, "verdict": "same pathology"})
    write_report(ReportSettings(formats=("html", "json", "pdf")), house.ledger, house.report, keys=house.keys)
    return house


def tamper(house: House, rng: Random) -> Done:
    """Do one thing at random; the name of the record follows from what was done."""
    return WAYS[int(rng.integers(len(WAYS)))](house, rng)


def judge(done: Done, keys: KeyStore) -> tuple[bool, bool, str]:
    """Whether it was detected, whether the record was named, and what verification said."""
    try:
        outcome = verify(done.target, head=done.head, known_key=keys.public_key())
    except EthicClipError as error:
        return True, done.record in str(error), str(error)
    findings = [finding.line() for finding in outcome.findings]
    said = findings + (list(outcome.notes) if done.noted else [])
    return bool(said), any(done.record in line for line in said), "\n".join(said) or "intact"


# ---- the ledger's tables -----------------------------------------------------------------------------------------


def _connection(house: House) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(house.ledger))


def _all(connection: duckdb.DuckDBPyConnection, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
    return connection.execute(sql, list(values)).fetchall()


def _row(house: House, rng: Random) -> tuple[str, int, int]:
    """A table that holds rows, one of its rows, and how many it has."""
    connection = _connection(house)
    counts = {table: int(_all(connection, f"SELECT count(*) FROM {table}")[0][0]) for table in TABLES}
    connection.close()
    table = str(rng.choice([table for table, number in counts.items() if number]))
    return table, int(rng.integers(1, counts[table] + 1)), counts[table]


def flip_cell(house: House, rng: Random) -> Done:
    """Change one value of one row."""
    table, row, _ = _row(house, rng)
    column, kind = TABLES[table][int(rng.integers(1, len(TABLES[table])))]
    connection = _connection(house)
    (old,) = _all(connection, f"SELECT {column} FROM {table} WHERE row = ?", [row])[0]
    new = _other(old, kind, rng)
    _all(connection, f"UPDATE {table} SET {column} = ? WHERE row = ?", [new, row])
    connection.close()
    return Done("flip", table, house.ledger, f"{table} row {row} ")


def delete_row(house: House, rng: Random) -> Done:
    """Delete one row."""
    table, row, _ = _row(house, rng)
    connection = _connection(house)
    _all(connection, f"DELETE FROM {table} WHERE row = ?", [row])
    connection.close()
    return Done("delete", table, house.ledger, f"{table} row {row}: is missing")


def insert_row(house: House, rng: Random) -> Done:
    """Insert a copy of a row under its own or another number."""
    table, row, count = _row(house, rng)
    number = int(rng.choice([row, count + 1, count + 1000, 0, -5]))
    connection = _connection(house)
    _all(connection, f"INSERT INTO {table} SELECT * REPLACE ({number} AS row) FROM {table} WHERE row = {row}")
    connection.close()
    return Done("insert", table, house.ledger, f"{table} row {number} ")


def reorder_rows(house: House, rng: Random) -> Done:
    """Let two rows change places."""
    table, row, count = _row(house, rng)
    if count < 2:
        return delete_row(house, rng)
    other = int(rng.choice([i for i in range(1, count + 1) if i != row]))
    connection = _connection(house)
    _all(connection, f"UPDATE {table} SET row = {row + other} - row WHERE row IN ({row}, {other})")
    connection.close()
    return Done("reorder", table, house.ledger, f"{table} row {row} ")


def replace_row(house: House, rng: Random) -> Done:
    """Put one row's values under another's number."""
    table, row, count = _row(house, rng)
    if count < 2:
        return flip_cell(house, rng)
    other = int(rng.choice([i for i in range(1, count + 1) if i != row]))
    connection = _connection(house)
    _all(connection, f"DELETE FROM {table} WHERE row = {row}")
    _all(connection, f"INSERT INTO {table} SELECT * REPLACE ({row} AS row) FROM {table} WHERE row = {other}")
    connection.close()
    return Done("replace", table, house.ledger, f"{table} row {row} ")


# ---- the chain and its heads -------------------------------------------------------------------------------------


def _event(house: House, rng: Random) -> tuple[int, int]:
    connection = _connection(house)
    last = int(_all(connection, "SELECT max(seq) FROM events")[0][0])
    connection.close()
    return int(rng.integers(1, last + 1)), last


def flip_event(house: House, rng: Random) -> Done:
    """Change one field of one event."""
    seq, _ = _event(house, rng)
    column = str(rng.choice(["run_id", "kind", "time", "payload", "prev_hash", "hash"]))
    connection = _connection(house)
    (old,) = _all(connection, f"SELECT {column} FROM events WHERE seq = ?", [seq])[0]
    _all(connection, f"UPDATE events SET {column} = ? WHERE seq = ?", [_other(old, "VARCHAR", rng), seq])
    connection.close()
    return Done("flip", "event", house.ledger, f"event {seq} ")


def delete_event(house: House, rng: Random) -> Done:
    """Delete one event."""
    seq, last = _event(house, rng)
    connection = _connection(house)
    _all(connection, "DELETE FROM events WHERE seq = ?", [seq])
    connection.close()
    # The last event's absence shows in the head that signed it.
    return Done("delete", "event", house.ledger, f"event {seq}:" if seq < last else f"event {seq}, which is gone")


def insert_event(house: House, rng: Random) -> Done:
    """Insert a forged event, in the middle or at the end."""
    seq, last = _event(house, rng)
    number = int(rng.choice([seq, last + 1]))
    connection = _connection(house)
    _all(
        connection,
        f"INSERT INTO events SELECT * REPLACE ({number} AS seq, 'forged' AS kind, '{{}}' AS payload) "
        f"FROM events WHERE seq = {seq}",
    )
    connection.close()
    return Done("insert", "event", house.ledger, f"event {number}")


def reorder_events(house: House, rng: Random) -> Done:
    """Let two neighbouring events change places."""
    seq, last = _event(house, rng)
    other = seq + 1 if seq < last else seq - 1
    connection = _connection(house)
    _all(connection, f"UPDATE events SET seq = {seq + other} - seq WHERE seq IN ({seq}, {other})")
    connection.close()
    return Done("reorder", "event", house.ledger, f"event {seq} ")


def truncate(house: House, rng: Random) -> Done:
    """Cut the tail as one who knows the format: events, rows and heads together, and perhaps the heads file."""
    connection = _connection(house)
    heads = [json.loads(row[0]) for row in _all(connection, "SELECT head FROM heads ORDER BY number")]
    keep = int(rng.integers(1, len(heads)))
    kept, known = heads[keep - 1], heads[-1]["hash"]
    _all(connection, "DELETE FROM events WHERE seq > ?", [kept["seq"]])
    _all(connection, "DELETE FROM heads WHERE number > ?", [keep])
    for table in TABLES:
        _all(connection, f"DELETE FROM {table} WHERE row > ?", [kept["counts"][table]])
    connection.close()
    if rng.random() < 0.5:
        return Done("truncate", "ledger", house.ledger, f"heads file line {keep + 1}")
    house.heads.write_text("".join(f"{line}\n" for line in house.heads.read_text().splitlines()[:keep]))
    return Done("truncate", "ledger and heads file", house.ledger, f"head {known}", head=known)


def flip_head(house: House, rng: Random) -> Done:
    """Change one character of a signed head."""
    connection = _connection(house)
    rows = _all(connection, "SELECT number, head FROM heads ORDER BY number")
    number, text = rows[int(rng.integers(len(rows)))]
    _all(connection, "UPDATE heads SET head = ? WHERE number = ?", [_flipped_text(text, rng), number])
    connection.close()
    return Done("flip", "head", house.ledger, f"head {number}")


def delete_head(house: House, rng: Random) -> Done:
    """Delete a head."""
    connection = _connection(house)
    count = int(_all(connection, "SELECT count(*) FROM heads")[0][0])
    number = int(rng.integers(1, count + 1))
    _all(connection, "DELETE FROM heads WHERE number = ?", [number])
    connection.close()
    return Done("delete", "head", house.ledger, f"head {number}:")


def reorder_heads(house: House, rng: Random) -> Done:
    """Let two heads change places."""
    connection = _connection(house)
    count = int(_all(connection, "SELECT count(*) FROM heads")[0][0])
    number = int(rng.integers(1, count))
    _all(connection, f"UPDATE heads SET number = {2 * number + 1} - number WHERE number IN ({number}, {number + 1})")
    connection.close()
    return Done("reorder", "head", house.ledger, f"head {number}")


def change_heads_file(house: House, rng: Random) -> Done:
    """Flip, delete, double or reorder a line of the heads file, the last one left alone."""
    lines = house.heads.read_text().splitlines()
    place = int(rng.integers(len(lines) - 1))
    kind = str(rng.choice(["flip", "delete", "insert", "reorder"]))
    name = f"heads file line {place + 1}"
    if kind == "flip":
        lines[place] = _flipped_text(lines[place], rng)
    elif kind == "delete":
        if place == 0:
            # A file that begins later is what a rotated copy looks like: said, not called broken.
            house.heads.write_text("".join(f"{line}\n" for line in lines[1:]))
            return Done(kind, "heads file", house.ledger, "begins at head 2", noted=True)
        del lines[place]
    elif kind == "insert":
        lines.insert(place, lines[place])
        name = f"heads file line {place + 2}"
    else:
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
        name = f"heads file line {place + 2}"
    house.heads.write_text("".join(f"{line}\n" for line in lines))
    return Done(kind, "heads file", house.ledger, name)


def truncate_heads_file(house: House, rng: Random) -> Done:
    """A heads file that ends early looks like a crash before its last line: noted, since the ledger itself is whole."""
    lines = house.heads.read_text().splitlines()
    keep = int(rng.integers(1, len(lines)))
    house.heads.write_text("".join(f"{line}\n" for line in lines[:keep]))
    return Done("truncate", "heads file", house.ledger, f"ends at head {keep};", noted=True)


def swap_key(house: House, rng: Random) -> Done:
    """Sign every head anew with a key of one's own, inside and outside."""
    thief = KeyStore(house.folder.parent / f"thief-{int(rng.integers(1 << 40)):x}")
    connection = _connection(house)
    lines = []
    for number, text in _all(connection, "SELECT number, head FROM heads ORDER BY number"):
        head = json.loads(text)
        forged = sign_head(
            thief,
            ledger=head["ledger"],
            number=number,
            seq=head["seq"],
            hash_=head["hash"],
            counts=head["counts"],
            time=head["time"],
        )
        lines.append(json.dumps(forged.to_json()))
        _all(connection, "UPDATE heads SET head = ? WHERE number = ?", [lines[-1], number])
    connection.close()
    house.heads.write_text("".join(f"{line}\n" for line in lines))
    name = thief.public_key()
    shutil.rmtree(thief.folder)
    return Done("re-sign", "public key", house.ledger, f"key {name}")


def redefine_view(house: House, rng: Random) -> Done:
    view, sql = [
        ("run_list", "SELECT * FROM run_list_old WHERE verb != 'audit-leakage'"),
        ("metric_list", "SELECT * REPLACE (0.99 AS estimate) FROM metric_list_old"),
        ("artifact_list", "SELECT * FROM artifact_list_old LIMIT 1"),
    ][int(rng.integers(3))]
    connection = _connection(house)
    (old,) = _all(connection, "SELECT sql FROM duckdb_views() WHERE view_name = ?", [view])[0]
    body = old[old.index(" AS ") + 4 :].rstrip(";")
    _all(connection, f"CREATE OR REPLACE VIEW {view} AS {sql.replace(f'{view}_old', f'({body})')}")
    connection.close()
    return Done("replace", "view", house.ledger, f"views {view}")


# ---- files -------------------------------------------------------------------------------------------------------

_FILES = {
    "pairs/manifest.json": "pair_set pairs/manifest.json",
    "pairs/shards/000000.tar": "pair_set file pairs/shards/000000.tar",
    "pairs/shards/000001.tar": "pair_set file pairs/shards/000001.tar",
    "pairs/index.parquet": "pair_set file pairs/index.parquet",
    "audit/verdict.json": "verdict audit/verdict.json",
    "audit/flagged.csv": "flagged audit/flagged.csv",
    "run/model.safetensors": "model run/model.safetensors",
    "run/run.json": "training_run run/run.json",
    "evaluation/metrics.json": "metrics evaluation/metrics.json",
    "evaluation/roc.svg": "figure evaluation/roc.svg",
}


def change_artifact(house: House, rng: Random) -> Done:
    """Change or remove a recorded file."""
    name = str(rng.choice(list(_FILES)))
    kind = str(rng.choice(["flip", "delete", "insert", "reorder", "truncate", "replace"]))
    place, record = house.folder / name, _FILES[name]
    if kind == "delete":
        place.unlink()
        listed = record.startswith("pair_set file")
        return Done(kind, "artifact", house.ledger, record if listed else f"absent: {record}", noted=not listed)
    place.write_bytes(_changed(place.read_bytes(), kind, rng))
    return Done(kind, "artifact", house.ledger, record)


def change_report(house: House, rng: Random) -> Done:
    """Change or remove a file of a sealed report."""
    name = str(rng.choice(["report.html", "report.json", "report.pdf"]))
    kind = str(rng.choice(["flip", "delete", "insert", "reorder", "truncate", "replace"]))
    place = house.report / name
    if kind == "delete":
        place.unlink()
    else:
        place.write_bytes(_changed(place.read_bytes(), kind, rng))
    return Done(kind, "report", house.report, name)


def change_manifest(house: House, rng: Random) -> Done:
    """One field of a sealed folder's manifest."""
    place = house.report / "manifest.json"
    values = json.loads(place.read_text())
    name = str(rng.choice(["time", "facts", "ledger", "ledger_head", "public_key", "signature", "files", "signers"]))
    if name == "files":
        kind = str(rng.choice(["flip", "delete", "reorder"]))
        entries = values["files"]
        if kind == "flip":
            entries[0]["sha256"] = _other(entries[0]["sha256"], "VARCHAR", rng)
        elif kind == "delete":
            del entries[int(rng.integers(len(entries)))]
        else:
            entries.reverse()
    elif name == "facts":
        values["facts"]["audience"] = "restricted"
        kind = "flip"
    elif name == "ledger_head":
        values["ledger_head"]["seq"] += 1
        kind = "flip"
    elif name == "signers":
        values["signers"] = []
        kind = "delete"
    else:
        values[name] = _other(values[name], "VARCHAR", rng)
        kind = "flip"
    place.write_text(json.dumps(values))
    return Done(kind, "manifest", house.report, "manifest.json")


def reseal(house: House, rng: Random) -> Done:
    """Edit a report and seal it anew with a key of one's own."""
    from ethicclip.files import canonical_json

    thief = KeyStore(house.folder.parent / f"thief-{int(rng.integers(1 << 40)):x}")
    page = house.report / "report.html"
    page.write_text(page.read_text().replace("PASS", "FINE", 1))
    place = house.report / "manifest.json"
    values = {k: v for k, v in json.loads(place.read_text()).items() if k != "signature"}
    for entry in values["files"]:
        if entry["path"] == "report.html":
            entry["sha256"] = sha256_file(page)
    values["public_key"] = thief.public_key()
    values["signature"] = thief.sign(b"ethicclip/manifest/1\n" + canonical_json(values))
    place.write_text(json.dumps(values))
    name = thief.public_key()
    shutil.rmtree(thief.folder)
    return Done("re-sign", "report", house.report, f"key {name}")


WAYS: tuple[Callable[[House, Random], Done], ...] = (
    flip_cell,
    delete_row,
    insert_row,
    reorder_rows,
    replace_row,
    flip_event,
    delete_event,
    insert_event,
    reorder_events,
    truncate,
    flip_head,
    delete_head,
    reorder_heads,
    change_heads_file,
    truncate_heads_file,
    swap_key,
    redefine_view,
    change_artifact,
    change_report,
    change_manifest,
    reseal,
)


def _other(old: Any, kind: str, rng: Random) -> Any:
    """Another value of the same type; sometimes NULL, sometimes a single character."""
    if kind == "BIGINT":
        return int(rng.integers(1, 1000)) + (int(old) if old is not None else 0)
    if kind == "DOUBLE":
        return (float(old) if old is not None else 0.0) + float(rng.choice([1e-9, 0.5, -1.0]))
    if old is None or not old or rng.random() < 0.2:
        return "changed" if old is None or rng.random() < 0.5 or old == "" else None
    return _flipped_text(str(old), rng)


def _flipped_text(text: str, rng: Random) -> str:
    place = int(rng.integers(len(text)))
    new = chr(ord("a") + int(rng.integers(26)))
    return text[:place] + (new if text[place] != new else "Z") + text[place + 1 :]


def _changed(data: bytes, kind: str, rng: Random) -> bytes:
    place = int(rng.integers(len(data)))
    if kind == "flip":
        return data[:place] + bytes([data[place] ^ (1 << int(rng.integers(8)))]) + data[place + 1 :]
    if kind == "insert":
        return data[:place] + b"\x00" + data[place:]
    if kind == "truncate":
        return data[:place]
    if kind == "replace":
        return rng.bytes(max(1, len(data)))
    # Reorder: two different bytes change places.
    others = [i for i in range(len(data)) if data[i] != data[place]]
    if not others:
        return data + b"x"
    other = int(rng.choice(others[:4000]))
    swapped = bytearray(data)
    swapped[place], swapped[other] = swapped[other], swapped[place]
    return bytes(swapped)


def _shard(place: Path, number: int) -> dict[str, Any]:
    place.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for i in range(4):
            info = tarfile.TarInfo(f"{number}-{i}.txt")
            info.size = 4
            archive.addfile(info, io.BytesIO(b"text"))
    place.write_bytes(stream.getvalue())
    size = len(stream.getvalue())
    return {"file": f"shards/{place.name}", "sha256": sha256_file(place), "pairs": 4, "size_bytes": size}
