"""Attacks on answers: rows of another program in the same store, and filters that are SQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import duckdb
import pytest

from otel_usage.serve.publish.numbers import count_month, find_first_month
from otel_usage.serve.questions import (
    AUDIENCES,
    DUCKDB,
    QUESTIONS,
    Filters,
    answer,
    declared_questions,
    unused_fields,
)
from otel_usage.serve.questions.sample_year import SCHEMA, counts, drops, rows
from otel_usage.serve.store.tables import TABLES

from .databases import event, execute_on, installation, store

END = date(2026, 11, 26)
QUARTER = Filters("mycli", END - timedelta(89), END)
ALL_QUESTIONS = {**QUESTIONS, **declared_questions(SCHEMA)}
SQL = [
    "' OR 1=1 --", "'; DROP TABLE events; --", '"; DROP TABLE run_days; --', "$app", "{app:String}", "x' UNION SELECT * FROM events --",
    "\\' OR '1'='1", "%", "_", "\0", "mycli' /*",
]  # fmt: skip


def year(app: str, seed: int, size: int = 60) -> dict[str, list[Any]]:
    """Return rows of all tables that are not rolled up, of a quarter."""
    return {
        "events": list(rows(app, size, 100, seed, END)),
        "counts": list(counts(app, size, 100, seed, END)),
        "drops": list(drops(app, size, 100, seed, END)),
    }


@pytest.fixture(scope="module")
def alone() -> Callable[..., Any]:
    """Runs queries on a store with one program."""
    return execute_on(store(**year("mycli", 3)))


@pytest.fixture(scope="module")
def shared() -> Callable[..., Any]:
    """Runs queries on a store that has others too: one with the same installations and names, one whose name begins likewise,
    and one whose name is SQL.
    """
    tables = year("mycli", 3)
    for app, seed in (("other", 3), ("mycli2", 4), ("mycli' OR app='other", 5), ("", 6)):
        for table, of in year(app, seed).items():
            tables[table] += of
    return execute_on(store(**tables))


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("id_", ALL_QUESTIONS)
def test_rows_of_other_programs_change_no_answer(
    alone: Callable[..., Any], shared: Callable[..., Any], id_: str, audience: str
) -> None:
    """Of every question, audience and with a version: the answer is what it is where nobody else has sent anything."""
    for version in ("", "1.2.0"):
        filters = Filters(QUARTER.app, QUARTER.start, QUARTER.end, version, audience)
        expected = answer(alone, DUCKDB, ALL_QUESTIONS[id_], filters)

        assert expected.as_json() == answer(shared, DUCKDB, ALL_QUESTIONS[id_], filters).as_json()
        if not version and audience == "all":
            assert expected.rows


def test_nor_what_is_published_or_called_unused(alone: Callable[..., Any], shared: Callable[..., Any]) -> None:
    """The same of months that are published, and of fields that nobody sent."""
    month = find_first_month(alone, "mycli")
    assert month == find_first_month(shared, "mycli")
    assert count_month(alone, "mycli", date(2026, 10, 1)) == count_month(shared, "mycli", date(2026, 10, 1))
    assert unused_fields(alone, DUCKDB, SCHEMA, QUARTER) == unused_fields(shared, DUCKDB, SCHEMA, QUARTER)


@pytest.fixture(scope="module")
def planted() -> duckdb.DuckDBPyConnection:
    """A store with a program whose rows nobody else may see."""
    secret = [
        event("2026-11-20", app="secret-app", name="secret-name", version="6.6.6", installation=installation(1), kind=kind, event=n)
        for n, kind in enumerate(("run", "action", "error", "heartbeat"))
    ]  # fmt: skip
    return store(secret)


@pytest.mark.parametrize("text", SQL)
@pytest.mark.parametrize("id_", ALL_QUESTIONS)
def test_no_filter_is_taken_for_sql(planted: duckdb.DuckDBPyConnection, id_: str, text: str) -> None:
    """As the name of a program it finds no rows, as a version none of another; and every table is as it was."""
    before = [planted.execute(f"SELECT count(*) FROM {table}").fetchone() for table in TABLES]

    for filters in (
        Filters(text, QUARTER.start, QUARTER.end, audience="all"),
        Filters("mycli", QUARTER.start, QUARTER.end, text, "all"),
        Filters(text, QUARTER.start, QUARTER.end, text),
    ):
        result = answer(execute_on(planted), DUCKDB, ALL_QUESTIONS[id_], filters)
        assert not [word for word in ("secret-name", "6.6.6") if word in result.as_json()]
        assert {0} == set(result.apart.values())

    assert before == [planted.execute(f"SELECT count(*) FROM {table}").fetchone() for table in TABLES]


@pytest.mark.parametrize("text", SQL)
def test_no_declared_name_is_taken_for_sql(planted: duckdb.DuckDBPyConnection, text: str) -> None:
    """A schema's names, fields and values are bound, or are not in the query at all."""
    schema = {
        f"{kind}{text}": {"kind": kind, "why": text, "owner": text, "fields": {f"{n}{text}": [text] for n in range(2)}}
        for kind in ("action", "error", "count", "heartbeat")
    }
    filters = Filters("secret-app", QUARTER.start, QUARTER.end, audience="all")
    for question in declared_questions(schema).values():
        result = answer(execute_on(planted), DUCKDB, question, filters)
        assert [0, 0] == [headline.value for headline in result.headlines]

    assert 4 == planted.execute("SELECT count(*) FROM events").fetchone()[0]
