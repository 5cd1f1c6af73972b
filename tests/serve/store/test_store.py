"""The store: what is written is there, once, and in the file that it was written to."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from otel_usage.serve.store import writer as writer_module
from otel_usage.serve.store.migrations import bring_up_to_date
from otel_usage.serve.store.rows import CountRow, DropRow, rows_from_columns
from otel_usage.serve.store.store import Store
from otel_usage.serve.store.tables import TABLES, clickhouse_ddl, names_of
from otel_usage.serve.store.writer import Batch, FullError, UnfitRowsError, UnwritableError
from otel_usage.setting_error import SettingError

from .stores import NOON, ONE, ask, days, row, some_id

HOSTILE = [
    "'; DROP TABLE events; --",
    '"; DROP TABLE events; --',
    "$app",
    "?",
    "{}",
    "\\'",
    "]]>",
    "<script>alert(1)</script>",
    "a\nb",
    "\u202e\u2028",
    "'' OR 1=1",
]
TEXTS = [name for name, kind, *_ in TABLES["events"] if kind == "VARCHAR"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every column of a row comes back as it was, but for ``received``, which the store sets."""
    fields = {"format": "pdf", "note": "it's"}
    with Store(tmp_path / "s") as store:
        store.write(
            [
                row(1, fields=fields, options=[]),
                row(2**64 - 1, fields={"other": "x"}, exit_code=None, installation=None),
            ]
        )
        rows = ask(store, "SELECT * FROM events ORDER BY event")
        apps = store.apps()

    first = dict(zip(names_of("events"), rows[0], strict=True))
    second = dict(zip(names_of("events"), rows[1], strict=True))
    assert (NOON, ONE, [], fields) == (first["at"], str(first["installation"]), first["options"], first["fields"])
    assert (None, None, {"other": "x"}) == (second["exit_code"], second["installation"], second["fields"])
    assert 2**64 - 1 == second["event"]
    assert first["received"] > NOON
    assert ["mycli"] == apps


@pytest.mark.parametrize("column", TEXTS)
def test_no_text_is_taken_for_sql(tmp_path: Path, column: str) -> None:
    """Whatever a column holds, it is stored as it is, found by it, and changes nothing else."""
    with Store(tmp_path / "s") as store:
        store.write([row(n, **{column: text}) for n, text in enumerate(HOSTILE, 1)])
        stored = ask(store, f'SELECT "{column}" FROM events ORDER BY event')
        one = [ask(store, f'SELECT count(*) FROM events WHERE "{column}" = ?', text)[0][0] for text in HOSTILE]
        store.roll_up()
        store.erase("'; DROP TABLE events; --", ONE)
        left = ask(store, "SELECT count(*) FROM events")[0][0]

    assert HOSTILE == [text for (text,) in stored]
    assert [1] * len(HOSTILE) == one
    assert len(HOSTILE) - (column == "app") == left


def test_fields_and_options_are_not_taken_for_sql(tmp_path: Path) -> None:
    """The same for names and values in lists and maps."""
    with Store(tmp_path / "s") as store:
        store.write([row(n, options=[text, text], fields={text: text}) for n, text in enumerate(HOSTILE, 1)])
        rows = ask(store, "SELECT options, fields FROM events ORDER BY event")

    assert [([text, text], {text: text}) for text in HOSTILE] == rows


def test_an_event_is_stored_once(tmp_path: Path) -> None:
    """By its id: within a batch, in another one, after a restart, and where only the table remembers it."""
    with Store(tmp_path / "s", window=4) as store:
        first = store.write([row(1), row(1), row(2)])
        again = store.write([row(2), row(3)])
        for n in range(10, 20):
            store.write([row(n, at=NOON + days(n))])
        late = store.write([row(1), row(2), row(4)])
    with Store(tmp_path / "s", window=4) as store:
        reopened = store.write([row(n, at=NOON + days(n)) for n in range(10, 20)] + [row(1)])
        total = ask(store, "SELECT count(*), count(DISTINCT event) FROM events")

    assert [(2, 1), (1, 1), (1, 2), (0, 11)] == [(one.stored, one.known) for one in (first, again, late, reopened)]
    assert [(14, 14)] == total


