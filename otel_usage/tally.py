"""Run counters, made from the spans by a real SDK meter, so that the two cannot disagree.

Ring 1 (background).
"""

from __future__ import annotations

from collections import Counter as Multiset
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from . import __version__
from .otlp import Record, json_of

_DELTA: dict[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}
BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Tally:
    """Counts the spans of one batch, per resource."""

    def __init__(self) -> None:
        self._resources: dict[int, Mapping[str, Any]] = {}
        self._counts: dict[int, Multiset[tuple[str, ...]]] = {}
        self._durations: dict[int, list[tuple[float, str, str]]] = {}

    def add(self, record: Record) -> None:
        """Count one span."""
        key, told = id(record.resource), record.attributes
        if key not in self._counts:
            self._resources[key], self._counts[key], self._durations[key] = record.resource, Multiset(), []
        kind = told["usage.kind"]
        if kind == "run":
            command, outcome = told["usage.command"], told["usage.outcome"]
            self._counts[key][("run", command, outcome)] += 1
            if outcome != "unfinished":  # nobody knows how long that one took
                seconds = (int(record.span["endTimeUnixNano"]) - int(record.span["startTimeUnixNano"])) / 1e9
                self._durations[key].append((seconds, command, outcome))
        elif kind in ("action", "error"):
            self._counts[key][(kind, told[f"usage.{kind}"])] += 1

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
                "usage.run.duration", "s", explicit_bucket_boundaries_advisory=list(BOUNDS_S)
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
            told = reader.get_metrics_data()
            provider.shutdown()
            if told is not None and told.resource_metrics:
                rows.append(json_of(told))
        return rows
