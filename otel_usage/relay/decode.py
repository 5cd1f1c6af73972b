"""Turn the body of an OTLP/HTTP request into the SDK's spans or metrics, without what may not pass.

Ring 2 (extra ``[relay]``). What may pass is said by `otel_usage.schema`; here it is asked, again, for each record.
Protobuf spans, which Collectors send, have a path of their own, many times as fast as the one through OTLP JSON: but
for ids and times most spans are alike, so what was decoded and checked once is looked up the next time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from math import isfinite
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
from opentelemetry.trace import SpanContext, SpanKind, Status, TraceFlags

from otel_usage.otlp import MalformedError, attributes_of, span_of
from otel_usage.schema import check_point, check_resource, check_span

from .parse import parse

KNOWN = 4_096  # resources, and spans apart from ids and times, that are kept decoded
KNOWN_BYTES = 2_048  # no larger ones: some 20 MiB in all
ATTRIBUTES = 128  # of one resource, span or data point, and elements of one list: ours have a quarter

_OWN = ("trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano")
_SPAN_KEYS = ("traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("otel_usage")  # ours; what a client says there is checked by nobody
_UNITS = ("", "1", "s", "{run}", "{action}", "{error}", "{record}")
# What looking at a record raises that is not as it should be, in JSON above all. It is the record's fault, and no other
# record is to suffer for it.
_FAULTS = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, RecursionError)

Schemas = Mapping[str, Mapping[str, Any]]


class TooManyError(Exception):
    """More spans, data points or groups of them than one request may have. Its text says of what, and how many."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A span apart from its ids and times: why it may not pass, and what it is made of."""

    reason: str
    name: str
    attributes: Mapping[str, Any]
    kind: SpanKind
    status: Status


@dataclass(slots=True)
class Received:
    """What one request asks to deliver: ``spans`` or ``metrics``.

    ids: of the spans or data points, in order; equal for equal ones. rejected: ``{reason: how many}`` not among them.
    skipped: data points that say nothing, such as the mark that a series has ended.
    """

    signal: str
    spans: list[ReadableSpan] = field(default_factory=list)
    metrics: MetricsData | None = None
    ids: list[int] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: int = 0

    @property
    def count(self) -> int:
        """Spans or data points of the request."""
        return len(self.ids) + self.rejected.total() + self.skipped


class Told(NamedTuple):
    """What a metric of either encoding says. read: makes the SDK's data point of one of *points*. Any: either's."""

    name: str
    unit: str
    kind: str  # of protobuf's oneof; "" if there is none
    temporality: int
    monotonic: bool
    points: Sequence[Any]
    read: Callable[[Any], NumberDataPoint | HistogramDataPoint | None]


