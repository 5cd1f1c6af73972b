"""gateway.yaml in a real Collector: what passes, and what does not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping

import pytest

from tests.collector.gateway import Running, sent_and_arrived
from tests.collector.harness import RUN, metrics, pairs, plain, post, resource, traces


def test_a_run_arrives_whole(running: Running) -> None:
    """Everything that we record of a run arrives, and unchanged."""
    about, span = sent_and_arrived(running, traces([1]))

    assert resource() == about
    assert RUN == plain(span.attributes)
    assert ("mycli report upload", 1) == (span.name, span.kind)


def test_a_count_arrives_as_a_counter(running: Running) -> None:
    """A host's count arrives as a monotonic delta sum."""
    backend = running[1]

    about, point = sent_and_arrived(running, metrics(7))

    metric = backend.points[-1][1]
    assert ("usage.count.events.handled", True) == (metric.name, metric.sum.is_monotonic)
    assert 1 == metric.sum.aggregation_temporality
    assert (7, {"usage.field.channel": "slack"}) == (point.as_int, plain(point.attributes))
    assert resource() == about


@pytest.mark.parametrize(
    ("name", "unit", "attributes"),
    [
        ("usage.runs", "{run}", {"usage.command": "report upload", "usage.outcome": "usage_error"}),
        ("usage.actions", "{action}", {"usage.action": "report.upload"}),
        ("usage.errors", "{error}", {"usage.error": "config.invalid"}),
        ("usage.dropped", "{record}", {"reason": "undeclared_field"}),
        ("usage.count.a", "{item}", {}),
        ("usage.count.b", "1", {}),
    ],
)
def test_our_own_counters_arrive_whole(
    running: Running, name: str, unit: str, attributes: Mapping[str, object]
) -> None:
    """What the sender counts arrives with its unit and attributes."""
    request = metrics(3, name=name, attributes=attributes)
    request.resource_metrics[0].scope_metrics[0].metrics[0].unit = unit

    _, point = sent_and_arrived(running, request)

    assert (name, unit) == (running[1].points[-1][1].name, running[1].points[-1][1].unit)
    assert attributes == plain(point.attributes)


UNDECLARED = {
    "host.name": "laptop-of-ada",
    "host.id": "5f2b7c",
    "process.pid": 4711,
    "process.command_args": ["--token", "s3cret"],
    "process.executable.path": "/home/ada/bin/mycli",
    "client.address": "203.0.113.7",
    "user.name": "ada",
    "usage": "x",
    "xusage.kind": "x",
    "usage.kind\nx": "x",
    "error.message": "/home/ada: no such file",
}


def test_undeclared_attributes_do_not_pass(running: Running) -> None:
    """The allow-list fails closed, for resources, scopes, spans and data points alike."""
    request = traces([2], of={**resource(), **UNDECLARED}, attributes={**RUN, **UNDECLARED})
    request.resource_spans[0].scope_spans[0].scope.attributes.extend(pairs(UNDECLARED))
    counted = metrics(1, of={**resource(), **UNDECLARED}, attributes={"usage.field.channel": "slack", **UNDECLARED})
    counted.resource_metrics[0].scope_metrics[0].scope.attributes.extend(pairs(UNDECLARED))

    about, span = sent_and_arrived(running, request)
    about_count, point = sent_and_arrived(running, counted)

    assert resource() == about == about_count
    assert RUN == plain(span.attributes)
    assert {"usage.field.channel": "slack"} == plain(point.attributes)
    taken = running[1]
    assert all(b"ada" not in one.SerializeToString() for _, one in taken.spans)


def test_no_other_text_passes(running: Running) -> None:
    """Events, trace state, status messages, descriptions and metadata can hold anything, and are removed."""
    request = traces([3])
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.status.code, span.status.message, span.trace_state = 2, "FileNotFoundError: /home/ada", "user=ada"
    event = span.events.add(name="exception")
    event.attributes.extend(pairs({"exception.stacktrace": "/home/ada"}))
    span.events.add(name="")
    counted = metrics(1)
    metric = counted.resource_metrics[0].scope_metrics[0].metrics[0]
    metric.description = "of ada"
    metric.metadata.extend(pairs({"user": "ada"}))

    _, arrived = sent_and_arrived(running, request)
    sent_and_arrived(running, counted)

    assert (0, "", "", 2) == (len(arrived.events), arrived.trace_state, arrived.status.message, arrived.status.code)
    metric = running[1].points[-1][1]
    assert ("", 0) == (metric.description, len(metric.metadata))


def test_what_is_not_usage_data_does_not_pass(running: Running) -> None:
    """Spans and metrics of a program's own telemetry are dropped whole: their names may hold anything."""
    gateway, backend = running
    others = [
        traces([4], attributes={"http.request.method": "GET"}, name="GET /users/ada"),
        traces([5], attributes={**RUN, "usage.kind": "other"}),
        traces([8]),
    ]
    others[-1].resource_spans[0].scope_spans[0].spans[0].links.add(trace_id=bytes(15) + b"\1", span_id=bytes(7) + b"\1")
    counts = [metrics(1, name="http.server.duration"), metrics(1), metrics(1, name="usage.count.of ada")]
    point = counts[1].resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0]
    point.exemplars.add(as_int=1).filtered_attributes.extend(pairs({"user": "ada"}))
    spans, points = len(backend.spans), len(backend.points)

    for request in others:
        assert 200 == post(gateway.http, "/v1/traces", request.SerializeToString())[0]
    for count in counts:
        assert 200 == post(gateway.http, "/v1/metrics", count.SerializeToString())[0]
    sent_and_arrived(running, traces([9]))
    sent_and_arrived(running, metrics(2))

    assert (1, 1) == (len(backend.spans) - spans, len(backend.points) - points)


def test_otlp_json_and_gzip_are_taken(running: Running) -> None:
    """A line of our spool, compressed, is a request like any other."""
    gateway, backend = running
    line = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "mycli"}}]},
                "scopeSpans": [
                    {
                        "scope": {"name": "otel_usage"},
                        "spans": [
                            {
                                "traceId": "5b8efff798038103d269b633813fc60c",
                                "spanId": "eee19b7ec3c1b174",
                                "name": "mycli",
                                "kind": 1,
                                "startTimeUnixNano": "1763800000000000000",
                                "endTimeUnixNano": "1763800000100000000",
                                "attributes": [
                                    {"key": f"usage.{key}", "value": {"stringValue": word}}
                                    for key, word in (("kind", "run"), ("command", "(root)"), ("outcome", "help"))
                                ],
                                "status": {},
                            }
                        ],
                    }
                ],
            }
        ]
    }
    before = len(backend.spans)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}

    status, _, _ = post(gateway.http, "/v1/traces", gzip.compress(json.dumps(line).encode()), headers)

    assert 200 == status
    backend.wait(lambda: len(backend.spans) > before)
    assert ("mycli", "eee19b7ec3c1b174") == (backend.spans[-1][1].name, backend.spans[-1][1].span_id.hex())


def test_a_bomb_is_refused_in_bounded_memory(running: Running) -> None:
    """A body that is small only while compressed is refused, and does not grow the Collector by its full size."""
    gateway, _ = running
    bomb = gzip.compress(bytes(256 << 20), 1)
    before = gateway.memory_mib()

    status, _, _ = post(gateway.http, "/v1/traces", bomb, {"content-encoding": "gzip"})

    assert 400 <= status < 500
    assert gateway.memory_mib() - before < 100
