"""The one writer: rows of many requests in one commit, and nobody hears of them before it.

ALGORITHM
  1. `submit` queues a batch. A queue that has `MAX_QUEUED` rows refuses more (`FullError`): the client comes again.
  2. The writer's thread takes all batches that wait, up to `MAX_COMMIT` rows, and leaves out what is known (window.py, then
     the table). One commit stores the rest, synced to the disk by DuckDB.
  3. Then, and only then, each batch's future has its result, and the ids are in the window.
  4. The next commit begins `PAUSE_S` after the last one did, or at once if that took longer: a commit costs milliseconds
     whatever is in it, so under load the batches of that time share one. A lone batch does not wait.
FAULTS
  1. The disk is full, or memory: the commit is rolled back, every batch of it fails with `UnwritableError`, and the next one
     is tried all the same. Nothing acknowledged is lost by it, as nothing of it was.
  2. A row that DuckDB can't take, which the tables in `otel_usage.schema` should have rejected: the batches are committed one
     by one, and that of the row alone fails, with `UnfitRowsError`. It must not come again, or it would fail all others.
  3. DuckDB says that its file can't be used any more until it is opened again: nothing is taken from then on, and `on_lost` is
     called, by which the server ends itself, to be started again.
  4. The process dies before the commit: nobody was told. After it, before the answer: the client comes again, and the
     rows are known.
RACES
  1. Two batches bring one id: they are in one commit, where the first one counts, or in two, and the window has it.
  2. Rollup, retention and erasure work beside the writer, on rows that it has committed: it only ever adds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import duckdb

from .outbox import INSERT_OUTBOX
from .rows import SHARED, CountRow, DropRow, EventRow, Shape
from .statements import INSERT_COUNTS, INSERT_DROPS, INSERT_EVENTS, find_known
from .tables import KEYS
from .transaction import transaction
from .window import OFFSETS, IdWindow

log = logging.getLogger("otel_usage.serve")

MAX_QUEUED = 40_000  # rows
MAX_COMMIT = 10_000
PAUSE_S = 0.04
FULL = (
    "No space left",
    "File too large",
    "quota exceeded",
    "max_temp_directory_size",
)  # of errors of the system, and of DuckDB
UNFIT = (
    duckdb.DataError,
    duckdb.InvalidInputException,
    duckdb.TypeMismatchException,
    TypeError,
    ValueError,
    OverflowError,
)


class UnfitRowsError(Exception):
    """A batch has a row that DuckDB does not take. Its text is the class of the error."""


KEY_POSITIONS = {
    table: row_class._fields.index(KEYS[table])
    for table, row_class in (("events", EventRow), ("counts", CountRow), ("drops", DropRow))
}
Line = tuple[str, str, str | None]  # (signal, OTLP JSON, installation)


class FullError(Exception):
    """More rows wait than may."""


class UnwritableError(Exception):
    """The store could not write. Its text says why, and repeats no row."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one request.

    lines: returns what is to be passed on of the rows at these positions, among events or else among counts and then drops:
    (signal, OTLP JSON, installation). None if nothing is passed on.
    """

    events: Sequence[EventRow] = ()
    counts: Sequence[CountRow] = ()
    drops: Sequence[DropRow] = ()
    lines: Callable[[Sequence[int]], Sequence[Line]] | None = None

    def __len__(self) -> int:
        return len(self.events) + len(self.counts) + len(self.drops)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch: so many rows were stored, so many the store had."""

    stored: int
    known: int


@dataclass(frozen=True, slots=True)
class Stored:
    """The new rows of one commit."""

    received_us: int
    events: Sequence[EventRow]
    counts: Sequence[CountRow]
    drops: Sequence[DropRow]


