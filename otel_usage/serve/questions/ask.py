"""Ask a database a question, and say what the answer does not hold: who is counted apart, and what has expired."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from .dialect import Dialect
from .filters import AUDIENCES, Filters
from .question import (
    AT,
    AUDIENCE_SQL,
    Answer,
    Column,
    Headline,
    Question,
    Results,
    Row,
    Scope,
    Table,
    Value,
    describe_audience,
)

# Runs a query with its parameters bound, and returns its rows. Any: what a driver makes of a column.
Execute = Callable[[str, Mapping[str, str]], Sequence[Sequence[Any]]]
TIMES = {"events": AT, "counts": AT, "drops": AT, "installation_days": "day", "run_days": "day"}
WORDS = {
    "events": "events",
    "counts": "counts",
    "drops": "counts of what was dropped",
    "installation_days": "rows per installation and day",
    "run_days": "rows per command and day",
}
BLIND_SPOT = (
    "Installations that said no, or never saw a notice (with opt-out nothing is recorded before a notice was shown on a "
    "terminal), are in no number: each is a lower bound."
)


def answer(
    execute: Execute, dialect: Dialect, question: Question, filters: Filters, *, compares: bool = True
) -> Answer:
    """Return the answer to *question*; with no rows if there are no events, or no such program.

    compares: ask for the period before too, which costs as much again. Raises: whatever *execute* does.
    """
    table = ask_table(execute, dialect, question, filters)
    before = ask_table(execute, dialect, question, filters.previous()) if compares else Table([])
    apart = _count_runs(execute, dialect, filters)
    oldest = _find_oldest(execute, dialect, question, filters)
    old = [h.value for h in before.headlines]
    headlines = [
        Headline(h.title, h.value, h.unit, old[place] if place < len(old) else None)
        for place, h in enumerate(table.headlines)
    ]
    missing = [table.missing, _explain_oldest(oldest, question, filters, table.rolled_up), BLIND_SPOT]
    return Answer(
        question,
        filters,
        question.columns,
        tuple(_clean(row, question.columns) for row in table.rows),
        question.of_whom + ("" if question.every_audience else " " + describe_audience(filters)),
        _explain_excluded(apart, question, filters),
        " ".join(sentence for sentence in missing if sentence),
        tuple(headlines),
        apart,
        tuple(_clean(row, question.columns) for row in before.rows),
    )


def ask_table(execute: Execute, dialect: Dialect, question: Question, filters: Filters) -> Table:
    """Return the rows of the period alone, as they come: what an answer says besides is not looked for."""
    scope = Scope(dialect, "all" if question.every_audience else filters.audience)
    values = bind(question, filters)
    results: Results = {name: _run(execute, dialect, sql, values) for name, sql in question.queries(scope).items()}
    return question.shape(results, filters)


def bind(question: Question, filters: Filters) -> dict[str, str]:
    """Return the values of all parameters that the queries of *question* may have."""
    return {**_bind_filters(filters), **question.parameters(filters)}


def _bind_filters(filters: Filters) -> dict[str, str]:
    return {
        "app": filters.app,
        "version": filters.version,
        "start": filters.start.isoformat(),
        "end": filters.end.isoformat(),
        "since": f"{filters.start} 00:00:00",
        "until": f"{filters.end + timedelta(1)} 00:00:00",
    }


def _run(execute: Execute, dialect: Dialect, sql: str, values: Mapping[str, str]) -> Sequence[Sequence[Any]]:
    """Run a query with the values that it names: a driver refuses others. Any: see `Execute`."""
    return execute(sql, dialect.bind(sql, values))


def _count_runs(execute: Execute, dialect: Dialect, filters: Filters) -> dict[str, int]:
    """Return {audience: its runs in the period}, of every audience."""
    cases = " ".join(
        f"WHEN {Scope(dialect, name).of_audience_of_run_days().removeprefix(' AND ')} THEN '{name}'"
        for name in AUDIENCE_SQL
    )
    where = Scope(dialect, "all").days(audience=False)
    sql = f"SELECT CASE {cases} END AS audience, sum(runs) FROM run_days WHERE {where} GROUP BY audience"
    counted = {str(name): int(runs) for name, runs in _run(execute, dialect, sql, _bind_filters(filters))}
    return {name: counted.get(name, 0) for name in AUDIENCE_SQL}


def _find_oldest(execute: Execute, dialect: Dialect, question: Question, filters: Filters) -> dict[str, date]:
    """Return {table: its first day with anything of this program}, of the tables that are asked and have any."""
    oldest = {}
    for table in question.rows_of:
        column = TIMES[table]
        day = dialect.day(f"min({column})") if column == AT else f"min({column})"
        sql = f"SELECT {day} FROM {table} WHERE app = {dialect.text('app')} HAVING count(*) > 0"
        for row in _run(execute, dialect, sql, _bind_filters(filters)):
            oldest[table] = date.fromisoformat(str(row[0])[:10])
    return oldest


def _explain_oldest(oldest: Mapping[str, date], question: Question, filters: Filters, rolled_up: bool) -> str:
    if absent := [WORDS[table] for table in question.rows_of if table not in oldest]:
        return f"No {' and no '.join(absent)} of this program are stored: none came, or they have expired."
    day = max(oldest.values())
    if rolled_up or day <= filters.start:
        return ""
    return f"Nothing before {day} is stored (not received, or expired): the period counts from there."


def _explain_excluded(apart: Mapping[str, int], question: Question, filters: Filters) -> str:
    if question.every_audience or filters.audience == "all":
        return "Nothing is excluded."
    others = [(name, runs) for name, runs in apart.items() if name != filters.audience]
    runs = ", ".join(f"{name} {count:,}" for name, count in others)
    return f"Not counted here, runs in the period: {runs}."


def _clean(row: Sequence[Any], columns: Sequence[Column]) -> Row:
    """Return a row's values as text, int, float or None, the same from each driver. Any: see `Execute`."""
    return tuple(_clean_value(value, column.unit) for value, column in zip(row, columns, strict=True))


def _clean_value(value: Any, unit: str) -> Value:
    """Return one value by its column's unit. Any: see `Execute`."""
    if unit == "text":
        return str(value)
    if unit == "day":
        return (
            (value.date() if isinstance(value, datetime) else value).isoformat()
            if isinstance(value, date)
            else str(value)[:10]
        )
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return int(value) if unit == "count" else float(value)


__all__ = ["AUDIENCES", "Execute", "answer", "bind"]
