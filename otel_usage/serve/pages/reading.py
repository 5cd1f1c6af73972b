"""Read the store for a page: answers, and what there is to choose from. Called in threads, one cursor each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..questions import DUCKDB, Answer, Dialect, Filters, Question, answer
from .view import Release

MOST_VERSIONS = 60
FRESH_S = 5.0  # rollups are as late: an overview, its questions and their files are asked for one after the other
MOST_ANSWERS = 60
REMEMBERED_S = 15.0  # the list of versions changes rarely, and every page needs it


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
    """Answers questions from a store."""

    def __init__(self, store: Readable, dialect: Dialect = DUCKDB) -> None:
        self.store = store
        self.dialect = dialect
        # Each is replaced, never changed, so threads may read it meanwhile; at worst a question is asked twice.
        self._answers: dict[tuple[str, Filters], tuple[float, Answer]] = {}
        self._releases: dict[str, tuple[float, list[Release]]] = {}

    def execute(self, query: str, parameters: Mapping[str, str]) -> Sequence[Sequence[Any]]:
        """Run a query with its parameters bound. Any: what DuckDB makes of a column."""
        with self.store.reader() as cursor:
            rows: list[tuple[Any, ...]] = cursor.execute(query, dict(parameters)).fetchall()
        return rows

    def ask(self, question: Question, filters: Filters) -> Answer:
        """Return the answer to *question*, as it was at most `FRESH_S` ago."""
        now, key = time.monotonic(), (question.id, filters)
        until, recent = self._answers.get(key, (0.0, None))
        if recent is None or now >= until:
            recent = answer(self.execute, self.dialect, question, filters)
            fresh = {other: row for other, row in list(self._answers.items())[-MOST_ANSWERS:] if now < row[0]}
            self._answers = {**fresh, key: (now + FRESH_S, recent)}
        return recent

    def forget(self) -> None:
        """Ask anew from now on: something was erased."""
        self._answers = {}
        self._releases = {}

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
