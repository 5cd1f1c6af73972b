"""The version of a store's schema, and what brings an older file up to date.

A new version is a new entry in `MIGRATIONS`: the statements that make a file of the version before it one of this. They run in
one transaction when the file is opened, so that a process which dies in the middle leaves the file as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from otel_usage.setting_error import SettingError

from .outbox import OUTBOX_DDL
from .tables import SCHEMA_VERSION, duckdb_ddl
from .transaction import transaction

# {version: the statements that make a file of the version before one of it}
MIGRATIONS: Mapping[int, Sequence[str]] = {}
_META = "CREATE TABLE IF NOT EXISTS meta (key VARCHAR, value VARCHAR)"


def bring_up_to_date(
    connection: duckdb.DuckDBPyConnection,
    path: str,
    *,
    version: int = SCHEMA_VERSION,
    migrations: Mapping[int, Sequence[str]] = MIGRATIONS,
) -> None:
    """Make the tables in a new file, or bring those of an older one to *version*. Raises SettingError."""
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if tables and "meta" not in tables:
        raise SettingError(f"--store {path!r} is a DuckDB file, and no store of otel-usage: give another file")
    stored = read_meta(connection, "schema") if tables else ""
    if stored and int(stored) > version:
        raise SettingError(
            f"--store {path!r} was written by a newer otel-usage (schema {stored}, this one knows {version}): "
            "pip install --upgrade 'otel-usage[server]'"
        )
    if stored == str(version):
        return
    with transaction(connection):
        if not stored:
            connection.execute(_META)
            for statement in (*duckdb_ddl(), OUTBOX_DDL):
                connection.execute(statement)
        else:
            for step in range(int(stored) + 1, version + 1):
                for statement in migrations[step]:
                    connection.execute(statement)
        write_meta(connection, "schema", str(version))


def read_meta(connection: duckdb.DuckDBPyConnection, key: str) -> str:
    """Return what ``meta`` says of *key*, "" if it says nothing."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
    return str(row[0]) if row else ""


def write_meta(connection: duckdb.DuckDBPyConnection, key: str, value: str) -> None:
    """Have ``meta`` say *value* of *key*. The caller's transaction holds it."""
    if connection.execute("UPDATE meta SET value = ? WHERE key = ? RETURNING key", [value, key]).fetchone() is None:
        connection.execute("INSERT INTO meta VALUES (?, ?)", [key, value])
