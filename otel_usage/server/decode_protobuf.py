"""Turn an OTLP protobuf body into the SDK's spans or metrics, without what may not pass.

Collectors send protobuf, so its spans have a path of their own, many times as fast as the one through OTLP JSON.

ALGORITHM of a span
  1. Take its ids and times out of the message. What is left, the span's shape, is alike in most spans of an app.
  2. Look the shape up by its bytes. A new one is read and checked against the tables, and the result remembered:
     either the reason why such a span may not pass, or its name, attributes, kind and status.
  3. Check the ids and times, which every span has of its own, and build the SDK's span.
Resources are remembered in the same way. Both memories are bounded, in entries and in bytes of each entry: clients
choose what is in them.

RACES
  1. Two threads meet a new shape or resource at the same time: both read it, and the later result replaces the
     earlier one, which is equal.
  2. A thread empties a full memory while another looks something up: the other finds it, or reads it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, TraceFlags

from otel_usage.otlp import span_of
from otel_usage.schema.records import check_span

from .received import (
    MAX_ATTRIBUTES,
    RECORD_FAULTS,
    SCOPE,
    TOO_MANY_ATTRIBUTES,
    CheckedResource,
    ItemLimit,
    Received,
    Schemas,
    accept_resource,
)
from .salvage import parse_or_salvage
from .wire_metric import WireMetric, accept_metrics, check_buckets

MAX_REMEMBERED = 4_096  # resources, and shapes of spans
MAX_REMEMBERED_BYTES = 2_048  # of one of them on the wire, larger ones are read each time: some 20 MiB in all

_FIELDS_OF_ITS_OWN = ("trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NO_RECORDED_VALUE = 1  # DataPointFlags: the mark that a series has ended


@dataclass(frozen=True, slots=True)
class SpanShape:
    """A span apart from its ids and times. reason: why it may not pass; "" if it may, and only then the rest counts."""

    reason: str
    name: str
    attributes: Mapping[str, Any]
    kind: SpanKind
    status: Status


class ProtobufDecoder:
    """Decodes protobuf bodies. Any: protobuf's messages. Concurrency: safe in threads."""

    def __init__(self, schemas: Schemas, limit: ItemLimit) -> None:
        self._schemas = schemas
        self._limit = limit
        self._resources: dict[bytes, CheckedResource | None] = {}
        self._shapes: dict[tuple[str, bytes], SpanShape] = {}

    def decode_spans(self, body: bytes) -> Received:
        """Return the spans in *body*. Raises MalformedError or TooManyError."""
        request, n_lost = parse_or_salvage("traces", body, self._limit)
        groups = request.resource_spans
        self._limit.check(len(groups), "resources")
        self._limit.check(sum(len(group.scope_spans) for group in groups), "scopes")
        self._limit.check(sum(len(scoped.spans) for group in groups for scoped in group.scope_spans), "spans")
        received = Received("traces")
        received.reject("malformed", n_lost)
        for group in groups:
            owner = self._accept_resource(group.resource)
            for scoped in group.scope_spans:
                if owner is None:
                    received.reject("attribute", len(scoped.spans))
                    continue
                for span in scoped.spans:
                    self._add_span(received, span, owner)
        return received

    def _add_span(self, received: Received, span: Any, owner: CheckedResource) -> None:
        if len(span.attributes) > MAX_ATTRIBUTES:
            received.reject("attribute", 1)
            return
        resource, app = owner
        trace, own, parent = span.trace_id, span.span_id, span.parent_span_id
        start, end = span.start_time_unix_nano, span.end_time_unix_nano
        for name in _FIELDS_OF_ITS_OWN:
            span.ClearField(name)
        key = (app, span.SerializeToString())
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._read_shape(span, app)
            _remember(self._shapes, key, shape, len(key[1]))
        well_formed = len(trace) == 16 and len(own) == 8 and len(parent) in (0, 8) and 0 < start <= end < 1 << 63
        trace_id, span_id = int.from_bytes(trace, "big"), int.from_bytes(own, "big")
        if shape.reason or not (well_formed and trace_id and span_id):
            received.reject(shape.reason or "attribute", 1)
            return
        parent_context = SpanContext(trace_id, int.from_bytes(parent, "big"), False, _SAMPLED) if parent else None
        received.ids.append(trace_id << 64 | span_id)
        received.spans.append(
            ReadableSpan(
                shape.name,
                SpanContext(trace_id, span_id, False, _SAMPLED),
                parent_context,
                resource,
                shape.attributes,
                kind=shape.kind,
                status=shape.status,
                start_time=start,
                end_time=end,
                instrumentation_scope=SCOPE,
            )
        )

    def _read_shape(self, span: Any, app: str) -> SpanShape:
        try:
            attributes = _read_attributes(span.attributes)
            json_span = _as_json_span(span)
            reason = check_span(json_span, attributes, self._schemas.get(app), app)
            if not reason:
                sdk_span = span_of(json_span, attributes, Resource({}), SCOPE)
                return SpanShape("", sdk_span.name, attributes, sdk_span.kind, sdk_span.status)
        except RECORD_FAULTS:
            reason = "malformed"
        return SpanShape(reason, "", {}, SpanKind.INTERNAL, Status())

    def _accept_resource(self, resource: Any) -> CheckedResource | None:
        if len(resource.attributes) > MAX_ATTRIBUTES:
            return None
        key = resource.SerializeToString()
        try:
            return self._resources[key]
        except KeyError:
            owner = accept_resource(_read_attributes(resource.attributes))
            _remember(self._resources, key, owner, len(key))
            return owner

    def decode_metrics(self, body: bytes) -> Received:
        """Return the metrics in *body*. Raises MalformedError or TooManyError."""
        request, n_lost = parse_or_salvage("metrics", body, self._limit)
        groups = request.resource_metrics
        self._limit.check(len(groups), "resources")
        self._limit.check(sum(len(group.scope_metrics) for group in groups), "scopes")
        scopes = [(group, scoped) for group in groups for scoped in group.scope_metrics]
        self._limit.check(sum(len(scoped.metrics) for _, scoped in scopes), "metrics")
        wire_metrics = [(group, [_read_metric(metric) for metric in scoped.metrics]) for group, scoped in scopes]
        self._limit.check(sum(len(metric.points) for _, metrics in wire_metrics for metric in metrics), "data points")
        received = Received("metrics")
        received.reject("malformed", n_lost)
        accepted = [
            accept_metrics(received, self._accept_resource(group.resource), "attribute", metrics, self._schemas)
            for group, metrics in wire_metrics
        ]
        received.metrics = MetricsData([group for group in accepted if group is not None])
        return received


