"""Each question over a few events whose answer anybody can count."""

from __future__ import annotations

from typing import Any

import pytest

from otel_usage.serve.questions import DUCKDB, QUESTIONS, Answer, Filters, answer

from .databases import event, execute_on, insert, installation, store

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

    assert "of this program are stored: none came, or they have expired." in result.missing
    assert result.as_json()
    assert result.as_csv()


def test_the_newest_version_is_drawn_however_few_have_it() -> None:
    """With more versions than there are colours the newest has one, the most frequent others too; the rest is together."""
    events = [
        event("2026-11-09", version=f"1.{n}", installation=installation(100 * n + m), event=100 * n + m)
        for n in range(9)
        for m in range(2 if n == 4 else 3)
    ]
    events.append(event("2026-11-10", version="1.10", installation=installation(1_000), event=1_000))

    rows = ask("versions", events).rows

    assert [f"1.{n}" for n in (0, 1, 2, 3, 5, 6, 10)] + ["other"] == [row[1] for row in rows]
    assert [3, 3, 3, 3, 3, 3, 1, 8] == [row[2] for row in rows]


def test_versions_and_upgrades() -> None:
    """By week, each installation by its last version; upgrades are of those that were there before the version."""
    result = ask(
        "versions",
        [
            event("2026-11-01", installation=A, version="1.9"), event("2026-11-01", installation=B, version="1.9"),
            event("2026-11-09", installation=A, version="1.9"), event("2026-11-10", installation=A, version="1.10"),
            event("2026-11-14", installation=B, version="1.10"), event("2026-11-15", installation=C, version="1.9"),
            event("2026-11-13", installation=D, version="1.10"),
        ],
    )  # fmt: skip

    assert [("2026-11-09", "1.9", 1, 0.25), ("2026-11-09", "1.10", 3, 0.75)] == list(result.rows)
    assert {
        "newest version": "1.10",
        "share on the newest version": 0.75,
        "installations on older versions": 1,
        "installations that upgraded to the newest": 2,
        "median days until they did": 2.0,
    } == headlines(result)


def test_failures_since_which_release() -> None:
    """The rate is of runs that succeeded or failed, and stands beside that of the version before."""
    failed = {"outcome": "failure", "exit_code": 1, "error_type": "ValueError"}
    result = ask(
        "failures",
        [
            *[event("2026-11-10", installation=A, version="1.9") for _ in range(3)],
            event("2026-11-10", installation=A, version="1.9", **failed),
            event("2026-11-11", installation=A, version="1.10", **failed),
            event("2026-11-12", installation=B, version="1.10", **failed),
            event("2026-11-11", installation=A, version="1.10", **failed | {"error_type": "KeyError"}),
            event("2026-11-11", installation=A, version="1.10"),
            event("2026-11-11", version="1.10", outcome="help"),
            event("2026-11-11", version="1.10", outcome="unfinished", exit_code=None),
            event("2026-11-11", version="1.10", outcome="usage_error", exit_code=2),
            event("2026-11-11", name="list"),
        ],
    )

    assert [
        ("scan", "1.10", 2, 3, 4, 0.75, 0.25, 1, 1, "ValueError", "2026-11-12"),
        ("scan", "1.9", 1, 1, 4, 0.25, None, 0, 0, "ValueError", "2026-11-10"),
    ] == list(result.rows)
    assert {
        "failure rate": 4 / 9,
        "failed runs": 4,
        "installations with a failure": 2,
        "runs that ended without a word": 1,
    } == headlines(result)


def test_platforms_by_the_last_day() -> None:
    """An installation that moved to another Python counts once, with the last."""
    result = ask(
        "platforms",
        [
            event("2026-11-10", installation=A, runtime_version="3.11.7"), event("2026-11-12", installation=A),
            event("2026-11-10", installation=B, os="darwin", os_version="24.1.0", arch="arm64", runtime_version="3.12.1"),
            event("2026-11-10", installation=C, os="", os_version="", arch="", runtime="", runtime_version=""),
        ],
    )  # fmt: skip

    third = 1 / 3
    assert [
        ("runtime", "CPython 3.12", 2, 2 / 3), ("runtime", "(not sent)", 1, third),
        ("system", "(not sent)", 1, third), ("system", "darwin", 1, third), ("system", "linux", 1, third),
        ("system version", "(not sent)", 1, third), ("system version", "darwin 24", 1, third), ("system version", "linux 6.1", 1, third),
        ("architecture", "(not sent)", 1, third), ("architecture", "amd64", 1, third), ("architecture", "arm64", 1, third),
    ] == list(result.rows)  # fmt: skip


