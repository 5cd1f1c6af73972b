"""One odd record costs itself alone, and is counted: whatever a program says to the SDK, and whatever the SDK lets through."""

from __future__ import annotations

import decimal
import gzip
import json
import math
import os
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import Metric
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_usage_exporters.ga4 import GA4MetricExporter, GA4SpanExporter
from otel_usage_exporters.segment import SegmentMetricExporter, SegmentSpanExporter

from otel_usage.receiver import ga4 as ga4_wire
from otel_usage.receiver import segment as segment_wire

from .servers import action, counter, metrics, point, run

GA4 = {"measurement_id": "G-AB12CD", "api_secret": "x", "folder": ""}
SEGMENT = {"write_key": "x", "folder": ""}


class Hostile:
    """An object that refuses everything."""

    def _no(self, *_, **__):
        raise RuntimeError("no")

    __str__ = __repr__ = __eq__ = __bool__ = __len__ = __iter__ = __int__ = __index__ = __float__ = _no
    __hash__ = None


NUMBERS = [math.nan, math.inf, -math.inf, -1, 0, 0.5, 1e300, 10**5000, -(10**40), True, decimal.Decimal(3)]
THINGS = [None, 404, b"GET", ["a"], {"a": 1}, object(), Hostile(), "", "caf\udce9", "\ud800", "x" * 5000, *NUMBERS]
things = st.sampled_from(THINGS) | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
keys = st.sampled_from(
    ["usage.kind", "usage.action", "usage.command", "usage.options", "usage.field.a", "error.type", 7, None, b"k"]
)


def good():
    return [run(1), action(2), run(3)]


def delivered(exporter, items):
    """Return the ids of what *exporter* puts into requests, after the vendor's rules agreed; and the verdict."""
    rehearsal = exporter.requests_for(items)
    ids = Counter()
    for _, address, headers, body in rehearsal:
        path = "/" + address.split("/", 3)[3]
        if "/mp/collect" in path:
            assert [] == ga4_wire.answer(path, "", body)[3]
            ids.update(event["name"] for event in json.loads(body)["events"])
        else:
            assert (
                []
                == segment_wire.answer(path, {**headers, "Authorization": "Basic UkVEQUNURUQ6"}, gzip.compress(body))[3]
            )
            ids.update(each["event"] for each in json.loads(body)["batch"] if each["type"] == "track")
    exporter.rehearse({})
    return ids, exporter.deliver(items)


def check(exporter, odd, ordinary, size=1):
    """All that are ordinary arrive; the odd one does too, or is counted."""
    alone, _ = delivered(exporter, ordinary)
    ids, verdict = delivered(exporter, odd)

    assert alone <= ids
    assert alone.total() + size == ids.total() + sum(verdict.dropped.values()) + verdict.skipped
    assert () == verdict.unsent


def odd_span(attributes, **fields):
    """Return a span as an SDK whose checks were passed by would have it."""
    usual = action(9)
    usual._attributes = attributes
    for name, value in fields.items():
        setattr(usual, f"_{name}", value)
    return usual


