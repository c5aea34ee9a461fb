"""Everything a ledger file holds at one moment, taken out in one short look that keeps no running writer waiting.

The look copies tables to memory as Arrow; hashing and reading happen after the file was let go. Views are compared with
what they should say, since an analyst reads through them; while that is done the connection may touch no other file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from ethicclip.provenance.chain import CREATED, MIGRATED
from ethicclip.provenance.findings import Collector
from ethicclip.provenance.schema import ALL_TABLES, SCHEMA_VERSION, TABLES, columns_of, tables_of, views_of
from ethicclip.provenance.store import fresh_views, query, read_arrow, view_definitions


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The rows of every table as they stand in the file, as Arrow tables; absent or altered ones are missing.

    Args:
        version: The schema's version as the chain gives it.
        tables: Base tables by name.
        events: The chain.
        heads: The signed heads.
    """

    version: int
    tables: Mapping[str, Any]
    events: Any
    heads: Any


def read_contents(connection: duckdb.DuckDBPyConnection, found: Collector, *, check_views: bool = True) -> Contents:
    """Take everything out of an open ledger; what is not as it should be goes to `found`."""
    columns = _columns(connection)
    views = view_definitions(connection)
    present = set(columns) - set(views)
    version = _version(connection, columns)
    expected = tables_of(version)
    tables: dict[str, Any] = {}
    for table, wanted in expected.items():
        if table not in present:
            found.add(table, "(whole table)", "the table is missing")
        elif tuple(columns[table]) != wanted:
            found.add(table, "(whole table)", "its columns are not those the ledger was made with")
        else:
            tables[table] = read_arrow(connection, table)
    for name in sorted(present - set(expected)):
        found.note(f"table {name!r} is not part of a ledger; nothing vouches for it")
    if check_views:
        _check_views(connection, version, views, len(tables) == len(expected), found)
    empty = {name: _empty(name) for name in ALL_TABLES}
    return Contents(
        version=version,
        tables={name: tables.get(name, empty[name]) for name in TABLES},
        events=tables.get("events", empty["events"]),
        heads=tables.get("heads", empty["heads"]),
    )


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str]]]:
    columns: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in query(
        connection,
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY column_index",
    ):
        columns.setdefault(str(table), []).append((str(column), str(kind)))
    return columns


def _version(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, list[tuple[str, str]]]) -> int:
    """The highest version that the chain tells of; a version no release had reads as the present one."""
    if {"kind", "payload"} - {name for name, _ in columns.get("events", ())}:
        return SCHEMA_VERSION
    told = [1]
    for kind, text in query(connection, "SELECT kind, payload FROM events WHERE kind IN (?, ?)", [CREATED, MIGRATED]):
        try:
            value = json.loads(text).get("schema_version" if kind == CREATED else "to")
        except (TypeError, ValueError, AttributeError):
            continue
        if isinstance(value, int):
            told.append(value)
    return max(1, min(max(told), SCHEMA_VERSION))


def _check_views(
    connection: duckdb.DuckDBPyConnection, version: int, views: Mapping[str, str], whole: bool, found: Collector
) -> None:
    known = views_of(version)
    for name in sorted(set(views) - set(known)):
        found.note(f"view {name!r} is not part of a ledger; nothing vouches for it")
    fresh = fresh_views(version)
    different = [name for name in known if views.get(name) != fresh[name]]
    if not different:
        return
    # A hostile view may read files; from here on this connection cannot.
    connection.execute("SET enable_external_access = false")
    for name in different:
        if name not in views:
            found.note(f"view {name!r} is missing; query the base tables")
        elif whole and _same_answer(connection, name, known[name]):
            found.note(f"view {name!r} is spelled otherwise than this release spells it, and says the same")
        else:
            found.add("views", name, "was redefined: it does not say what the base tables say")


def _same_answer(connection: duckdb.DuckDBPyConnection, name: str, body: str) -> bool:
    """Whether a view gives the rows of its definition; another release of DuckDB may only spell it otherwise."""
    try:
        left, right = f"SELECT * FROM {name}", f"SELECT * FROM ({body})"  # noqa: S608 - names of our schema
        counts = query(
            connection,
            f"SELECT (SELECT count(*) FROM ({left} EXCEPT ALL {right})), "  # noqa: S608
            f"(SELECT count(*) FROM ({right} EXCEPT ALL {left}))",
        )
    except duckdb.Error:
        return False
    return counts == [(0, 0)]


def _empty(table: str) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - untyped

    kinds: dict[str, Any] = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "VARCHAR": pa.string()}
    return pa.table({name: pa.array([], kinds[kind]) for name, kind in ALL_TABLES[table]}).select(
        list(columns_of(table))
    )
