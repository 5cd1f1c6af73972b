"""OTLP, as JSON and as protobuf, to and from Python values and the SDK's own objects.

FORMAT  OTLP JSON: ids in hexadecimal, integers of 64 bits as decimal text, enums as integers; unknown keys are ignored.
        Source: opentelemetry-proto docs/specification.md, "JSON Protobuf Encoding". Scalars: see proto_json.py.
Functions are called after what they return: ``attributes_of(pairs)``, ``span_of(span, …)``, ``json_of_metrics(metrics)``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from .proto_json import read_bool, read_double, read_enum, read_id, read_int64, read_text, read_uint64

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_STATUS = {0: Status(StatusCode.UNSET), 1: Status(StatusCode.OK), 2: Status(StatusCode.ERROR)}
_KINDS = {
    0: SpanKind.INTERNAL,
    1: SpanKind.INTERNAL,
    2: SpanKind.SERVER,
    3: SpanKind.CLIENT,
    4: SpanKind.PRODUCER,
    5: SpanKind.CONSUMER,
}


class MalformedError(ValueError):
    """The bytes are not OTLP."""


def value_of(any_value: Mapping[str, Any]) -> Any:
    """Return the Python value of an OTLP JSON AnyValue. Raises ValueError for what the mapping does not allow."""
    for key, value in any_value.items():
        if value.__class__ is str and key == "stringValue":  # as most are
            return value
        read = _READERS.get(key)
        if read is not None and value is not None:
            return read(value)
    return None  # bytes too: no attribute of ours is of that type, and as text they might pass for one


def attributes_of(pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a list of OTLP JSON KeyValues as a dict. Raises as `value_of` does."""
    attributes = {pair["key"]: value_of(pair.get("value") or {}) for pair in pairs}
    for key in attributes:
        if key.__class__ is not str:
            raise ValueError("a key that is no text")
    return attributes


_READERS: dict[str, Callable[[Any], Any]] = {
    "stringValue": read_text,
    "boolValue": read_bool,
    "intValue": read_int64,
    "doubleValue": read_double,
    "arrayValue": lambda array: [value_of(item) for item in array.get("values") or ()],
    "kvlistValue": lambda pairs: attributes_of(pairs.get("values") or ()),
}


def pairs_of(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a dict as a list of OTLP JSON KeyValues."""
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


def any_value(value: Any) -> dict[str, Any]:
    """Return a Python value as OTLP JSON AnyValue."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [any_value(item) for item in value]}}
    return {"stringValue": str(value)}


def _scope(scope: Mapping[str, Any] | None) -> InstrumentationScope:
    scope = scope or {}
    return InstrumentationScope(scope.get("name") or "", scope.get("version") or None)


def span_of(
    span: Mapping[str, Any], attributes: Mapping[str, Any], resource: Resource, scope: InstrumentationScope
) -> ReadableSpan:
    """Return one OTLP JSON Span as the SDK's. attributes: those of the span, as Python values."""
    trace = read_id(span["traceId"], 16)
    parent = span.get("parentSpanId")
    return ReadableSpan(
        name=span["name"],
        context=SpanContext(trace, read_id(span["spanId"], 8), False, _SAMPLED),
        parent=SpanContext(trace, read_id(parent, 8), False, _SAMPLED) if parent else None,
        resource=resource,
        attributes=attributes,
        kind=_KINDS[read_enum(span.get("kind", 1))],
        status=_STATUS[read_enum((span.get("status") or {}).get("code", 0))],
        start_time=read_uint64(span["startTimeUnixNano"]),
        end_time=read_uint64(span["endTimeUnixNano"]),
        instrumentation_scope=scope,
    )


class Record(NamedTuple):
    """One span of OTLP JSON, with its attributes and its resource's as Python values."""

    resource: Mapping[str, Any]
    scope: tuple[str, str]  # name, version
    span: Mapping[str, Any]
    attributes: Mapping[str, Any]

    def line(self) -> bytes:
        """Return the record as a line of OTLP JSON of its own."""
        group = {
            "resource": {"attributes": pairs_of(self.resource)},
            "scopeSpans": [{"scope": {"name": self.scope[0], "version": self.scope[1]}, "spans": [self.span]}],
        }
        return json.dumps({"resourceSpans": [group]}, separators=(",", ":")).encode() + b"\n"


def records_of(row: bytes, resources: dict[bytes, Mapping[str, Any]]) -> list[Record]:
    """Return the spans of one line of OTLP JSON.

    resources: those of earlier lines, by their text; equal ones become one object, so that callers may compare identities.
    Raises ValueError, KeyError, TypeError, AttributeError or RecursionError if it is none.
    """
    records = []
    groups = json.loads(row)["resourceSpans"]
    for group in groups:
        key = row.partition(b'"scopeSpans"')[0] if len(groups) == 1 else json.dumps(group["resource"]).encode()
        resource = resources.get(key)
        if resource is None:
            resource = resources[key] = attributes_of(group["resource"]["attributes"])
        for scoped in group["scopeSpans"]:
            scope = (scoped["scope"]["name"], scoped["scope"]["version"])
            for span in scoped["spans"]:
                records.append(Record(resource, scope, span, attributes_of(span["attributes"])))
    return records


def _point(point: Mapping[str, Any]) -> NumberDataPoint:
    value = read_int64(point["asInt"]) if "asInt" in point else read_double(point.get("asDouble", 0))
    return NumberDataPoint(attributes_of(point.get("attributes", ())), *_times(point), value)


def _times(point: Mapping[str, Any]) -> tuple[int, int]:
    return read_uint64(point.get("startTimeUnixNano", 0)), read_uint64(point.get("timeUnixNano", 0))


def _histogram_point(point: Mapping[str, Any]) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes_of(point.get("attributes", ())),
        *_times(point),
        read_uint64(point.get("count", 0)),
        read_double(point.get("sum", 0)),
        [read_uint64(n) for n in point.get("bucketCounts", ())],
        [read_double(b) for b in point.get("explicitBounds", ())],
        read_double(point.get("min", 0)),
        read_double(point.get("max", 0)),
    )


