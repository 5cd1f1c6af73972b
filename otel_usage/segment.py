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

from .otlp import attributes_of, metrics_of, pairs_of, span_of


class Segment:
    """Spans, or data points, with their resources enriched.

    items: ``list[ReadableSpan]`` or ``MetricsData``. Its length counts spans or data points.
    """

    def __init__(self, signal: str, rows: Sequence[Mapping[str, Any]], extra: Mapping[str, str]) -> None:
        self.signal = signal
        self.rows = rows
        self.items: list[ReadableSpan] | MetricsData = (
            _spans(rows, extra) if signal == "traces" else _metrics(rows, extra)
        )

    @classmethod
    def read(cls, path: str, signal: str, extra: Mapping[str, str]) -> Segment:
        """Return the segment at *path*. extra: resource attributes to add. Raises ValueError if it is not one."""
        with open(path, "rb") as file:
            return cls(signal, [json.loads(row) for row in file], extra)

    def __len__(self) -> int:
        if isinstance(self.items, list):
            return len(self.items)
        return sum(
            len(metric.data.data_points)
            for group in self.items.resource_metrics
            for scoped in group.scope_metrics
            for metric in scoped.metrics
        )

    def lines(self, positions: Sequence[int]) -> list[bytes]:
        """Return lines with only the spans or data points at *positions*, as they were read."""
        wanted, at, rows = set(positions), 0, []
        for row in self.rows:
            outer, inner = ("resourceSpans", "scopeSpans") if self.signal == "traces" else ("resourceMetrics", "scopeMetrics")
            n = 0
            for group in row[outer]:
                for scoped in group[inner]:
                    lists = (
                        [(scoped, "spans")]
                        if self.signal == "traces"
                        else [(m.get("sum") or m.get("histogram") or m["gauge"], "dataPoints") for m in scoped["metrics"]]
                    )
                    for holder, key in lists:
                        end = at + len(holder[key])
                        holder[key] = [item for i, item in enumerate(holder[key], at) if i in wanted]
                        n, at = n + len(holder[key]), end
            if n:
                rows.append(json.dumps(row, separators=(",", ":")).encode() + b"\n")
        return rows


def _spans(rows: Sequence[Mapping[str, Any]], extra: Mapping[str, str]) -> list[ReadableSpan]:
    resources: dict[str, Resource] = {}
    scopes: dict[str, InstrumentationScope] = {}
    spans = []
    for row in rows:
        for group in row["resourceSpans"]:
            told = repr(group["resource"])
            resource = resources.get(told)
            if resource is None:
                resource = resources[told] = Resource({**attributes_of(group["resource"]["attributes"]), **extra})
            for scoped in group["scopeSpans"]:
                version = scoped["scope"].get("version", "")
                scope = scopes.setdefault(version, InstrumentationScope(scoped["scope"]["name"], version))
                for span in scoped["spans"]:
                    spans.append(span_of(span, attributes_of(span["attributes"]), resource, scope))
    return spans


def _metrics(rows: Sequence[Mapping[str, Any]], extra: Mapping[str, str]) -> MetricsData:
    groups: list[dict[str, Any]] = []
    for row in rows:
        for group in row["resourceMetrics"]:
            attributes = [*group["resource"]["attributes"], *pairs_of(extra)]
            groups.append({"resource": {"attributes": attributes}, "scopeMetrics": group["scopeMetrics"]})
    return metrics_of({"resourceMetrics": groups})
