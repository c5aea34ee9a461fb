"""The ledger's tables, and the views documented for analysts.

Base tables only grow: no row is ever updated, so a run's start (`runs`) and its end (`endings`) are rows of their own.
``row`` numbers the rows of a table from 1 without gaps; times are UTC, ISO 8601 text; JSON is canonical text.

A later version of the schema only adds tables, so that every row and head of an earlier one keeps its hash and its
signature; `SINCE` says which version brought a table.
"""

from __future__ import annotations

SCHEMA_VERSION = 2

# name -> ((column, DuckDB type), ...); the order is the order in which a row is hashed.
TABLES: dict[str, tuple[tuple[str, str], ...]] = {
    "meta": (("row", "BIGINT"), ("name", "VARCHAR"), ("value", "VARCHAR")),
    "runs": (
        ("row", "BIGINT"),
        ("run_id", "VARCHAR"),
        ("verb", "VARCHAR"),
        ("started", "VARCHAR"),
        ("seed", "BIGINT"),
        ("settings", "VARCHAR"),
        ("settings_sha256", "VARCHAR"),
        ("version", "VARCHAR"),
        ("environment", "VARCHAR"),
    ),
    "endings": (
        ("row", "BIGINT"),
        ("run_id", "VARCHAR"),
        ("ended", "VARCHAR"),
        ("status", "VARCHAR"),
        ("exit_code", "BIGINT"),
        ("verdict", "VARCHAR"),
    ),
    "artifacts": (
        ("row", "BIGINT"),
        ("id", "VARCHAR"),
        ("run_id", "VARCHAR"),
        ("kind", "VARCHAR"),
        ("origin", "VARCHAR"),
        ("alias", "VARCHAR"),
        ("path", "VARCHAR"),
        ("size_bytes", "BIGINT"),
        ("media", "VARCHAR"),
    ),
    "edges": (("row", "BIGINT"), ("run_id", "VARCHAR"), ("role", "VARCHAR"), ("artifact", "VARCHAR")),
    "metrics": (
        ("row", "BIGINT"),
        ("run_id", "VARCHAR"),
        ("name", "VARCHAR"),
        ("estimate", "DOUBLE"),
        ("low", "DOUBLE"),
        ("high", "DOUBLE"),
        ("n", "BIGINT"),
        ("unit", "VARCHAR"),
        ("artifact", "VARCHAR"),
    ),
    "members": (("row", "BIGINT"), ("run_id", "VARCHAR"), ("cohort", "VARCHAR"), ("member", "VARCHAR")),
}

SINCE: dict[str, int] = {"members": 2}
"""The version that brought a table; those not named stand since version 1."""

EVENTS: tuple[tuple[str, str], ...] = (
    ("seq", "BIGINT"),
    ("run_id", "VARCHAR"),
    ("kind", "VARCHAR"),
    ("time", "VARCHAR"),
    ("payload", "VARCHAR"),
    ("prev_hash", "VARCHAR"),
    ("hash", "VARCHAR"),
)

# Heads sign the chain and so cannot be part of it; each is protected by its own signature and number.
HEADS: tuple[tuple[str, str], ...] = (("number", "BIGINT"), ("head", "VARCHAR"))

ALL_TABLES: dict[str, tuple[tuple[str, str], ...]] = {**TABLES, "events": EVENTS, "heads": HEADS}

VIEWS: dict[str, str] = {
    "run_list": """
        SELECT r.run_id, r.verb, r.started::TIMESTAMP AS started_utc, e.ended::TIMESTAMP AS ended_utc,
               coalesce(e.status, 'unfinished') AS status, e.exit_code, e.verdict, r.seed, r.settings_sha256
        FROM runs r LEFT JOIN endings e USING (run_id) ORDER BY r.row""",
    "artifact_list": """
        SELECT id, last(kind ORDER BY row) AS kind, last(origin ORDER BY row) AS origin,
               last(alias ORDER BY row) AS alias, last(path ORDER BY row) AS path,
               max(size_bytes) AS size_bytes, count(*) AS records
        FROM artifacts GROUP BY id""",
    "lineage_edges": """
        SELECT used.artifact AS used, r.verb, r.run_id, made.artifact AS generated
        FROM runs r
        LEFT JOIN (SELECT * FROM edges WHERE role = 'used') used USING (run_id)
        LEFT JOIN (SELECT * FROM edges WHERE role = 'generated') made USING (run_id)""",
    "metric_list": """
        SELECT r.verb, m.run_id, m.name, m.estimate, m.low, m.high, m.n, m.unit, m.artifact
        FROM metrics m JOIN runs r USING (run_id) ORDER BY m.row""",
    "event_list": """
        SELECT e.seq, e.time::TIMESTAMP AS time_utc, r.verb, e.run_id, e.kind, e.payload
        FROM events e LEFT JOIN runs r USING (run_id) WHERE e.kind != 'rows' ORDER BY e.seq""",
    "cohort_members": """
        SELECT cohort, count(*) AS patients FROM members GROUP BY cohort""",
}

_VIEWS_SINCE = {"event_list": 2, "cohort_members": 2}


def create_statements(version: int = SCHEMA_VERSION) -> list[str]:
    """The SQL that makes an empty ledger of a version, and its views."""
    return [_create_table(name) for name in ALL_TABLES if SINCE.get(name, 1) <= version] + view_statements(version)


def migration_statements(old: int) -> list[str]:
    """The SQL that takes a ledger of version `old` to the present one: the tables that came since, and the views."""
    return [_create_table(name) for name in ALL_TABLES if SINCE.get(name, 1) > old] + view_statements()


def view_statements(version: int = SCHEMA_VERSION) -> list[str]:
    """The SQL that makes every view anew."""
    return [f"CREATE OR REPLACE VIEW {name} AS {body}" for name, body in views_of(version).items()]


def tables_of(version: int) -> dict[str, tuple[tuple[str, str], ...]]:
    """All tables of a ledger of that version."""
    return {name: columns for name, columns in ALL_TABLES.items() if SINCE.get(name, 1) <= version}


def views_of(version: int) -> dict[str, str]:
    """The views of a ledger of that version."""
    return {name: body for name, body in VIEWS.items() if _VIEWS_SINCE.get(name, 1) <= version}


def columns_of(table: str) -> tuple[str, ...]:
    """Names of a table's columns, in hashing order."""
    return tuple(column for column, _ in ALL_TABLES[table])


def _create_table(name: str) -> str:
    return f"CREATE TABLE {name} ({', '.join(f'{column} {kind}' for column, kind in ALL_TABLES[name])})"
