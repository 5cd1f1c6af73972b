"""Run counters are of the time of the runs that they count, whenever these are sent: day by day they agree with the spans."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from otel_usage_exporters.ga4.exporter import GA4MetricExporter, GA4SpanExporter

from otel_usage.delivery.batch import Batch
from otel_usage.delivery.run_counters import DAY_NS
from otel_usage.delivery.segment_file import Points, Spans
from otel_usage.otlp import json_from_protobuf, records_of
from otel_usage.recording.otlp_events import attributes, metrics_body
from otel_usage.recording.otlp_text import line
from tests.exporters.servers import GA4, Receiver

from ..spools import SCHEMA, Sink, Spool, run_line

HOUR_NS = 3_600 * 10**9


def test_points_have_the_times_of_the_spans(spool: Spool, sink: Sink) -> None:
    """From the start of the first to the end of the last, though they are sent later."""
    before_ns = time.time_ns()
    for _ in range(3):
        spool.run()

    spool.drain()

    spans = sink.spans()
    starts, ends = [int(s["startTimeUnixNano"]) for s in spans], [int(s["endTimeUnixNano"]) for s in spans]
    times = {
        (int(point["startTimeUnixNano"]), int(point["timeUnixNano"]))
        for path, _, body in sink.told
        if path == "/v1/metrics"
        for point in points_of(json_from_protobuf("metrics", body))
    }
    assert {(min(starts), max(ends))} == times
    assert max(ends) <= time.time_ns()
    assert before_ns - 60 * 10**9 < min(starts)


@pytest.fixture
def server() -> Iterator[Receiver]:
    """GA4, as far as it takes everything."""
    receiver = Receiver((204, {}, b""))
    yield receiver
    receiver.close()


def points_of(payload: dict) -> list[dict]:
    return [
        point
        for group in payload["resourceMetrics"]
        for scoped in group["scopeMetrics"]
        for metric in scoped["metrics"]
        for point in (metric.get("sum") or metric["histogram"])["dataPoints"]
    ]


def test_what_waited_for_days_agrees_with_the_spans_at_ga4(server: Receiver) -> None:
    """Five days of runs that are sent at once: those too old for GA4 are counted there neither by events nor by counters."""
    now_ns = time.time_ns()
    lines = [run_line(start_ns=now_ns - n * 3 * HOUR_NS - 10**9)[2] for n in range(1, 40)]
    batch = Batch({"app": "prog", "version": "1", "schema": {}}, 0)
    for one in lines:
        batch.add_traces(one)
    payload = batch.metrics()
    spans = Spans.of([record for one in lines for record in records_of(one, {})], {})
    settings = {**GA4, "endpoint": server.url, "folder": "", "client_id": "1.2"}

    of_spans = GA4SpanExporter(**settings).deliver(spans.items)
    events = len(server.requests)
    of_points = GA4MetricExporter(derived=True, **settings).deliver(Points(payload, {}).items)

    runs: Counter[int] = Counter()
    counted: Counter[int] = Counter()
    for at, (_, _, body) in enumerate(server.requests):
        for event in json.loads(body)["events"]:
            day = event["timestamp_micros"] * 1_000 // DAY_NS
            if at < events:
                runs[day] += 1
            elif event["name"] == "usage_runs":
                counted[day] += event["params"]["count"]
    assert ({"too_old": 16}, {}) == (of_spans.dropped, of_points.dropped)
    assert of_points.skipped > 0
    assert 23 == runs.total()
    assert runs == counted
    all_points = [int(point["asInt"]) for point in points_of(payload) if "asInt" in point]
    assert 39 == sum(all_points)


def test_counts_of_two_days_are_not_added_up() -> None:
    """What a host counted on Friday, and on Monday, is two points, each of its own time; of one day, one."""
    monday_ns = time.time_ns() // DAY_NS * DAY_NS
    batch = Batch({"app": "prog", "version": "1", "schema": SCHEMA}, 0)
    for end_ns in (monday_ns - 2 * DAY_NS, monday_ns, monday_ns + HOUR_NS):
        body = metrics_body({("events.seen", ("channel", "slack")): 5}, {}, end_ns - 10, end_ns)
        batch.add_metrics(line("Metrics", "metrics", attributes([("service.name", "prog")]), body))

    points = points_of(batch.metrics() or {})

    assert [(5, monday_ns - 2 * DAY_NS), (10, monday_ns + HOUR_NS)] == [
        (int(point["asInt"]), int(point["timeUnixNano"])) for point in points
    ]