def test_whose_is_which_share() -> None:
    """CI before agents, agents before services; ids that do not last stand apart, and are no installations."""
    result = ask(
        "audience",
        [
            event("2026-11-10", installation=A), event("2026-11-10", installation=B, ephemeral=True),
            event("2026-11-10", ci=True, ci_system="github", agent="codex", outcome="failure"),
            event("2026-11-10", agent="codex", installation=A), event("2026-11-10", agent="codex", installation=A),
            event("2026-11-10", surface="service", kind="heartbeat", name="heartbeat", outcome="", installation=C),
        ],
        Filters.from_query({"app": "mycli", "start": "2026-11-09", "end": "2026-11-15", "audience": "ci"}),
    )  # fmt: skip

    assert [
        ("people", "an id that does not last (a container)", 0, 1, 0.2, 0.0, 1),
        ("people", "an id that lasts", 1, 1, 0.2, 0.0, 1),
        ("ci", "github", 0, 1, 0.2, 1.0, 1),
        ("agents", "codex", 1, 2, 0.4, 0.0, 2),
        ("services", "an id that lasts", 1, 0, 0.0, None, 1),
    ] == list(result.rows)
    assert {"people": 2, "ci": 1, "agents": 2, "services": 0} == result.apart


def test_activation_step_by_step() -> None:
    """Each step is of those who did the ones above it, within seven days after their first."""
    result = ask(
        "activation",
        [
            event("2026-11-03 10:00:00", installation=A, kind="first_run", outcome=""),
            event("2026-11-03 10:00:00", installation=A, outcome="failure"),
            event("2026-11-03 12:00:00", installation=A), event("2026-11-03 13:00:00", installation=A, kind="action"),
            event("2026-11-04 10:00:00", installation=A),
            event("2026-11-03 10:00:00", installation=B, outcome="failure"), event("2026-11-05", installation=B, outcome="failure"),
            event("2026-11-03 10:00:00", installation=C), event("2026-11-12", installation=C, kind="action"),
            event("2026-10-03", installation=D), event("2026-11-04", installation=D),
            event("2026-11-09", installation=installation(9)),
        ],
    )  # fmt: skip

    assert [
        ("first seen", 3, 1.0, 0.0),
        ("ran a command", 3, 1.0, 0.0),
        ("a run succeeded", 2, 2 / 3, 1.0),
        ("did a declared action", 1, 1 / 3, 3.0),
        ("came back on another day", 1, 1 / 3, 24.0),
    ] == list(result.rows)
    assert "newcomers of 2026-11-02 to 2026-11-08" in result.missing


def test_weekly_cohorts() -> None:
    """A cohort is a week's newcomers; a week in which nobody of it was seen is 0, and one that is not over is absent."""
    result = ask(
        "cohorts",
        [
            event("2026-10-26", installation=A), event("2026-11-01", installation=B), event("2026-11-09", installation=A),
            event("2026-11-10", installation=C), event("2026-11-17", installation=C),
        ],
        Filters.from_query({"app": "mycli", "start": "2026-11-09", "end": "2026-11-18"}),
    )  # fmt: skip

    assert [
        ("2026-10-26", 0, 2, 2, 1.0),
        ("2026-10-26", 1, 0, 2, 0.0),
        ("2026-10-26", 2, 1, 2, 0.5),
        ("2026-11-09", 0, 1, 1, 1.0),
    ] == list(result.rows)
    assert {"seen in week 1": 0.0, "seen in week 4": None, "seen in week 8": None} == headlines(result)


def test_durations_exact_and_rounded_up() -> None:
    """Quantiles fall between values; where the events have expired, they are of powers of two, and the answer says so."""
    connection = store([event("2026-11-10", duration_us=n * 1_000_000) for n in (1, 2, 3, 4)])

    exact = answer(execute_on(connection), DUCKDB, QUESTIONS["durations"], WEEK)
    connection.execute("DELETE FROM events")
    rounded_up = answer(execute_on(connection), DUCKDB, QUESTIONS["durations"], WEEK)

    assert [("scan", "1.0", 4, 2.5, pytest.approx(3.7), pytest.approx(3.97))] == list(exact.rows)
    assert [("scan", "1.0", 4, 2.097152, 4.194304, 4.194304)] == list(rounded_up.rows)
    assert "rounded up" in rounded_up.missing
    assert "No events of this program are stored" in rounded_up.missing
    assert "rounded up" not in exact.missing


