"""Databases for the tests of questions: the store's tables, filled with events, and the rows per day that the store makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

from otel_usage.serve.questions.sample_year import COLUMNS
from otel_usage.serve.store.migrations import bring_up_to_date
from otel_usage.serve.store.rollup import roll_up
from otel_usage.serve.store.tables import TABLES

TEXT, MAP = "VARCHAR", "MAP(VARCHAR, VARCHAR)"


def empty() -> duckdb.DuckDBPyConnection:
    """Return a database in memory that has the store's tables."""
    connection = duckdb.connect(config={"threads": "1"})  # small, and many at a time
    bring_up_to_date(connection, ":memory:")
    return connection


def insert(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Sequence[Any]], batch: int = 20_000
) -> None:
    """Insert rows, many at a time: row by row would take twenty times as long."""
    rows = list(rows)
    columns = TABLES[table]
    for first in range(0, len(rows), batch):
        lists, values = [], []
        for column, of in zip(columns, zip(*rows[first : first + batch], strict=True), strict=True):
            if column.duckdb == MAP:  # a list of dicts would be taken for one of structs
                lists += [[list(fields) for fields in of], [list(fields.values()) for fields in of]]
                values.append(f"map(unnest(CAST(? AS {TEXT}[][])), unnest(CAST(? AS {TEXT}[][])))")
            else:
                lists.append(list(of))
                values.append(f"unnest(CAST(? AS {column.duckdb}[]))")
        connection.execute(f"INSERT INTO {table} SELECT {', '.join(values)}", lists)


def store(events: Iterable[Sequence[Any]] = (), **others: Iterable[Sequence[Any]]) -> duckdb.DuckDBPyConnection:
    """Return a database with these events, the rows per day that follow from them, and rows of other tables."""
    connection = empty()
    insert(connection, "events", events)
    roll_up(connection)
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
