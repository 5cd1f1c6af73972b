"""What one OTLP/HTTP request asks to deliver, once it is decoded and checked, and how many records it may hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_usage.schema.records import check_resource

MAX_ATTRIBUTES = 128  # of one resource, span or data point, and elements of one list: ours have a quarter of that
# Attributes that stand for "more than MAX_ATTRIBUTES": no table has the empty name, so the record is rejected.
TOO_MANY_ATTRIBUTES: Mapping[str, Any] = {"": None}
# What is raised while a record is read that is not as it should be, in JSON above all. That record alone is rejected:
# no other record of the request may suffer for it.
RECORD_FAULTS = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, RecursionError)
# The scope of everything that is passed on. A client's own is checked by nobody, so it is not passed on.
SCOPE = InstrumentationScope("otel_usage")

Schemas = Mapping[str, Mapping[str, Any]]  # {app: its schema}


class TooManyError(Exception):
    """More spans, data points or groups of them than one request may have. Its text says of what, and how many."""


class ItemLimit:
    """The most records, or groups of records, that one request may have."""

    def __init__(self, items: int) -> None:
        self._items = items

    def check(self, n: int, what: str) -> None:
        """Raise TooManyError if *n* is more than allowed. what: the plural noun for the message, such as ``spans``.

        Called for groups as well as for records: two bytes make a message of any kind, so a small body may hold
        millions of groups, all of them empty.
        """
        if n > self._items:
            raise TooManyError(f"{n} {what} in one request, more than {self._items}: send fewer, or raise --items")


class CheckedResource(NamedTuple):
    """A resource that may pass, and the app whose schema its records are checked against."""

    resource: Resource
    app: str


class ReceivedResource(Resource):
    """The SDK's resource, of attributes that have been checked: the SDK would check them again, one by one.

    Requests of single runs bring a new one each, and with the SDK's own it would take a quarter of all that decoding takes.
    """

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in attributes.items()}
        self._attributes = MappingProxyType(values)  # type: ignore[assignment]  # immutable, as the SDK's
        self._schema_url = ""


def accept_resource(attributes: Mapping[str, Any]) -> CheckedResource | None:
    """Return the SDK's resource with these attributes, None if one of them may not pass."""
    if not check_resource(attributes):
        return None
    return CheckedResource(ReceivedResource(attributes), str(attributes.get("service.name", "")))


@dataclass(slots=True)
class Received:
    """What one request asks to deliver: ``spans`` or ``metrics``.

    signal: ``traces`` or ``metrics``.
    ids: of the spans or data points, in order; equal ones have equal ids.
    rejected: ``{reason: how many}`` of the request's records that are not among them.
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

    def reject(self, reason: str, n: int) -> None:
        """Count *n* records as rejected; nothing happens if there are none."""
        if n:
            self.rejected[reason] += n


def select(received: Received, positions: Sequence[int]) -> list[ReadableSpan] | MetricsData:
    """Return the spans, or the metrics with the data points, at *positions*, which ascend.

    A position is an index into ``received.ids``.
    """
    if received.metrics is None:
        if len(positions) == len(received.spans):
            return received.spans
        return [received.spans[position] for position in positions]
    if len(positions) == len(received.ids):
        return received.metrics
    wanted = set(positions)
    position = 0
    groups = []
    for group in received.metrics.resource_metrics:
        scopes = []
        for scoped in group.scope_metrics:
            metrics = []
            for metric in scoped.metrics:
                points = []
                for point in metric.data.data_points:
                    if position in wanted:
                        points.append(point)
                    position += 1
                if points:
                    aggregation: Any = metric.data  # a Sum, Gauge or Histogram: alike in this
                    metrics.append(replace(metric, data=replace(aggregation, data_points=points)))
            if metrics:
                scopes.append(replace(scoped, metrics=metrics))
        if scopes:
            groups.append(replace(group, scope_metrics=scopes))
    return MetricsData(groups)