def _metric(metric: Mapping[str, Any]) -> Metric:
    content: Any
    if "sum" in metric:
        total = metric["sum"]
        temporality = AggregationTemporality(read_enum(total.get("aggregationTemporality", 0)))
        content = Sum(
            [_point(p) for p in total.get("dataPoints", ())], temporality, read_bool(total.get("isMonotonic", False))
        )
    elif "gauge" in metric:
        content = Gauge([_point(p) for p in metric["gauge"].get("dataPoints", ())])
    elif "histogram" in metric:
        histogram = metric["histogram"]
        temporality = AggregationTemporality(read_enum(histogram.get("aggregationTemporality", 0)))
        content = Histogram([_histogram_point(p) for p in histogram.get("dataPoints", ())], temporality)
    else:
        raise MalformedError(f"metric {metric.get('name')!r} is neither sum, gauge nor histogram")
    return Metric(metric["name"], metric.get("description") or "", metric.get("unit") or "", content)


def metrics_of(metrics: Mapping[str, Any]) -> MetricsData:
    """Return OTLP JSON MetricsData as the SDK's. Raises MalformedError; also for exponential histograms and summaries."""
    try:
        groups = []
        for group in metrics.get("resourceMetrics", ()):
            resource = Resource(attributes_of((group.get("resource") or {}).get("attributes", ())))
            scoped = [
                ScopeMetrics(_scope(s.get("scope")), [_metric(m) for m in s.get("metrics", ())], "")
                for s in group.get("scopeMetrics", ())
            ]
            groups.append(ResourceMetrics(resource, scoped, ""))
        return MetricsData(groups)
    except MalformedError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise MalformedError(f"not OTLP JSON metrics: {type(exc).__name__}") from exc


def json_of_metrics(metrics: MetricsData) -> dict[str, Any]:
    """Return the SDK's MetricsData as OTLP JSON: sums, gauges and histograms."""
    return {
        "resourceMetrics": [
            {
                "resource": {"attributes": pairs_of(group.resource.attributes)},
                "scopeMetrics": [
                    {
                        "scope": {"name": scoped.scope.name, "version": scoped.scope.version or ""},
                        "metrics": [_json_metric(metric) for metric in scoped.metrics],
                    }
                    for scoped in group.scope_metrics
                ],
            }
            for group in metrics.resource_metrics
        ]
    }


