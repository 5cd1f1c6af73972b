"""Metrics as they come, whichever their encoding, and which of their data points may pass.

Each encoding has a reader that makes a `WireMetric` of a metric; `accept_metrics` asks the tables in
`otel_usage.schema` about every data point, and builds the SDK's metrics of those that may pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from math import isfinite
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource

from otel_usage.schema.records import check_point

from .received import MAX_ATTRIBUTES, RECORD_FAULTS, SCOPE, CheckedResource, Received, Schemas

DataPoint = NumberDataPoint | HistogramDataPoint

_UNITS = ("", "1", "s", "{item}", "{run}", "{action}", "{error}", "{record}")  # any other is not passed on
# AggregationTemporality of OTLP: 1 is delta, 2 is cumulative. 0, unspecified, can't be added up.
_TEMPORALITIES = (1, 2)


class WireMetric(NamedTuple):
    """A metric as a request has it, protobuf or JSON. Any: a data point of either encoding.

    kind: ``sum``, ``gauge``, ``histogram``, ``exponential_histogram``, ``summary``, or "" if the metric has none.
    read: turns one of *points* into the SDK's data point; None for a point that says nothing. It may raise any of
    RECORD_FAULTS.
    """

    name: str
    unit: str
    kind: str
    temporality: int
    monotonic: bool
    points: Sequence[Any]
    read: Callable[[Any], DataPoint | None]


def accept_metrics(
    received: Received,
    owner: CheckedResource | None,
    reason: str,
    metrics: Iterable[WireMetric],
    schemas: Schemas,
) -> ResourceMetrics | None:
    """Return those data points of one scope that may pass, None if there are none; all others are counted.

    owner: the resource of the metrics. None if it may not pass: then nothing of them does, and *reason* says why.
    Side effect: adds ids, rejected and skipped to *received*.
    """
    accepted = []
    for metric in metrics:
        if owner is None:
            received.reject(reason, len(metric.points))
            continue
        if metric.kind not in ("sum", "gauge", "histogram"):
            received.reject("attribute", len(metric.points))
            continue
        if metric.kind != "gauge" and metric.temporality not in _TEMPORALITIES:
            received.reject("value", len(metric.points))
            continue
        points = _accept_points(received, owner, metric, schemas)
        if points:
            unit = metric.unit if metric.unit in _UNITS else ""
            accepted.append(Metric(metric.name, "", unit, _aggregate(metric, points)))
    if owner is None or not accepted:
        return None
    return ResourceMetrics(owner.resource, [ScopeMetrics(SCOPE, accepted, "")], "")


def _accept_points(received: Received, owner: CheckedResource, metric: WireMetric, schemas: Schemas) -> list[DataPoint]:
    points: list[DataPoint] = []
    for wire_point in metric.points:
        try:
            point = metric.read(wire_point)
            if point is None:
                received.skipped += 1
                continue
            if _is_out_of_range(point):
                reason = "value"
            else:
                reason = check_point(metric.name, point.attributes or {}, schemas.get(owner.app))
            if not reason:
                received.ids.append(_point_id(owner.resource, metric.name, point))
                points.append(point)
        except RECORD_FAULTS:
            reason = "malformed"
        received.reject(reason, bool(reason))
    return points


def read_broken(_: Any) -> DataPoint:
    """Raise ValueError: what reads the data points of a metric that can't be read itself. Any: of either encoding."""
    raise ValueError("of a metric that can't be read")


def check_buckets(numbers: Sequence[Any]) -> Sequence[Any]:
    """Return *numbers*, counts or bounds of a histogram. Raises ValueError if they are more than any of ours has."""
    if len(numbers) > MAX_ATTRIBUTES:
        raise ValueError("more buckets than a histogram of ours has")
    return numbers


def _point_id(resource: Resource, name: str, point: DataPoint) -> int:
    """Return a number that is the same for the same data point, and different for any other.

    The times tell data points of one series apart: two deltas of one process begin and end at different times.
    """
    installation = resource.attributes.get("app.installation.id")
    series = (installation, name, sorted((point.attributes or {}).items()), str(point.time_unix_nano))
    value = point.count if isinstance(point, HistogramDataPoint) else point.value
    integer = str(value) if isinstance(value, int) else "None"
    text = repr((series, str(point.start_time_unix_nano), integer))
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=24).digest(), "big")


def _is_out_of_range(point: DataPoint) -> bool:
    """True if OTLP could not carry a time or value of *point*, or a value is infinite or not a number."""
    if not (0 <= point.start_time_unix_nano < 1 << 63 and 0 <= point.time_unix_nano < 1 << 63):
        return True
    if isinstance(point, HistogramDataPoint):
        value: int | float = point.count
        if not (isfinite(point.sum) and isfinite(point.min) and isfinite(point.max)):
            return True
    else:
        value = point.value
    return not (-(1 << 63) <= value < 1 << 63 if isinstance(value, int) else isfinite(value))


def _aggregate(metric: WireMetric, points: list[Any]) -> Sum | Gauge | Histogram:
    """Return *points* in the SDK's class for the kind of *metric*. Any: numbers or histograms, as the kind says."""
    if metric.kind == "gauge":
        return Gauge(points)
    temporality = AggregationTemporality(metric.temporality)
    if metric.kind == "sum":
        return Sum(points, temporality, metric.monotonic)
    return Histogram(points, temporality)
