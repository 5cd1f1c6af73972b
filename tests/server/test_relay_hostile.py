"""One record that is not as it should be takes no other with it: a Collector batches those of many programs."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_usage.otlp import MalformedError, json_from_protobuf
from otel_usage.server.decode import Decoder
from otel_usage.server.received import Received
from tests.collector.harness import metrics, post, resource, traces
from tests.server.serving import Serving, points

Spoil = Callable[[Any, Any], object]  # a span or metric, and its group


def spans_and(spoil: Spoil) -> ExportTraceServiceRequest:
    """Return a request of two sound runs, and between them one of another program, as *spoil* leaves it."""
    request, bad = traces([1]), traces([9])
    spoil(bad.resource_spans[0].scope_spans[0].spans[0], bad.resource_spans[0])
    request.MergeFrom(bad)
    request.MergeFrom(traces([2]))
    return request


def counts_and(spoil: Spoil) -> ExportMetricsServiceRequest:
    """The same for counts: 1 and 2 are sound."""
    request, bad = metrics(1), metrics(9)
    spoil(bad.resource_metrics[0].scope_metrics[0].metrics[0], bad.resource_metrics[0])
    request.MergeFrom(bad)
    request.MergeFrom(metrics(2))
    return request


def point_of(metric: Any) -> Any:
    """Return the only data point of *metric*."""
    return metric.sum.data_points[0]


def renamed(metric: Any, name: str, key: str, value: Any) -> None:
    """Make *metric* one of ours with one attribute, a list of *value*."""
    metric.name = name
    del point_of(metric).attributes[:]
    point_of(metric).attributes.add(key=key).value.array_value.values.add(string_value=value)


def decode(signal: str, body: bytes, *, as_json: bool = False) -> Received:
    """Return what a decoder makes of *body*."""
    return Decoder({}, items=1_000).decode(signal, body, as_json=as_json)


BAD_SPANS: dict[str, Spoil] = {
    "status code": lambda span, _: setattr(span.status, "code", 7),
    "kind": lambda span, _: setattr(span, "kind", 9),
    "no key": lambda span, _: span.attributes.add().value.SetInParent(),
    "bytes": lambda span, _: setattr(span.attributes.add(key="usage.field.x").value, "bytes_value", b"x"),
    "a large list": lambda span, _: span.attributes.add(key="x").value.array_value.values.add(string_value="y" * 4**11),
    "a zero id": lambda span, _: setattr(span, "span_id", bytes(8)),
    "a resource's list": lambda _, group: group.resource.attributes.add(
        key="service.version"
    ).value.array_value.values.add(),
}


@pytest.mark.parametrize("what", BAD_SPANS)
def test_a_bad_span_takes_no_other_with_it(what: str) -> None:
    """Whatever is wrong with one span, it alone is rejected, and counted."""
    received = decode("traces", spans_and(BAD_SPANS[what]).SerializeToString())

    assert [2, 3] == [span.context.span_id for span in received.spans if span.context]
    assert (1, 3) == (received.rejected.total(), received.count)


BAD_COUNTS: dict[str, Spoil] = {
    "reason is a list": lambda metric, _: renamed(metric, "usage.dropped", "reason", "x"),
    "command is a list": lambda metric, _: renamed(metric, "usage.runs", "usage.command", "x"),
    "unknown temporality": lambda metric, _: setattr(metric.sum, "aggregation_temporality", 7),
    "no temporality": lambda metric, _: setattr(metric.sum, "aggregation_temporality", 0),
    "no key": lambda metric, _: point_of(metric).attributes.add().value.SetInParent(),
    "a large list": lambda metric, _: (
        point_of(metric).attributes.add(key="usage.field.x").value.array_value.values.add(string_value="y" * (2 << 20))
    ),
    "bytes": lambda metric, _: setattr(point_of(metric).attributes.add(key="usage.field.x").value, "bytes_value", b"x"),
    "a time beyond all": lambda metric, _: setattr(point_of(metric), "time_unix_nano", (1 << 64) - 1),
    "a histogram's sum": lambda metric, _: (
        setattr(metric, "name", "usage.run.duration"),
        setattr(metric.histogram, "aggregation_temporality", 1),
        metric.histogram.data_points.add(time_unix_nano=time.time_ns(), count=1, sum=float("nan")),
    ),
    "infinity": lambda metric, _: setattr(point_of(metric), "as_double", float("inf")),
}


@pytest.mark.parametrize("what", BAD_COUNTS)
def test_a_bad_data_point_takes_no_other_with_it(what: str) -> None:
    """The same for metrics."""
    received = decode("metrics", counts_and(BAD_COUNTS[what]).SerializeToString())

    assert received.metrics is not None
    assert [1, 2] == [point.value for _, point in points(received.metrics)]
    assert (2, 1, 3) == (len(received.ids), received.rejected.total(), received.count)


@pytest.mark.parametrize("where", [b"--format", b"report upload", b"mycli", b"linux", b"otel_usage"])
def test_text_that_is_not_utf8_takes_no_other_with_it(where: bytes) -> None:
    """protobuf refuses a whole request for it; Collectors pass it on. Only the record that has it is rejected."""
    bad = traces([9]).SerializeToString().replace(where, b"\xff" * len(where))
    body = traces([1]).SerializeToString() + bad + traces([2]).SerializeToString()

    received = decode("traces", body)

    kept = [1, 8, 2] if where == b"otel_usage" else [1, 2]  # nobody reads a scope's name
    assert len(kept) == len(received.spans)
    assert (3 - len(kept), 3) == (received.rejected["malformed"], received.count)


@pytest.mark.parametrize("where", [b"slack", b"events.handled", b"mycli"])
def test_text_of_a_data_point_that_is_not_utf8_takes_no_other_with_it(where: bytes) -> None:
    """Of one metric too only the data point that has it is rejected."""
    bad = metrics(9)
    sound = point_of(bad.resource_metrics[0].scope_metrics[0].metrics[0])
    other = bad.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points.add()
    other.CopyFrom(sound)
    other.attributes[0].value.string_value, other.as_int = "irc", 8
    body = metrics(1).SerializeToString() + bad.SerializeToString().replace(where, b"\xff" * len(where))

    received = decode("metrics", body)

    assert received.metrics is not None
    assert ([1, 8] if where == b"slack" else [1]) == [point.value for _, point in points(received.metrics)]
    assert 3 == received.count


def test_broken_bytes_within_a_span_take_no_other_with_them() -> None:
    """A span that is no protobuf message is rejected as what is not UTF-8 is; a body that is none is malformed."""
    request = traces([1, 2, 3])
    bad = request.resource_spans[0].scope_spans[0].spans[1].SerializeToString()
    body = request.SerializeToString()
    at = body.index(bad)

    received = decode("traces", body[:at] + b"\xff" * len(bad) + body[at + len(bad) :])

    assert [2, 4] == [span.context.span_id for span in received.spans if span.context]
    assert {"malformed": 1} == received.rejected
    with pytest.raises(MalformedError):
        decode("traces", b"\xff" + body)


@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_spoiled_bytes_are_decoded_or_malformed(signal: str) -> None:
    """Whichever bytes of a request are changed: nothing else is raised, and mostly the other records survive."""
    sound = b"".join((traces([n]) if signal == "traces" else metrics(n)).SerializeToString() for n in range(1, 20))
    chance = random.Random(5)
    survived = 0
    for _ in range(1_000):
        body = bytearray(sound)
        for _ in range(chance.randrange(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        try:
            received = decode(signal, bytes(body))
        except MalformedError:
            continue
        survived += len(received.ids) > 0

    assert survived > 250


def test_500_counts_with_all_their_fields_pass() -> None:
    """What the rules allow passes, however large: 500 counts of 20 fields of 64 characters are 1.2 MB."""
    request = metrics(1, attributes={f"usage.field.{'f' * 40}{n}": "v" * 64 for n in range(20)})
    metric = request.resource_metrics[0].scope_metrics[0].metrics[0]
    for n in range(499):
        metric.sum.data_points.add().CopyFrom(point_of(metric))
        metric.sum.data_points[-1].attributes[0].value.string_value = f"v{n}"
    body = request.SerializeToString()
    with Serving() as serving:
        status, _, told = post(serving.port, "/fake/v1/metrics", body)

        assert (200, b"") == (status, told)
        assert [500] == [len(given) for given in serving.fake.given]
    assert len(body) > 1_200_000


def test_a_client_has_no_say_in_scope_unit_or_description() -> None:
    """What nobody checks is not handed on: an exporter may send it."""
    spans = traces([1])
    spans.resource_spans[0].scope_spans[0].scope.name = "/home/alice/secret"
    counts = metrics(1)
    metric = counts.resource_metrics[0].scope_metrics[0].metrics[0]
    metric.unit = metric.description = "/home/alice/secret"
    counts.resource_metrics[0].scope_metrics[0].scope.name = "/home/alice/secret"
    for as_json in (False, True):
        bodies = [one.SerializeToString() for one in (spans, counts)]
        if as_json:
            bodies = [
                json.dumps(json_from_protobuf(signal, body)).encode()
                for signal, body in zip(("traces", "metrics"), bodies, strict=True)
            ]

        span = decode("traces", bodies[0], as_json=as_json).spans[0]
        told = decode("metrics", bodies[1], as_json=as_json).metrics

        assert told is not None
        assert "alice" not in span.to_json() + told.to_json()
        assert span.instrumentation_scope is not None
        assert "otel_usage" == span.instrumentation_scope.name == told.resource_metrics[0].scope_metrics[0].scope.name


def test_a_mark_that_a_series_ended_is_no_count() -> None:
    """A data point whose flag says that it holds no value is skipped, and is no loss."""
    request = counts_and(lambda metric, _: setattr(point_of(metric), "flags", 1))
    for as_json in (False, True):
        body = request.SerializeToString()
        body = json.dumps(json_from_protobuf("metrics", body)).encode() if as_json else body

        received = decode("metrics", body, as_json=as_json)

        assert received.metrics is not None
        assert [1, 2] == [point.value for _, point in points(received.metrics)]
        assert (1, 0) == (received.skipped, received.rejected.total())


# -- JSON -------------------------------------------------------------------------------------------------------


def json_span(n: int, **members: Any) -> dict[str, Any]:
    """Return a run as OTLP JSON, with other *members*; those that are "" are left out."""
    told = json_from_protobuf("traces", traces([n]).SerializeToString())
    [span] = told["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return {**span, **members}


def json_body(*spans: Any) -> bytes:
    """Return a request of *spans*."""
    of = json_from_protobuf("traces", traces([1]).SerializeToString())["resourceSpans"][0]["resource"]
    return json.dumps({"resourceSpans": [{"resource": of, "scopeSpans": [{"spans": spans}]}]}).encode()


@pytest.mark.parametrize(
    "members",
    [
        {"events": [], "links": [], "traceState": "", "droppedAttributesCount": 0, "droppedEventsCount": 0},
        {"droppedLinksCount": 3, "flags": 257, "futureField": {"a": [1]}},
        {"status": {}},
        {"status": None, "parentSpanId": None, "events": None, "traceState": None},
        {"status": {"code": 0, "message": ""}},
        {"status": {"code": 1, "futureField": 1}},
        {"parentSpanId": ""},
        {"startTimeUnixNano": time.time_ns() - 10, "endTimeUnixNano": time.time_ns()},
    ],
)
def test_json_as_official_encoders_write_it_passes(members: dict[str, Any]) -> None:
    """Members that are empty say nothing, and those that nobody knows are ignored, as OTLP/JSON has it."""
    received = decode("traces", json_body(json_span(1, **members)), as_json=True)

    assert (1, {}) == (len(received.spans), received.rejected)


@pytest.mark.parametrize(
    "members",
    [
        {"events": [{"name": "exception"}]},
        {"links": [{}]},
        {"traceState": "a=b"},
        {"status": {"code": 2, "message": "/home/ada"}},
        {"status": {"code": 7}},
        {"status": {"code": "x"}},
        {"status": [1]},
        {"attributes": [5]},
        {"attributes": [{"value": {"stringValue": "run"}}]},
        {"attributes": {"usage.kind": "run"}},
        {"attributes": [{"key": "usage.kind", "value": {"bytesValue": "cnVu"}}]},
        {"startTimeUnixNano": "1e-3"},
        {"startTimeUnixNano": "1_000"},
        {"startTimeUnixNano": 1000.5},
        {"startTimeUnixNano": True},
        {"kind": True},
        {"kind": "1"},
        {"status": {"code": 1.5}},
        {"spanId": "0x00000000000a"},
        {"traceId": "1" * 31 + "_"},
        {"attributes": [{"key": "process.exit.code", "value": {"intValue": 1.5}}]},
        {"startTimeUnixNano": 10**30},
        {"spanId": "AAAAAAAAAAE="},
        {"name": None},
    ],
)
def test_bad_json_takes_no_other_with_it(members: dict[str, Any]) -> None:
    """A span in JSON is rejected alone, too."""
    received = decode("traces", json_body(json_span(1), json_span(9, **members), json_span(2)), as_json=True)

    assert [2, 3] == [span.context.span_id for span in received.spans if span.context]
    assert (1, 3) == (received.rejected.total(), received.count)


def test_a_bad_resource_in_json_takes_no_other_with_it() -> None:
    """Nor does its resource take another's."""
    told = json.loads(json_body(json_span(1)))
    bad = json.loads(json_body(json_span(8), json_span(9)))
    bad["resourceSpans"][0]["resource"] = {"attributes": [{"value": {}}]}
    told["resourceSpans"] += bad["resourceSpans"]

    received = decode("traces", json.dumps(told).encode(), as_json=True)

    assert (1, {"malformed": 2}) == (len(received.spans), received.rejected)


