"""Decoding OTLP, as protobuf and as JSON: both let the same pass, and spoiled bytes end in one error."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_usage.otlp import MalformedError, json_from_protobuf
from otel_usage.server.decode import Decoder
from otel_usage.server.decode_protobuf import MAX_REMEMBERED
from otel_usage.server.received import ReceivedResource, TooManyError, select
from tests.collector.harness import RUN, metrics, resource, traces
from tests.server.serving import points

VALUES = st.one_of(
    st.sampled_from(["run", "action", "error", "report upload", "success", "mycli", "x" * 300, "/home/ada", ""]),
    st.booleans(),
    st.integers(-5, 300),
    st.lists(st.sampled_from(["--format", "-x", "/etc/passwd"]), max_size=3),
)
KEYS = st.sampled_from([*RUN, "usage.action", "usage.field.format", "error.type", "host.name", "process.pid"])
SPANS = st.fixed_dictionaries(
    {
        "attributes": st.dictionaries(KEYS, VALUES, max_size=4),
        "drop": st.sets(st.sampled_from(sorted(RUN)), max_size=2),
        "name": st.sampled_from(["mycli report upload", "report.upload", "mycli", "GET /"]),
        "host": st.booleans(),
        "event": st.booleans(),
        "status": st.sampled_from(["", "", "boom"]),
        "span_id": st.sampled_from([b"\1" * 8, b"", bytes(8), b"\1" * 7]),
        "parent": st.sampled_from([b"", b"\2" * 8, b"\2"]),
        "backwards": st.booleans(),
    }
)


@settings(max_examples=80, deadline=None)
@given(st.lists(SPANS, max_size=4))
def test_both_encodings_let_the_same_pass(told: list[dict[str, Any]]) -> None:
    """The fast path for protobuf and the general one through JSON keep and reject the same spans, first and again."""
    request = ExportTraceServiceRequest()
    for n, one in enumerate(told):
        attributes = {**{k: v for k, v in RUN.items() if k not in one["drop"]}, **one["attributes"]}
        about = {**resource(), "host.name": "x"} if one["host"] else resource()
        made = traces([n], attributes=attributes, name=one["name"], of=about, began_ns=10**18)
        span = made.resource_spans[0].scope_spans[0].spans[0]
        if one["event"] and n % 2:
            span.events.add(name="exception")
        if one["status"]:
            span.status.code, span.status.message = 2, one["status"]
        if n % 3 == 2:
            span.span_id = one["span_id"]
        span.parent_span_id = one["parent"]
        if one["backwards"] and n % 2:
            span.end_time_unix_nano = 1
        request.MergeFrom(made)
    body = request.SerializeToString()
    decoder = Decoder({}, items=100)

    fast = [decoder.decode("traces", body, as_json=False) for _ in range(2)]
    general = decoder.json.read_spans(json_from_protobuf("traces", body))

    for one in fast:
        assert general.rejected == one.rejected
        assert general.ids == one.ids
        assert [span.to_json() for span in general.spans] == [span.to_json() for span in one.spans]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans(), st.sampled_from(["traces", "metrics"]))
def test_any_bytes_are_decoded_or_malformed(body: bytes, as_json: bool, signal: str) -> None:
    """No body makes the decoder raise anything but that it is malformed."""
    try:
        Decoder({}, items=100).decode(signal, body, as_json=as_json)
    except MalformedError:
        pass


WRONG: list[Any] = [None, True, -1, 1e999, 2**70, "", "x", [], [None], {}, {"a": 1}, [[]], "9" * 5000, "\ud800"]


def spoil(told: Any, chance: random.Random) -> Any:
    """Return *told* with one part, anywhere in it, replaced by something wrong or left out."""
    if isinstance(told, dict) and told and chance.random() < 0.9:
        key = chance.choice(list(told))
        if chance.random() < 0.1:
            return {k: v for k, v in told.items() if k != key}
        return {**told, key: spoil(told[key], chance)}
    if isinstance(told, list) and told and chance.random() < 0.9:
        at = chance.randrange(len(told))
        return [*told[:at], spoil(told[at], chance), *told[at + 1 :]]
    return chance.choice(WRONG)


@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_spoiled_json_is_decoded_or_malformed(signal: str) -> None:
    """The same for JSON that is OTLP but for one part of it."""
    import json

    request = traces([1, 2]) if signal == "traces" else metrics(1)
    if signal == "metrics":
        scope = request.resource_metrics[0].scope_metrics[0]
        point = scope.metrics.add(name="usage.run.duration", unit="s").histogram.data_points.add(count=2, sum=1.5)
        point.bucket_counts.extend([1, 1])
        point.explicit_bounds.append(1.0)
    sound = json_from_protobuf(signal, request.SerializeToString())
    chance = random.Random(3)
    passed = 0
    for _ in range(3_000):
        body = json.dumps(spoil(sound, chance)).encode()
        try:
            received = Decoder({}, items=100).decode(signal, body, as_json=True)
            passed += len(received.ids)
        except (MalformedError, TooManyError):
            pass

    assert passed


def test_what_is_remembered_of_spans_is_bounded() -> None:
    """Ever new attributes and resources do not make the decoder grow without bound."""
    decoder = Decoder({}, items=100_000)
    for first in range(0, MAX_REMEMBERED + 1_000, 1_000):
        request = ExportTraceServiceRequest()
        for n in range(first, first + 1_000):
            about = {**resource(), "service.version": f"1.{n}"}
            request.MergeFrom(traces([n], attributes={**RUN, "process.exit.code": n}, of=about))
        received = decoder.decode("traces", request.SerializeToString(), as_json=False)
        assert [n + 1 for n in range(first, first + 1_000)] == [s.context.span_id for s in received.spans]

    assert len(decoder.protobuf._shapes) <= MAX_REMEMBERED
    assert len(decoder.protobuf._resources) <= MAX_REMEMBERED


def test_data_points_are_picked_by_position() -> None:
    """`select` returns the data points at some positions, of all metrics in order."""
    request = metrics(1)
    for n in (2, 3, 4):
        request.MergeFrom(metrics(n, name=f"usage.count.c{n}"))
    received = Decoder({}, items=100).decode("metrics", request.SerializeToString(), as_json=False)

    picked = select(received, [1, 3])

    assert not isinstance(picked, list)
    assert [("usage.count.c2", 2), ("usage.count.c4", 4)] == [(name, point.value) for name, point in points(picked)]


def test_a_received_resource_is_one_of_the_sdk() -> None:
    """It is equal to the SDK's with these attributes, both ways, is merged and written like it, and can't be changed."""
    attributes = {"service.name": "mycli", "n": 1, "several": ["a", "b"], "on": True}
    ours, theirs = ReceivedResource(attributes), Resource(attributes)

    assert ours == theirs
    assert theirs == ours
    assert dict(theirs.attributes) == dict(ours.attributes)
    assert hash(theirs) == hash(ours)
    assert theirs.to_json() == ours.to_json()
    assert theirs.merge(Resource({"b": 2})) == ours.merge(Resource({"b": 2}))
    with pytest.raises(TypeError):
        ours.attributes["n"] = 2  # type: ignore[index]