class Writer:
    """Commits batches in a thread of its own. Concurrency: `submit` may be called from many threads.

    cursor: the thread's own. next_number: of a record in the outbox. on_commit: called in the writer's thread, after each commit.
    """

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        window: IdWindow,
        last_received_us: int,
        *,
        next_number: int = 1,
        on_commit: Callable[[Stored], None] | None = None,
    ) -> None:
        self.cursor = cursor
        # Of a commit most is what DuckDB thinks about its largest statement: parsed once, and not optimised, as nothing in it can
        # be, it takes two thirds of the time. Queries for ids are optimised: see `_find_known`.
        self._insert_events = cursor.extract_statements(INSERT_EVENTS)[0]
        cursor.execute("PRAGMA disable_optimizer")
        self.window = window
        self.queued = 0  # rows
        self.failing = ""  # why the last commit failed
        self.is_lost = False  # FAULTS 3
        self.on_lost: Callable[[], object] = lambda: None  # called once in that case
        self._last_received_us = last_received_us
        self._next_number = next_number
        self._on_commit = on_commit
        self._batches: deque[tuple[Batch, Future[Written]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> Future[Written]:
        """Queue *batch*; the future has what became of it once that is on disk. Raises FullError."""
        future: Future[Written] = Future()
        with self._changed:
            if self._closed or (self.queued and self.queued + len(batch) > MAX_QUEUED):
                raise FullError
            self.queued += len(batch)
            self._batches.append((batch, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Write what was queued, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _take(self) -> list[tuple[Batch, Future[Written]]]:
        """Wait for batches, and return those that make the next commit; none when it is time to end."""
        with self._changed:
            while not self._batches:
                if self._closed:
                    return []
                self._changed.wait()
            taken = [self._batches.popleft()]
            size = len(taken[0][0])
            while self._batches and size + len(self._batches[0][0]) <= MAX_COMMIT:
                taken.append(self._batches.popleft())
                size += len(taken[-1][0])
            self.queued -= size
            return taken

    def _work(self) -> None:
        while taken := self._take():
            began_s = time.monotonic()
            self._write(taken)
            del taken  # else the last ones stay in memory while nothing comes
            left_s = PAUSE_S - (time.monotonic() - began_s)
            if left_s > 0 and not self._closed:
                time.sleep(left_s)

    def _write(self, taken: Sequence[tuple[Batch, Future[Written]]]) -> None:
        """Commit what was taken, together or else one by one, and tell each future."""
        try:
            results = self._commit([batch for batch, _ in taken])
        except UNFIT as exc:
            if len(taken) > 1:
                for one in taken:
                    self._write([one])
                return
            log.error("the store does not take a row: %s", type(exc).__name__)
            taken[0][1].set_exception(UnfitRowsError(type(exc).__name__))
            return
        except Exception as exc:  # whatever DuckDB can't do: the clients come again, and the thread goes on
            why = explain_fault(exc)
            if why != self.failing:
                log.error("the store can't write: %s", why)
            self.failing = why
            for _, future in taken:
                future.set_exception(UnwritableError(why))
            if isinstance(exc, duckdb.FatalException) and not self.is_lost:
                self.is_lost = True
                self.on_lost()
            return
        self.failing = ""
        for (_, future), written in zip(taken, results, strict=True):
            future.set_result(written)

    def _commit(self, batches: Sequence[Batch]) -> list[Written]:
        """Store what is new of *batches*, in one transaction, and return what became of each."""
        received_us = max(time.time_ns() // 1_000, self._last_received_us + 1)
        new: dict[str, list[Any]] = {table: [] for table in KEYS}
        with transaction(self.cursor):
            known = {table: self._find_known(table, batches) for table in KEYS}
            results: list[Written] = []
            lines: list[Line] = []
            for batch in batches:
                fresh: list[int] = []  # positions among the batch's rows
                begin = 0
                for table, position in KEY_POSITIONS.items():
                    rows: Sequence[Any] = getattr(batch, table)
                    ids = known[table]
                    for at, row in enumerate(rows, begin):
                        if row[position] not in ids:
                            ids.add(row[position])
                            new[table].append(row)
                            fresh.append(at)
                    begin += len(rows)
                if batch.lines is not None:
                    lines += batch.lines(fresh)
                results.append(Written(len(fresh), len(batch) - len(fresh)))
            self._insert(new, lines, received_us)
        self._last_received_us = received_us
        self._next_number += len(lines)
        ids_of = (row[at] + OFFSETS[table] for table, at in KEY_POSITIONS.items() for row in new[table])
        self.window.add(ids_of, received_us)
        if self._on_commit is not None:
            self._on_commit(Stored(received_us, **new))
        return results

    # Any: rows of the tables.
    def _insert(self, new: Mapping[str, Sequence[Any]], lines: Sequence[Line], received_us: int) -> None:
        """Insert rows, ``{table: rows}``, and what is to be passed on of them."""
        if new["events"]:
            self.cursor.execute(self._insert_events, _columns_of_events(new["events"], received_us))
        if new["counts"]:
            self.cursor.execute(INSERT_COUNTS, _columns_of(new["counts"], received_us))
        if new["drops"]:
            self.cursor.execute(INSERT_DROPS, _columns_of(new["drops"], received_us))
        if lines:
            signals, texts, installations = (list(column) for column in zip(*lines, strict=True))
            numbers = list(range(self._next_number, self._next_number + len(lines)))
            outbox = {"number": numbers, "signal": signals, "line": texts, "installation": installations}
            self.cursor.execute(INSERT_OUTBOX, outbox)

    def _find_known(self, table: str, batches: Sequence[Batch]) -> set[int]:
        """Return those ids of the rows of *table* in *batches* that are stored."""
        window, since_us, now_us = self.window, self.window.since_us, time.time_ns() // 1_000
        offset, position = OFFSETS[table], KEY_POSITIONS[table]
        ids, late = set(), []
        for batch in batches:
            for row in getattr(batch, table):
                one = row[position]
                if one + offset in window:
                    ids.add(one)
                elif not since_us <= row[0] <= now_us:
                    late.append(row)
        if late and since_us:
            parameters = {
                "ids": [row[position] for row in late],
                "from_us": min(row[0] for row in late),
                "to_us": max(row[0] for row in late),
            }
            self.cursor.execute("PRAGMA enable_optimizer")
            try:
                ids.update(one for (one,) in self.cursor.execute(find_known(table, KEYS[table]), parameters).fetchall())
            finally:
                self.cursor.execute("PRAGMA disable_optimizer")
        return ids


def _columns_of_events(events: Sequence[EventRow], received_us: int) -> dict[str, Any]:
    """Return what `INSERT_EVENTS` binds. Any: lists of values of the columns' types."""
    numbers: dict[int, int] = {}  # {id of a shape: its number}
    shapes: list[Shape] = []
    number: list[int] = []
    for event in events:
        shape = event.shape
        at = numbers.get(id(shape))
        if at is None:
            at = numbers[id(shape)] = len(shapes)
            shapes.append(shape)
        number.append(at)
    columns: dict[str, Any] = {"received": received_us, "number": number}
    at_us, installation, duration_us, event_ids, _ = zip(*events, strict=True)
    columns |= {"at": at_us, "installation": installation, "duration_us": duration_us, "event": event_ids}
    columns |= dict(zip(SHARED, zip(*shapes, strict=True), strict=True))
    _split_fields(columns)
    return {name: list(values) if isinstance(values, tuple) else values for name, values in columns.items()}


def _columns_of(rows: Sequence[CountRow] | Sequence[DropRow], received_us: int) -> dict[str, Any]:
    """Return what the statement for counts or drops binds. Any: as above."""
    columns = {name: [row[at] for row in rows] for at, name in enumerate(rows[0]._fields)}
    if "fields" in columns:
        _split_fields(columns)
    return {"received": received_us, "at": columns.pop("at_us"), **columns}


def _split_fields(columns: dict[str, Any]) -> None:
    """Replace the dicts of ``fields`` by lists of their keys and of their values: see statements.py. Any: as above."""
    dicts = columns.pop("fields")
    columns["fields_keys"] = [list(one) for one in dicts]
    columns["fields_values"] = [list(one.values()) for one in dicts]


def explain_fault(exc: BaseException) -> str:
    """Return why DuckDB could not write, in a word or two. Its own text may hold what was to be written."""
    text = str(exc)
    if any(word in text for word in FULL):
        return "the disk is full"
    if isinstance(exc, (duckdb.OutOfMemoryException, MemoryError)):
        return "memory is full"
    return type(exc).__name__
