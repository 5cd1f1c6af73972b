"""What can be checked of both dialects without a database: every query is written, its values are bound, its texts are whole."""

from __future__ import annotations

import re
from datetime import date

import pytest
import sqlglot

from otel_usage.serve.questions import (
    AUDIENCES,
    CLICKHOUSE,
    DIALECTS,
    DUCKDB,
    QUESTIONS,
    FilterError,
    Filters,
    declared_questions,
)
from otel_usage.serve.questions.ask import bind
from otel_usage.serve.questions.question import DRAWINGS, UNITS, Answer, Column, Scope
from otel_usage.serve.questions.sample_year import COLUMNS, COUNT_COLUMNS, DROP_COLUMNS, SCHEMA
from otel_usage.serve.questions.version_order import version_key
from otel_usage.serve.store.tables import names_of

ALL = {**QUESTIONS, **declared_questions(SCHEMA)}
ODD = "x' OR 1=1 --"
FILTERS = Filters(ODD, date(2024, 2, 1), date(2024, 2, 29), version=ODD)
OF_ONE = {  # what only one of the two has a word for
    "duckdb": ("FILTER (WHERE", "unnest(", "::", "quantile_cont", "$"),
    "clickhouse": ("countIf", "uniqExact", "ARRAY JOIN", "toDate32", "argMax", "quantileExactInclusive", "{"),
}


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("question", ALL)
def test_queries_bind_their_values(question: str, audience: str) -> None:
    """No value of a filter is in a text; every parameter has a value; no word of the other dialect; parentheses are closed."""
    values = bind(ALL[question], FILTERS)
    for name, dialect in DIALECTS.items():
        for sql in ALL[question].queries(Scope(dialect, audience)).values():
            bound = dialect.bind(sql, values)

            assert ODD not in sql
            assert "2024" not in sql
            assert bound["app"] == ODD
            assert sql.count("(") == sql.count(")")
            for other in DIALECTS.keys() - {name}:
                assert [] == [word for word in OF_ONE[other] if word in sql]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_queries_are_sql(dialect: str) -> None:
    """A parser of each dialect takes every query; what databases say of them is in test_parity.py."""
    for question in ALL.values():
        for sql in question.queries(Scope(DIALECTS[dialect])).values():
            assert 1 == len(sqlglot.parse(sql, read=dialect, error_level=sqlglot.ErrorLevel.RAISE))


@pytest.mark.parametrize("question", ALL.values(), ids=list(ALL))
def test_a_question_says_what_its_number_is(question) -> None:
    """Title, why and definition are whole sentences; what is drawn are columns; units and drawings are known."""
    names = [column.name for column in question.columns]

    assert question.title.endswith("?")
    assert question.why.endswith(".")
    assert question.definition.endswith(".")
    assert question.of_whom.endswith(".")
    assert len(question.definition) > 200
    assert question.draw in DRAWINGS
    assert {column.unit for column in question.columns} <= set(UNITS)
    assert {name for name in (question.x, question.series, *question.y) if name} <= set(names)
    assert question.draw == "table" or (question.x and question.y)
    assert re.fullmatch(r"[a-z_.]+", question.id)


def test_the_generated_year_has_the_columns_of_the_store() -> None:
    """In their order."""
    assert names_of("events") == list(COLUMNS)
    assert names_of("counts") == list(COUNT_COLUMNS)
    assert names_of("drops") == list(DROP_COLUMNS)


def test_values_that_are_bound() -> None:
    """ClickHouse reads a value as TSV; only what a query names is bound."""
    value = "a\tb\\N\n\0"

    assert {"app": value} == DUCKDB.bind("$app", {"app": value, "version": ""})
    assert {"app": "a\\tb\\\\N\\n\\0"} == CLICKHOUSE.bind("{app:String}", {"app": value, "version": ""})


def test_filters_from_a_query() -> None:
    """What is not there is as usual; the period before is as long and ends where this one begins."""
    query = {"app": "a b&c", "start": "2024-02-29", "end": "2024-03-03", "version": "1+2", "audience": "ci"}
    filters = Filters.from_query(query)

    assert Filters("a b&c", date(2024, 2, 29), date(2024, 3, 3), "1+2", "ci") == filters
    assert (date(2024, 2, 25), date(2024, 2, 28), 4) == (filters.previous().start, filters.previous().end, filters.days)
    assert Filters("x", date(2026, 10, 30), date(2026, 11, 26)) == Filters.from_query({"app": "x"}, date(2026, 11, 26))


@pytest.mark.parametrize(
    "query",
    [
        {"start": "2024-02-30"}, {"end": "x"}, {"end": "0001-01-01"}, {"end": "9999-12-31"}, {"audience": "everybody"},
        {"start": "2024-03-02", "end": "2024-03-01"}, {"start": "1971-01-01", "end": "2200-01-01"},
    ],
)  # fmt: skip
def test_filters_that_are_wrong(query: dict[str, str]) -> None:
    """Each says what it is, and what is expected."""
    with pytest.raises(FilterError, match=r"expected|is not"):
        Filters.from_query({"app": "x", **query})


def test_csv_is_harmless_in_a_spreadsheet() -> None:
    """Text that begins as a formula does is marked as text; numbers are not."""
    question = QUESTIONS["platforms"]
    rows = (("=cmd()", 1, -0.5), ('a "b", c\n', 2, None))
    columns = (Column("name", "Name", "text"), Column("n", "N"), Column("share", "Share", "share"))

    text = Answer(question, FILTERS, columns, rows, "", "", "").as_csv()

    assert 'name,n,share\r\n\'=cmd(),1,-0.5\r\n"a ""b"", c\n",2,\r\n' == text


def test_the_order_of_versions() -> None:
    """By number; what comes before a release, before it; any text has a place, and no two are equal."""
    versions = ["", "0.9", "1.0.dev1", "1.0a2", "1.0b1", "1.0rc1", "1.0", "1.0.1", "1.9", "1.10", "2.0.0", "v2", "10"]

    assert versions == sorted(versions, key=version_key)
    assert len(versions) == len(set(map(version_key, versions)))
