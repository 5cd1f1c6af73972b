"""What pages ask of the store, and what they remember: counted on a store that notes each query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest

from otel_usage.serve.pages.app_page import app_page
from otel_usage.serve.pages.overview import overview
from otel_usage.serve.pages.reading import FRESH_S, MOST_QUERIES, Reading
from otel_usage.serve.pages.view import read_view
from otel_usage.serve.questions import QUESTIONS
from otel_usage.serve.store.store import Store

from .serving import fill, run_now

QUERY = "SELECT count(*) FROM events WHERE app = $app"


class NotingStore:
    """A store whose queries are noted."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.queries: list[str] = []
        self.asked: list[str] = []  # with those that return no rows

    def apps(self) -> list[str]:
        self.queries.append("apps")
        return self.store.apps()

    def wait_for_events(self, after_us: int, timeout_s: float) -> int:
        return self.store.wait_for_events(after_us, timeout_s)

    @contextmanager
    def reader(self) -> Iterator[Any]:
        with self.store.reader() as cursor:
            yield NotingCursor(cursor, self.queries, self.asked)


class NotingCursor:
    """A cursor whose queries are noted, but for those that return no rows."""

    def __init__(self, cursor: Any, queries: list[str], asked: list[str]) -> None:
        self.cursor, self.queries, self.asked = cursor, queries, asked

    def execute(self, query: str, parameters: dict[str, str]) -> NotingCursor:
        self.asked.append(f"{query} {sorted(parameters.items())}")
        self.cursor.execute(query, parameters)
        return self

    def fetchall(self) -> list[Any]:
        rows: list[Any] = self.cursor.fetchall()
        if rows:
            self.queries.append(self.asked[-1])
        return rows


@pytest.fixture
def store(tmp_path) -> Iterator[NotingStore]:
    """A store with runs of a program."""
    with Store(tmp_path / "usage.duckdb") as opened:
        fill(opened, [run_now(app="digest", installation="00000000-0000-4000-a000-000000000001")])
        yield NotingStore(opened)


def test_a_page_asks_each_thing_once(store: NotingStore) -> None:
    """The overview, the program's page and each question, one after the other, ask nothing twice that returned something."""
    reading = Reading(store, clock=lambda: 0.0)
    view = read_view("/", {"app": "digest"}, reading.apps(), date.today())

    for _ in range(2):
        assert len("".join(overview(reading, view))) > 10_000
        app_page(reading, view)
        for question in QUESTIONS.values():
            reading.ask(question, view.filters)
            reading.releases("digest")
            reading.apps()

    assert {} == {query: n for query, n in Counter(store.queries).items() if n > 1}
    assert len(store.queries) > 20


def test_the_period_before_is_asked_where_it_is_shown(store: NotingStore) -> None:
    """The overview asks it for its cards, not for the panels that say nothing of it; and for none where nobody compares."""
    asked, before = {}, {}
    for compare in ("", "no"):
        view = read_view("/", {"app": "digest", "days": "10", "compare": compare}, ["digest"], date(2026, 11, 26))
        "".join(overview(Reading(store), view))
        asked[compare] = len(store.asked)
        last_days = "('end', '2026-11-16')", "('until', '2026-11-17 00:00:00')"
        before[compare] = len([query for query in store.asked if any(last in query for last in last_days)])
        store.asked.clear()

    assert 0 == before["no"]
    assert before[""] == asked[""] - asked["no"]
    assert 3 < before[""] < 0.7 * asked["no"]


def test_what_was_asked_is_asked_again_when_it_is_old(store: NotingStore) -> None:
    """Within five seconds an answer is as it was; then it is anew, and so it is after `forget`."""
    now_s = 100.0
    reading = Reading(store, clock=lambda: now_s)

    def count() -> int:
        return int(reading.execute(QUERY, {"app": "digest"})[0][0])

    assert 1 == count()
    store.store.write([run_now(app="digest")])
    assert 1 == count()
    now_s += FRESH_S
    assert 2 == count()
    store.store.write([run_now(app="digest")])
    reading.forget()
    assert 3 == count()


def test_a_query_that_takes_long_is_remembered_longer(store: NotingStore) -> None:
    """Ten times as long as it took: a page of a large store would else have forgotten its first question at its last."""
    now_s = 100.0
    reading = Reading(store, clock=lambda: now_s)
    look = reading.look

    def look_slowly(query: str, parameters: Any) -> Any:
        nonlocal now_s
        now_s += 3.0
        return look(query, parameters)

    reading.look = look_slowly  # type: ignore[method-assign]
    reading.execute(QUERY, {"app": "digest"})
    now_s += 10 * 3.0 - 0.1
    reading.execute(QUERY, {"app": "digest"})
    assert 1 == len(store.asked)
    now_s += 0.1
    reading.execute(QUERY, {"app": "digest"})
    assert 2 == len(store.asked)


def test_no_rows_are_not_remembered(store: NotingStore) -> None:
    """The first event of a program is seen at once."""
    reading = Reading(store, clock=lambda: 0.0)
    names = "SELECT name FROM events WHERE app = $app"

    assert 0 == len(reading.execute(names, {"app": "new"}))
    store.store.write([run_now(app="new", name="first")])

    assert [("first",)] == list(reading.execute(names, {"app": "new"}))


def test_what_an_erasure_overtakes_is_not_remembered(store: NotingStore) -> None:
    """A query that began before something was erased, and ends after it, is asked again."""
    reading = Reading(store, clock=lambda: 0.0)
    look = reading.look

    def overtaken(query: str, parameters: Any) -> Any:
        rows = look(query, parameters)
        store.store.erase("digest", "00000000-0000-4000-a000-000000000001")
        reading.forget()
        return rows

    reading.look = overtaken  # type: ignore[method-assign]
    assert 1 == reading.execute(QUERY, {"app": "digest"})[0][0]
    reading.look = look  # type: ignore[method-assign]

    assert 0 == reading.execute(QUERY, {"app": "digest"})[0][0]


def test_memory_is_bounded(store: NotingStore) -> None:
    """Ever new filters push out the oldest answers, and so does time."""
    now_s = 0.0
    reading = Reading(store, clock=lambda: now_s)
    for n in range(MOST_QUERIES + 10):
        reading.execute(QUERY, {"app": f"app-{n}"})
    assert MOST_QUERIES == len(reading._memory)

    now_s += FRESH_S
    reading.execute(QUERY, {"app": "digest"})

    assert 1 == len(reading._memory)
