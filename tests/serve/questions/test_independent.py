"""The questions' SQL against plain Python, over some months of the generated year."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from otel_usage.serve.questions import DUCKDB, QUESTIONS, Filters, answer
from otel_usage.serve.questions.sample_year import COLUMNS, rows

from . import by_hand
from .databases import event, execute_on, installation, store

END = date(2024, 4, 7)
PERIODS = [("2024-02-19", "2024-03-17"), ("2024-02-29", "2024-02-29"), ("2023-12-01", "2024-04-06")]


def late_and_unknown() -> list[tuple[Any, ...]]:
    """Return events that the generated year has none of: late by days, an end that is not known, a clock that is ahead."""
    at = {"received": "2024-03-07 12:00:00", "app": "mycli"}
    return [
        event("2024-03-01", installation=installation(1), event=1, outcome="unknown", **at),
        event("2024-03-08", installation=installation(1), event=2, **at),
        event("2024-03-02", event=3, **at),
    ]


@pytest.fixture(scope="module")
def generated() -> tuple[Any, list[dict[str, Any]]]:
    """A store, and the same events as dicts."""
    events = [*rows("mycli", 250, 130, 7, END), *late_and_unknown()]
    plain = [dict(zip(COLUMNS, row, strict=True)) for row in events]
    for one in plain:
        for time in ("at", "received"):
            one[time] = datetime.fromisoformat(str(one[time]))
    return execute_on(store(events)), plain


@pytest.mark.parametrize("period", PERIODS, ids=lambda period: period[0])
@pytest.mark.parametrize("question", QUESTIONS)
def test_as_counted_in_python(generated: Any, question: str, period: tuple[str, str]) -> None:
    """Each row of each question is what a second, different calculation says."""
    execute, events = generated
    filters = Filters("mycli", *map(date.fromisoformat, period))

    expected = getattr(by_hand, question)(events, filters)
    actual = list(answer(execute, DUCKDB, QUESTIONS[question], filters).rows)
    if question == "trust":
        actual = [(row[1],) for row in actual]

    assert expected
    assert [tuple(approximate(value) for value in row) for row in expected] == actual


def approximate(value: Any) -> Any:
    """Return what compares a number to nine digits."""
    return pytest.approx(value, rel=1e-9) if isinstance(value, float) else value


def test_headlines_of_the_active(generated: Any) -> None:
    """Active, seen, new, returning, gone and once, of the period and of the one before it."""
    execute, events = generated
    filters = Filters("mycli", date(2024, 2, 19), date(2024, 3, 17))

    result = answer(execute, DUCKDB, QUESTIONS["active"], filters)

    for which, period in (("value", filters), ("previous", filters.previous())):
        days = by_hand.days_of_people(events)
        before, now = (
            {one: sum(p.start <= d <= p.end for d in of) for one, of in days.items()}
            for p in (period.previous(), period)
        )
        born = {one: min(of) for one, of in days.items()}
        seen = [one for one in days if now[one]]
        new = sum(born[one] >= period.start for one in seen)
        gone = sum(before[one] >= 2 and not now[one] for one in days)
        once = sum(n == 1 for n in now.values())
        active = sum(n >= 2 for n in now.values())
        assert [active, len(seen), new, len(seen) - new, gone, once] == [getattr(h, which) for h in result.headlines]


def test_two_halves_make_a_whole(generated: Any) -> None:
    """What is counted by run adds up: by day, by audience, and by half of the period."""
    execute, _ = generated
    whole = Filters("mycli", date(2024, 2, 19), date(2024, 3, 17))
    halves = [
        Filters("mycli", whole.start, whole.start + timedelta(13)),
        Filters("mycli", whole.start + timedelta(14), whole.end),
    ]

    total = answer(execute, DUCKDB, QUESTIONS["audience"], whole)
    parts = [answer(execute, DUCKDB, QUESTIONS["audience"], half) for half in halves]

    assert sum(row[3] for row in total.rows) == sum(row[3] for part in parts for row in part.rows)
    assert total.apart == {name: sum(part.apart[name] for part in parts) for name in total.apart}
    assert total.apart["people"] == sum(row[3] for row in total.rows if row[0] == "people")
