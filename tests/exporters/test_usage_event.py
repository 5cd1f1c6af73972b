"""From spans and data points to usage events."""

from __future__ import annotations

import uuid

from opentelemetry.sdk.trace import ReadableSpan
from otel_usage_exporters.usage_event import NAMESPACE, data_points, events_from_metrics, events_from_spans

from .servers import (
    MS,
    action,
    counter,
    error,
    everything,
    first_run,
    gauge,
    heartbeat,
    histogram,
    metrics,
    point,
    resource,
    run,
    span,
)

NOW = 1_795_000_000_000_000_000


def test_a_run_keeps_what_was_recorded():
    """A run's span becomes one event with its command, outcome, exit code and options."""
    [event], skipped = events_from_spans([run(code=3, end_ns=NOW)])

    assert not skipped
    assert ("run", "report upload", "failure", 3, "ValueError") == (
        event.kind,
        event.command,
        event.outcome,
        event.exit_code,
        event.error_type,
    )
    assert (("--format", "--quiet"), 250, False, True) == (event.options, event.duration_ms, event.ci, event.tty)
    assert ("mycli", "1.4.0", "linux", "amd64", "3.12.4") == (
        event.origin.app,
        event.origin.app_version,
        event.origin.os_type,
        event.origin.arch,
        event.origin.runtime_version,
    )


def test_positions_are_those_of_the_input():
    """What is left out moves nobody's position: the sender finds unsent spans by it."""
    other = span({"http.request.method": "GET"}, name="GET /")

    events, skipped = events_from_spans([other, run(), other, action(), error(), heartbeat(), first_run()])

    assert [(1, "run"), (3, "action"), (4, "error"), (5, "heartbeat"), (6, "first_run")] == [
        (e.position, e.kind) for e in events
    ]
    assert {"not_usage": 2} == skipped


def test_other_spans_only_when_asked_for():
    """A choice makes events of other spans too; a usage kind nobody knows is never passed on."""
    spans = [span({"http.request.method": "GET"}, name="GET /"), span({"usage.kind": "secret", "x": "y"})]

    events, skipped = events_from_spans(spans, everything())

    expected = [("span", "http", {"span": "GET", "http.request.method": "GET"})]
    assert expected == [(e.kind, e.name, dict(e.fields)) for e in events]
    assert {"unknown_kind": 1} == skipped


def test_event_ids_can_be_computed_by_anyone():
    """The id of a span's event is the UUID version 5 of its trace and span id: the same in every attempt."""
    one = run(7)
    name = f"{one.context.trace_id:032x}{one.context.span_id:016x}"

    [event], _ = events_from_spans([one])

    assert str(uuid.uuid5(uuid.UUID(bytes=NAMESPACE), name)) == event.event_id


def test_spans_without_ids_or_resource_are_told_apart():
    """A span that was never given ids has an event id all the same, of what it says."""
    bare = [ReadableSpan(name, attributes={"usage.kind": "run"}, resource=None, end_time=NOW) for name in ("a", "b")]
    for one in bare:
        one._resource = None

    events, _ = events_from_spans(bare)

    assert 2 == len({event.event_id for event in events})
    assert ["", ""] == [event.origin.app for event in events]


def test_only_declared_fields_are_fields():
    """Attributes of a usage span that are not in the table go nowhere."""
    spoiled = span({"usage.kind": "action", "usage.action": "a", "usage.field.f": 1, "host.name": "x", "user": "y"})

    [event], _ = events_from_spans([spoiled])

    assert {"f": 1} == event.fields


def test_a_span_without_a_time_is_dropped():
    """A span that never said when can't be placed anywhere."""
    timeless = span({"usage.kind": "run"})
    timeless._start_time = timeless._end_time = None

    events, skipped = events_from_spans([timeless])

    assert ([], {"no_time": 1}) == (events, skipped)


def test_what_has_the_wrong_type_is_left_out():
    """Attributes of a type they can't have are as if they were not there."""
    odd = span(
        {"usage.kind": "run", "usage.command": 7, "process.exit.code": True, "usage.options": "abc", "usage.ci": 1}
    )

    [event], _ = events_from_spans([odd])

    assert ("", None, (), None) == (event.command, event.exit_code, event.options, event.ci)


def test_one_event_per_delta_point():
    """A delta data point becomes one event with its count, at its position among all points."""
    given = metrics(
        counter("http.requests", [point(1)]),
        counter("usage.count.events.handled", [point(5, {"usage.field.channel": "slack"}), point(0), point(7)]),
        counter("usage.dropped", [point(2, {"reason": "limit"})]),
    )

    events, skipped = events_from_metrics(given)

    assert [
        (1, "count", "events.handled", 5, {"channel": "slack"}),
        (3, "count", "events.handled", 7, {}),
        (4, "dropped", "usage.dropped", 2, {"reason": "limit"}),
    ] == [(e.position, e.kind, e.name, e.count, dict(e.fields)) for e in events]
    assert {"not_usage": 1, "zero": 1} == skipped
    assert 5 == len(list(data_points(given)))


def test_run_counters_repeat_the_spans():
    """Run counters are left out unless asked for; the duration's histogram then has its count and sum."""
    given = metrics(counter("usage.runs", [point(4, {"usage.command": "scan"})]), histogram("usage.run.duration"))

    assert ([], {"derived": 2}) == events_from_metrics(given)
    events, _ = events_from_metrics(given, derived=True)

    assert [
        ("usage.runs", 4, {"command": "scan"}),
        ("usage.run.duration", 4, {"command": "report upload", "sum_s": 2.5}),
    ] == [(e.name, e.count, dict(e.fields)) for e in events]


def test_what_is_no_delta_is_dropped():
    """Cumulative sums, gauges, sums that go down and histograms give no event: their increments are unknown."""
    given = metrics(
        counter("usage.count.a", [point(5)], cumulative=True),
        counter("usage.count.b", [point(5)], monotonic=False),
        gauge("usage.count.c", 5),
        histogram("usage.count.d"),
        counter("usage.count.e", [point(float("nan"))]),
    )

    events, skipped = events_from_metrics(given)

    assert ([], {"cumulative": 1, "unsupported": 3, "value": 1}) == (events, skipped)


def test_counts_have_stable_ids_of_their_own():
    """The same point has the same id again; other fields, times, names and processes have another."""

    def ids(*names, end_ns=NOW, fields=None, of=None):
        given = metrics(*[counter(name, [point(1, fields, end_ns=end_ns)]) for name in names], of=of)
        return [event.event_id for event in events_from_metrics(given)[0]]

    first = ids("usage.count.a")

    assert first == ids("usage.count.a")
    others = [
        *ids("usage.count.b"),
        *ids("usage.count.a", end_ns=NOW + MS),
        *ids("usage.count.a", fields={"usage.field.x": 1}),
        *ids("usage.count.a", of=resource(installation="other")),
    ]
    assert 5 == len({*first, *others})
    assert all(str(uuid.UUID(each)) == each for each in others)
