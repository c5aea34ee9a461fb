"""Tampering with the chain of events, with its signed heads and with the views that people read."""

from __future__ import annotations

import json
import shutil

from ethicclip.provenance import KeyStore
from ethicclip.provenance.chain import sign_head
from ethicclip.provenance.schema import TABLES
from tests.provenance.house import House
from tests.provenance.tampering import Done, Random, connect, flipped_text, other_value, rows_of


def _event(house: House, rng: Random) -> tuple[int, int]:
    connection = connect(house)
    last = int(rows_of(connection, "SELECT max(seq) FROM events")[0][0])
    connection.close()
    return int(rng.integers(1, last + 1)), last


def flip_event(house: House, rng: Random) -> Done:
    """Change one field of one event."""
    seq, _ = _event(house, rng)
    column = str(rng.choice(["run_id", "kind", "time", "payload", "prev_hash", "hash"]))
    connection = connect(house)
    (old,) = rows_of(connection, f"SELECT {column} FROM events WHERE seq = ?", [seq])[0]
    rows_of(connection, f"UPDATE events SET {column} = ? WHERE seq = ?", [other_value(old, "VARCHAR", rng), seq])
    connection.close()
    return Done("flip", "event", house.ledger, f"event {seq} ")


def delete_event(house: House, rng: Random) -> Done:
    """Delete one event."""
    seq, last = _event(house, rng)
    connection = connect(house)
    rows_of(connection, "DELETE FROM events WHERE seq = ?", [seq])
    connection.close()
    # The last event's absence shows in the head that signed it.
    return Done("delete", "event", house.ledger, f"event {seq}:" if seq < last else f"event {seq}, which is gone")


def insert_event(house: House, rng: Random) -> Done:
    """Insert a forged event, in the middle or at the end."""
    seq, last = _event(house, rng)
    number = int(rng.choice([seq, last + 1]))
    connection = connect(house)
    rows_of(
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
    connection = connect(house)
    rows_of(connection, f"UPDATE events SET seq = {seq + other} - seq WHERE seq IN ({seq}, {other})")
    connection.close()
    return Done("reorder", "event", house.ledger, f"event {seq} ")


def truncate(house: House, rng: Random) -> Done:
    """Cut the tail as one who knows the format: events, rows and heads together, and perhaps the heads file."""
    connection = connect(house)
    heads = [json.loads(row[0]) for row in rows_of(connection, "SELECT head FROM heads ORDER BY number")]
    keep = int(rng.integers(1, len(heads)))
    kept, known = heads[keep - 1], heads[-1]["hash"]
    rows_of(connection, "DELETE FROM events WHERE seq > ?", [kept["seq"]])
    rows_of(connection, "DELETE FROM heads WHERE number > ?", [keep])
    for table in TABLES:
        rows_of(connection, f"DELETE FROM {table} WHERE row > ?", [kept["counts"][table]])
    connection.close()
    if rng.random() < 0.5:
        return Done("truncate", "ledger", house.ledger, f"heads file line {keep + 1}")
    house.heads.write_text("".join(f"{line}\n" for line in house.heads.read_text().splitlines()[:keep]))
    return Done("truncate", "ledger and heads file", house.ledger, f"head {known}", head=known)


def flip_head(house: House, rng: Random) -> Done:
    """Change one character of a signed head."""
    connection = connect(house)
    rows = rows_of(connection, "SELECT number, head FROM heads ORDER BY number")
    number, text = rows[int(rng.integers(len(rows)))]
    rows_of(connection, "UPDATE heads SET head = ? WHERE number = ?", [flipped_text(text, rng), number])
    connection.close()
    return Done("flip", "head", house.ledger, f"head {number}")


def delete_head(house: House, rng: Random) -> Done:
    """Delete a head."""
    connection = connect(house)
    count = int(rows_of(connection, "SELECT count(*) FROM heads")[0][0])
    number = int(rng.integers(1, count + 1))
    rows_of(connection, "DELETE FROM heads WHERE number = ?", [number])
    connection.close()
    return Done("delete", "head", house.ledger, f"head {number}:")


def reorder_heads(house: House, rng: Random) -> Done:
    """Let two heads change places."""
    connection = connect(house)
    count = int(rows_of(connection, "SELECT count(*) FROM heads")[0][0])
    number = int(rng.integers(1, count))
    rows_of(connection, f"UPDATE heads SET number = {2 * number + 1} - number WHERE number IN ({number}, {number + 1})")
    connection.close()
    return Done("reorder", "head", house.ledger, f"head {number}")


def change_heads_file(house: House, rng: Random) -> Done:
    """Flip, delete, double or reorder a line of the heads file, the last one left alone."""
    lines = house.heads.read_text().splitlines()
    place = int(rng.integers(len(lines) - 1))
    kind = str(rng.choice(["flip", "delete", "insert", "reorder"]))
    name = f"heads file line {place + 1}"
    if kind == "flip":
        lines[place] = flipped_text(lines[place], rng)
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
    connection = connect(house)
    lines = []
    for number, text in rows_of(connection, "SELECT number, head FROM heads ORDER BY number"):
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
        rows_of(connection, "UPDATE heads SET head = ? WHERE number = ?", [lines[-1], number])
    connection.close()
    house.heads.write_text("".join(f"{line}\n" for line in lines))
    name = thief.public_key()
    shutil.rmtree(thief.folder)
    return Done("re-sign", "public key", house.ledger, f"key {name}")


def redefine_view(house: House, rng: Random) -> Done:
    """Let a view say something else than its tables."""
    view, sql = [
        ("run_list", "SELECT * FROM run_list_old WHERE verb != 'audit-leakage'"),
        ("metric_list", "SELECT * REPLACE (0.99 AS estimate) FROM metric_list_old"),
        ("artifact_list", "SELECT * FROM artifact_list_old LIMIT 1"),
    ][int(rng.integers(3))]
    connection = connect(house)
    (old,) = rows_of(connection, "SELECT sql FROM duckdb_views() WHERE view_name = ?", [view])[0]
    body = old[old.index(" AS ") + 4 :].rstrip(";")
    rows_of(connection, f"CREATE OR REPLACE VIEW {view} AS {sql.replace(f'{view}_old', f'({body})')}")
    connection.close()
    return Done("replace", "view", house.ledger, f"views {view}")