class Decoder:
    """Decodes requests. Any: protobuf, and JSON.

    Concurrency: safe in threads; of two that meet something new at once both decode it, and the later is kept.
    """

    def __init__(self, schemas: Schemas, *, items: int) -> None:
        self._schemas = schemas
        self._items = items
        self._resources: dict[bytes, tuple[Resource, str] | None] = {}
        self._shapes: dict[tuple[str, bytes], Shape] = {}

    def decode(self, signal: str, body: bytes, *, as_json: bool) -> Received:
        """Return what *body* holds. signal: ``traces`` or ``metrics``. Raises MalformedError or TooManyError."""
        if not as_json:
            return self._protobuf_spans(body) if signal == "traces" else self._protobuf_metrics(body)
        told = _json(body)
        try:
            return self._json_spans(told) if signal == "traces" else self._json_metrics(told)
        except _FAULTS as exc:
            raise MalformedError(f"not OTLP JSON {signal}: {type(exc).__name__}") from exc

    def _bounded(self, n: int, what: str) -> None:
        # Two bytes make a message of any kind: a small body may have millions.
        if n > self._items:
            raise TooManyError(f"{n} {what} in one request, more than {self._items}: send fewer, or raise --items")

    # Spans.

    def _protobuf_spans(self, body: bytes) -> Received:
        request, lost = parse("traces", body, self._bounded)
        groups = request.resource_spans
        self._bounded(len(groups), "resources")
        self._bounded(sum(len(group.scope_spans) for group in groups), "scopes")
        self._bounded(sum(len(scoped.spans) for group in groups for scoped in group.scope_spans), "spans")
        received = Received("traces")
        _reject(received, "malformed", lost)
        for group in groups:
            known = self._resource(group.resource)
            for scoped in group.scope_spans:
                if known is None:
                    _reject(received, "attribute", len(scoped.spans))
                    continue
                resource, app = known
                for span in scoped.spans:
                    self._protobuf_span(received, span, resource, app)
        return received

    def _protobuf_span(self, received: Received, span: Any, resource: Resource, app: str) -> None:
        if len(span.attributes) > ATTRIBUTES:
            received.rejected["attribute"] += 1
            return
        trace, own, parent = span.trace_id, span.span_id, span.parent_span_id
        start, end = span.start_time_unix_nano, span.end_time_unix_nano
        for name in _OWN:
            span.ClearField(name)
        key = (app, span.SerializeToString())
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shape(span, app)
            _keep(self._shapes, key, shape, len(key[1]))
        whole = len(trace) == 16 and len(own) == 8 and len(parent) in (0, 8) and 0 < start <= end < 1 << 63
        trace_id, span_id = int.from_bytes(trace, "big"), int.from_bytes(own, "big")
        if shape.reason or not (whole and trace_id and span_id):
            received.rejected[shape.reason or "attribute"] += 1
            return
        above = SpanContext(trace_id, int.from_bytes(parent, "big"), False, _SAMPLED) if parent else None
        received.ids.append(trace_id << 64 | span_id)
        received.spans.append(
            ReadableSpan(
                shape.name,
                SpanContext(trace_id, span_id, False, _SAMPLED),
                above,
                resource,
                shape.attributes,
                kind=shape.kind,
                status=shape.status,
                start_time=start,
                end_time=end,
                instrumentation_scope=_SCOPE,
            )
        )

    def _shape(self, span: Any, app: str) -> Shape:
        try:
            attributes = _plain(span.attributes)
            told = _span_told(span)
            reason = check_span(told, attributes, self._schemas.get(app), app)
            if not reason:
                made = span_of(told, attributes, Resource({}), _SCOPE)
                return Shape("", made.name, attributes, made.kind, made.status)
        except _FAULTS:
            reason = "malformed"
        return Shape(reason, "", {}, SpanKind.INTERNAL, Status())

    def _resource(self, resource: Any) -> tuple[Resource, str] | None:
        """Return the SDK's resource and its app, None if it may not pass."""
        if len(resource.attributes) > ATTRIBUTES:
            return None
        key = resource.SerializeToString()
        try:
            return self._resources[key]
        except KeyError:
            known = _known(_plain(resource.attributes))
            _keep(self._resources, key, known, len(key))
            return known

    def _json_spans(self, told: Mapping[str, Any]) -> Received:
        groups = told.get("resourceSpans") or ()
        self._bounded(len(groups), "resources")
        self._bounded(sum(len(g.get("scopeSpans") or ()) for g in groups), "scopes")
        self._bounded(sum(len(s.get("spans") or ()) for g in groups for s in g.get("scopeSpans") or ()), "spans")
        received = Received("traces")
        for group in groups:
            known, reason = _json_resource(group)
            for scoped in group.get("scopeSpans") or ():
                spans = scoped.get("spans") or ()
                if known is None:
                    _reject(received, reason, len(spans))
                    continue
                for span in spans:
                    try:
                        reason = self._json_span(received, span, *known)
                    except _FAULTS:
                        reason = "malformed"
                    _reject(received, reason, bool(reason))
        return received

    def _json_span(self, received: Received, span: Mapping[str, Any], resource: Resource, app: str) -> str:
        """Add one span of OTLP JSON, or return why not."""
        attributes = _attributes(span)
        told = _json_told(span)
        reason = check_span(told, attributes, self._schemas.get(app), app)
        if reason:
            return reason
        made = span_of(told, attributes, resource, _SCOPE)
        context = made.get_span_context()
        if context is None or not (context.trace_id and context.span_id):
            return "attribute"
        received.spans.append(made)
        received.ids.append(context.trace_id << 64 | context.span_id)
        return ""

    # Metrics.

    def _protobuf_metrics(self, body: bytes) -> Received:
        request, lost = parse("metrics", body, self._bounded)
        groups = request.resource_metrics
        self._bounded(len(groups), "resources")
        self._bounded(sum(len(group.scope_metrics) for group in groups), "scopes")
        scopes = [(group, scoped) for group in groups for scoped in group.scope_metrics]
        self._bounded(sum(len(scoped.metrics) for _, scoped in scopes), "metrics")
        told = [(group, [_protobuf_told(metric) for metric in scoped.metrics]) for group, scoped in scopes]
        self._bounded(sum(len(metric.points) for _, metrics in told for metric in metrics), "data points")
        received = Received("metrics")
        _reject(received, "malformed", lost)
        kept = [
            self._metrics(received, self._resource(group.resource), "attribute", metrics) for group, metrics in told
        ]
        received.metrics = MetricsData([one for one in kept if one is not None])
        return received

    def _json_metrics(self, told: Mapping[str, Any]) -> Received:
        groups = told.get("resourceMetrics") or ()
        self._bounded(len(groups), "resources")
        self._bounded(sum(len(g.get("scopeMetrics") or ()) for g in groups), "scopes")
        self._bounded(sum(len(s.get("metrics") or ()) for g in groups for s in g.get("scopeMetrics") or ()), "metrics")
        received = Received("metrics")
        kept = []
        n = 0
        for group in groups:
            known, reason = _json_resource(group)
            for scoped in group.get("scopeMetrics") or ():
                metrics = [_json_metric_told(metric) for metric in scoped.get("metrics") or ()]
                n += sum(len(metric.points) for metric in metrics)
                self._bounded(n, "data points")
                kept.append(self._metrics(received, known, reason, metrics))
        received.metrics = MetricsData([one for one in kept if one is not None])
        return received

    def _metrics(
        self, received: Received, known: tuple[Resource, str] | None, reason: str, told: Sequence[Told]
    ) -> ResourceMetrics | None:
        """Return what may pass of the metrics of one scope. known: their resource; without it *reason* says why not."""
        metrics = []
        for metric in told:
            if known is None or metric.kind not in ("sum", "gauge", "histogram"):
                _reject(received, reason if known is None else "attribute", len(metric.points))
                continue
            if metric.kind != "gauge" and metric.temporality not in (1, 2):  # unspecified: it can't be added up
                _reject(received, "value", len(metric.points))
                continue
            points = []
            for point in metric.points:
                try:
                    made = metric.read(point)
                    if made is None:
                        received.skipped += 1
                        continue
                    why = "value" if _beyond(made) else self._check(metric.name, made, known[1])
                    if not why:
                        received.ids.append(_point_id(known[0], metric.name, made))
                        points.append(made)
                except _FAULTS:
                    why = "malformed"
                _reject(received, why, bool(why))
            if points:
                metrics.append(
                    Metric(metric.name, "", metric.unit if metric.unit in _UNITS else "", _data(metric, points))
                )
        return ResourceMetrics(known[0], [ScopeMetrics(_SCOPE, metrics, "")], "") if known and metrics else None

    def _check(self, name: str, point: NumberDataPoint | HistogramDataPoint, app: str) -> str:
        return check_point(name, point.attributes or {}, self._schemas.get(app))


