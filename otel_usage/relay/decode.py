"""Turn the body of an OTLP/HTTP request into the SDK's spans or metrics, without what may not pass.

Ring 2 (extra ``[relay]``). What may pass is said by `otel_usage.schema`; here it is asked, again, for each record.
Protobuf spans, which Collectors send, have a path of their own, many times as fast as the one through OTLP JSON: but
for ids and times most spans are alike, so what was decoded and checked once is looked up the next time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, TraceFlags

from otel_usage.otlp import MalformedError, attributes_of, json_from_protobuf, metrics_of, span_of
from otel_usage.schema import check_point, check_resource, check_span

KNOWN = 4_096  # resources, and spans apart from ids and times, that are kept decoded
KNOWN_BYTES = 2_048  # no larger ones: some 20 MiB in all
ATTRIBUTES = 128  # of one resource or span, and elements of one list: ours have a quarter
METRICS_BYTES = 1 << 20  # of a request: what 500 data points of as many installations take, three times over

_OWN = ("trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)

Schemas = Mapping[str, Mapping[str, Any]]


class TooManyError(Exception):
    """More spans, data points or groups of them than one request may have."""


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
    """

    signal: str
    spans: list[ReadableSpan] = field(default_factory=list)
    metrics: MetricsData | None = None
    ids: list[int] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)


