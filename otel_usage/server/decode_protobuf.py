"""Turn an OTLP protobuf body into the SDK's spans or metrics, without what may not pass.

Collectors send protobuf, so its spans have a path of their own, many times as fast as the one through OTLP JSON.

ALGORITHM of a span
  0. The request is taken apart into records, which are bytes yet: see envelope.py. Each is parsed by itself.
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

from google.protobuf.message import DecodeError
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData, NumberDataPoint
from opentelemetry.sdk.resources import Resource as SDKResource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, TraceFlags

from otel_usage.otlp import span_of
from otel_usage.schema.records import check_span, is_allowed_on_resource

from .envelope import MAX_RECORD_BYTES, METRIC_KINDS, message_class, open_envelope
from .received import (
    MAX_ATTRIBUTES,
    RECORD_FAULTS,
    SCOPE,
    TOO_MANY_ATTRIBUTES,
    CheckedResource,
    ItemLimit,
    Received,
    ReceivedResource,
    Schemas,
    accept_resource,
)
from .wire_metric import WireMetric, accept_metrics, check_buckets, read_broken

MAX_REMEMBERED = 4_096  # resources, and shapes of spans
MAX_REMEMBERED_BYTES = 2_048  # of one of them on the wire, larger ones are read each time: some 20 MiB in all
MIN_SPAN_BYTES = 46  # of ids and times alone, without which no span is one of ours

_FIELDS_OF_ITS_OWN = ("trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano")
INSTALLATION = "app.installation.id"
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
        self._rests: dict[bytes, Mapping[str, Any]] = {}  # of resources, without the installation's id
        self._shapes: dict[tuple[str, bytes], SpanShape] = {}

    def decode_spans(self, body: bytes) -> Received:
        """Return the spans in *body*. Raises MalformedError or TooManyError."""
        received = Received("traces")
        for group in open_envelope(body, self._limit, "spans"):
            owner, reason = self._accept_resource(group.resource)
            if owner is None:
                received.reject(reason, len(group.records))
                continue
            for record in group.records:
                self._add_span(received, record, owner)
        return received

    def _add_span(self, received: Received, record: bytes, owner: CheckedResource) -> None:
        if not MIN_SPAN_BYTES <= len(record) <= MAX_RECORD_BYTES:
            received.reject("attribute", 1)
            return
        try:
            span = Span.FromString(record)
        except DecodeError:
            received.reject("malformed", 1)
            return
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
                sdk_span = span_of(json_span, attributes, SDKResource({}), SCOPE)
                return SpanShape("", sdk_span.name, attributes, sdk_span.kind, sdk_span.status)
        except RECORD_FAULTS:
            reason = "malformed"
        return SpanShape(reason, "", {}, SpanKind.INTERNAL, Status())

    def _accept_resource(self, resource: bytes) -> tuple[CheckedResource | None, str]:
        """Return the resource in these bytes, or None; and the reason that counts if it is None."""
        try:
            return self._resources[resource], "attribute"
        except KeyError:
            pass
        if len(resource) > MAX_RECORD_BYTES:
            return None, "attribute"
        try:
            message = Resource.FromString(resource)
        except DecodeError:
            return None, "malformed"
        owner = self._read_resource(message)
        _remember(self._resources, resource, owner, len(resource))
        return owner, "attribute"

    def _read_resource(self, message: Any) -> CheckedResource | None:
        """Return a new resource. What it has besides the installation's id is alike in many, and so is remembered."""
        attributes = message.attributes
        last = len(attributes) - 1
        at = (
            next((i for i in range(last, -1, -1) if attributes[i].key == INSTALLATION), None)
            if last < MAX_ATTRIBUTES
            else None
        )
        if at is None:
            return accept_resource(_read_attributes(attributes))
        own = _read_scalar(attributes[at].value)
        del attributes[at]
        key = message.SerializeToString()
        rest = self._rests.get(key)
        if rest is None:
            rest = _read_attributes(attributes)
            rest = rest if accept_resource(rest) else TOO_MANY_ATTRIBUTES
            _remember(self._rests, key, rest, len(key))
        if rest is TOO_MANY_ATTRIBUTES or not is_allowed_on_resource(INSTALLATION, own):
            return None
        pairs = list(rest.items())
        pairs.insert(at, (INSTALLATION, own))  # where it was, so that equal requests stay equal, byte for byte
        return CheckedResource(ReceivedResource(dict(pairs)), str(rest.get("service.name", "")))

    def decode_metrics(self, body: bytes) -> Received:
        """Return the metrics in *body*. Raises MalformedError or TooManyError."""
        groups = [
            (group.resource, [_read_metric(record) for record in group.records])
            for group in open_envelope(body, self._limit, "metrics")
        ]
        self._limit.check(sum(len(metric.points) for _, metrics in groups for metric in metrics), "data points")
        received = Received("metrics")
        accepted = [
            accept_metrics(received, *self._accept_resource(resource), metrics, self._schemas)
            for resource, metrics in groups
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


def _read_metric(record: bytes) -> WireMetric:
    """Return a metric whose data points are bytes yet. One that can't be parsed at all counts as one data point."""
    try:
        metric = message_class("Metric").FromString(record)
        kind = next((kind for kind in METRIC_KINDS if metric.HasField(kind)), "")
        aggregation = message_class("Points").FromString(getattr(metric, kind) if kind else b"")
    except DecodeError:
        return WireMetric("", "", "sum", 1, False, (b"",), read_broken)
    return WireMetric(
        metric.name.decode("utf-8", "replace"),
        metric.unit.decode("utf-8", "replace"),
        kind,
        aggregation.aggregation_temporality,
        aggregation.is_monotonic,
        aggregation.points,
        _read_histogram if kind == "histogram" else _read_number,
    )


def _parse_point(point_class: Any, content: bytes) -> Any:
    """Return the message in *content*. Raises ValueError."""
    if len(content) > MAX_RECORD_BYTES:
        raise ValueError("larger than any of ours")
    try:
        return point_class.FromString(content)
    except DecodeError as exc:
        raise ValueError from exc


def _read_number(content: bytes) -> NumberDataPoint | None:
    point = _parse_point(metrics_pb2.NumberDataPoint, content)
    if point.flags & _NO_RECORDED_VALUE:
        return None
    value = point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
    return NumberDataPoint(_read_attributes(point.attributes), point.start_time_unix_nano, point.time_unix_nano, value)


def _read_histogram(content: bytes) -> HistogramDataPoint | None:
    point = _parse_point(metrics_pb2.HistogramDataPoint, content)
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
