"""Each question has the same answer on DuckDB and on ClickHouse's engine, to nine digits.

With OTEL_USAGE_SLOW=1, and chDB from requirements-chdb.txt, which has 875 MB.
"""

from __future__ import annotations

import importlib.util
import os
from datetime import date
from typing import Any

import pytest

from otel_usage.serve.questions import AUDIENCES, CLICKHOUSE, DUCKDB, QUESTIONS, Filters, answer, declared_questions
from otel_usage.serve.questions.sample_year import SCHEMA, counts, drops, rows

from .clickhouse import ClickHouse
from .databases import event, execute_on, installation, store

pytestmark = [
    pytest.mark.timeout(1_200),
    pytest.mark.skipif(
        not (os.environ.get("OTEL_USAGE_SLOW") and importlib.util.find_spec("chdb")),
        reason="OTEL_USAGE_SLOW is not set, or chdb is not installed",
    ),
]
ALL = {**QUESTIONS, **declared_questions(SCHEMA)}
END = date(2024, 3, 31)
NAMES = [
    "it's",
    'a "b"',
    "back\\slash",
    "ünï 表 🙂",
    "{app:String}",
    "$app",
    "a\tb",
    "new\nline",
    "%s",
    "--",
    "NULL",
    "",
    "\\N",
]


def odd_events() -> list[tuple[Any, ...]]:
    """Return events at the edges: names, a leap day, a clock that is ahead, one that is behind, a late one, no fields."""
    events = []
    for n, name in enumerate(NAMES):
        for day in ("2024-02-28", "2024-02-29", "2024-03-01"):
            of = {
                "name": name,
                "version": name,
                "error_type": name,
                "outcome": "failure",
                "options": [name],
                "installation": installation(n),
            }
            events.append(event(f"{day} 23:59:59.999999", event=len(events), app=name, **of))
            events.append(
                event(f"{day} 00:00:00", event=len(events), os=name, arch=name, runtime=name, **{**of, "app": "mycli"})
            )
    events += [
        event("2024-03-05", event=900, received="2024-03-04 01:00:00", installation=installation(1)),
        event("2148-12-31", event=901, received="2024-03-04 01:00:00", installation=installation(1)),
        event("1980-01-01", event=902, received="2024-03-04 01:00:00", installation=installation(2)),
        event("2024-03-05", event=903, received="2024-03-09 01:00:00", outcome="unfinished", exit_code=None),
    ]
    return events


STORES = {
    "no data": lambda: store(),
    "one event": lambda: store([event("2024-02-29", installation=installation(1))]),
    "edges": lambda: store(
        odd_events(), drops=[("mycli", "2024-02-29 00:00:00", "it's", "1.0", 3, 1, "2024-02-29 00:00:00")]
    ),
    "a year": lambda: store(
        rows("mycli", 1500, 400, 5, END),
        counts=counts("mycli", 1500, 400, 5, END),
        drops=drops("mycli", 1500, 400, 5, END),
    ),
}
# (first day, last day, audience): with a leap day; of one day; longer than a year.
PERIODS = [
    ("2024-02-12", "2024-03-10", "people"),
    ("2024-02-29", "2024-02-29", "all"),
    ("2023-03-01", "2024-03-31", "people"),
]
MORE = {"a year": [("2024-02-12", "2024-03-10", audience) for audience in AUDIENCES]}


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> ClickHouse:
    """The engine; it has one folder in a process."""
    return ClickHouse(tmp_path_factory.mktemp("clickhouse"))


@pytest.fixture(scope="module", params=STORES)
def databases(request: pytest.FixtureRequest, clickhouse: ClickHouse) -> tuple[str, Any, Any]:
    """Two databases with the same rows: their name, what runs queries on DuckDB, and on ClickHouse."""
    connection = STORES[request.param]()
    clickhouse.fill(connection)
    return request.param, execute_on(connection), clickhouse.execute


def rounded(value: Any) -> Any:
    """Return an answer, or a part of it, with its numbers to nine digits."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


@pytest.mark.parametrize("question", ALL)
def test_the_same_on_both(databases: tuple[str, Any, Any], question: str) -> None:
    """Rows, headlines and sentences; of several periods and audiences, and whatever an app or a version is called."""
    name, duckdb, clickhouse = databases
    queries = [
        {"app": "mycli", "start": start, "end": end, "audience": audience}
        for start, end, audience in PERIODS + MORE.get(name, [])
    ]
    if name == "edges":
        period = {"start": "2024-02-12", "end": "2024-03-10"}
        queries += [{"app": odd, **period} for odd in NAMES[::2]]
        queries += [{"app": "mycli", "version": odd, **period} for odd in NAMES[1::2]]

    for query in queries:
        filters = Filters.from_query(query)
        expected, actual = (
            rounded(answer(execute, dialect, ALL[question], filters).as_object())
            for execute, dialect in ((duckdb, DUCKDB), (clickhouse, CLICKHOUSE))
        )
        assert expected == actual, query
