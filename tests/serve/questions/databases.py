"""Databases for the tests of questions: the tables of the contract, filled with events, and the rows per day made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

from otel_usage.serve.questions.sample_year import COLUMNS

TEXT, MAP = "VARCHAR", "MAP(VARCHAR, VARCHAR)"
TYPES = {
    "at": "TIMESTAMP", "installation": "UUID", "ephemeral": "BOOLEAN", "exit_code": "INTEGER", "duration_us": "BIGINT",
    "options": "VARCHAR[]", "ci": "BOOLEAN", "tty": "BOOLEAN", "fields": MAP, "event": "UBIGINT", "received": "TIMESTAMP",
    "amount": "BIGINT", "day": "DATE", "runs": "BIGINT", "failures": "BIGINT", "bucket": "INTEGER",
}  # fmt: skip
TABLES = {
    "events": COLUMNS,
    "counts": (
        "app", "at", "name", "installation", "ephemeral", "version", "ci", "surface", "amount", "fields", "received",
    ),
    "drops": ("app", "at", "reason", "version", "amount"),
    "installation_days": (
        "app", "day", "installation", "version", "ci", "agent", "surface", "os", "os_version", "arch", "runtime",
        "runtime_version", "first_week", "runs", "failures",
    ),
    "run_days": ("app", "day", "name", "version", "outcome", "ci", "agent", "surface", "bucket", "runs"),
}  # fmt: skip
LAST = ("version", "os", "os_version", "arch", "runtime", "runtime_version", "first_week")
LAST_VALUES = ", ".join(f'arg_max({name}, "at") AS {name}' for name in LAST)
ROLL_UP = [
    f"""INSERT INTO installation_days BY NAME SELECT app, CAST("at" AS DATE) AS day, installation, bool_and(ci) AS ci,
        min(agent) AS agent, max(surface) AS surface, {LAST_VALUES},
        count(*) FILTER (WHERE kind = 'run') AS runs,
        count(*) FILTER (WHERE kind = 'run' AND outcome = 'failure') AS failures
        FROM events WHERE installation IS NOT NULL AND NOT ephemeral GROUP BY ALL""",
    """INSERT INTO run_days BY NAME SELECT app, CAST("at" AS DATE) AS day, name, version, outcome, ci, agent <> '' AS agent,
        surface, CASE WHEN duration_us < 1 THEN 0 ELSE CAST(floor(log2(duration_us)) AS INTEGER) END AS bucket,
        count(*) AS runs FROM events WHERE kind = 'run' GROUP BY ALL""",
]


def type_of(table: str, column: str) -> str:
    """Return the type that a column has in DuckDB."""
    return "BOOLEAN" if (table, column) == ("run_days", "agent") else TYPES.get(column, TEXT)


def empty() -> duckdb.DuckDBPyConnection:
    """Return a database in memory that has the tables."""
    connection = duckdb.connect()
    for table, columns in TABLES.items():
        named = [f'"{column}" {type_of(table, column)}' for column in columns]
        connection.execute(f"CREATE TABLE {table} ({', '.join(named)})")
    return connection


def insert(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Sequence[Any]], batch: int = 20_000
) -> None:
    """Insert rows, many at a time: row by row would take twenty times as long."""
    rows = list(rows)
    columns = TABLES[table]
    casts = [type_of(table, column) for column in columns]
    for first in range(0, len(rows), batch):
        lists = [list(column) for column in zip(*rows[first : first + batch], strict=True)]
        values = ", ".join(f"unnest(CAST(? AS {kind}[]))" for kind in casts)
        connection.execute(f"INSERT INTO {table} SELECT {values}", lists)


def store(events: Iterable[Sequence[Any]] = (), **others: Iterable[Sequence[Any]]) -> duckdb.DuckDBPyConnection:
    """Return a database with these events, the rows per day that follow from them, and rows of other tables."""
    connection = empty()
    insert(connection, "events", events)
    for statement in ROLL_UP:
        connection.execute(statement)
    for table, rows in others.items():
        insert(connection, table, rows)
    return connection


def execute_on(connection: duckdb.DuckDBPyConnection):
    """Return what `answer` runs queries with."""
    return lambda sql, values: connection.execute(sql, dict(values)).fetchall()


def event(day: str, **columns: Any) -> tuple[Any, ...]:
    """Return a row of ``events``: a run of "scan" by a person, at noon of *day* or at a time of it, but for *columns*."""
    at = day if " " in day else f"{day} 12:00:00"
    row = {
        "app": "mycli", "at": at, "kind": "run", "name": "scan", "installation": None, "ephemeral": False, "version": "1.0",
        "outcome": "success", "exit_code": 0, "error_type": "", "duration_us": 1_000_000, "options": [], "ci": False,
        "ci_system": "", "agent": "", "surface": "cli", "os": "linux", "os_version": "6.1.0", "arch": "amd64",
        "runtime": "CPython", "runtime_version": "3.12.4", "first_week": "", "cluster": "", "tty": True, "fields": {},
        "event": 0, "received": at,
    } | columns  # fmt: skip
    return tuple(row[name] for name in COLUMNS)


def installation(n: int) -> str:
    """Return the *n*-th id."""
    return f"00000000-0000-4000-a000-{n:012d}"
