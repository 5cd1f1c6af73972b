"""Turn an OTLP JSON body into the SDK's spans or metrics, without what may not pass.

FORMAT  OTLP JSON. A member that is null counts as absent, as protobuf's JSON mapping has it; members that nobody knows
        are ignored; ids are hexadecimal of either case; scalars: see otel_usage/proto_json.py.
        Source: opentelemetry-proto docs/specification.md.
A request is read member by member, and no member can be relied on to be there or to be of its type: whatever reading a
record raises (RECORD_FAULTS) rejects that record, and what reading the groups around it raises, the request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData, NumberDataPoint

from otel_usage.otlp import MalformedError, attributes_of, span_of
from otel_usage.proto_json import (
    read_bool,
    read_double,
    read_enum,
    read_int64,
    read_text,
    read_uint32,
    read_uint64,
)
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
from .wire_metric import WireMetric, accept_metrics, check_buckets, read_broken

MIN_CONTAINER_BYTES = 8  # for each object or list of a body
FREE_BYTES = 16 * 1024  # bodies that are not larger may be of anything

# How the members are read that the tables look at.
_SPAN_MEMBERS: dict[str, Callable[[Any], Any]] = {
    "traceId": lambda text: read_text(text).lower(),
    "spanId": lambda text: read_text(text).lower(),
    "parentSpanId": lambda text: read_text(text).lower(),
    "name": read_text,
    "kind": read_enum,
    "startTimeUnixNano": read_uint64,
    "endTimeUnixNano": read_uint64,
}
_NO_RECORDED_VALUE = 1  # DataPointFlags: the mark that a series has ended
_METRIC_KINDS = {
    "sum": "sum",
    "gauge": "gauge",
    "histogram": "histogram",
    "exponentialHistogram": "exponential_histogram",
    "summary": "summary",
}


class JsonDecoder:
    """Decodes JSON bodies. Any: JSON. Concurrency: safe in threads; it remembers nothing."""

    def __init__(self, schemas: Schemas, limit: ItemLimit) -> None:
        self._schemas = schemas
        self._limit = limit

    def decode_spans(self, body: bytes) -> Received:
        """Return the spans in *body*. Raises MalformedError or TooManyError."""
        request = _parse(body)
        try:
            return self.read_spans(request)
        except RECORD_FAULTS as exc:
            raise MalformedError(f"not OTLP JSON traces: {type(exc).__name__}") from exc

    def decode_metrics(self, body: bytes) -> Received:
        """Return the metrics in *body*. Raises MalformedError or TooManyError."""
        request = _parse(body)
        try:
            return self.read_metrics(request)
        except RECORD_FAULTS as exc:
            raise MalformedError(f"not OTLP JSON metrics: {type(exc).__name__}") from exc

    def read_spans(self, request: Mapping[str, Any]) -> Received:
        """Return the spans of a parsed body. Raises TooManyError, or any of RECORD_FAULTS for the request as a whole."""
        groups = request.get("resourceSpans") or ()
        self._limit.check(len(groups), "resources")
        self._limit.check(sum(len(group.get("scopeSpans") or ()) for group in groups), "scopes")
        scopes = [scoped for group in groups for scoped in group.get("scopeSpans") or ()]
        self._limit.check(sum(len(scoped.get("spans") or ()) for scoped in scopes), "spans")
        received = Received("traces")
        for group in groups:
            owner, reason = _accept_resource(group)
            for scoped in group.get("scopeSpans") or ():
                spans = scoped.get("spans") or ()
                if owner is None:
                    received.reject(reason, len(spans))
                    continue
                for span in spans:
                    try:
                        reason = self._add_span(received, span, owner)
                    except RECORD_FAULTS:
                        reason = "malformed"
                    received.reject(reason, bool(reason))
        return received

    def _add_span(self, received: Received, span: Mapping[str, Any], owner: CheckedResource) -> str:
        """Add *span* to *received* and return "", or return the reason why it may not pass."""
        attributes = _read_attributes(span)
        checked_span = _leave_out_empty(span)
        reason = check_span(checked_span, attributes, self._schemas.get(owner.app), owner.app)
        if reason:
            return reason
        sdk_span = span_of(checked_span, attributes, owner.resource, SCOPE)
        context = sdk_span.get_span_context()
        if context is None or not (context.trace_id and context.span_id):
            return "attribute"
        received.spans.append(sdk_span)
        received.ids.append(context.trace_id << 64 | context.span_id)
        return ""

    def read_metrics(self, request: Mapping[str, Any]) -> Received:
        """Return the metrics of a parsed body. Raises as `read_spans` does."""
        groups = request.get("resourceMetrics") or ()
        self._limit.check(len(groups), "resources")
        self._limit.check(sum(len(group.get("scopeMetrics") or ()) for group in groups), "scopes")
        scopes = [scoped for group in groups for scoped in group.get("scopeMetrics") or ()]
        self._limit.check(sum(len(scoped.get("metrics") or ()) for scoped in scopes), "metrics")
        received = Received("metrics")
        accepted = []
        n_points = 0
        for group in groups:
            owner, reason = _accept_resource(group)
            for scoped in group.get("scopeMetrics") or ():
                metrics = [read_metric(metric) for metric in scoped.get("metrics") or ()]
                n_points += sum(len(metric.points) for metric in metrics)
                self._limit.check(n_points, "data points")
                accepted.append(accept_metrics(received, owner, reason, metrics, self._schemas))
        received.metrics = MetricsData([group for group in accepted if group is not None])
        return received


def _parse(body: bytes) -> dict[str, Any]:
    # Parsed in one go, while nothing else of this process runs. Objects and lists are what takes time and memory, and are
    # counted first: OTLP has one in 18 bytes at most.
    if MIN_CONTAINER_BYTES * (body.count(b"{") + body.count(b"[")) > max(len(body), FREE_BYTES):
        raise MalformedError("not OTLP JSON: hardly anything but brackets")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise MalformedError(f"not JSON: {type(exc).__name__}") from exc
    if not isinstance(request, dict):
        raise MalformedError("not a JSON object")
    return request


def _read_attributes(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes of a span, data point or resource."""
    pairs = record.get("attributes") or ()
    return attributes_of(pairs) if len(pairs) <= MAX_ATTRIBUTES else TOO_MANY_ATTRIBUTES