def only(received: Received, positions: Sequence[int]) -> list[ReadableSpan] | MetricsData:
    """Return the spans, or the metrics with the data points, at *positions*, in order."""
    if received.metrics is None:
        if len(positions) == len(received.spans):
            return received.spans
        return [received.spans[position] for position in positions]
    if len(positions) == len(received.ids):
        return received.metrics
    wanted = set(positions)
    at = 0
    groups = []
    for group in received.metrics.resource_metrics:
        scopes = []
        for scoped in group.scope_metrics:
            metrics = []
            for metric in scoped.metrics:
                points = []
                for point in metric.data.data_points:
                    if at in wanted:
                        points.append(point)
                    at += 1
                if points:
                    told: Any = metric.data  # of three kinds, alike in this
                    metrics.append(replace(metric, data=replace(told, data_points=points)))
            if metrics:
                scopes.append(replace(scoped, metrics=metrics))
        if scopes:
            groups.append(replace(group, scope_metrics=scopes))
    return MetricsData(groups)


def _json(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise MalformedError(f"not JSON: {type(exc).__name__}") from exc
    if not isinstance(told, dict):
        raise MalformedError("not a JSON object")
    return told


def _reject(received: Received, reason: str, n: int) -> None:
    if n:
        received.rejected[reason] += n


def _known(about: Mapping[str, Any]) -> tuple[Resource, str] | None:
    """Return the SDK's resource of *about* and its app, None if it may not pass."""
    return (Resource(about), str(about.get("service.name", ""))) if check_resource(about) else None


def _point_id(resource: Resource, name: str, point: NumberDataPoint | HistogramDataPoint) -> int:
    """Return the same number for the same data point: deltas of one process have times of their own."""
    about = resource.attributes.get("app.installation.id")
    told = (about, name, sorted((point.attributes or {}).items()), str(point.time_unix_nano))
    value = point.count if isinstance(point, HistogramDataPoint) else point.value
    whole = str(value) if isinstance(value, int) else "None"
    text = repr((told, str(point.start_time_unix_nano), whole))
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=24).digest(), "big")