def _remember(memory: dict[Any, Any], key: Any, value: Any, size_bytes: int) -> None:
    if size_bytes <= MAX_REMEMBERED_BYTES:
        if len(memory) >= MAX_REMEMBERED:
            memory.clear()
        memory[key] = value


def _read_attributes(pairs: Any) -> Mapping[str, Any]:
    """Return protobuf KeyValues as a dict."""
    if len(pairs) > MAX_ATTRIBUTES:
        return TOO_MANY_ATTRIBUTES
    attributes: dict[str, Any] = {}
    for pair in pairs:
        any_value = pair.value
        kind = any_value.WhichOneof("value")
        if kind == "array_value" and len(any_value.array_value.values) <= MAX_ATTRIBUTES:
            attributes[pair.key] = [_read_scalar(element) for element in any_value.array_value.values]
        else:
            attributes[pair.key] = _read_scalar(any_value)
    return attributes


def _read_scalar(any_value: Any) -> str | int | bool | float | None:
    """Return the value of an AnyValue; None, which fits no attribute of ours, if it is a list, a map or bytes."""
    kind = any_value.WhichOneof("value")
    if kind not in ("string_value", "int_value", "bool_value", "double_value"):
        return None
    scalar: str | int | bool | float = getattr(any_value, kind)
    return scalar


def _as_json_span(span: Any) -> dict[str, Any]:
    """Return what the tables look at of a protobuf Span, as OTLP JSON. Its ids and times are stand-ins that pass."""
    json_span: dict[str, Any] = {
        "traceId": "1" * 32,
        "spanId": "1" * 16,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": 1,
        "endTimeUnixNano": 1,
    }
    if span.HasField("status"):
        status = span.status
        json_span["status"] = {"code": status.code}
        if status.message:
            json_span["status"]["message"] = status.message
    if span.events or span.links or span.trace_state:
        json_span["events"] = True  # no span of ours has any of the three, so this key lets none pass
    return json_span


def _read_metric(metric: Any) -> WireMetric:
    kind = metric.WhichOneof("data") or ""
    aggregation = getattr(metric, kind) if kind else None
    return WireMetric(
        metric.name,
        metric.unit,
        kind,
        getattr(aggregation, "aggregation_temporality", 0),
        getattr(aggregation, "is_monotonic", False),
        aggregation.data_points if aggregation is not None else (),
        _read_histogram if kind == "histogram" else _read_number,
    )


def _read_number(point: Any) -> NumberDataPoint | None:
    if point.flags & _NO_RECORDED_VALUE:
        return None
    value = point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
    return NumberDataPoint(_read_attributes(point.attributes), point.start_time_unix_nano, point.time_unix_nano, value)


def _read_histogram(point: Any) -> HistogramDataPoint | None:
    if point.flags & _NO_RECORDED_VALUE:
        return None
    return HistogramDataPoint(
        _read_attributes(point.attributes),
        point.start_time_unix_nano,
        point.time_unix_nano,
        point.count,
        point.sum,
        _read_buckets(point.bucket_counts),
        _read_buckets(point.explicit_bounds),
        point.min,
        point.max,
    )


def _read_buckets(numbers: Sequence[Any]) -> list[Any]:
    return list(check_buckets(numbers))
