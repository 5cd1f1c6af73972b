"""Run counters, derived from the spans of a batch, so that spans and counters can't disagree.

A real meter of the SDK adds them up: its histograms have the bounds and the temporality that receivers expect of it. Names
and attributes of the counters are those of `schema.attributes.DERIVED`.

What happened on one day (UTC) is one data point of each counter, from the start of the first span to the end of the last: a
laptop that was offline for a weekend counts on the days on which it was used, as its spans do. What is older than `LATE_S` is
apart, so that a destination that does not take such spans can leave out the very points that count them.
"""

from __future__ import annotations

import time
from collections import Counter as Multiset
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from .. import __version__
from ..otlp import Record, json_of_metrics

_DELTA: dict[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}
DURATION_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


DAY_NS = 86_400 * 10**9
LATE_S = 72 * 3600 - 60  # what analytics take; as MAX_AGE_S of GA4, and no difference of seconds matters


@dataclass
class _Day:
    """What was counted of one resource on one day."""

    resource: Mapping[str, Any]
    start_ns: int
    end_ns: int
    counts: Multiset[tuple[str, ...]] = field(default_factory=Multiset)
    durations: list[tuple[float, str, str]] = field(default_factory=list)


class RunCounters:
    """Counts the spans of one batch, per resource and day. Resources are told apart by identity: equal ones are one object."""

    def __init__(self) -> None:
        self._days: dict[tuple[tuple[int, bool], int], _Day] = {}  # by period and resource
        self._late_ns = time.time_ns() - LATE_S * 10**9

    def add(self, record: Record) -> None:
        """Count one span."""
        attributes = record.attributes
        start_ns, end_ns = int(record.span["startTimeUnixNano"]), int(record.span["endTimeUnixNano"])
        key = self.period_of(end_ns), id(record.resource)
        day = self._days.get(key)
        if day is None:
            day = self._days[key] = _Day(record.resource, start_ns, end_ns)
        day.start_ns, day.end_ns = min(day.start_ns, start_ns), max(day.end_ns, end_ns)
        kind = attributes["usage.kind"]
        if kind == "run":
            command, outcome = attributes["usage.command"], attributes["usage.outcome"]
            day.counts[("run", command, outcome)] += 1
            if outcome != "unfinished":  # its process was killed: how long it took is not known
                day.durations.append(((end_ns - start_ns) / 1e9, command, outcome))
        elif kind in ("action", "error"):
            day.counts[(kind, attributes[f"usage.{kind}"])] += 1

    def period_of(self, end_ns: int) -> tuple[int, bool]:
        """Return what tells apart the ends of what is not to be added up; in the order of time."""
        return end_ns // DAY_NS, end_ns >= self._late_ns

    def metrics(self) -> list[dict[str, Any]]:
        """Return the counters as OTLP JSON metrics, one object per resource and day."""
        rows = []
        for _, day in sorted(self._days.items(), key=lambda item: item[0]):
            reader = InMemoryMetricReader(preferred_temporality=_DELTA)
            provider = MeterProvider(
                metric_readers=[reader],
                resource=Resource(dict(day.resource)),
                exemplar_filter=AlwaysOffExemplarFilter(),
                shutdown_on_exit=False,
            )
            meter = provider.get_meter("otel_usage", __version__)
            runs = meter.create_counter("usage.runs", "{run}")
            actions = meter.create_counter("usage.actions", "{action}")
            errors = meter.create_counter("usage.errors", "{error}")
            duration = meter.create_histogram(
                "usage.run.duration", "s", explicit_bucket_boundaries_advisory=list(DURATION_BOUNDS_S)
            )
            for (kind, *names), n in day.counts.items():
                if kind == "run":
                    runs.add(n, {"usage.command": names[0], "usage.outcome": names[1]})
                elif kind == "action":
                    actions.add(n, {"usage.action": names[0]})
                else:
                    errors.add(n, {"usage.error": names[0]})
            for seconds, command, outcome in day.durations:
                duration.record(seconds, {"usage.command": command, "usage.outcome": outcome})
            metrics = reader.get_metrics_data()
            provider.shutdown()
            if metrics is not None and metrics.resource_metrics:
                rows.append(_dated(json_of_metrics(metrics), day))
        return rows


def _dated(payload: dict[str, Any], day: _Day) -> dict[str, Any]:
    """Return OTLP JSON metrics with the times of what they count: a meter knows only when it was asked."""
    for group in payload["resourceMetrics"]:
        for scoped in group["scopeMetrics"]:
            for metric in scoped["metrics"]:
                for point in (metric.get("sum") or metric["histogram"])["dataPoints"]:
                    point.update(startTimeUnixNano=str(day.start_ns), timeUnixNano=str(day.end_ns))
    return payload
