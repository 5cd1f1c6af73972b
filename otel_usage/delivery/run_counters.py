"""Run counters, derived from the spans of a batch, so that spans and counters can't disagree.

A real meter of the SDK adds them up: its histograms have the bounds and the temporality that receivers expect of it. Names
and attributes of the counters are those of `schema.attributes.DERIVED`.
"""

from __future__ import annotations

from collections import Counter as Multiset
from collections.abc import Mapping
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


class RunCounters:
    """Counts the spans of one batch, per resource. Resources are told apart by identity: equal ones are one object."""

    def __init__(self) -> None:
        self._resources: dict[int, Mapping[str, Any]] = {}
        self._counts: dict[int, Multiset[tuple[str, ...]]] = {}
        self._durations: dict[int, list[tuple[float, str, str]]] = {}

    def add(self, record: Record) -> None:
        """Count one span."""
        key, attributes = id(record.resource), record.attributes
        if key not in self._counts:
            self._resources[key], self._counts[key], self._durations[key] = record.resource, Multiset(), []
        kind = attributes["usage.kind"]
        if kind == "run":
            command, outcome = attributes["usage.command"], attributes["usage.outcome"]
            self._counts[key][("run", command, outcome)] += 1
            if outcome != "unfinished":  # its process was killed: how long it took is not known
                seconds = (int(record.span["endTimeUnixNano"]) - int(record.span["startTimeUnixNano"])) / 1e9
                self._durations[key].append((seconds, command, outcome))
        elif kind in ("action", "error"):
            self._counts[key][(kind, attributes[f"usage.{kind}"])] += 1

    def metrics(self) -> list[dict[str, Any]]:
        """Return the counters as OTLP JSON metrics, one object per resource."""
        rows = []
        for key, counts in self._counts.items():
            reader = InMemoryMetricReader(preferred_temporality=_DELTA)
            provider = MeterProvider(
                metric_readers=[reader],
                resource=Resource(dict(self._resources[key])),
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
            for (kind, *names), n in counts.items():
                if kind == "run":
                    runs.add(n, {"usage.command": names[0], "usage.outcome": names[1]})
                elif kind == "action":
                    actions.add(n, {"usage.action": names[0]})
                else:
                    errors.add(n, {"usage.error": names[0]})
            for seconds, command, outcome in self._durations[key]:
                duration.record(seconds, {"usage.command": command, "usage.outcome": outcome})
            metrics = reader.get_metrics_data()
            provider.shutdown()
            if metrics is not None and metrics.resource_metrics:
                rows.append(json_of_metrics(metrics))
        return rows
