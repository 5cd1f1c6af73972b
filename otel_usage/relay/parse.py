"""Parse OTLP protobuf, and where one record in it can't be parsed, all the others.

Ring 2 (extra ``[relay]``). A Collector puts the records of many programs into one request, and passes on text that is
not UTF-8, with which protobuf refuses the whole of it: everybody's records would be lost for one. So a request that is
refused is taken apart, without looking at text, and what is sound of it put together again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_usage.otlp import MalformedError

_REQUESTS: dict[str, Any] = {"traces": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest}
_POINTS: dict[str, Any] = {
    "gauge": metrics_pb2.NumberDataPoint,
    "sum": metrics_pb2.NumberDataPoint,
    "histogram": metrics_pb2.HistogramDataPoint,
    "exponential_histogram": metrics_pb2.ExponentialHistogramDataPoint,
    "summary": metrics_pb2.SummaryDataPoint,
}
# Requests of both signals, as far as they are the same on the wire: (field, number, type), a list if it ends with "*".
_LOOSE = {
    "Request": [("groups", 1, "Group*")],
    "Group": [("resource", 1, ""), ("scoped", 2, "Scoped*"), ("schema_url", 3, "")],
    "Scoped": [("scope", 1, ""), ("records", 2, "*"), ("schema_url", 3, "")],
    "Metric": [(kind, number, "Points") for kind, number in zip(_POINTS, (5, 7, 9, 10, 11), strict=True)],
    "Points": [("points", 1, "*")],
}


def parse(signal: str, body: bytes, bounded: Callable[[int, str], None]) -> tuple[Any, int]:
    """Return the request in *body*, and how many spans or data points it is without because they can't be parsed.

    bounded: called with how many there are of what, before they are looked at one by one. Raises MalformedError.
    """
    try:
        return _REQUESTS[signal].FromString(body), 0
    except (DecodeError, ValueError):
        pass
    try:
        loose = _loose("Request").FromString(body)
        bounded(len(loose.groups), "resources")
        bounded(sum(len(group.scoped) for group in loose.groups), "scopes")
        bounded(sum(len(scoped.records) for group in loose.groups for scoped in group.scoped), "records")
        lost = _sift(loose, _sound_spans if signal == "traces" else _sound_metric)
        return _REQUESTS[signal].FromString(loose.SerializeToString()), lost
    except (DecodeError, ValueError) as exc:
        raise MalformedError(f"not OTLP protobuf {signal}") from exc


def _sift(loose: Any, sound: Callable[[bytes], tuple[bytes | None, int, int]]) -> int:
    """Leave out of *loose* what can't be parsed; return how many spans or data points that is."""
    lost = 0
    for group in loose.groups:
        owned = _parses(Resource, group.resource)
        group.ClearField("schema_url")
        for scoped in group.scoped:
            kept = []
            for record in scoped.records:
                whole, good, bad = sound(record)
                lost += bad if owned else good + bad
                if owned and whole is not None:
                    kept.append(whole)
            for name in ("scope", "schema_url", "records"):
                scoped.ClearField(name)
            scoped.records.extend(kept)
        if not owned:
            group.ClearField("resource")
    return lost


def _sound_spans(record: bytes) -> tuple[bytes | None, int, int]:
    """Return what is left of a span, and how many spans that is and is not."""
    return (record, 1, 0) if _parses(Span, record) else (None, 0, 1)


def _sound_metric(record: bytes) -> tuple[bytes | None, int, int]:
    """Return what is left of a metric, and how many of its data points are and are not."""
    metric = _loose("Metric").FromString(record)
    good = bad = 0
    for kind, made in _POINTS.items():
        if metric.HasField(kind):
            told = getattr(metric, kind)
            points = [point for point in told.points if _parses(made, point)]
            good, bad = good + len(points), bad + len(told.points) - len(points)
            told.ClearField("points")
            told.points.extend(points)
    whole = metric.SerializeToString()  # its other fields, unknown to it, included
    return (whole, good, bad) if _parses(metrics_pb2.Metric, whole) else (None, 0, good + bad)


def _parses(kind: Any, content: bytes) -> bool:
    try:
        kind.FromString(content)
    except (DecodeError, ValueError):
        return False
    return True


@lru_cache(maxsize=8)
def _loose(name: str) -> Any:
    """Return the class of a message of `_LOOSE`, in which text and what is inside records are bytes. Any: made here."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="loose.proto", package="otel_usage", syntax="proto3")
    for message, fields in _LOOSE.items():
        added = file.message_type.add(name=message)
        for of, number, kind in fields:
            field = added.field.add(name=of, number=number, label=3 if kind.endswith("*") else 1)
            kind = kind.rstrip("*")
            field.type = field.TYPE_MESSAGE if kind else field.TYPE_BYTES
            if kind:
                field.type_name = f".otel_usage.{kind}"
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"otel_usage.{name}"))
