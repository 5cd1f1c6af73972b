"""The tables of the store: their columns, once, and from them the DDL of DuckDB and of ClickHouse.

The questions use these columns and no other. ``at`` and ``first`` are words of SQL in one of the two dialects or in both, so
every column's name is quoted in what is generated here; in a query write ``"at"`` or ``e.at``.

FORMAT  An absent text is "", never NULL: one word for it in both dialects. NULL is only what is no text and absent: an
        installation, an exit code. Times are UTC. A new column is a new version of the schema: see migrations.py.
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMA_VERSION = 1


class Column(NamedTuple):
    """One column: its type in both dialects, and what stands in it."""

    name: str
    duckdb: str
    clickhouse: str
    meaning: str


def _word(name: str, meaning: str) -> Column:
    """Return a column of a text of which there are few different ones."""
    return Column(name, "VARCHAR", "LowCardinality(String)", meaning)


def _time(name: str, meaning: str) -> Column:
    return Column(name, "TIMESTAMP", "DateTime64(6)", meaning)


def _flag(name: str, meaning: str) -> Column:
    return Column(name, "BOOLEAN", "Bool", meaning)


def _number(name: str, meaning: str) -> Column:
    return Column(name, "BIGINT", "Int64", meaning)


_APP = _word("app", "service.name")
_VERSION = _word("version", "service.version")
_INSTALLATION = Column("installation", "UUID", "Nullable(UUID)", "NULL in CI and where none was sent")
_EPHEMERAL = _flag("ephemeral", "the id will not last")
_CI = _flag("ci", "in a CI system")
_SURFACE = _word("surface", "usage.surface: cli, service; '' if absent")
_FIELDS = Column(
    "fields", "MAP(VARCHAR, VARCHAR)", "Map(String, String)", "declared fields as text, several values joined"
)
_PLATFORM = (
    _word("os", "os.type"),
    _word("os_version", "os.version"),
    _word("arch", "host.arch"),
    _word("runtime", "process.runtime.name"),
    _word("runtime_version", "process.runtime.version"),
    _word("first_week", "ISO week of the installation's first id"),
)
_DAY = Column("day", "DATE", "Date", "UTC")

EVENTS = (
    _APP,
    _time("at", "start of the span"),
    _word("kind", "usage.kind: run, action, error, heartbeat, first_run, …"),
    _word("name", "the command, action, error code or heartbeat"),
    _INSTALLATION,
    _EPHEMERAL,
    _VERSION,
    _word("outcome", "usage.outcome; '' but on runs"),
    Column("exit_code", "INTEGER", "Nullable(Int64)", "NULL if unknown"),
    _word("error_type", "error.type; '' if none"),
    _number("duration_us", "end - start"),
    Column("options", "VARCHAR[]", "Array(String)", "names of options that were given"),
    _CI,
    _word("ci_system", "usage.ci_system"),
    _word("agent", "usage.agent"),
    _SURFACE,
    *_PLATFORM,
    _word("cluster", "k8s.cluster.uid, a keyed hash"),
    _flag("tty", "standard output was a terminal"),
    _FIELDS,
    Column("event", "UBIGINT", "UInt64", "the span's id: an event is stored once by it"),
    _time("received", "when the store took it; ascends from commit to commit"),
)
COUNTS = (
    _APP,
    _time("at", "end of the period that was counted"),
    _word("name", "the declared name"),
    _INSTALLATION,
    _EPHEMERAL,
    _VERSION,
    _CI,
    _SURFACE,
    _number("amount", "how many were counted"),
    _FIELDS,
    Column("point", "UBIGINT", "UInt64", "the data point's id: it is stored once by it"),
    _time("received", "when the store took it"),
)
DROPS = (
    _APP,
    _time("at", "end of the period that was counted"),
    _word("reason", "why records were not sent: schema.attributes.REASONS"),
    _VERSION,
    _number("amount", "how many records"),
    Column("point", "UBIGINT", "UInt64", "the data point's id: it is stored once by it"),
    _time("received", "when the store took it"),
)
# A row per day and installation, but for those whose id does not last. It outlives the events.
INSTALLATION_DAYS = (
    _APP,
    _DAY,
    Column("installation", "UUID", "UUID", "never NULL"),
    _word("version", "the last of the day"),
    _CI,
    _word("agent", "usage.agent of the last event of the day"),
    _SURFACE,
    *_PLATFORM,
    _number("runs", "events of kind run"),
    _number("failures", "runs whose outcome is failure"),
    _time("seen", "the last event of the day"),
)
RUN_DAYS = (
    _APP,
    _DAY,
    _word("name", "the command"),
    _VERSION,
    _word("outcome", "usage.outcome"),
    _CI,
    _flag("agent", "an agent ran it"),
    _SURFACE,
    Column("bucket", "INTEGER", "Int32", "floor of log2 of duration_us; 0 for less than 2 µs"),
    _number("runs", "events of kind run"),
)
TABLES = {
    "events": EVENTS,
    "counts": COUNTS,
    "drops": DROPS,
    "installation_days": INSTALLATION_DAYS,
    "run_days": RUN_DAYS,
}
RAW = ("events", "counts", "drops")  # what expires first
KEYS = {"events": "event", "counts": "point", "drops": "point"}  # by which a row of these is stored once
ROLLUPS = ("installation_days", "run_days")
# The order of rows on ClickHouse: what nearly every question filters by, then what it groups by.
_ORDER = {
    "events": "app, at",
    "counts": "app, at",
    "drops": "app, at",
    "installation_days": "app, day, installation",
    "run_days": "app, day, name",
}


def duckdb_ddl() -> list[str]:
    """Return the statements that make the tables in DuckDB, where they are not there."""
    return [
        f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(_declare(column) for column in columns)})"
        for table, columns in TABLES.items()
    ]


def clickhouse_ddl() -> list[str]:
    """Return the statements that make the same tables in ClickHouse."""
    return [
        f"CREATE TABLE IF NOT EXISTS {table} ("
        + ", ".join(f'"{column.name}" {column.clickhouse}' for column in columns)
        + f") ENGINE = MergeTree ORDER BY ({_ORDER[table]})"
        for table, columns in TABLES.items()
    ]


def _declare(column: Column) -> str:
    return f'"{column.name}" {column.duckdb}'


def names_of(table: str) -> list[str]:
    """Return the names of a table's columns, in order.

    >>> names_of("drops")[:3]
    ['app', 'at', 'reason']
    """
    return [column.name for column in TABLES[table]]