def _accept_resource(group: Mapping[str, Any]) -> tuple[CheckedResource | None, str]:
    """Return the resource of a group, or None; and the reason that counts if it is None."""
    try:
        return accept_resource(_read_attributes(group.get("resource") or {})), "attribute"
    except RECORD_FAULTS:
        return None, "malformed"


def _leave_out_empty(span: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tables look at of *span*, without its attributes. Raises any of RECORD_FAULTS.

    Members that are empty say nothing and are left out. So are the counts of what the client dropped, which no table
    has: they are no reason to reject a span.
    """
    checked_span = {key: read(span[key]) for key, read in _SPAN_MEMBERS.items() if span.get(key) is not None}
    status = span.get("status")
    if status:
        checked_span["status"] = {"code": read_enum(status["code"])} if status.get("code") is not None else {}
        if status.get("message"):
            checked_span["status"]["message"] = True  # no span of ours has one, so this key lets none pass
    if span.get("events") or span.get("links") or span.get("traceState"):
        checked_span["events"] = True  # nor any of these three
    return checked_span


def read_metric(metric: Mapping[str, Any]) -> WireMetric:
    """Return a metric of OTLP JSON. One that can't be read has data points that can't be."""
    try:
        return _read_metric(metric)
    except RECORD_FAULTS:
        return WireMetric("", "", "sum", 1, False, (None,), read_broken)


def _read_metric(metric: Mapping[str, Any]) -> WireMetric:
    key = next((key for key in _METRIC_KINDS if metric.get(key) is not None), "")
    kind, aggregation = _METRIC_KINDS.get(key, ""), metric.get(key) or {}
    points = aggregation.get("dataPoints") or ()
    try:
        temporality = read_enum(_present(aggregation, "aggregationTemporality", 0))
        is_monotonic = read_bool(_present(aggregation, "isMonotonic", False))
        name, unit = read_text(_present(metric, "name", "")), read_text(_present(metric, "unit", ""))
    except RECORD_FAULTS:
        return WireMetric("", "", "sum", 1, False, points, read_broken)
    read = _read_histogram if kind == "histogram" else _read_number
    return WireMetric(name, unit, kind, temporality, is_monotonic, points, read)


def _present(record: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return a member of *record*; *default* if it is absent, or null. Any: JSON."""
    value = record.get(key)
    return default if value is None else value


def _read_number(point: Mapping[str, Any]) -> NumberDataPoint | None:
    if read_uint32(_present(point, "flags", 0)) & _NO_RECORDED_VALUE:
        return None
    integer = point.get("asInt")
    value = read_int64(integer) if integer is not None else read_double(_present(point, "asDouble", 0))
    return NumberDataPoint(_read_attributes(point), *_read_times(point), value)


def _read_histogram(point: Mapping[str, Any]) -> HistogramDataPoint | None:
    if read_uint32(_present(point, "flags", 0)) & _NO_RECORDED_VALUE:
        return None
    return HistogramDataPoint(
        _read_attributes(point),
        *_read_times(point),
        read_uint64(_present(point, "count", 0)),
        read_double(_present(point, "sum", 0)),
        [read_uint64(n) for n in check_buckets(_present(point, "bucketCounts", ()))],
        [read_double(bound) for bound in check_buckets(_present(point, "explicitBounds", ()))],
        read_double(_present(point, "min", 0)),
        read_double(_present(point, "max", 0)),
    )


def _read_times(point: Mapping[str, Any]) -> tuple[int, int]:
    start, end = _present(point, "startTimeUnixNano", 0), _present(point, "timeUnixNano", 0)
    return read_uint64(start), read_uint64(end)