@pytest.mark.parametrize("spans", ["usage", "all"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(attributes=st.dictionaries(keys, things, max_size=4) | things, fields=st.data(), at=st.integers(0, 3))
def test_an_odd_span(spans, attributes, fields, at):
    """Attributes, name, times, status, events, links, context and resource of whatever kind, at whatever place in the batch."""
    names = st.sampled_from(
        ["name", "start_time", "end_time", "status", "events", "links", "context", "resource", "kind"]
    )
    odd = odd_span(attributes, **fields.draw(st.dictionaries(names, things, max_size=3)))
    ordinary = good()
    batch = [*ordinary[:at], odd, *ordinary[at:]]

    check(GA4SpanExporter(spans=spans, **GA4), batch, ordinary)
    check(SegmentSpanExporter(spans=spans, **SEGMENT), batch, ordinary)


@pytest.mark.parametrize("thing", THINGS, ids=range(len(THINGS)))
def test_an_odd_value_at_every_place(thing):
    """Each odd value as each part of a span and of a resource."""
    places = [
        {name: thing} for name in ("name", "start_time", "end_time", "status", "events", "links", "context", "resource")
    ]
    places += [{"resource": SimpleNamespace(attributes={"service.name": thing, "os.type": thing})}]
    places += [{"resource": SimpleNamespace(attributes=thing)}, {"context": SimpleNamespace(trace_id=thing, span_id=1)}]
    attributes = {"usage.kind": "action", "usage.action": "a.b", "usage.field.f": thing, "error.type": thing}
    ordinary = good()
    for exporter in (GA4SpanExporter(spans="all", **GA4), SegmentSpanExporter(spans="all", **SEGMENT)):
        for place in places:
            check(exporter, [ordinary[0], odd_span(dict(attributes), **place), *ordinary[1:]], ordinary)
        check(exporter, [thing, *ordinary], ordinary)


@pytest.mark.parametrize("thing", THINGS, ids=range(len(THINGS)))
def test_an_odd_data_point(thing):
    """Each odd value as value, time, attribute and data of a metric."""
    ordinary = [counter("usage.count.a", [point(1), point(2)])]
    odd = [counter("usage.count.b", [point(thing)]), counter("usage.count.b", [point(1, {"usage.field.f": thing})])]
    odd += [counter("usage.count.b", [point(1, {thing: 1})])] if not isinstance(thing, (list, dict, Hostile)) else []
    odd += [counter("usage.count.b", [SimpleNamespace(start_time_unix_nano=thing, time_unix_nano=thing, value=1)])]
    odd += [counter("usage.count.b", [thing]), Metric("usage.count.b", "", "", None)]
    for exporter in (GA4MetricExporter(**GA4), SegmentMetricExporter(**SEGMENT)):
        for metric in odd:
            check(exporter, metrics(metric, *ordinary), metrics(*ordinary))


def test_times_as_people_write_them():
    """``span.end(time.time() * 1e9)`` is a float: the event has whole microseconds and a session that GA4 takes."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    end_ns = float(run(1).end_time)
    tracer = provider.get_tracer("t")
    tracer.start_span("x", attributes={"usage.kind": "action", "usage.action": "a.b"}).end(end_ns)
    tracer.start_span("x", attributes={"usage.kind": "action", "usage.action": "c.d"}).end(math.nan)

    for exporter in (GA4SpanExporter(**GA4), SegmentSpanExporter(**SEGMENT)):
        ids, verdict = delivered(exporter, kept.get_finished_spans())
        assert ids.total() >= 1
        assert ids.total() + sum(verdict.dropped.values()) == 2


@pytest.mark.parametrize("name", [None, 404, b"GET", ["a"], object()])
def test_names_that_are_no_text(name):
    """A span whose name is none is counted as malformed, and the others arrive."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for each in ("one", name, "two"):
        provider.get_tracer("t").start_span(each).end()

    for exporter in (GA4SpanExporter(spans="all", **GA4), SegmentSpanExporter(spans="all", **SEGMENT)):
        ids, verdict = delivered(exporter, kept.get_finished_spans())
        assert (2, {"malformed": 1}) == (ids.total(), verdict.dropped)


PROGRAM = """
import sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from otel_usage_exporters.ga4 import GA4SpanExporter
from otel_usage_exporters.segment import SegmentSpanExporter

provider = TracerProvider()
exporters = GA4SpanExporter(), SegmentSpanExporter()
for exporter in exporters:
    provider.add_span_processor(SimpleSpanProcessor(exporter))
provider.get_tracer("t").start_span("x", attributes={"usage.kind": "action", "usage.action": "a.b"}).end()
print(*[dict(exporter.dropped) for exporter in exporters])
"""


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff\xfe", b"a/b", b".."])
def test_a_service_name_that_is_not_utf_8(name, serve, tmp_path):
    """OTEL_SERVICE_NAME as a shell of another encoding writes it: both vendors get the event, and a folder remembers it."""
    servers = serve((204, {}, b"")), serve((200, {}, b"{}"))
    environ = {
        **{os.fsencode(key): os.fsencode(value) for key, value in os.environ.items()},
        b"OTEL_SERVICE_NAME": name,
        b"OTEL_USAGE_HOME": os.fsencode(tmp_path / "home"),
        b"OTEL_EXPORTER_GA4_MEASUREMENT_ID": b"G-AB12CD",
        b"OTEL_EXPORTER_GA4_API_SECRET": b"x",
        b"OTEL_EXPORTER_GA4_ENDPOINT": servers[0].url.encode(),
        b"OTEL_EXPORTER_SEGMENT_WRITE_KEY": b"x",
        b"OTEL_EXPORTER_SEGMENT_ENDPOINT": servers[1].url.encode(),
        b"OTEL_EXPORTER_SEGMENT_NAMES": b"a.b=Caf\xe9",
    }

    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True)

    assert ("{} {}\n", "") == (done.stdout, done.stderr)
    assert [1, 1] == [len(server.requests) for server in servers]
    assert [] == ga4_wire.answer(*[servers[0].requests[0][0], "", servers[0].requests[0][2]])[3]
    assert 1 == len(os.listdir(tmp_path / "home" / "services"))