@pytest.mark.parametrize("window", [8, 20, 500_000])
def test_after_a_restart_an_event_is_still_stored_once(tmp_path: Path, window: int) -> None:
    """Counts and drops that came since take a part of what is remembered, and push out no event that counts as remembered."""
    events = rows_from_columns([row(n) for n in range(1, 5)])
    with Store(tmp_path / "s", window=window) as store:
        store.writer.submit(Batch(events=events)).result()
        for first in (1, 6):
            store.writer.submit(Batch(counts=[some_count(n) for n in range(first, first + 5)])).result()
        store.writer.submit(Batch(drops=[DropRow(1, "mycli", "full", "1.4", 1, n) for n in range(1, 6)])).result()
    with Store(tmp_path / "s", window=window) as store:
        remembered = len(store.writer.window)
        counts = store.writer.submit(Batch(counts=[some_count(n) for n in range(1, 11)])).result()
        again = store.writer.submit(Batch(events=events)).result()

    assert (0, 4) == (again.stored, again.known)
    assert (0, 10) == (counts.stored, counts.known)
    assert remembered <= window // 2


def some_count(point: int) -> CountRow:
    """Return a data point of a declared counter."""
    return CountRow(1, "mycli", "saved", ONE, False, "1.4", False, "", 1, {}, point)


def test_the_window_asks_the_table_only_about_what_is_old(tmp_path: Path) -> None:
    """An event that began since the window begins is new if the window has not got it: no query is made for it."""
    asked: list[Any] = []
    with Store(tmp_path / "s", window=4) as store:
        for n in range(1, 10):
            store.write([row(n)])
        store.writer.cursor = Asked(store.writer.cursor, asked)  # type: ignore[assignment]
        store.write([row(100, at=datetime.now(timezone.utc))])
        without = len(asked)
        store.write([row(101)])

    assert (0, 1) == (without, len(asked))


class Asked:
    """A cursor that notes the queries about ids."""

    def __init__(self, cursor: Any, asked: list[Any]) -> None:
        self._cursor = cursor
        self._asked = asked

    def execute(self, query: Any, *parameters: Any) -> Any:
        """Execute *query*, text or a statement of DuckDB's."""
        if str(query).startswith("SELECT"):
            self._asked.append(query)
        return self._cursor.execute(query, *parameters)


def test_the_writer_alone_plans_without_the_optimizer(tmp_path: Path) -> None:
    """The setting is the cursor's own: whatever questions ask is optimised."""

    def plan_of(cursor: Any) -> str:
        return str(cursor.execute("EXPLAIN SELECT app FROM events WHERE event > 5").fetchall())

    with Store(tmp_path / "s") as store, store.reader() as cursor:
        optimised, of_writer = plan_of(cursor), plan_of(store.writer.cursor)
        cursor.execute("PRAGMA disable_optimizer")
        plain = plan_of(cursor)

    assert plain == of_writer
    assert plain != optimised


def test_many_threads_write_and_read(tmp_path: Path) -> None:
    """Batches of many threads are committed together; each thread hears of its own."""
    with Store(tmp_path / "s") as store:

        def work(thread: int) -> int:
            stored = sum(store.write([row(thread * 1_000 + n) for n in range(1, 11)]).stored for _ in range(2))
            with store.reader() as cursor:
                assert cursor.execute("SELECT count(*) FROM events").fetchone()
            return stored

        with ThreadPoolExecutor(8) as threads:
            stored = list(threads.map(work, range(8)))
        total = ask(store, "SELECT count(*), count(DISTINCT received) <= 16 FROM events")

    assert [10] * 8 == stored
    assert [(80, True)] == total


def test_a_row_that_is_not_taken_fails_alone(tmp_path: Path) -> None:
    """What stands in one commit with it is stored all the same, and it is not to come again."""
    with Store(tmp_path / "s") as store:
        begun = threading.Event()
        store.listeners.append(lambda _: begun.wait(10))
        store.writer.submit(Batch(events=()))  # holds the writer, so that the next three make one commit
        batches = [rows_from_columns([one]) for one in (row(1), row(2, duration_us=1 << 70), row(3))]
        futures = [store.writer.submit(Batch(events=one)) for one in batches]
        begun.set()

        assert (1, 1) == (futures[0].result().stored, futures[2].result().stored)
        assert isinstance(futures[1].exception(), UnfitRowsError)
        assert [(2,)] == ask(store, "SELECT count(*) FROM events")