@pytest.mark.parametrize(
    "member",
    [
        {"timeUnixNano": "9" * 25},
        {"timeUnixNano": "-" + "9" * 18},
        {"asInt": "x"},
        {"asInt": 2.7},
        {"asInt": True},
        {"asInt": ""},
        {"asInt": None, "asDouble": "nan"},
        {"flags": ""},
        {"flags": 1.5},
        {"timeUnixNano": " 1000"},
        {"attributes": [{"key": "usage.field.n", "value": {"boolValue": 1}}]},
        {"attributes": [{"key": "usage.field.n", "value": {"stringValue": 1}}]},
        {"attributes": [{"key": "usage.field.n", "value": {"intValue": " 1_000 "}}]},
        {"asInt": str(10**30)},
        {"attributes": [{"value": {}}]},
        {"attributes": [{"key": "usage.field.n", "value": {"intValue": "9" * 40}}]},
    ],
)
def test_a_bad_data_point_in_json_takes_no_other_with_it(member: dict[str, Any]) -> None:
    """The same for metrics."""
    told = json_from_protobuf("metrics", metrics(1).SerializeToString())
    sums = told["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]["dataPoints"]
    sums.append({**sums[0], **member})

    received = decode("metrics", json.dumps(told).encode(), as_json=True)

    assert received.metrics is not None
    assert [1] == [point.value for _, point in points(received.metrics)]
    assert (1, 2) == (received.rejected.total(), received.count)
    assert "mycli" == resource()["service.name"]
