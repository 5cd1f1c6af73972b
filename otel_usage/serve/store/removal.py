"""Remove rows: those that are too old, and those of one installation; and copy the store while it is in use.

All of it is called with `Store.maintenance` held, on a cursor of its own, beside the writer, which only adds rows.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from uuid import UUID

import duckdb

from otel_usage.spool.layout import PART

from .migrations import read_meta
from .rollup import MARK
from .tables import RAW, ROLLUPS
from .transaction import transaction

# {table: which of its rows are an installation's}, of parameters app and installation. ``run_days`` has no installations.
_OF_INSTALLATION = {
    "events": "app = $app AND installation = $installation",
    "counts": "app = $app AND installation = $installation",
    "installation_days": "app = $app AND installation = $installation",
    "outbox": "installation = $installation",
}
MAX_OUTBOX = 1_000_000  # records that wait for a vendor that is down: about a GB; beyond it the oldest go


def expire(cursor: duckdb.DuckDBPyConnection, now: datetime, *, raw_days: int, rollup_days: int) -> dict[str, int]:
    """Remove what is older than its days, and return how many rows of each table that were. now: UTC, naive.

    An event that was not rolled up yet stays until it was, however old it is.
    """
    rolled_up_us = int(read_meta(cursor, MARK) or 0)
    removed = {}
    for table in RAW:
        rolled_up = " AND received <= make_timestamp(?)" if table == "events" else ""
        parameters = [now - timedelta(days=raw_days), *([rolled_up_us] if rolled_up else [])]
        removed[table] = _count(cursor, f'DELETE FROM {table} AS t WHERE t."at" < ?{rolled_up}', parameters)
    for table in ROLLUPS:
        removed[table] = _count(
            cursor, f"DELETE FROM {table} WHERE day < ?", [(now - timedelta(days=rollup_days)).date()]
        )
    removed["outbox"] = _count(
        cursor, "DELETE FROM outbox WHERE number <= (SELECT max(number) FROM outbox) - ?", [MAX_OUTBOX]
    )
    return {table: n for table, n in removed.items() if n}


def erase(cursor: duckdb.DuckDBPyConnection, app: str, installation: UUID) -> dict[str, int]:
    """Remove every row of *installation* in *app*, in one transaction; return how many rows of each table that were.

    What waits to be passed on to vendors goes too; ``run_days`` stays.
    """
    with transaction(cursor):
        return _for_each_table(cursor, "DELETE", app, installation)


def count_rows(cursor: duckdb.DuckDBPyConnection, app: str, installation: UUID) -> dict[str, int]:
    """Return how many rows of each table `erase` would remove, of those that have any."""
    return _for_each_table(cursor, "SELECT count(*)", app, installation)


def _for_each_table(cursor: duckdb.DuckDBPyConnection, verb: str, app: str, installation: UUID) -> dict[str, int]:
    """Remove, or count, the rows of an installation in each table; return how many, of those tables that have any."""
    counted = {}
    for table, rows in _OF_INSTALLATION.items():
        values = {"app": app, "installation": installation}
        parameters = {name: value for name, value in values.items() if f"${name}" in rows}  # it takes no others
        counted[table] = _count(cursor, f"{verb} FROM {table} WHERE {rows}", parameters)
    return {table: n for table, n in counted.items() if n}


def back_up(cursor: duckdb.DuckDBPyConnection, path: str) -> None:
    """Write a copy of the store to *path*, as it is at one moment: a store of its own. Raises OSError or duckdb.Error.

    Whatever is at *path* is replaced once the copy is whole.
    """
    part = path + PART
    for name in (part, part + ".wal"):
        if os.path.exists(name):
            os.unlink(name)
    row = cursor.execute("SELECT current_database()").fetchone()
    assert row is not None
    quoted = part.replace("'", "''")
    cursor.execute(f"ATTACH '{quoted}' AS backup")
    try:
        cursor.execute(f'COPY FROM DATABASE "{row[0]}" TO backup')
        cursor.execute("CHECKPOINT backup")
    finally:
        cursor.execute("DETACH backup")
    os.chmod(part, 0o600)
    os.replace(part, path)


def _count(cursor: duckdb.DuckDBPyConnection, statement: str, parameters: list[object] | dict[str, object]) -> int:
    """Return how many rows a statement that removes, or counts, rows has removed or counted."""
    row = cursor.execute(statement, parameters).fetchone()
    return int(row[0]) if row else 0
