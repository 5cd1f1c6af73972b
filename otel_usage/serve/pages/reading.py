"""Read the store for a page: answers, and what there is to choose from. Called in threads, one cursor each.

ALGORITHM  What a query returned is remembered for `FRESH_S`: by its text and what was bound to it, so that all questions of a
           page, and the files beside them, share what they have in common. Rollups are as late as that. What took long is
           remembered `TIMES` as long as it took: a page of a large store takes more than these seconds.
           No rows are not remembered, as the first ones are waited for.
RACES      1. Two threads ask the same at once: both are answered by the store, and the later one is remembered.
           2. Something is erased while a query runs: `forget` gives all an empty memory, and what the query returns goes into the
              old one, which nobody reads any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from ..questions import DUCKDB, Answer, Dialect, Filters, Question, answer
from .view import Release

MOST_VERSIONS = 60
FRESH_S = 5.0
TIMES = 10
MOST_QUERIES = 500  # remembered: an overview has some sixty, each with tens of rows
Rows = Sequence[Sequence[Any]]  # Any: what DuckDB makes of a column
Item = TypeVar("Item")


class Readable(Protocol):
    """What pages need of the store: `otel_usage.serve.store.store.Store`."""

    def reader(self) -> AbstractContextManager[Any]:
        """Return a cursor of one's own. Any: DuckDB's, which has no types where it is not installed."""

    def apps(self) -> Sequence[str]:
        """Return the names of the programs whose events it has."""

    @property
    def latest_us(self) -> int:
        """When the latest events were received, in µs since the epoch."""


class Reading:
    """Answers questions from a store. clock: seconds that only go forward."""

    def __init__(self, store: Readable, dialect: Dialect = DUCKDB, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self.dialect = dialect
        self._clock = clock
        self._lock = threading.Lock()  # held while a memory is changed
        self._memory: dict[Hashable, tuple[float, Sequence[Any]]] = {}

    def look(self, query: str, parameters: Mapping[str, str]) -> Rows:
        """Run a query with its parameters bound, as the store is now."""
        with self.store.reader() as cursor:
            rows: list[tuple[Any, ...]] = cursor.execute(query, dict(parameters)).fetchall()
        return rows

    def execute(self, query: str, parameters: Mapping[str, str]) -> Rows:
        """Return what *query* returns with its parameters bound, or has returned a moment ago."""
        return self._recall((query, *sorted(parameters.items())), lambda: self.look(query, parameters))

    def _recall(self, key: Hashable, look: Callable[[], Sequence[Item]]) -> Sequence[Item]:
        """Return what is remembered under *key*, else what *look* returns. Any: whatever that is."""
        memory, now = self._memory, self._clock()
        until, rows = memory.get(key, (now, ()))
        if now < until:
            return rows
        rows = look()
        began, now = now, self._clock()
        if rows:
            with self._lock:
                memory.pop(key, None)  # so that it stands at the end, among the latest
                memory[key] = (now + max(FRESH_S, TIMES * (now - began)), rows)
                while len(memory) > MOST_QUERIES or next(iter(memory.values()))[0] <= now:
                    del memory[next(iter(memory))]
        return rows

    def ask(self, question: Question, filters: Filters, *, compares: bool = True) -> Answer:
        """Return the answer to *question*. compares: with the period before."""
        return answer(self.execute, self.dialect, question, filters, compares=compares)

    def forget(self) -> None:
        """Ask anew from now on: something was erased."""
        self._memory = {}

    def apps(self) -> list[str]:
        """Return the names of the programs, in order."""
        return sorted(self._recall("apps", self.store.apps))

    def releases(self, app: str) -> list[Release]:
        """Return the versions of *app* that most installations had, the newest first."""
        sql = (
            "SELECT version, min(day), count(*) FROM installation_days "
            f"WHERE app = {self.dialect.text('app')} AND version <> '' GROUP BY version"
        )
        rows = [Release(str(v), str(day)[:10], int(n)) for v, day, n in self.execute(sql, {"app": app})]
        rows = sorted(rows, key=lambda release: -release.days)[:MOST_VERSIONS]
        return sorted(rows, key=lambda release: (release.day, release.version), reverse=True)
