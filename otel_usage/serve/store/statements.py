"""The SQL with which batches are written, made of the tables' columns. All values are bound, none is put into the text."""

from __future__ import annotations

from .rows import OWN, SHARED
from .tables import TABLES

_TYPES = {table: {column.name: column.duckdb for column in columns} for table, columns in TABLES.items()}
_EVENTS = _TYPES["events"]


def _unnest(name: str, kind: str) -> str:
    """Return a column of a list that is bound as *name*. Times are bound as microseconds, maps as lists of keys and values.

    DuckDB would take a dict for a struct, and two with other keys for two types.
    """
    if kind == "MAP(VARCHAR, VARCHAR)":
        return f'map(unnest(${name}_keys::VARCHAR[][]), unnest(${name}_values::VARCHAR[][])) AS "{name}"'
    if kind == "TIMESTAMP":
        return f'make_timestamp(unnest(${name}::BIGINT[])) AS "{name}"'
    return f'unnest(${name}::{kind}[]) AS "{name}"'


def _insert_events() -> str:
    columns = []
    for name in _EVENTS:
        if name == "received":
            columns.append("make_timestamp($received)")
        else:
            columns.append(f'own."{name}"' if name in OWN else f'shape."{name}"')
    own = ", ".join(_unnest(name, _EVENTS[name]) for name in OWN)
    shared = ", ".join(_unnest(name, _EVENTS[name]) for name in SHARED)
    return (
        f"INSERT INTO events SELECT {', '.join(columns)} "
        f"FROM (SELECT unnest($number::INTEGER[]) AS number, {own}) AS own "
        f"JOIN (SELECT unnest(range(len($app))) AS number, {shared}) AS shape USING (number)"
    )


def _insert_plain(table: str) -> str:
    """Return the statement that inserts lists of a table's columns, one for each but ``received``."""
    columns = ["make_timestamp($received)" if name == "received" else f'rows."{name}"' for name in _TYPES[table]]
    lists = ", ".join(_unnest(name, kind) for name, kind in _TYPES[table].items() if name != "received")
    return f"INSERT INTO {table} SELECT {', '.join(columns)} FROM (SELECT {lists}) AS rows"


INSERT_EVENTS = _insert_events()
INSERT_COUNTS = _insert_plain("counts")
INSERT_DROPS = _insert_plain("drops")


def find_known(table: str, key: str) -> str:
    """Return the query for those of the ids bound as ``ids`` that *table* has. from_us, to_us: when they happened.

    A table's blocks know the earliest and the latest time in them, so that few are read.
    """
    return (
        f'SELECT t."{key}" FROM {table} AS t WHERE t."at" BETWEEN make_timestamp($from_us) AND make_timestamp($to_us) '
        f'AND t."{key}" IN (SELECT unnest($ids::UBIGINT[]))'
    )