def merge(rows: Iterable[Mapping[str, Any]], period_of: Callable[[int], object]) -> dict[str, Any]:
    """Return OTLP JSON metrics, delta sums and histograms, as one: each resource, scope, metric and series only once.

    Points of one series are added up if their ends, in nanoseconds, are of one period; those of histograms stay side by
    side. This is not only for size: of two equal resources the official encoder sends the last one alone.
    """
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        for group in row["resourceMetrics"]:
            merged = groups.setdefault(
                json.dumps(group["resource"]["attributes"]), {"resource": group["resource"], "scopeMetrics": [{}]}
            )["scopeMetrics"][0]
            for scoped in group["scopeMetrics"]:
                merged.setdefault("scope", scoped["scope"])
                metrics = merged.setdefault("metrics", [])
                for metric in scoped["metrics"]:
                    same = next((m for m in metrics if m["name"] == metric["name"] and m.keys() == metric.keys()), None)
                    if same is None:
                        metrics.append(metric)
                    elif "sum" in metric:
                        _add(same["sum"]["dataPoints"], metric["sum"]["dataPoints"], period_of)
                    else:
                        same["histogram"]["dataPoints"] += metric["histogram"]["dataPoints"]
    return {"resourceMetrics": list(groups.values())}


def _add(points: list[dict[str, Any]], more: Iterable[dict[str, Any]], period_of: Callable[[int], object]) -> None:
    """Add *more* points of delta sums to *points*, in place."""
    for point in more:
        period, attributes = period_of(int(point["timeUnixNano"])), point["attributes"]
        same = next(
            (p for p in points if p["attributes"] == attributes and period_of(int(p["timeUnixNano"])) == period), None
        )
        if same is None:
            points.append(point)
            continue
        same["asInt"] = str(int(same["asInt"]) + int(point["asInt"]))
        for key, choose in (("startTimeUnixNano", min), ("timeUnixNano", max)):
            same[key] = str(choose(int(same[key]), int(point[key])))


def _json_metric(metric: Metric) -> dict[str, Any]:
    content: dict[str, Any] = {"dataPoints": [_json_point(point) for point in metric.data.data_points]}
    if isinstance(metric.data, Gauge):
        kind = "gauge"
    else:
        content["aggregationTemporality"] = int(metric.data.aggregation_temporality)
        kind = "histogram"
        if isinstance(metric.data, Sum):
            kind = "sum"
            content["isMonotonic"] = metric.data.is_monotonic
    return {"name": metric.name, "unit": metric.unit or "", kind: content}


def _json_point(point: Any) -> dict[str, Any]:
    """Return one data point as OTLP JSON. Any: of a sum, a gauge or a histogram."""
    row: dict[str, Any] = {
        "attributes": pairs_of(point.attributes or {}),
        "startTimeUnixNano": str(point.start_time_unix_nano),
        "timeUnixNano": str(point.time_unix_nano),
    }
    if isinstance(point, HistogramDataPoint):
        row.update(
            count=str(point.count),
            sum=point.sum,
            bucketCounts=[str(n) for n in point.bucket_counts],
            explicitBounds=list(point.explicit_bounds),
            min=point.min,
            max=point.max,
        )
    else:
        row["asInt" if isinstance(point.value, int) else "asDouble"] = (
            str(point.value) if isinstance(point.value, int) else point.value
        )
    return row


def json_from_protobuf(signal: str, body: bytes) -> dict[str, Any]:
    """Return an OTLP/HTTP protobuf request as OTLP JSON. signal: ``traces`` or ``metrics``. Raises MalformedError."""
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request: Any = ExportTraceServiceRequest() if signal == "traces" else ExportMetricsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as exc:
        raise MalformedError(f"not OTLP protobuf {signal}") from exc
    payload: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    # The generic JSON mapping writes ids in base64; OTLP wants them in hexadecimal.
    for group, message in zip(payload.get("resourceSpans", ()), getattr(request, "resource_spans", ()), strict=True):
        for scoped, scoped_message in zip(group.get("scopeSpans", ()), message.scope_spans, strict=True):
            for span, span_message in zip(scoped.get("spans", ()), scoped_message.spans, strict=True):
                span["traceId"] = span_message.trace_id.hex()
                span["spanId"] = span_message.span_id.hex()
                if span_message.parent_span_id:
                    span["parentSpanId"] = span_message.parent_span_id.hex()
                span.setdefault("name", "")
                span.setdefault("startTimeUnixNano", "0")
                span.setdefault("endTimeUnixNano", "0")
    return payload
