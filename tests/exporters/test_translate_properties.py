"""No input, however hostile, yields a body outside the limits, and translation is deterministic."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from otel_usage_exporters.ga4 import translate as ga4
from otel_usage_exporters.segment import translate as segment
from otel_usage_exporters.usage_event import events_from_metrics, events_from_spans

from otel_usage.receiver import ga4 as ga4_wire
from otel_usage.receiver import segment as segment_wire

from .named_vendors import OTHERS
from .servers import counter, everything, metrics, point, span

NOW = 1_795_000_000_000_000_000
RESERVED = [
    "ga_x",
    "_x",
    "firebase_x",
    "google_x",
    "gtag.x",
    "error",
    "session_id",
    "value",
    "items",
    "count",
    "a.b",
    "a-b",
    "a b",
]


class Big(str):
    """A text too large to be shown."""

    def __repr__(self) -> str:
        return f"Big({len(self)})"


class Huge(int):
    """A number that Python does not write."""

    def __repr__(self) -> str:
        return "Huge()"


texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(RESERVED),
    st.text(st.characters(categories=["Cs", "Cc", "Lo", "So", "Mn"]), max_size=200),
    st.integers(0, 1_000_000).map(lambda n: Big("ж" * (n % 50_000))),
    st.just(Big("x" * 1_000_000)),
)
values = st.one_of(
    texts,
    st.booleans(),
    st.none(),
    st.integers(),
    st.integers(2**53 - 2, 2**70),
    st.just(Huge(10**5_000)),
    st.floats(),
    st.binary(max_size=10),
    st.lists(texts, max_size=5).map(tuple),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    st.lists(st.lists(st.integers(), max_size=2), max_size=2),
)
times = st.one_of(
    st.integers(NOW - 10 * 86_400 * 10**9, NOW + 86_400 * 10**9),
    st.sampled_from([0, 1, -1, 4_102_444_800 * 10**9, 2**63, 2**64]),
)
fields = st.dictionaries(texts, values, max_size=30)


@st.composite
def hostile_spans(draw):
    """Spans as no honest program makes them."""
    kind = draw(st.sampled_from(["run", "action", "error", "heartbeat", None, "x", 7]))
    attributes = {f"usage.field.{name}": value for name, value in draw(fields).items()}
    attributes |= draw(fields)
    if kind is not None:
        attributes["usage.kind"] = kind
    for name in (
        "usage.command",
        "usage.outcome",
        "usage.action",
        "usage.error",
        "usage.options",
        "process.exit.code",
        "error.type",
    ):
        if draw(st.booleans()):
            attributes[name] = draw(values)
    of = Resource({})
    of._attributes = {
        name: draw(values)
        for name in ("service.name", "service.version", "app.installation.id", "os.type", "os.version")
    }
    end_ns = draw(times)
    return span(attributes, name=draw(texts), number=draw(st.integers(1, 2**63)), end_ns=end_ns, of=of)


def check_ga4(events, style, query):
    one, two = (ga4.translate(events, style, now_ns=NOW) for _ in range(2))
    assert one == two
    sent = []
    for request in one.requests:
        body = request.body(ga4.TAIL)
        assert [] == ga4_wire.problems(body, query, now_s=NOW / 1e9)
        sent += [unit.position for unit in request.units]
    assert len(sent) + sum(one.dropped.values()) == len(events)
    assert len(sent) == len(set(sent))


def check_segment(events):
    one, two = (segment.translate(events, segment.SegmentOptions()) for _ in range(2))
    assert one == two
    sent = []
    for request in one.requests:
        body = request.body(segment.tail("wk", NOW))
        problems = [p for p in segment_wire.problems(body) if "same messageId" not in p]  # hostile spans share ids
        assert [] == problems
        assert len(body) <= 475_000
        sent += [unit.position for unit in request.units]
    assert sorted(sent) == [event.position for event in events]


def check_named(of, events):
    one, two = (of.translate(events, of.options(), now_ns=NOW) for _ in range(2))
    assert one == two
    sent = []
    for request in one.requests:
        problems = [p for p in of.problems(request.body(of.tail())) if " twice" not in p]  # hostile spans share ids
        assert [] == problems
        sent += [unit.position for unit in request.units]
    assert sorted([*sent, *one.gone]) == [event.position for event in events]


slow = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@slow
@given(st.lists(hostile_spans(), max_size=3))
def test_nothing_invalid_leaves_for_ga4(spans):
    """Whatever spans hold, GA4's rules agree with what is sent, and every event is sent or counted."""
    events, _ = events_from_spans(spans, everything())

    check_ga4(events, ga4.GA4Options(screens="page_view"), "measurement_id=G-AB12&api_secret=x")
    check_ga4(events, ga4.GA4Options(app_stream=True, screens="screen_view"), "firebase_app_id=1:2:ios:a&api_secret=x")


@slow
@given(st.lists(hostile_spans(), max_size=3))
def test_nothing_invalid_leaves_for_segment(spans):
    """Whatever spans hold, Segment's rules agree with what is sent, and every event is sent."""
    check_segment(events_from_spans(spans, everything())[0])


@slow
@given(st.lists(hostile_spans(), max_size=3))
def test_nothing_invalid_leaves_for_the_others(spans):
    """Whatever spans hold, each vendor's rules agree with what is sent, and every event is sent or counted."""
    events = events_from_spans(spans, everything())[0]

    for of in OTHERS.values():
        check_named(of, events)


@slow
@given(st.lists(st.tuples(texts, values, fields, times), max_size=3))
def test_nothing_invalid_leaves_of_counts(points):
    """Whatever data points hold, all vendors' rules agree with what is sent."""
    of = metrics(
        *[
            counter("usage.count." + name, [point(value, {f"usage.field.{k}": v for k, v in held.items()}, end_ns=end)])
            for name, value, held, end in points
        ]
    )
    events, _ = events_from_metrics(of)

    check_ga4(events, ga4.GA4Options(), "measurement_id=G-AB12&api_secret=x")
    check_segment(events)
    for of in OTHERS.values():
        check_named(of, events)


def test_ten_thousand_attributes():
    """A span with 10,000 attributes of 1,000 characters gives one event within the limits."""
    attributes = {f"usage.field.field{n}": "ж" * 1_000 for n in range(10_000)}
    events, _ = events_from_spans([span({"usage.kind": "action", "usage.action": "a", **attributes}, end_ns=NOW)])

    check_ga4(events, ga4.GA4Options(), "measurement_id=G-AB12&api_secret=x")
    check_segment(events)
    for of in OTHERS.values():
        check_named(of, events)


def test_the_largest_events_that_pass_fill_requests_under_the_limit():
    """25 events of 25 long parameters each are split by size, measured on the encoded bytes."""
    held = {f"field_with_a_rather_long_name_{n:04}": "\\" * 300 for n in range(30)}
    attributes = {f"usage.field.{name}": value for name, value in held.items()}
    spans = [
        span({"usage.kind": "action", "usage.action": "a", **attributes}, number=n, end_ns=NOW) for n in range(1, 101)
    ]

    done = ga4.translate(events_from_spans(spans)[0], ga4.GA4Options(), now_ns=NOW)
    sizes = [len(request.body(ga4.TAIL)) for request in done.requests]

    assert 100 == sum(len(request.units) for request in done.requests)
    assert all(size < 130_000 for size in sizes)
    assert 100_000 < max(sizes)
    assert all(json.loads(request.body(ga4.TAIL)) for request in done.requests)
