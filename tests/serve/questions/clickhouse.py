"""ClickHouse's engine in this process, with the store's tables, filled from a DuckDB of `databases`."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from otel_usage.serve.store.tables import TABLES, clickhouse_ddl, names_of


def _spell(value: Any) -> Any:
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)


class ClickHouse:
    """A session with its tables in a folder. One at a time in a process: chDB has one path."""

    def __init__(self, folder: Path) -> None:
        from chdb import session

        self.folder = folder
        self.session = session.Session(str(folder / "store"))

    def fill(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Replace what the tables hold by what those of *connection* hold."""
        self.session.query("DROP DATABASE IF EXISTS usage")
        self.session.query("CREATE DATABASE usage")
        self.session.query("USE usage")
        for statement in clickhouse_ddl():
            self.session.query(statement)
        for table, columns in TABLES.items():
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            file = self.folder / f"{table}.jsonl"
            with file.open("w", encoding="utf-8") as out:
                for row in rows:
                    out.write(json.dumps(dict(zip(names_of(table), row, strict=True)), default=_spell) + "\n")
            if rows:
                shape = ", ".join(f"`{column.name}` {column.clickhouse}" for column in columns)
                self.session.query(f"INSERT INTO {table} SELECT * FROM file('{file}', JSONEachRow, '{shape}')")

    def execute(self, sql: str, values: dict[str, str]) -> list[list[Any]]:
        """Run a query, and return its rows, as `answer` takes them."""
        return json.loads(str(self.session.query(sql, "JSONCompact", params=values)))["data"]
