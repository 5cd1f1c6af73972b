"""GA4's sessions are right in whatever order, and in however many requests, events come; with restarts between."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from otel_usage_exporters.compact_memory import CompactMemory
from otel_usage_exporters.ga4.sessions import MAX_SESSIONS, SESSION_S, Sessions
from otel_usage_exporters.ga4.translate import TAIL, GA4Options, translate
from otel_usage_exporters.memory import Memory
from otel_usage_exporters.usage_event import events_from_spans

from .servers import resource, run

NOW_S = 1_795_000_000
MINUTE_S, HOUR_S = 60, 3_600


def expected_sessions(times: list[int]) -> set[frozenset[int]]:
    """Return the sessions of *times* by GA4's own rule: one ends after 30 minutes without an event."""
    sessions: list[list[int]] = []
    for at in sorted(times):
        if sessions and at - sessions[-1][-1] <= SESSION_S:
            sessions[-1].append(at)
        else:
            sessions.append([at])
    return set(map(frozenset, sessions))


def deliver(memory: Memory, times: list[int], numbers: dict[int, set[int]], version: str = "1") -> None:
    """Translate one request, as exporters do: what is learned counts from then on."""
    spans = [run(at, end_ns=at * 10**9, of=resource(version=version)) for at in times]
    done = translate(events_from_spans(spans)[0], GA4Options(), now_ns=NOW_S * 10**9, sessions=memory.read())
    memory.update(done.learned)
    for request in done.requests:
        for event in json.loads(request.body(TAIL))["events"]:
            numbers[event["params"]["session_id"]].add(event["timestamp_micros"] // 10**6)


def sent_sessions(requests: list[list[int]]) -> set[frozenset[int]]:
    memory, numbers = Memory("", ""), defaultdict(set)
    for times in requests:
        deliver(memory, times, numbers)
    return set(map(frozenset, numbers.values()))


def test_an_older_batch_after_a_newer_one() -> None:
    """Two events of now, then twenty of two hours ago, a minute apart, one by one: two sessions."""
    old = [NOW_S - 2 * HOUR_S + n * MINUTE_S for n in range(20)]

    assert 2 == len(sent_sessions([[NOW_S, NOW_S - 1], *[[at] for at in old]]))
    assert 2 == len(sent_sessions([[NOW_S, NOW_S - 1], *[[at] for at in reversed(old)]]))
    assert 3 == len(sent_sessions([[NOW_S], old[10:], [NOW_S - 20 * HOUR_S], old[:10]]))


@st.composite
def sessions_of_a_client(draw: Any) -> list[int]:
    """Return the times of up to 16 sessions within 72 hours, each of at most 30 minutes, more than 30 minutes apart."""
    times: list[int] = []
    at = NOW_S - 72 * HOUR_S + 2 * MINUTE_S
    for _ in range(draw(st.integers(1, MAX_SESSIONS))):
        at += draw(st.integers(SESSION_S + 1, 3 * HOUR_S))
        length = draw(st.integers(0, SESSION_S))
        times += {at, at + length, *draw(st.lists(st.integers(at, at + length), max_size=6))}
        at += length
    return times


MANY = bool(os.environ.get("OTEL_USAGE_SLOW"))
in_any_order = settings(
    max_examples=1_000 if MANY else 30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=not MANY
)


@in_any_order
@given(st.data())
def test_any_order_any_split_and_any_restart(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """The same sessions, whatever comes when, in the sender's file and in the relay's, which are read anew again and again."""
    times = data.draw(sessions_of_a_client())
    order = data.draw(st.permutations(times))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(order)), max_size=8)))
    requests = [order[first:last] for first, last in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    folder = str(tmp_path_factory.mktemp("memory"))

    for kind in ("sender", "relay"):
        numbers: dict[int, set[int]] = defaultdict(set)
        memory = open_memory(kind, folder)
        for at, request in enumerate(requests):
            if data.draw(st.booleans()):
                memory.close()
                memory = open_memory(kind, folder)
            deliver(memory, list(request), numbers, version=str(at % 2))
        memory.close()
        assert expected_sessions(times) == set(map(frozenset, numbers.values()))


def open_memory(kind: str, folder: str) -> Memory:
    return Memory(folder, "ga4-sessions") if kind == "sender" else CompactMemory(str(Path(folder) / "ga4.memory"))


@in_any_order
@given(st.lists(st.integers(NOW_S - 70 * HOUR_S, NOW_S), min_size=1, max_size=60, unique=True))
def test_in_the_order_of_time_all_sessions_are_as_ga4s_rule_says(times: list[int]) -> None:
    """However long they are, and however many."""
    assert expected_sessions(times) == sent_sessions([[at] for at in sorted(times)]) == sent_sessions([times])


@in_any_order
@given(st.lists(st.integers(NOW_S - 6 * HOUR_S, NOW_S), min_size=1, max_size=60, unique=True))
def test_a_long_session_in_any_order(times: list[int]) -> None:
    """Two sessions never get one number, and one is counted at most once more for each full half hour that it took."""
    expected, sent = expected_sessions(times), sent_sessions([[at] for at in times])

    assert all(any(part <= whole for whole in expected) for part in sent)
    for whole in expected:
        assert sum(part <= whole for part in sent) <= 1 + (max(whole) - min(whole)) // SESSION_S


def test_sixteen_sessions_are_remembered_and_none_that_is_over() -> None:
    """Those that were used last; so what one client may take of a memory is bounded."""
    sessions = Sessions(None)
    for n in range(40):
        sessions.number_of(NOW_S - n * HOUR_S)

    assert 3 * MAX_SESSIONS == len(sessions.to_remember(0))
    assert [NOW_S - 24 * HOUR_S, 0, 0, -HOUR_S, 0, 0] == sessions.to_remember(0)[:6]
    assert 3 * 3 == len(sessions.to_remember(NOW_S - 26 * HOUR_S))
    assert [] == sessions.to_remember(NOW_S)


@pytest.mark.parametrize("remembered", ["x", [1, 2], [1, 2, "x"], [1.5, 0, 0], {"a": 1}, 7, [True, 0, 0], [0] * 300])
def test_what_is_no_list_of_sessions_is_none(remembered: Any) -> None:
    """A file that is not ours costs a session."""
    assert 7 == Sessions(remembered).number_of(7)


def test_a_late_event_changes_no_session() -> None:
    """What comes from before a session has a number of its own, and the session that is under way keeps its own."""
    sessions = Sessions([100_000, 0, 600])

    assert 5_000 == sessions.number_of(5_000)
    assert 100_000 == sessions.number_of(99_000)
    assert [100_000, 5_000] == [sessions.number_of(at) for at in (102_000, 5_060)]
