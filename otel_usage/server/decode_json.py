"""Turn an OTLP JSON body into the SDK's spans or metrics, without what may not pass.

FORMAT  OTLP JSON. A member that is null counts as absent, as protobuf's JSON mapping has it; members that nobody knows
        are ignored; ids are hexadecimal of either case. Source: opentelemetry-proto docs/specification.md.
A request is read member by member, and no member can be relied on to be there or to be of its type: whatever reading a
record raises (RECORD_FAULTS) rejects that record, and what reading the groups around it raises, the request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData, NumberDataPoint

from otel_usage.otlp import MalformedError, attributes_of, span_of
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
from .wire_metric import WireMetric, accept_metrics, check_buckets

MIN_CONTAINER_BYTES = 8  # for each object or list of a body
FREE_BYTES = 16 * 1024  # bodies that are not larger may be of anything

_SPAN_KEYS = ("traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano")
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
                metrics = [_read_metric(metric) for metric in scoped.get("metrics") or ()]
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
    """Return what the tables look at of *span*, without its attributes.

    Members that are empty say nothing and are left out. So are the counts of what the client dropped, which no table
    has: they are no reason to reject a span.
    """
    checked_span = {key: span[key] for key in _SPAN_KEYS if span.get(key) is not None}
    for key in ("traceId", "spanId", "parentSpanId"):
        if key in checked_span:
            checked_span[key] = str(checked_span[key]).lower()
    status = span.get("status")
    if status:
        checked_span["status"] = {key: status[key] for key in ("code", "message") if status.get(key)}
    if span.get("events") or span.get("links") or span.get("traceState"):
        checked_span["events"] = True  # no span of ours has any of the three, so this key lets none pass
    return checked_span


def _read_metric(metric: Mapping[str, Any]) -> WireMetric:
    key = next((key for key in _METRIC_KINDS if metric.get(key) is not None), "")
    kind, aggregation = _METRIC_KINDS.get(key, ""), metric.get(key) or {}
    return WireMetric(
        str(metric.get("name")),
        str(metric.get("unit") or ""),
        kind,
        aggregation.get("aggregationTemporality") or 0,
        bool(aggregation.get("isMonotonic")),
        aggregation.get("dataPoints") or (),
        _read_histogram if kind == "histogram" else _read_number,
    )


def _read_number(point: Mapping[str, Any]) -> NumberDataPoint | None:
    if int(point.get("flags") or 0) & _NO_RECORDED_VALUE:
        return None
    integer = point.get("asInt")
    value = int(integer) if integer is not None else float(point.get("asDouble") or 0)
    return NumberDataPoint(_read_attributes(point), *_read_times(point), value)


def _read_histogram(point: Mapping[str, Any]) -> HistogramDataPoint | None:
    if int(point.get("flags") or 0) & _NO_RECORDED_VALUE:
        return None
    return HistogramDataPoint(
        _read_attributes(point),
        *_read_times(point),
        int(point.get("count") or 0),
        float(point.get("sum") or 0),
        [int(n) for n in check_buckets(point.get("bucketCounts") or ())],
        [float(bound) for bound in check_buckets(point.get("explicitBounds") or ())],
        float(point.get("min") or 0),
        float(point.get("max") or 0),
    )


def _read_times(point: Mapping[str, Any]) -> tuple[int, int]:
    return int(point.get("startTimeUnixNano") or 0), int(point.get("timeUnixNano") or 0)
