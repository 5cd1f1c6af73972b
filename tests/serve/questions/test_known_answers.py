"""Each question over a few events whose answer anybody can count."""

from __future__ import annotations

from typing import Any

import pytest

from otel_usage.serve.questions import DUCKDB, QUESTIONS, Answer, Filters, answer

from .databases import event, execute_on, installation, store

A, B, C, D = (installation(n) for n in range(4))
WEEK = Filters.from_query({"app": "mycli", "start": "2026-11-09", "end": "2026-11-15"})  # Monday to Sunday


def ask(question: str, events: list[Any], filters: Filters = WEEK, **others: Any) -> Answer:
    """Return the answer of a store that holds these events."""
    return answer(execute_on(store(events, **others)), DUCKDB, QUESTIONS[question], filters)


def headlines(result: Answer) -> dict[str, Any]:
    """Return the headlines' values."""
    return {headline.title: headline.value for headline in result.headlines}


def records(result: Answer) -> list[dict[str, Any]]:
    """Return the rows with their columns' names."""
    return [dict(zip([c.name for c in result.columns], row, strict=True)) for row in result.rows]


def test_active_new_returning_gone() -> None:
    """Two days make an installation active; its first day ever makes it new; one active before and absent now is gone."""
    result = ask(
        "active",
        [
            event("2026-11-03", installation=A), event("2026-11-10", installation=A), event("2026-11-10", installation=A),
            event("2026-11-12", installation=B), event("2026-11-13", installation=B),
            event("2026-11-14", installation=C), event("2026-11-14", installation=C),
            event("2026-11-02", installation=D), event("2026-11-05", installation=D),
            event("2026-11-10", installation=installation(9), ephemeral=True), event("2026-11-10", ci=True),
        ],
    )  # fmt: skip

    assert {"active": 1, "seen": 3, "new": 2, "returning": 1, "gone": 1, "seen on one day only": 2} == headlines(result)
    assert [("2026-11-10", 0, 1, 0), ("2026-11-12", 1, 0, 1), ("2026-11-13", 0, 1, 1), ("2026-11-14", 1, 0, 0)] == [
        row for row in result.rows if row[1] or row[2]
    ]
    assert 7 == len(result.rows)
    assert 2 == result.headlines[1].previous
    assert "ci 1, agents 0" in result.excluded


def test_commands_by_how_many_use_them() -> None:
    """A command counts each installation once, however often it runs; runs without an id are times, and nobody's."""
    result = ask(
        "commands",
        [
            event("2026-11-10", installation=A, options=["--deep", "--all"]), event("2026-11-11", installation=A),
            event("2026-11-11", installation=B, options=["--deep"]), event("2026-11-12", name="list", installation=B),
            event("2026-11-12", name="list"), event("2026-11-12", kind="action", name="report.upload", installation=B),
            event("2026-11-12", name="list", agent="codex", installation=C),
        ],
    )  # fmt: skip

    assert [
        ("command", "scan", 2, 1.0, 3, "2026-11-11"),
        ("command", "list", 1, 0.5, 2, "2026-11-12"),
        ("option", "scan --deep", 2, 1.0, 2, "2026-11-11"),
        ("option", "scan --all", 1, 0.5, 1, "2026-11-10"),
        ("action", "report.upload", 1, 0.5, 1, "2026-11-12"),
    ] == list(result.rows)


@pytest.mark.parametrize("question", QUESTIONS)
def test_nothing_is_stored(question: str) -> None:
    """Of no events each question has an answer, which says that there are none."""
    result = ask(question, [])

    assert "Nothing of this program is stored." in result.missing
    assert result.as_json()
    assert result.as_csv()