class Decoder:
    """Decodes requests. Any: protobuf, and JSON.

    Concurrency: safe in threads; of two that meet something new at once both decode it, and the later is kept.
    """

    def __init__(self, schemas: Schemas, *, items: int) -> None:
        self._schemas = schemas
        self._items = items
        self._resources: dict[bytes, tuple[Resource, str] | None] = {}
        self._shapes: dict[tuple[str, bytes], Shape] = {}
        self._scopes: dict[tuple[str, str], InstrumentationScope] = {}

    def decode(self, signal: str, body: bytes, *, as_json: bool) -> Received:
        """Return what *body* holds. signal: ``traces`` or ``metrics``. Raises MalformedError or TooManyError."""
        if signal == "traces" and not as_json:
            return self._protobuf_spans(body)
        if signal == "metrics" and len(body) > METRICS_BYTES:
            raise TooManyError
        told = _json(body) if as_json else json_from_protobuf(signal, body)
        try:
            return self._json_spans(told) if signal == "traces" else self._metrics(told)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError, RecursionError) as exc:
            if isinstance(exc, MalformedError):
                raise
            raise MalformedError(f"not OTLP {signal}: {type(exc).__name__}") from exc

    def _bounded(self, n: int) -> None:
        if n > self._items:
            raise TooManyError

    # Spans.

    def _protobuf_spans(self, body: bytes) -> Received:
        request = ExportTraceServiceRequest()
        try:
            request.ParseFromString(body)
        except DecodeError as exc:
            raise MalformedError("not OTLP protobuf traces") from exc
        groups = request.resource_spans
        # Two bytes make a message of any of these kinds: a small body may have millions.
        self._bounded(len(groups))
        self._bounded(sum(len(group.scope_spans) for group in groups))
        self._bounded(sum(len(scoped.spans) for group in groups for scoped in group.scope_spans))
        received = Received("traces")
        for group in groups:
            known = self._resource(group.resource)
            for scoped in group.scope_spans:
                if known is None:
                    received.rejected["attribute"] += len(scoped.spans)
                    continue
                resource, app = known
                scope = self._scope(scoped.scope.name, scoped.scope.version)
                for span in scoped.spans:
                    self._protobuf_span(received, span, resource, app, scope)
        return received

    def _protobuf_span(
        self, received: Received, span: Any, resource: Resource, app: str, scope: InstrumentationScope
    ) -> None:
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
                instrumentation_scope=scope,
            )
        )

    def _shape(self, span: Any, app: str) -> Shape:
        attributes = _plain(span.attributes)
        told = _span_told(span)
        reason = check_span(told, attributes, self._schemas.get(app), app)
        if reason:
            return Shape(reason, "", {}, SpanKind.INTERNAL, Status())
        made = span_of(told, attributes, Resource({}), InstrumentationScope(""))
        return Shape("", made.name, attributes, made.kind, made.status)

    def _resource(self, resource: Any) -> tuple[Resource, str] | None:
        """Return the SDK's resource and its app, None if it may not pass."""
        if len(resource.attributes) > ATTRIBUTES:
            return None
        key = resource.SerializeToString()
        try:
            return self._resources[key]
        except KeyError:
            about = _plain(resource.attributes)
            known = (Resource(about), str(about.get("service.name", ""))) if check_resource(about) else None
            _keep(self._resources, key, known, len(key))
            return known

    def _scope(self, name: str, version: str) -> InstrumentationScope:
        known = self._scopes.get((name, version))
        if known is None:
            known = InstrumentationScope(name, version or None)
            _keep(self._scopes, (name, version), known, len(name) + len(version))
        return known

    def _json_spans(self, told: Mapping[str, Any]) -> Received:
        groups = told.get("resourceSpans") or ()
        self._bounded(len(groups))
        self._bounded(sum(len(g.get("scopeSpans") or ()) for g in groups))
        self._bounded(sum(len(s.get("spans") or ()) for g in groups for s in g.get("scopeSpans") or ()))
        received = Received("traces")
        for group in groups:
            about = attributes_of((group.get("resource") or {}).get("attributes") or ())
            for scoped in group.get("scopeSpans") or ():
                spans = scoped.get("spans") or ()
                if not check_resource(about):
                    received.rejected["attribute"] += len(spans)
                    continue
                named = scoped.get("scope") or {}
                scope = self._scope(str(named.get("name") or ""), str(named.get("version") or ""))
                for span in spans:
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in span:
                            span[key] = str(span[key]).lower()  # OTLP JSON: hexadecimal of either case
                    app = str(about.get("service.name", ""))
                    self._span(received, span, attributes_of(span.get("attributes") or ()), Resource(about), app, scope)
        return received

    def _span(
        self,
        received: Received,
        span: Mapping[str, Any],
        attributes: Mapping[str, Any],
        resource: Resource,
        app: str,
        scope: InstrumentationScope,
    ) -> None:
        reason = check_span(span, attributes, self._schemas.get(app), app)
        if not reason:
            made = span_of(span, attributes, resource, scope)
            context = made.get_span_context()
            if context is not None and context.trace_id and context.span_id:
                received.spans.append(made)
                received.ids.append(context.trace_id << 64 | context.span_id)
                return
            reason = "attribute"
        received.rejected[reason] += 1

    # Metrics.

    def _metrics(self, told: Mapping[str, Any]) -> Received:
        received = Received("metrics")
        groups = []
        count = 0
        for group in told.get("resourceMetrics") or ():
            about = attributes_of((group.get("resource") or {}).get("attributes") or ())
            known = check_resource(about)
            app = str(about.get("service.name", ""))
            for scoped in group.get("scopeMetrics") or ():
                kept = []
                for metric in scoped.get("metrics") or ():
                    kind = next((k for k in ("sum", "histogram", "gauge") if k in metric), None)
                    if kind is None:  # a summary or an exponential histogram: none of ours
                        other = metric.get("summary") or metric.get("exponentialHistogram") or {}
                        received.rejected["attribute"] += len(other.get("dataPoints") or ())
                        continue
                    points = []
                    for point in metric[kind].get("dataPoints") or ():
                        count += 1
                        if count > self._items:
                            raise TooManyError
                        attributes = attributes_of(point.get("attributes") or ())
                        name = str(metric.get("name"))
                        reason = check_point(name, attributes, self._schemas.get(app)) if known else "attribute"
                        if reason:
                            received.rejected[reason] += 1
                        else:
                            points.append(point)
                            received.ids.append(_point_id(about, name, attributes, point))
                    if points:
                        kept.append({**metric, kind: {**metric[kind], "dataPoints": points}})
                if kept:
                    groups.append(
                        {"resource": group.get("resource") or {}, "scopeMetrics": [{**scoped, "metrics": kept}]}
                    )
        received.metrics = metrics_of({"resourceMetrics": groups})
        return received


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


def _point_id(about: Mapping[str, Any], name: str, attributes: Mapping[str, Any], point: Mapping[str, Any]) -> int:
    """Return the same number for the same data point: deltas of one process have times of their own."""
    told = (about.get("app.installation.id"), name, sorted(attributes.items()), str(point.get("timeUnixNano")))
    text = repr((told, str(point.get("startTimeUnixNano")), str(point.get("asInt", point.get("count")))))
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=24).digest(), "big")


def _plain(attributes: Any) -> dict[str, Any]:
    """Return protobuf KeyValues as a dict. Any: protobuf."""
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


def _keep(known: dict[Any, Any], key: Any, value: Any, size_bytes: int) -> None:
    if size_bytes <= KNOWN_BYTES:
        if len(known) >= KNOWN:
            known.clear()
        known[key] = value