def test_a_full_queue_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than may wait are refused, and written when there is room again."""
    monkeypatch.setattr(writer_module, "MAX_QUEUED", 3)
    with Store(tmp_path / "s") as store:
        go = threading.Event()
        held = threading.Event()
        store.listeners.append(lambda _: (held.set(), go.wait(10)))
        store.writer.submit(Batch(events=rows_from_columns([row(1)])))
        assert held.wait(10)
        waiting = store.writer.submit(Batch(events=rows_from_columns([row(2), row(3)])))

        with pytest.raises(FullError):
            store.writer.submit(Batch(events=rows_from_columns([row(4), row(5)])))
        go.set()
        waiting.result()
        stored = store.write([row(4), row(5)]).stored

    assert 2 == stored


def test_a_store_that_is_lost_is_said_once(tmp_path: Path) -> None:
    """Where DuckDB wants the file to be opened again, whoever can see to that is called, and no batch is acknowledged."""

    class Lost:
        def execute(self, *_: Any) -> Any:
            raise duckdb.FatalException("database has been invalidated")

    with Store(tmp_path / "s") as store:
        calls: list[bool] = []
        store.writer.on_lost = lambda: calls.append(True)
        cursor, store.writer.cursor = store.writer.cursor, Lost()  # type: ignore[assignment]
        for n in (1, 2):
            with pytest.raises(UnwritableError):
                store.write([row(n)])
        store.writer.cursor = cursor

        assert [True] == calls
        assert [(0,)] == ask(store, "SELECT count(*) FROM events")


def test_the_store_says_when_the_latest_events_came(tmp_path: Path) -> None:
    """`latest_us` is what pages look at to know whether to ask for more: once it has moved, they can be read."""
    with Store(tmp_path / "s") as store:
        before_us = store.latest_us
        store.write([row(1)])
        rows = ask(store, "SELECT epoch_us(received) FROM events")

        assert 0 == before_us
        assert [(store.latest_us,)] == rows


# Files.


def test_another_process_is_told_who_has_the_file(tmp_path: Path) -> None:
    """A store is one process's: a second one hears the first one's number, and ends with 2."""
    with Store(tmp_path / "s"):
        command = [
            sys.executable,
            "-m",
            "otel_usage",
            "serve",
            "--store",
            str(tmp_path / "s"),
            "--listen",
            "127.0.0.1:0",
        ]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert 2 == second.returncode
    assert "is open in process" in second.stderr
    assert "one process owns a store" in second.stderr


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no store at all, whatever it is" * 200, "is no store"),
        (None, "is a DuckDB file, and no store of otel-usage"),
    ],
)
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """What is no store is named as such, and not changed."""
    path = tmp_path / "s"
    if content is None:
        duckdb.connect(str(path)).execute("CREATE TABLE somebody_elses (x INTEGER)").close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()

    with pytest.raises(SettingError, match=expected):
        Store(path)
    assert before == path.read_bytes()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A wrong path is a clear error."""
    with pytest.raises(SettingError, match="there is no folder"):
        Store(tmp_path / "nowhere" / "s")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file of a newer version says what to upgrade."""
    with Store(tmp_path / "s") as store, store.reader() as cursor:
        cursor.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")

    with pytest.raises(SettingError, match=r"newer otel-usage \(schema 99"):
        Store(tmp_path / "s")


def test_an_older_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    """Step by step, in one transaction: one that fails leaves the file as it was."""
    path = str(tmp_path / "s")
    with Store(path) as store:
        store.write([row(1)])
    steps = {2: ["ALTER TABLE events ADD COLUMN more VARCHAR DEFAULT ''"], 3: ["UPDATE events SET more = app"]}
    connection = duckdb.connect(path)

    with pytest.raises(duckdb.Error):
        bring_up_to_date(connection, path, version=3, migrations={**steps, 3: ["UPDATE nothing SET x = 1"]})
    unchanged = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall()
    bring_up_to_date(connection, path, version=3, migrations=steps)
    rows = connection.execute("SELECT more, (SELECT value FROM meta WHERE key = 'schema') FROM events").fetchall()
    connection.close()

    assert [("1",)] == unchanged
    assert [("mycli", "3")] == rows


def test_the_file_is_its_owners(tmp_path: Path) -> None:
    """Nobody else may read a store."""
    with Store(tmp_path / "s") as store:
        store.write([row(1, installation=some_id())])

    assert 0o600 == (tmp_path / "s").stat().st_mode & 0o777


def test_both_dialects_have_the_same_columns() -> None:
    """The DDL for ClickHouse names each column of each table, quoted, and in the same order."""
    for statement, (table, columns) in zip(clickhouse_ddl(), TABLES.items(), strict=True):
        positions = [statement.index(f'"{column.name}" {column.clickhouse}') for column in columns]

        assert statement.startswith(f"CREATE TABLE IF NOT EXISTS {table} (")
        assert sorted(positions) == positions
