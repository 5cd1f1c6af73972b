"""What waits to be passed on to vendors: records, numbered as they come, and how far each vendor was handed them.

See forwarding.py, which hands them over, and writer.py, which puts them here.
"""

from __future__ import annotations

import duckdb

OUTBOX_DDL = "CREATE TABLE IF NOT EXISTS outbox (number BIGINT, signal VARCHAR, installation UUID, line VARCHAR)"
INSERT_OUTBOX = (
    "INSERT INTO outbox SELECT unnest($number::BIGINT[]), unnest($signal::VARCHAR[]), unnest($installation::UUID[]), "
    "unnest($line::VARCHAR[])"
)
HANDED_OVER = "handed_over."


def handed_over_key(vendor: str) -> str:
    """Return the key under which ``meta`` has how far the outbox was handed over to *vendor*."""
    return HANDED_OVER + vendor


def next_number(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return the number of the next record: above all that are in the outbox, and all that left it."""
    row = cursor.execute(
        "SELECT greatest((SELECT coalesce(max(number), 0) FROM outbox), (SELECT coalesce(max(value::BIGINT), 0) FROM meta "
        "WHERE starts_with(key, ?)))",
        [HANDED_OVER],
    ).fetchone()
    return int(row[0]) + 1 if row else 1
