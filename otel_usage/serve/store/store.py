"""The store: one DuckDB file, owned by this process; rows in by one writer, cursors out for whoever asks.

FORMAT  of the file: the tables of tables.py, and ``meta`` (key, value), which has the schema's version and how far the rollups
        have come.

``Store("usage.duckdb")`` opens or makes the file; a with statement, or `close`, lets it go::

    with Store(path) as store, store.reader() as cursor:
        cursor.execute("SELECT count(*) FROM events").fetchone()
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import UUID

import duckdb

from otel_usage.setting_error import SettingError
from otel_usage.spool.layout import BACKUP_SUFFIX

from . import removal, rollup
from .migrations import bring_up_to_date
from .outbox import next_number
from .rows import EventRow, rows_from_columns
from .tables import KEYS
from .window import OFFSETS, IdWindow
from .writer import Batch, Stored, Writer, Written

MEMORY_MIB = 512
SPILL_MIB = 1_024  # of temporary files beside the store; without a limit one query could fill the disk
WINDOW = 500_000


class Store:
    """An open store. Concurrency: all methods may be called from any thread.

    memory_mib, spill_mib: what DuckDB may take of memory, and of the disk for a query that needs more than that.
    window: ids of events that are remembered in memory. threads: that one query may use.
    Raises SettingError if the file is another process's, of a newer version, or no store.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        memory_mib: int = MEMORY_MIB,
        spill_mib: int = SPILL_MIB,
        window: int = WINDOW,
        threads: int | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self._connection = _connect(self.path, memory_mib, spill_mib, threads)
        try:
            bring_up_to_date(self._connection, self.path)
        except BaseException:
            self._connection.close()
            raise
        self.maintenance = threading.Lock()  # held by what changes or removes rows: one at a time
        self.listeners: list[Callable[[Stored], None]] = []  # called in the writer's thread after each commit
        self.latest_us = 0  # when the latest events since the store was opened came, since the epoch
        id_window, last_us = _load_window(self._connection, window)
        self.writer = Writer(
            self._connection.cursor(),
            id_window,
            last_us,
            next_number=next_number(self._connection),
            on_commit=self._announce,
        )

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what was submitted, and let the file go."""
        self.writer.close()
        with self.maintenance:
            self._connection.close()

    # Rows.

    def write(self, rows: Sequence[Sequence[Any]] | Sequence[EventRow]) -> Written:
        """Store rows of ``events``, and return when they are committed. Raises UnwritableError or FullError.

        Any: each row has values in the order of the table's columns, as `rows_from_columns` takes them; or is an EventRow.
        """
        events: Sequence[Any] = rows
        if rows and not isinstance(rows[0], EventRow):
            events = rows_from_columns(rows)
        return self.writer.submit(Batch(events=events)).result()

    @contextmanager
    def reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a cursor of its own, for reading. Concurrency: one thread at a time; beside the writer and other cursors."""
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def apps(self) -> list[str]:
        """Return the names of the apps of which there are rows, in order."""
        with self.reader() as cursor:
            rows = cursor.execute(
                "SELECT app FROM events UNION SELECT app FROM installation_days UNION SELECT app FROM run_days "
                "UNION SELECT app FROM counts ORDER BY 1"
            ).fetchall()
        return [app for (app,) in rows]

    def size_bytes(self) -> int:
        """Return how much of the disk the file takes, with what is not in its place yet."""
        return sum(os.path.getsize(path) for path in (self.path, self.path + ".wal") if os.path.exists(path))

    # What works beside the writer, one at a time.

    def roll_up(self) -> int:
        """Bring the rollups up to date with all that is committed; return how many events that were."""
        with self.maintenance, self.reader() as cursor:
            return rollup.roll_up(cursor)

    def expire(self, now: datetime, *, raw_days: int, rollup_days: int) -> dict[str, int]:
        """Remove what is older than its days; return ``{table: rows}``. now: UTC, naive."""
        with self.maintenance, self.reader() as cursor:
            return removal.expire(cursor, now, raw_days=raw_days, rollup_days=rollup_days)

    def erase(self, app: str, installation: str | UUID) -> dict[str, int]:
        """Remove every row of an installation in *app*; return ``{table: rows}``. Raises ValueError if it is no UUID."""
        number = UUID(str(installation))
        with self.maintenance, self.reader() as cursor:
            removed = removal.erase(cursor, app, number)
            cursor.execute("CHECKPOINT") if removed else None
            return removed

    def count_rows(self, app: str, installation: str | UUID) -> dict[str, int]:
        """Return ``{table: rows}`` that `erase` would remove. Raises ValueError if *installation* is no UUID."""
        number = UUID(str(installation))
        with self.reader() as cursor:
            return removal.count_rows(cursor, app, number)

    def back_up(self, path: str = "") -> str:
        """Write a copy of the store to *path*, or beside it, while it is in use; return where. Raises OSError or duckdb.Error."""
        path = path or self.path + BACKUP_SUFFIX
        with self.maintenance, self.reader() as cursor:
            removal.back_up(cursor, path)
        return path

    # Who looks at events as they arrive.

    def _announce(self, stored: Stored) -> None:
        for listen in self.listeners:
            listen(stored)
        self.latest_us = stored.received_us


