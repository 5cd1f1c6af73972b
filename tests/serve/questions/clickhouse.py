"""ClickHouse's engine in this process, with the tables of the contract, filled from a DuckDB of `databases`."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from .databases import TABLES, type_of

TYPES = {
    "VARCHAR": "LowCardinality(String)", "TIMESTAMP": "DateTime64(6)", "BOOLEAN": "Bool", "INTEGER": "Nullable(Int64)",
    "BIGINT": "Int64", "UBIGINT": "UInt64", "UUID": "Nullable(UUID)", "DATE": "Date32", "VARCHAR[]": "Array(String)",
    "MAP(VARCHAR, VARCHAR)": "Map(String, String)",
}  # fmt: skip


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
        self.session.query("CREATE DATABASE IF NOT EXISTS usage")
        for table, columns in TABLES.items():
            named = ", ".join(f'"{column}" {TYPES[type_of(table, column)]}' for column in columns)
            order = "day" if "day" in columns else '"at"'
            self.session.query(f"DROP TABLE IF EXISTS usage.{table}")
            self.session.query(f"CREATE TABLE usage.{table} ({named}) ENGINE = MergeTree ORDER BY (app, {order})")
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            file = self.folder / f"{table}.jsonl"
            with file.open("w", encoding="utf-8") as out:
                for row in rows:
                    out.write(json.dumps(dict(zip(columns, row, strict=True)), default=_spell) + "\n")
            if rows:
                self.session.query(
                    f"INSERT INTO usage.{table} SELECT * FROM file('{file}', JSONEachRow, '{self._shape(table)}')"
                )

    def _shape(self, table: str) -> str:
        return ", ".join(f"`{column}` {TYPES[type_of(table, column)]}" for column in TABLES[table])

    def execute(self, sql: str, values: dict[str, str]) -> list[list[Any]]:
        """Run a query, and return its rows, as `answer` takes them."""
        self.session.query("USE usage")
        return json.loads(str(self.session.query(sql, "JSONCompact", params=values)))["data"]