EXPIRING = [
    event("2026-11-10", installation=A, options=["--deep"]), event("2026-11-11", installation=B, outcome="failure"),
    event("2026-11-12", name="list", installation=B, outcome="unfinished"), event("2026-11-12", name="list"),
    event("2026-11-12", name="list", ci=True, ci_system="github", outcome="failure"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "rows", "headlines"),
    [
        (
            "commands",
            [("command", "list", None, None, 2, "2026-11-12"), ("command", "scan", None, None, 2, "2026-11-11")],
            [None, 4],
        ),
        (
            "failures",
            [
                ("scan", "1.0", None, 1, 2, 0.5, None, 0, 0, "", "2026-11-11"),
                ("list", "1.0", None, 0, 1, 0.0, None, 1, 0, "", ""),
            ],
            [pytest.approx(1 / 3), 1, None, 1],
        ),
        (
            "audience",
            [
                ("people", "(not known)", None, 4, 0.8, pytest.approx(1 / 3), None),
                ("ci", "(not known)", None, 1, 0.2, 1.0, None),
            ],
            [0.8, 0.2, 0.0, 0.0],
        ),
    ],
)
def test_what_outlives_the_events(question: str, rows: list[Any], headlines: list[Any]) -> None:
    """Where the events have expired, runs come from counts per day, what they do not hold is not given, and the answer says so."""
    connection = store(EXPIRING)
    connection.execute("DELETE FROM events")
    result = answer(execute_on(connection), DUCKDB, QUESTIONS[question], WEEK)
    insert(connection, "events", [event("2026-12-01")])
    later = answer(execute_on(connection), DUCKDB, QUESTIONS[question], WEEK)

    assert rows == list(result.rows) == list(later.rows)
    assert headlines == [headline.value for headline in result.headlines]
    assert "have expired: runs come from counts per day" in result.missing
    assert "the period counts from there" not in later.missing


def test_trust_once_the_events_have_expired() -> None:
    """Runs, and how they ended, are of counts per day; what only the events held is left out."""
    connection = store(EXPIRING)
    connection.execute("DELETE FROM events")
    result = answer(execute_on(connection), DUCKDB, QUESTIONS["trust"], WEEK)

    assert [5, 1, 1, 0] == [row[1] for row in result.rows]
    assert "runs come from counts per day" in result.missing


def test_what_is_missing() -> None:
    """Late, ahead, dropped, nameless, once only: each is counted, with what it is a share of."""
    result = ask(
        "trust",
        [
            event("2026-11-10", installation=A), event("2026-11-11", installation=A), event("2026-11-10", installation=B),
            event("2026-11-10", installation=C, ephemeral=True), event("2026-11-10", outcome="unfinished"),
            event("2026-11-10", ci=True, outcome="unknown", received="2026-11-12 12:00:00"),
            event("2026-11-20", received="2026-11-10 12:00:00"),
        ],
        drops=[("mycli", "2026-11-10 00:00:00", "age", "1.0", 3, 1, "2026-11-10 00:00:00"), ("mycli", "2026-11-11 00:00:00", "it's", "1.0", 1, 2, "2026-11-11 00:00:00")],
    )  # fmt: skip

    assert {
        "records in the period": (6, None), "days with records": (2, 2 / 7),
        "installations seen on one day only": (1, 0.5), "records with an id that does not last": (1, 0.2),
        "records without an id, outside CI": (1, 0.2), "records that came more than a day late": (1, 1 / 6),
        "records from clocks that are ahead": (1, 1 / 6), "runs that ended without a word": (1, 1 / 6),
        "runs whose end is not known": (1, 1 / 6), "dropped: age": (3, 3 / 9), "dropped: it's": (1, 1 / 7),
    } == {row[0]: (row[1], row[2]) for row in result.rows}  # fmt: skip
    assert "it waited too long" in records(result)[-2]["meaning"]


def test_from_which_day_it_counts() -> None:
    """A period that begins before the first row says so; one that does not, does not."""
    events = [event("2026-11-11", installation=A), event("2026-11-16", installation=A)]
    later = Filters.from_query({"app": "mycli", "start": "2026-11-11", "end": "2026-11-16"})

    for question in ("active", "commands"):
        assert "Nothing before 2026-11-11 is stored" in ask(question, events).missing
        assert "Nothing before" not in ask(question, events, later).missing
