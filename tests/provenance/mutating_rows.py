"""Tampering with rows of the ledger's tables."""

from __future__ import annotations

from ethicclip.provenance.schema import TABLES
from tests.provenance.house import House
from tests.provenance.tampering import Done, Random, connect, other_value, rows_of


def _row(house: House, rng: Random) -> tuple[str, int, int]:
    """A table that holds rows, one of its rows, and how many it has."""
    connection = connect(house)
    counts = {table: int(rows_of(connection, f"SELECT count(*) FROM {table}")[0][0]) for table in TABLES}
    connection.close()
    table = str(rng.choice([table for table, number in counts.items() if number]))
    return table, int(rng.integers(1, counts[table] + 1)), counts[table]


def flip_cell(house: House, rng: Random) -> Done:
    """Change one value of one row."""
    table, row, _ = _row(house, rng)
    column, kind = TABLES[table][int(rng.integers(1, len(TABLES[table])))]
    connection = connect(house)
    (old,) = rows_of(connection, f"SELECT {column} FROM {table} WHERE row = ?", [row])[0]
    new = other_value(old, kind, rng)
    rows_of(connection, f"UPDATE {table} SET {column} = ? WHERE row = ?", [new, row])
    connection.close()
    return Done("flip", table, house.ledger, f"{table} row {row} ")


def delete_row(house: House, rng: Random) -> Done:
    """Delete one row."""
    table, row, _ = _row(house, rng)
    connection = connect(house)
    rows_of(connection, f"DELETE FROM {table} WHERE row = ?", [row])
    connection.close()
    return Done("delete", table, house.ledger, f"{table} row {row}: is missing")


def insert_row(house: House, rng: Random) -> Done:
    """Insert a copy of a row under its own or another number."""
    table, row, count = _row(house, rng)
    number = int(rng.choice([row, count + 1, count + 1000, 0, -5]))
    connection = connect(house)
    rows_of(connection, f"INSERT INTO {table} SELECT * REPLACE ({number} AS row) FROM {table} WHERE row = {row}")
    connection.close()
    return Done("insert", table, house.ledger, f"{table} row {number} ")


def reorder_rows(house: House, rng: Random) -> Done:
    """Let two rows change places."""
    table, row, count = _row(house, rng)
    if count < 2:
        return delete_row(house, rng)
    other = int(rng.choice([i for i in range(1, count + 1) if i != row]))
    connection = connect(house)
    rows_of(connection, f"UPDATE {table} SET row = {row + other} - row WHERE row IN ({row}, {other})")
    connection.close()
    return Done("reorder", table, house.ledger, f"{table} row {row} ")


def replace_row(house: House, rng: Random) -> Done:
    """Put one row's values under another's number."""
    table, row, count = _row(house, rng)
    if count < 2:
        return flip_cell(house, rng)
    other = int(rng.choice([i for i in range(1, count + 1) if i != row]))
    connection = connect(house)
    rows_of(connection, f"DELETE FROM {table} WHERE row = {row}")
    rows_of(connection, f"INSERT INTO {table} SELECT * REPLACE ({row} AS row) FROM {table} WHERE row = {other}")
    connection.close()
    return Done("replace", table, house.ledger, f"{table} row {row} ")