def _beyond(point: NumberDataPoint | HistogramDataPoint) -> bool:
    """True if OTLP could not carry the time or the value, or no number is."""
    if not (0 <= point.start_time_unix_nano < 1 << 63 and 0 <= point.time_unix_nano < 1 << 63):
        return True
    if isinstance(point, HistogramDataPoint):
        value: int | float = point.count
        if not (isfinite(point.sum) and isfinite(point.min) and isfinite(point.max)):
            return True
    else:
        value = point.value
    return not (-(1 << 63) <= value < 1 << 63 if isinstance(value, int) else isfinite(value))


def _data(metric: Told, points: list[Any]) -> Any:
    """Return the SDK's data of a metric, of one of three kinds."""
    if metric.kind == "gauge":
        return Gauge(points)
    temporality = AggregationTemporality(metric.temporality)
    if metric.kind == "sum":
        return Sum(points, temporality, metric.monotonic)
    return Histogram(points, temporality)


# Protobuf.


def _protobuf_told(metric: Any) -> Told:
    kind = metric.WhichOneof("data") or ""
    of = getattr(metric, kind) if kind else None
    return Told(
        metric.name,
        metric.unit,
        kind,
        getattr(of, "aggregation_temporality", 0),
        getattr(of, "is_monotonic", False),
        of.data_points if of is not None else (),
        _protobuf_histogram if kind == "histogram" else _protobuf_number,
    )


def _protobuf_number(point: Any) -> NumberDataPoint | None:
    if point.flags & 1:  # NO_RECORDED_VALUE
        return None
    value = point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
    return NumberDataPoint(_plain(point.attributes), point.start_time_unix_nano, point.time_unix_nano, value)


def _protobuf_histogram(point: Any) -> HistogramDataPoint | None:
    if point.flags & 1:
        return None
    return HistogramDataPoint(
        _plain(point.attributes),
        point.start_time_unix_nano,
        point.time_unix_nano,
        point.count,
        point.sum,
        _few(point.bucket_counts),
        _few(point.explicit_bounds),
        point.min,
        point.max,
    )


def _few(numbers: Any) -> list[Any]:
    if len(numbers) > ATTRIBUTES:
        raise ValueError("more buckets than a histogram of ours has")
    return list(numbers)


def _plain(attributes: Any) -> dict[str, Any]:
    """Return protobuf KeyValues as a dict. Any: protobuf."""
    if len(attributes) > ATTRIBUTES:
        return {"": None}  # in no table
    plain: dict[str, Any] = {}
    for pair in attributes:
        of = pair.value
        kind = of.WhichOneof("value")
        if kind == "array_value" and len(of.array_value.values) <= ATTRIBUTES:
            plain[pair.key] = [_scalar(one) for one in of.array_value.values]
        else:
            plain[pair.key] = _scalar(of)
    return plain


