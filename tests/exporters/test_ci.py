"""In CI: no identity of a machine, and nothing that a vendor counts per user is more than it takes."""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from typing import Any

from opentelemetry.sdk.resources import Resource
from otel_usage_exporters.ga4.translate import CI_CLIENTS, TAIL, GA4Options, translate
from otel_usage_exporters.segment.translate import SegmentOptions
from otel_usage_exporters.segment.translate import tail as segment_tail
from otel_usage_exporters.segment.translate import translate as segment_translate
from otel_usage_exporters.usage_event import events_from_spans

from otel_usage.receiver import ga4 as wire

from .servers import RESOURCE, action, span

DAY_NS = 86_400 * 10**9
MIDNIGHT_NS = 1_795_000_000 * 10**9 // DAY_NS * DAY_NS
RUNS_A_DAY = 100_000
RUNS = RUNS_A_DAY if os.environ.get("OTEL_USAGE_SLOW") else 2_000
MAX_SESSIONS, MAX_EVENTS = 2_000, 100_000  # per user and day; Analytics Help 9267744, read 2026-11-26


def container(system: str = "github", version: str = "1.4.0") -> Resource:
    attributes = {**RESOURCE, "usage.ci_system": system, "service.version": version}
    del attributes["app.installation.id"]
    return Resource(attributes)


def run_in_ci(number: int, *, end_ns: int, of: Resource) -> Any:
    attributes = {"usage.kind": "run", "usage.command": "scan", "usage.outcome": "success", "usage.ci": True}
    return span(attributes, number=number, end_ns=end_ns, of=of)


def test_a_day_of_one_vendor_stays_within_ga4s_limits_per_user() -> None:
    """100,000 runs of fresh containers in a day, each with two actions: GA4 drops silently what is beyond."""
    ids = random.Random(7)
    sessions: dict[str, set[int]] = defaultdict(set)
    events: Counter[str] = Counter()
    for n in range(RUNS):
        at_ns = MIDNIGHT_NS + DAY_NS * n // RUNS
        spans = [run_in_ci(ids.getrandbits(60), end_ns=at_ns, of=container())]
        spans += [action(ids.getrandbits(60), end_ns=at_ns, of=spans[0].resource) for _ in range(2)]
        done = translate(events_from_spans(spans)[0], GA4Options(screens="page_view"), now_ns=at_ns, sessions={})
        assert {} == done.learned
        [request] = done.requests  # what is sent together is of one client
        body = json.loads(request.body(TAIL))
        sessions[body["client_id"]] |= {event["params"]["session_id"] for event in body["events"]}
        events[body["client_id"]] += len(body["events"])

    assert (CI_CLIENTS, RUNS * 4) == (len(events), events.total())
    assert {1} == {len(numbers) for numbers in sessions.values()}
    assert max(events.values()) * RUNS_A_DAY / RUNS < MAX_EVENTS / 4
    assert max(map(len, sessions.values())) < MAX_SESSIONS


def test_a_session_in_ci_is_a_day() -> None:
    """Its number is the day's first second, whatever container says so."""
    spans = [run_in_ci(n, end_ns=MIDNIGHT_NS + n * DAY_NS // 4, of=container()) for n in range(-1, 5)]

    [request] = translate(events_from_spans(spans)[0], GA4Options(), now_ns=MIDNIGHT_NS + DAY_NS).requests
    body = request.body(TAIL)
    numbers = [event["params"]["session_id"] for event in json.loads(body)["events"]]

    assert [] == wire.problems(body, now_s=MIDNIGHT_NS / 1e9 + 86_400)
    assert [(MIDNIGHT_NS + day * DAY_NS) // 10**9 for day in (-1, 0, 0, 0, 0, 1)] == numbers


def test_all_of_a_container_says_that_it_is_ci() -> None:
    """Counts and actions too, which do not say so themselves: to be filtered out of reports."""
    [request] = translate(
        events_from_spans([action(end_ns=MIDNIGHT_NS, of=container())])[0], GA4Options(), now_ns=MIDNIGHT_NS
    ).requests

    assert {"value": "true"} == json.loads(request.body(TAIL))["user_properties"]["ci"]


def test_segment_is_told_of_no_client_in_ci() -> None:
    """All containers share a name, so none may say what it is like: there is no identify."""
    spans = [run_in_ci(n, end_ns=MIDNIGHT_NS, of=container(version=f"1.{n}")) for n in range(3)]

    done = segment_translate(events_from_spans(spans)[0], SegmentOptions(), traits={}, now_ns=MIDNIGHT_NS)
    messages = json.loads(done.requests[0].body(segment_tail("wk", MIDNIGHT_NS)))["batch"]

    assert [("track", "ci.github")] * 3 == [(one["type"], one["anonymousId"]) for one in messages]
