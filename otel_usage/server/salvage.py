"""Parse OTLP protobuf; where one record can't be parsed, parse all the others.

A Collector puts the records of many programs into one request, and passes on text that is not UTF-8. Protobuf refuses
the whole of such a request: everybody's records would be lost for one.

ALGORITHM
  1. Parse the request as usual. Nearly always that is all.
  2. If it is refused, parse it again with loose messages: the same structure on the wire, down to records, but text
     and what is inside records are bytes, which nothing is wrong with.
  3. Parse each record by itself with its real class, and leave out those that are refused. Of a metric only the data
     points that are refused are left out.
  4. Put what is left together again, and parse it as usual. A request that is refused even now is malformed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_usage.otlp import MalformedError

from .received import ItemLimit

_REQUEST_CLASSES: dict[str, Any] = {"traces": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest}
_POINT_CLASSES: dict[str, Any] = {
    "gauge": metrics_pb2.NumberDataPoint,
    "sum": metrics_pb2.NumberDataPoint,
    "histogram": metrics_pb2.HistogramDataPoint,
    "exponential_histogram": metrics_pb2.ExponentialHistogramDataPoint,
    "summary": metrics_pb2.SummaryDataPoint,
}
# The loose messages: {message: [(field, number, message of the field, "" for bytes)]}; "*" marks a repeated field.
# They stand for requests of both signals, which are alike on the wire down to records.
_LOOSE_MESSAGES = {
    "Request": [("groups", 1, "Group*")],
    "Group": [("resource", 1, ""), ("scoped", 2, "Scoped*"), ("schema_url", 3, "")],
    "Scoped": [("scope", 1, ""), ("records", 2, "*"), ("schema_url", 3, "")],
    "Metric": [(kind, number, "Points") for kind, number in zip(_POINT_CLASSES, (5, 7, 9, 10, 11), strict=True)],
    "Points": [("points", 1, "*")],
}


class SiftedRecord(NamedTuple):
    """A span or metric without what can't be parsed.

    content: what is left of it, None if nothing is. n_sound, n_bad: its spans or data points that can and can't be
    parsed.
    """

    content: bytes | None
    n_sound: int
    n_bad: int


def parse_or_salvage(signal: str, body: bytes, limit: ItemLimit) -> tuple[Any, int]:
    """Return the request in *body*, and how many spans or data points it lacks because they can't be parsed.

    Raises MalformedError; TooManyError if there are more records, or groups of them, than *limit* allows.
    """
    request_class = _REQUEST_CLASSES[signal]
    try:
        return request_class.FromString(body), 0
    except (DecodeError, ValueError):
        pass
    try:
        loose = _loose_class("Request").FromString(body)
        limit.check(len(loose.groups), "resources")
        limit.check(sum(len(group.scoped) for group in loose.groups), "scopes")
        limit.check(sum(len(scoped.records) for group in loose.groups for scoped in group.scoped), "records")
        n_lost = _sift(loose, _sift_span if signal == "traces" else _sift_metric)
        return request_class.FromString(loose.SerializeToString()), n_lost
    except (DecodeError, ValueError) as exc:
        raise MalformedError(f"not OTLP protobuf {signal}") from exc


def _sift(loose: Any, sift_record: Callable[[bytes], SiftedRecord]) -> int:
    """Leave out of *loose* what can't be parsed; return how many spans or data points that is.

    Where a resource can't be parsed, all its records are left out: nobody knows whose they are.
    """
    n_lost = 0
    for group in loose.groups:
        resource_is_sound = _can_parse(Resource, group.resource)
        group.ClearField("schema_url")
        for scoped in group.scoped:
            sound_records = []
            for record in scoped.records:
                sifted = sift_record(record)
                n_lost += sifted.n_bad if resource_is_sound else sifted.n_sound + sifted.n_bad
                if resource_is_sound and sifted.content is not None:
                    sound_records.append(sifted.content)
            for name in ("scope", "schema_url", "records"):
                scoped.ClearField(name)
            scoped.records.extend(sound_records)
        if not resource_is_sound:
            group.ClearField("resource")
    return n_lost


def _sift_span(record: bytes) -> SiftedRecord:
    return SiftedRecord(record, 1, 0) if _can_parse(Span, record) else SiftedRecord(None, 0, 1)


def _sift_metric(record: bytes) -> SiftedRecord:
    metric = _loose_class("Metric").FromString(record)
    n_sound = n_bad = 0
    for kind, point_class in _POINT_CLASSES.items():
        if metric.HasField(kind):
            aggregation = getattr(metric, kind)
            points = [point for point in aggregation.points if _can_parse(point_class, point)]
            n_sound += len(points)
            n_bad += len(aggregation.points) - len(points)
            aggregation.ClearField("points")
            aggregation.points.extend(points)
    content = metric.SerializeToString()  # with the metric's other fields: protobuf passes on fields it does not know
    if _can_parse(metrics_pb2.Metric, content):
        return SiftedRecord(content, n_sound, n_bad)
    return SiftedRecord(None, 0, n_sound + n_bad)


def _can_parse(message_class: Any, content: bytes) -> bool:
    try:
        message_class.FromString(content)
    except (DecodeError, ValueError):
        return False
    return True


@lru_cache(maxsize=8)
def _loose_class(name: str) -> Any:
    """Return the class of a message of `_LOOSE_MESSAGES`. Any: protobuf makes it at run time.

    Each is made in a descriptor pool of its own: in protobuf's default pool they would be visible to the whole process.
    """
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="loose.proto", package="otel_usage", syntax="proto3")
    for message, fields in _LOOSE_MESSAGES.items():
        descriptor = file.message_type.add(name=message)
        for field_name, number, field_message in fields:
            repeated = field_message.endswith("*")
            field = descriptor.field.add(name=field_name, number=number, label=3 if repeated else 1)
            field_message = field_message.rstrip("*")
            field.type = field.TYPE_MESSAGE if field_message else field.TYPE_BYTES
            if field_message:
                field.type_name = f".otel_usage.{field_message}"
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"otel_usage.{name}"))