def _scalar(of: Any) -> Any:
    kind = of.WhichOneof("value")
    # None fits no attribute of ours, so that what holds a list, a map or bytes where none belongs does not pass.
    return getattr(of, kind) if kind in ("string_value", "int_value", "bool_value", "double_value") else None


def _span_told(span: Any) -> dict[str, Any]:
    """Return a protobuf Span as OTLP JSON, but for its attributes; ids and times are stand-ins."""
    told: dict[str, Any] = {
        "traceId": "1" * 32,
        "spanId": "1" * 16,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": 1,
        "endTimeUnixNano": 1,
    }
    if span.HasField("status"):
        status = span.status
        told["status"] = {"code": status.code, "message": status.message} if status.message else {"code": status.code}
    if span.events or span.links or span.trace_state:
        told["events"] = True  # none of ours has any: no such span passes
    return told


# JSON. A member that is null is one that is absent, as protobuf's JSON has it; members nobody knows are ignored.


def _attributes(of: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a span, data point or resource."""
    pairs = of.get("attributes") or ()
    return attributes_of(pairs) if len(pairs) <= ATTRIBUTES else {"": None}


def _json_resource(group: Mapping[str, Any]) -> tuple[tuple[Resource, str] | None, str]:
    """Return a group's resource and its app, None and the reason if it may not pass."""
    try:
        return _known(_attributes(group.get("resource") or {})), "attribute"
    except _FAULTS:
        return None, "malformed"


def _json_told(span: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is looked at of a span: what is empty says nothing, counts of what was dropped are nobody's data."""
    told = {key: span[key] for key in _SPAN_KEYS if span.get(key) is not None}
    for key in ("traceId", "spanId", "parentSpanId"):
        if key in told:
            told[key] = str(told[key]).lower()  # OTLP JSON: hexadecimal of either case
    status = span.get("status")
    if status:
        told["status"] = {key: status[key] for key in ("code", "message") if status.get(key)}
    if span.get("events") or span.get("links") or span.get("traceState"):
        told["events"] = True  # as in `_span_told`
    return told


def _json_metric_told(metric: Mapping[str, Any]) -> Told:
    key = next((key for key in _JSON_KINDS if metric.get(key) is not None), "")
    kind, of = _JSON_KINDS.get(key, ""), metric.get(key) or {}
    return Told(
        str(metric.get("name")),
        str(metric.get("unit") or ""),
        kind,
        of.get("aggregationTemporality") or 0,
        bool(of.get("isMonotonic")),
        of.get("dataPoints") or (),
        _json_histogram if kind == "histogram" else _json_number,
    )


_JSON_KINDS = {
    "sum": "sum",
    "gauge": "gauge",
    "histogram": "histogram",
    "exponentialHistogram": "exponential_histogram",
    "summary": "summary",
}


def _json_number(point: Mapping[str, Any]) -> NumberDataPoint | None:
    if int(point.get("flags") or 0) & 1:
        return None
    whole = point.get("asInt")
    value = int(whole) if whole is not None else float(point.get("asDouble") or 0)
    return NumberDataPoint(_attributes(point), *_json_times(point), value)


def _json_histogram(point: Mapping[str, Any]) -> HistogramDataPoint | None:
    if int(point.get("flags") or 0) & 1:
        return None
    return HistogramDataPoint(
        _attributes(point),
        *_json_times(point),
        int(point.get("count") or 0),
        float(point.get("sum") or 0),
        [int(n) for n in _few(point.get("bucketCounts") or ())],
        [float(bound) for bound in _few(point.get("explicitBounds") or ())],
        float(point.get("min") or 0),
        float(point.get("max") or 0),
    )


def _json_times(point: Mapping[str, Any]) -> tuple[int, int]:
    return int(point.get("startTimeUnixNano") or 0), int(point.get("timeUnixNano") or 0)


def _keep(known: dict[Any, Any], key: Any, value: Any, size_bytes: int) -> None:
    if size_bytes <= KNOWN_BYTES:
        if len(known) >= KNOWN:
            known.clear()
        known[key] = value