def _connect(path: str, memory_mib: int, spill_mib: int, threads: int | None) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_mib}MiB",
        "max_temp_directory_size": f"{spill_mib}MiB",
        "autoinstall_known_extensions": "false",  # it would ask a server of DuckDB's
        "autoload_known_extensions": "false",
    }
    if threads:
        config["threads"] = str(threads)
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise SettingError(f"--store {path!r}: there is no folder {folder!r}")
    existed = os.path.exists(path)
    try:
        connection = duckdb.connect(path, config=config)
    except duckdb.IOException as exc:
        raise SettingError(f"--store {path!r} {_explain_refusal(str(exc))}") from exc
    except duckdb.Error as exc:
        raise SettingError(f"--store {path!r} can't be opened: it is no store, or damaged") from exc
    if not existed and path != ":memory:":
        Path(path).chmod(0o600)
    return connection


def _explain_refusal(text: str) -> str:
    """Return what an operator can do about it that DuckDB can't open a file, for which *text* is its reason."""
    if "lock" in text:
        owner = text.partition("(PID ")[2].partition(")")[0]
        who = f"process {owner}" if owner.isdigit() else "another process"
        return f"is open in {who}: one process owns a store; stop that one, or give another file"
    if "valid DuckDB database" in text:
        return "is no store: give another file"
    if "version" in text:
        return "was written by a newer DuckDB: pip install --upgrade duckdb"
    return "can't be opened: is it a file that you may read and write?"


def _load_window(connection: duckdb.DuckDBPyConnection, size: int) -> tuple[IdWindow, int]:
    """Return the window as it was when the store was closed, half of it at most, and when the last rows came."""
    half = max(1, size // 2)
    received = " UNION ALL ".join(f"SELECT received FROM {table}" for table in KEYS)
    row = connection.execute(f"SELECT coalesce(max(epoch_us(received)), 0) FROM ({received})").fetchone()
    last_us = int(row[0]) if row else 0
    # A commit's rows were received at one time: of the commit that half of the window has no room for nothing is loaded.
    cut = connection.execute(
        f"SELECT epoch_us(received) FROM ({received}) ORDER BY received DESC LIMIT 1 OFFSET ?", [half]
    ).fetchone()
    since_us = int(cut[0]) + 1 if cut else 0
    window = IdWindow(size, since_us)
    for table, key in KEYS.items():
        cursor = connection.execute(f"SELECT {key} FROM {table} WHERE received >= make_timestamp(?)", [since_us])
        window.add((one + OFFSETS[table] for (one,) in cursor.fetchall()), since_us)
    return window, last_us
