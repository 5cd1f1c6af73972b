"""One question per declared event: under its why, with each value of its fields, and what nobody ever sent."""

from __future__ import annotations

from otel_usage.serve.questions import DUCKDB, QUESTIONS, Filters, answer, declared_questions, unused_fields
from otel_usage.serve.questions.declared import unused_columns
from otel_usage.serve.questions.sample_year import COLUMNS

from .databases import event, execute_on, installation, store

A, B = installation(1), installation(2)
WEEK = Filters.from_query({"app": "mycli", "start": "2026-11-09", "end": "2026-11-15"})
SCHEMA = {
    "report.upload": {
        "why": "is uploading worth keeping?",
        "owner": "reports team",
        "until": "2027-06-30",
        "fields": {"format": ["pdf", "html"], "retried": bool, "it": ["a"]},
    },
    "events.handled": {"kind": "count", "why": "load per channel", "fields": {"channel": ["slack", "discord"]}},
    "heartbeat": {"kind": "heartbeat", "why": "which plugins?", "fields": {"plugins": ("several", "git", "svn")}},
    "never.sent": {"why": "is it?"},
}
QUESTIONS_OF_SCHEMA = declared_questions(SCHEMA)


def upload(day: str, of: str | None, **fields: str):
    """Return a row of the action."""
    return event(day, kind="action", name="report.upload", outcome="", installation=of, fields=fields)


def test_an_action_by_its_fields() -> None:
    """Its title is its why; a share is of those that sent the field; a field that nobody sent stands there as such."""
    question = QUESTIONS_OF_SCHEMA["event.report.upload"]
    execute = execute_on(
        store(
            [
                upload("2026-11-10", A, format="pdf"), upload("2026-11-11", A, format="html"), upload("2026-11-12", B),
                upload("2026-11-12", None, format="pdf"), event("2026-11-12", kind="error", name="report.upload"),
            ]
        )
    )  # fmt: skip

    result = answer(execute, DUCKDB, question, WEEK)

    assert "is uploading worth keeping?" == question.title
    assert "reports team answers for it" in question.why
    assert "until 2027-06-30" in question.why
    assert [
        ("(all)", "(all)", 2, None, 4, "2026-11-12"),
        ("format", "pdf", 1, 1.0, 2, "2026-11-12"),
        ("format", "html", 1, 1.0, 1, "2026-11-11"),
        ("retried", "(never sent)", 0, None, 0, "2026-11-12"),
        ("it", "(never sent)", 0, None, 0, "2026-11-12"),
    ] == list(result.rows)
    assert ["report.upload.retried", "report.upload.it"] == unused_fields(execute, DUCKDB, SCHEMA, WEEK)


def test_a_count_adds_amounts() -> None:
    """Of everybody, services too: a count has no audience of its own."""
    row = ("mycli", "2026-11-10 00:00:00", "events.handled", A, False, "1.0", False, "service")
    counts = [(*row, 40, {"channel": "slack"}, 1, row[1]), (*row, 2, {"channel": "discord"}, 2, row[1])]

    result = answer(execute_on(store(counts=counts)), DUCKDB, QUESTIONS_OF_SCHEMA["event.events.handled"], WEEK)

    assert [
        ("(all)", "(all)", 1, None, 42, "2026-11-10"),
        ("channel", "slack", 1, 1.0, 40, "2026-11-10"),
        ("channel", "discord", 1, 1.0, 2, "2026-11-10"),
    ] == list(result.rows)
    assert "Nothing is excluded." == result.excluded


def test_a_field_of_several_values() -> None:
    """Each value counts by itself."""
    beat = {"kind": "heartbeat", "name": "heartbeat", "outcome": "", "surface": "service"}
    events = [
        event("2026-11-10", installation=A, fields={"plugins": "git,svn"}, **beat),
        event("2026-11-10", installation=B, fields={"plugins": "git"}, **beat),
    ]

    result = answer(execute_on(store(events)), DUCKDB, QUESTIONS_OF_SCHEMA["event.heartbeat"], WEEK)

    assert [("plugins", "git", 2, 1.0, 2), ("plugins", "svn", 1, 0.5, 1)] == [row[:5] for row in result.rows[1:]]


def test_columns_that_no_question_uses() -> None:
    """They are few, and listed in docs/questions.md."""
    everything = {**QUESTIONS, **QUESTIONS_OF_SCHEMA}

    assert ["exit_code", "first_week", "cluster", "tty", "event"] == unused_columns(COLUMNS, everything)
