"""Read the store for a page: answers, and what there is to choose from. Called in threads, one cursor each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..questions import DUCKDB, Answer, Dialect, Filters, Question, answer
from .view import Release

MOST_VERSIONS = 60
REMEMBERED_S = 15.0  # the list of versions changes rarely, and every page needs it


class Readable(Protocol):
    """What pages need of the store: `otel_usage.serve.store.store.Store`."""

    def reader(self) -> AbstractContextManager[Any]:
        """Return a cursor of one's own. Any: DuckDB's, which has no types where it is not installed."""

    def apps(self) -> Sequence[str]:
        """Return the names of the programs whose events it has."""

    def wait_for_events(self, after_us: int, timeout_s: float) -> int:
        """Return when the latest events were received, in µs since the epoch."""


class Reading:
    """Answers questions from a store."""

    def __init__(self, store: Readable, dialect: Dialect = DUCKDB) -> None:
        self.store = store
        self.dialect = dialect
        self._releases: dict[str, tuple[float, list[Release]]] = {}

    def execute(self, query: str, parameters: Mapping[str, str]) -> Sequence[Sequence[Any]]:
        """Run a query with its parameters bound. Any: what DuckDB makes of a column."""
        with self.store.reader() as cursor:
            rows: list[tuple[Any, ...]] = cursor.execute(query, dict(parameters)).fetchall()
        return rows

    def ask(self, question: Question, filters: Filters) -> Answer:
        """Return the answer to *question*."""
        return answer(self.execute, self.dialect, question, filters)

    def apps(self) -> list[str]:
        """Return the names of the programs, in order."""
        return sorted(self.store.apps())

    def releases(self, app: str) -> list[Release]:
        """Return the versions of *app* that most installations had, the newest first."""
        now = time.monotonic()
        until, releases = self._releases.get(app, (0.0, []))
        if now >= until:
            sql = (
                "SELECT version, min(day), count(*) FROM installation_days "
                f"WHERE app = {self.dialect.text('app')} AND version <> '' GROUP BY version"
            )
            rows = [Release(str(v), str(day)[:10], int(n)) for v, day, n in self.execute(sql, {"app": app})]
            rows = sorted(rows, key=lambda release: -release.days)[:MOST_VERSIONS]
            releases = sorted(rows, key=lambda release: (release.day, release.version), reverse=True)
            self._releases[app] = (now + REMEMBERED_S, releases)
        return releases
