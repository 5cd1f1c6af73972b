"""Retries and time limits of exporters in a program of its own, without a sender."""

from __future__ import annotations

import gzip
import json
import threading
import time
from types import SimpleNamespace

from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult
from otel_usage_exporters import exporting
from otel_usage_exporters.ga4 import GA4MetricExporter
from otel_usage_exporters.segment import SegmentMetricExporter

from . import servers
from .servers import GA4, OK, SECRET, counter, ga4, messages, metrics, point, run, segment

# -- retries in a program of its own ----------------------------------------------------------------------------


def test_segment_tries_again_with_the_same_ids(serve):
    """Stand-alone, a passing failure is retried within the time limit, and the ids are the same."""
    server = serve((503, {"Retry-After": "0"}, b""), OK)

    assert SpanExportResult.SUCCESS == segment(server).export([run(1), run(2)])
    first, second = (json.loads(gzip.decompress(body))["batch"] for _, _, body in server.requests)
    assert [message["messageId"] for message in first] == [message["messageId"] for message in second]


def test_only_what_was_not_sent_is_sent_again(serve):
    """Of two batches the first arrived: only the second is repeated."""
    server = serve(OK, (429, {"Retry-After": "0"}, b""), OK)

    assert SpanExportResult.SUCCESS == segment(server).export([run(n) for n in range(1, 151)])
    ids = [message["messageId"] for message in messages(server)]
    assert 3 == len(server.requests)
    assert 151 == len(set(ids))
    assert 100 + 51 + 51 == len(ids)


def test_ga4_tries_again_only_if_nothing_left(serve, rude):
    """Stand-alone, GA4 repeats nothing that may have arrived."""
    asked = rude(servers.hang_up)

    assert SpanExportResult.FAILURE == ga4(asked).export([run()])
    assert 1 == len(asked.received)

    refused = serve((503, {"Retry-After": "0"}, b""))
    assert SpanExportResult.FAILURE == ga4(refused).export([run()])
    assert 1 == len(refused.requests)


def test_a_busy_server_is_asked_four_times(serve):
    """A server that is always busy is asked four times, then the events are dropped and counted."""
    server = serve((503, {"Retry-After": "0"}, b""))
    exporter = segment(server)

    assert SpanExportResult.FAILURE == exporter.export([run(1), run(2)])
    assert 4 == len(server.requests)
    assert {"undelivered": 2} == exporter.dropped


def test_an_export_keeps_to_its_time(rude, serve):
    """With a silent server, and with one that asks for an hour, export returns within its limit."""
    began = time.monotonic()

    segment(rude(servers.silent), timeout_s=0.3).export([run()])
    segment(serve((429, {"Retry-After": "3600"}, b"")), timeout_s=0.3).export([run()])
    exporter = SegmentMetricExporter(write_key=SECRET, endpoint=rude(servers.silent).url, folder="")
    exporter.export(metrics(counter("usage.count.a", [point(1)])), timeout_millis=300)

    assert time.monotonic() - began < 3


def test_an_export_of_many_requests_keeps_to_its_time(serve):
    """Many requests to a slow server share the time limit; what is left over is dropped, counted."""
    server = serve((204, {}, b""))
    slow = threading.Event()
    server.reply = lambda *_: (slow.wait(0.1), (204, {}, b""))[1]
    exporter = ga4(server, timeout_s=0.5)
    began = time.monotonic()

    assert SpanExportResult.FAILURE == exporter.export([run(n) for n in range(1, 1_001)])
    assert time.monotonic() - began < 3
    assert 0 < len(server.requests) < 20
    assert 1_000 - 25 * len(server.requests) <= sum(exporter.dropped.values()) <= 1_000


def test_shutdown_ends_waiting(serve):
    """After shutdown nobody waits for another try."""
    exporter = segment(serve((503, {}, b"")))
    exporter.shutdown()

    began = time.monotonic()
    assert SpanExportResult.FAILURE == exporter.export([run()])
    assert time.monotonic() - began < 1


def test_metrics_are_delivered_by_position(serve):
    """For metrics, positions count data points in flat order; the run counters are left out."""
    server = serve((503, {}, b""))
    given = metrics(counter("usage.runs", [point(1)]), counter("usage.count.a", [point(1), point(0), point(3)]))

    for exporter in (
        SegmentMetricExporter(write_key=SECRET, endpoint=server.url, folder=""),
        GA4MetricExporter(**GA4, endpoint="http://127.0.0.1:9", folder=""),
    ):
        assert (1, 3) == exporter.deliver(given).unsent


def test_metric_exporters_are_as_the_reader_calls_them(serve):
    """The reader shuts exporters down with a keyword of its own, and asks for flushes."""
    server = serve(OK)
    exporter = SegmentMetricExporter(write_key=SECRET, endpoint=server.url, folder="")

    assert MetricExportResult.SUCCESS == exporter.export(metrics(counter("usage.count.a", [point(2)])), extra=1)
    assert exporter.force_flush()
    exporter.shutdown(timeout=12)
    assert [2] == [message["properties"]["count"] for message in messages(server) if message["type"] == "track"]


# -- within a time ----------------------------------------------------------------------------------------------


def test_nothing_is_begun_after_the_limit(serve, monkeypatch):
    """What is not begun within the limit is unsent; a request that was begun is not cut short by it."""
    server, clock = serve(), SimpleNamespace(now_s=1_000.0)
    monkeypatch.setattr(exporting, "time", SimpleNamespace(monotonic=lambda: clock.now_s, time_ns=time.time_ns))

    def reply(*_):
        clock.now_s += 30
        return 204, {}, b""

    server.reply = reply

    verdict = ga4(server).deliver([run(n) for n in range(1, 101)], within_s=40)

    assert (50, {}) == (len(verdict.unsent), verdict.dropped)  # two requests of 25: 60 s
    assert 2 == len(server.requests)


def test_nothing_is_begun_after_a_shutdown(serve):
    """An exporter that was shut down leaves the rest unsent, and loses nothing of it."""
    server = serve((204, {}, b""))
    exporter = ga4(server)
    exporter.shutdown()

    verdict = exporter.deliver([run(n) for n in range(1, 31)])

    assert (tuple(range(30)), {}, 0) == (verdict.unsent, verdict.dropped, len(server.requests))


def test_what_is_dropped_has_its_position(serve):
    """The verdict says which were dropped, not only how many: by the translation, and by an answer."""
    now = time.time_ns()
    server = serve((400, {}, b""), (204, {}, b""))
    spans = [run(n, end_ns=now + (10**15 if n == 3 else 0)) for n in range(1, 41)]

    verdict = ga4(server).deliver(spans)

    refused = dict.fromkeys([*range(2), *range(3, 26)], "http_400")
    assert {2: "future", **refused} == verdict.gone
    assert {"future": 1, "http_400": 25} == verdict.dropped
