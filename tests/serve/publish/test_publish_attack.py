"""Attacks on what is published: subtract two days, two tables, two groups; or look for one installation among others."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from itertools import combinations
from typing import Any

import pytest

from otel_usage.serve.publish.numbers import OTHER, blur, count_month, merge_small
from otel_usage.serve.questions.sample_year import COLUMNS, rows

from ..questions.databases import event, execute_on, installation, store

OCTOBER, LATER = date(2026, 10, 1), date(2026, 11, 26)
# What only the target has.
RARE = {
    "version": "9.9.9", "name": "secret-command", "os": "plan9", "os_version": "4.0", "arch": "mips", "runtime": "PyPy",
    "runtime_version": "3.7.1",
}  # fmt: skip


def crowd(size: int, **columns: Any) -> list[tuple[Any, ...]]:
    """Return events of some installations that do the same."""
    return [event("2026-10-10", installation=installation(n), event=n, **columns) for n in range(1, size + 1)]


def published(events: list[tuple[Any, ...]]) -> dict[str, dict[tuple[str, str], int]]:
    """Return {table: {group: installations}} of October."""
    tables = count_month(execute_on(store(events)), "mycli", OCTOBER)
    return {
        name: {(group.what, group.name): group.installations for group in groups} for name, groups in tables.items()
    }


TARGET = [event("2026-10-11", installation=installation(999), event=999, **RARE)]


@pytest.mark.parametrize("size", [0, 9, 14, 15, 25])
def test_one_among_others(size: int) -> None:
    """Nothing that only one installation has is named; and with it a count is what it was without it, or ten more or less."""
    without, with_it = published(crowd(size)), published(crowd(size) + TARGET)

    spelled = json.dumps([[list(map(str, group)) for group in groups] for groups in with_it.values()])
    assert [] == [word for word in RARE.values() if word in spelled]
    for table in with_it:
        for group in without[table].keys() | with_it[table].keys():
            assert with_it[table].get(group, 0) - without[table].get(group, 0) in (-10, 0, 10), (table, group)


def test_two_days() -> None:
    """What arrives after the month was counted changes nothing in it, even in a folder that is new."""
    arrived = crowd(14, received="2026-11-07 23:59:59")
    later = [
        event("2026-10-12", installation=installation(50 + n), event=50 + n, received="2026-11-08 00:00:00", **RARE)
        for n in range(30)
    ]

    assert published(arrived) == published(arrived + later)


def test_two_filters() -> None:
    """CI, agents, services and ids that do not last are in no number, so there is nothing to subtract them from."""
    others = [
        *crowd(40, ci=True), *crowd(40, agent="codex"), *crowd(40, surface="service"), *crowd(40, ephemeral=True),
    ]  # fmt: skip

    assert {"active": {}, "versions": {}, "commands": {}, "platforms": {}} == published(others)
    assert published(crowd(25)) == published(crowd(25) + [(*row[:4], None, *row[5:]) for row in others])


def test_two_tables_and_two_groups() -> None:
    """Over a generated month: each group has ten installations, and any two numbers are equal or differ by ten at least."""
    events = [
        row for row in rows("mycli", 400, 160, 3, LATER)
        if str(row[1])[:7] == "2026-10" and not row[12] and not row[14] and row[15] == "cli" and row[4] and not row[5]
    ]  # fmt: skip
    plain = [dict(zip(COLUMNS, row, strict=True)) for row in events]
    users = Counter(name for _, name in {(one["installation"], one["name"]) for one in plain if one["kind"] == "run"})
    last = {one["installation"]: one["version"] for one in sorted(plain, key=lambda one: one["at"])}
    versions = Counter(last.values())

    tables = published(events)

    numbers = sorted(n for groups in tables.values() for n in groups.values())
    assert len(numbers) > 20
    assert all(b - a >= 10 for a, b in combinations(sorted(set(numbers)), 2))
    assert {("", name): blur(n) for name, n in users.items() if n >= 10} == tables["commands"]
    assert {(name, blur(n)) for name, n in versions.items() if n >= 10} >= {
        (name, n) for (_, name), n in tables["versions"].items() if name != OTHER
    }
    rest = sum(n for n in versions.values() if n < 10)
    assert ({("", OTHER): blur(rest)} if rest >= 10 else {}) == {
        group: n for group, n in tables["versions"].items() if group[1] == OTHER
    }


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ({"a": 100, "b": 9}, {"a": 100}),
        ({"a": 100, "b": 20, "c": 3}, {"a": 100, "b": 20}),
        ({"a": 100, "b": 9, "c": 9}, {"a": 100, OTHER: 18}),
        ({"a": 10, "b": 10}, {"a": 10, "b": 10}),
        ({"a": 9}, {}),
        ({"a": 5, "b": 4}, {}),
        ({OTHER: 50, "a": 20}, {"a": 20, OTHER: 50}),
        ({}, {}),
    ],
)
def test_small_groups_are_merged_or_left_out(counts: dict[str, int], shown: dict[str, int]) -> None:
    """No group that is shown has fewer than ten, and "other" has not either."""
    assert shown == merge_small(counts)
