"""Rollups say of each day what its events say, however and whenever these come."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pytest

from otel_usage.serve.store import rollup
from otel_usage.serve.store.store import Store

from .stores import NOON, ONE, ask, days, row, some_id

FROM_EVENTS = """
    SELECT app, e."at"::DATE AS day, installation, arg_max(version, e."at"), count(*) FILTER (kind = 'run'),
        count(*) FILTER (kind = 'run' AND outcome = 'failure'), max(e."at")
    FROM events AS e WHERE installation IS NOT NULL AND NOT ephemeral GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
ROLLED_UP = "SELECT app, day, installation, version, runs, failures, seen FROM installation_days ORDER BY 1, 2, 3"
RUNS_FROM_EVENTS = """
    SELECT app, e."at"::DATE AS day, name, version, outcome, ci, agent <> '', surface,
        CASE WHEN duration_us < 2 THEN 0 ELSE floor(log2(duration_us))::INTEGER END, count(*)
    FROM events AS e WHERE kind = 'run' GROUP BY ALL ORDER BY ALL
"""
RUNS_ROLLED_UP = "SELECT app, day, name, version, outcome, ci, agent, surface, bucket, runs FROM run_days ORDER BY ALL"


def some_rows(seed: int, n: int = 400) -> list[tuple[Any, ...]]:
    """Return rows of few installations and days, in no order."""
    chance = random.Random(seed)
    ids = [some_id() for _ in range(6)] + [None]
    return [
        row(
            event,
            at=NOON + days(chance.random() * 5),
            app=chance.choice(["mycli", "other"]),
            installation=chance.choice(ids),
            ephemeral=chance.random() < 0.1,
            kind=chance.choice(["run", "run", "action", "heartbeat"]),
            version=chance.choice(["1.4", "1.5"]),
            outcome=chance.choice(["success", "failure", "help"]),
            agent=chance.choice(["", "codex"]),
            duration_us=chance.choice([0, 1, 2, 1023, 1024, 10**9]),
        )
        for event in range(1, n + 1)
    ]


def test_rollups_are_what_the_events_say(tmp_path: Path) -> None:
    """In whatever parts the events come, the rollups equal those made of all at once."""
    rows = some_rows(1)
    with Store(tmp_path / "s") as store:
        rolled_up = []
        for first in range(0, len(rows), 61):
            store.write(rows[first : first + 61])
            store.write(rows[first : first + 61])
            rolled_up.append(store.roll_up())
        nothing = store.roll_up()

        assert (len(rows), 0) == (sum(rolled_up), nothing)
        assert ask(store, FROM_EVENTS) == ask(store, ROLLED_UP)
        assert ask(store, RUNS_FROM_EVENTS) == ask(store, RUNS_ROLLED_UP)


def test_an_event_counts_once_however_the_rollup_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollup that fails in its middle leaves nothing, and the next one takes all of it."""
    rows = some_rows(2, 100)
    broken = rollup._MERGE_RUNS
    with Store(tmp_path / "s") as store:
        store.write(rows)
        monkeypatch.setattr(rollup, "_MERGE_RUNS", "SELECT error('cut short'), $low, $high, $first, $last")
        with pytest.raises(duckdb.Error):
            store.roll_up()
        nothing = ask(store, ROLLED_UP)
        monkeypatch.setattr(rollup, "_MERGE_RUNS", broken)

        assert ([], len(rows)) == (nothing, store.roll_up())
        assert ask(store, FROM_EVENTS) == ask(store, ROLLED_UP)


def test_a_late_event_goes_to_its_day(tmp_path: Path) -> None:
    """The version of a day is that of its last event, not of the last one that came."""
    with Store(tmp_path / "s") as store:
        store.write([row(1, at=NOON, version="1.5")])
        store.roll_up()
        store.write([row(2, at=NOON - days(0.1), version="1.4"), row(3, at=NOON - days(9), version="1.3")])
        store.roll_up()
        rows = ask(store, "SELECT day, version, runs FROM installation_days ORDER BY day")

    assert [((NOON - days(9)).date(), "1.3", 1), (NOON.date(), "1.5", 2)] == rows


def test_rollups_outlive_events(tmp_path: Path) -> None:
    """Raw rows go first, but none that was not rolled up; a late event of a day whose rows are gone is added to it."""
    with Store(tmp_path / "s") as store:
        store.write([row(1, at=NOON - days(100)), row(2)])
        before = store.expire(NOON, raw_days=30, rollup_days=365)
        store.roll_up()
        after = store.expire(NOON, raw_days=30, rollup_days=365)
        store.write([row(3, at=NOON - days(100))])
        store.roll_up()
        store.expire(NOON, raw_days=30, rollup_days=365)
        rows = ask(store, "SELECT day, runs FROM installation_days ORDER BY day")
        later = store.expire(NOON + days(300), raw_days=30, rollup_days=365)
        left = ask(store, "SELECT day FROM installation_days")

    assert ({}, {"events": 1}) == (before, after)
    assert [((NOON - days(100)).date(), 2), (NOON.date(), 1)] == rows
    assert {"events": 1, "installation_days": 1, "run_days": 1} == later
    assert [(NOON.date(),)] == left


def test_those_whose_id_does_not_last_are_left_out(tmp_path: Path) -> None:
    """A row a day and installation is for installations: CI and containers have none, and their runs count all the same."""
    with Store(tmp_path / "s") as store:
        store.write([row(1, installation=None, ci=True), row(2, ephemeral=True), row(3)])
        store.roll_up()

        assert [(ONE,)] == ask(store, "SELECT installation::VARCHAR FROM installation_days")
        assert [(3,)] == ask(store, "SELECT sum(runs) FROM run_days")
