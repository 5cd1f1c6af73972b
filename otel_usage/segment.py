"""One segment of a queue as what exporters take.

Ring 1 (background).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .otlp import Record, metrics_of, pairs_of, records_of, span_of


class Spans:
    """A segment of spans, their resources enriched. items: what a span exporter takes."""

    def __init__(self, records: Sequence[Record], extra: Mapping[str, str]) -> None:
        self.records = records
        resources: dict[int, Resource] = {}
        scopes: dict[tuple[str, str], InstrumentationScope] = {}
        self.items: list[ReadableSpan] = []
        for record in records:
            key = id(record.resource)
            if key not in resources:
                resources[key] = Resource({**record.resource, **extra})
            if record.scope not in scopes:
                scopes[record.scope] = InstrumentationScope(*record.scope)
            self.items.append(span_of(record.span, record.attributes, resources[key], scopes[record.scope]))

    @classmethod
    def read(cls, path: str, extra: Mapping[str, str]) -> Spans:
        """Return the segment at *path*. extra: resource attributes to add. Raises ValueError if it is not one."""
        resources: dict[bytes, Mapping[str, Any]] = {}
        try:
            with open(path, "rb") as file:
                return cls([record for row in file for record in records_of(row, resources)], extra)
        except (AttributeError, KeyError, TypeError) as exc:
            raise ValueError(f"{path!r} holds no spans") from exc

    def __len__(self) -> int:
        return len(self.records)

    def json(self) -> dict[str, Any]:
        """Return the spans as OTLP JSON, as they leave."""
        groups = []
        for record, item in zip(self.records, self.items, strict=True):
            told = json.loads(record.line())["resourceSpans"][0]
            told["resource"]["attributes"] = pairs_of(item.resource.attributes)
            groups.append(told)
        return {"resourceSpans": groups}

    def lines(self, positions: Sequence[int]) -> list[bytes]:
        """Return the spans at *positions* as lines of a segment."""
        return [self.records[position].line() for position in positions]


class Points:
    """A segment of metrics, their resources enriched. items: what a metric exporter takes; its length counts points."""

    def __init__(self, told: Mapping[str, Any], extra: Mapping[str, str]) -> None:
        self.told = told
        more = pairs_of(extra)
        groups = [
            {
                "resource": {"attributes": [*group["resource"]["attributes"], *more]},
                "scopeMetrics": group["scopeMetrics"],
            }
            for group in told["resourceMetrics"]
        ]
        self.items: MetricsData = metrics_of({"resourceMetrics": groups})

    @classmethod
    def read(cls, path: str, extra: Mapping[str, str]) -> Points:
        """Return the segment at *path*: one line. Raises ValueError if it is not one."""
        try:
            with open(path, "rb") as file:
                return cls(json.loads(file.readline()), extra)
        except (AttributeError, KeyError, TypeError) as exc:
            raise ValueError(f"{path!r} holds no metrics") from exc

    def _lists(self) -> list[list[Any]]:
        return [
            _points(metric)
            for group in self.told["resourceMetrics"]
            for scoped in group["scopeMetrics"]
            for metric in scoped["metrics"]
        ]

    def __len__(self) -> int:
        return sum(map(len, self._lists()))

    def lines(self, positions: Sequence[int]) -> list[bytes]:
        """Return the points at *positions*, counted through in order, as the line of a segment."""
        wanted, at = set(positions), 0
        told = json.loads(json.dumps(self.told))
        for group in told["resourceMetrics"]:
            for scoped in group["scopeMetrics"]:
                for metric in scoped["metrics"]:
                    points = _points(metric)
                    kept = [point for i, point in enumerate(points, at) if i in wanted]
                    at += len(points)
                    points[:] = kept
                scoped["metrics"] = [metric for metric in scoped["metrics"] if _points(metric)]
        told["resourceMetrics"] = [g for g in told["resourceMetrics"] if any(s["metrics"] for s in g["scopeMetrics"])]
        return [json.dumps(told, separators=(",", ":")).encode() + b"\n"]


def _points(metric: Mapping[str, Any]) -> list[Any]:
    points: list[Any] = (metric.get("sum") or metric.get("histogram") or metric["gauge"])["dataPoints"]
    return points
