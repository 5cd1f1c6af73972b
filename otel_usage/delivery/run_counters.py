"""Run counters, derived from the spans of a batch, so that spans and counters can't disagree.

They are what a meter of the SDK makes of the same runs, to the letter, which costs a tenth of a drain: tests/delivery/
test_run_counters.py holds both against each other. Names and attributes are those of `schema.attributes.DERIVED`.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter as Multiset
from collections.abc import Mapping, Sequence
from typing import Any

from .. import __version__
from ..otlp import Record, pairs_of

DELTA = 1  # AGGREGATION_TEMPORALITY_DELTA of metrics.proto
_UNITS = {"run": "{run}", "action": "{action}", "error": "{error}"}
DURATION_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class RunCounters:
    """Counts the spans of one batch, per resource. Resources are told apart by identity: equal ones are one object."""

    def __init__(self) -> None:
        self._resources: dict[int, Mapping[str, Any]] = {}
        self._counts: dict[int, Multiset[tuple[str, ...]]] = {}
        self._durations: dict[int, dict[tuple[str, str], list[float]]] = {}  # by command and outcome, in seconds
        self._start_ns = time.time_ns()

    def add(self, record: Record) -> None:
        """Count one span."""
        key, attributes = id(record.resource), record.attributes
        if key not in self._counts:
            self._resources[key], self._counts[key], self._durations[key] = record.resource, Multiset(), {}
        kind = attributes["usage.kind"]
        if kind == "run":
            command, outcome = attributes["usage.command"], attributes["usage.outcome"]
            self._counts[key][("run", command, outcome)] += 1
            if outcome != "unfinished":  # its process was killed: how long it took is not known
                seconds = (int(record.span["endTimeUnixNano"]) - int(record.span["startTimeUnixNano"])) / 1e9
                self._durations[key].setdefault((command, outcome), []).append(seconds)
        elif kind in ("action", "error"):
            self._counts[key][(kind, attributes[f"usage.{kind}"])] += 1

    def metrics(self) -> list[dict[str, Any]]:
        """Return the counters as OTLP JSON metrics, one object per resource."""
        times = {"startTimeUnixNano": str(self._start_ns), "timeUnixNano": str(time.time_ns())}
        return [
            {
                "resourceMetrics": [
                    {
                        "resource": {"attributes": pairs_of(self._resources[key])},
                        "scopeMetrics": [
                            {
                                "scope": {"name": "otel_usage", "version": __version__},
                                "metrics": [*_sums(counts, times), *_histograms(self._durations[key], times)],
                            }
                        ],
                    }
                ]
            }
            for key, counts in self._counts.items()
            if counts
        ]


def _sums(counts: Mapping[tuple[str, ...], int], times: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the counters that have counted anything, as OTLP JSON. times: of every point."""
    points: dict[str, list[dict[str, Any]]] = {}
    for (kind, *names), n in counts.items():
        keys = ("usage.command", "usage.outcome") if kind == "run" else (f"usage.{kind}",)
        attributes = pairs_of(dict(zip(keys, names, strict=True)))
        points.setdefault(kind, []).append({"attributes": attributes, **times, "asInt": str(n)})
    return [
        {
            "name": f"usage.{kind}s",
            "unit": unit,
            "sum": {"dataPoints": points[kind], "aggregationTemporality": DELTA, "isMonotonic": True},
        }
        for kind, unit in _UNITS.items()
        if kind in points
    ]


def _histograms(durations: Mapping[tuple[str, str], Sequence[float]], times: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the histogram of how long runs took, as OTLP JSON, in a list; an empty one if none ended."""
    points = []
    for (command, outcome), seconds in durations.items():
        buckets = [0] * (len(DURATION_BOUNDS_S) + 1)
        for one in seconds:
            buckets[bisect_left(DURATION_BOUNDS_S, one)] += 1
        points.append(
            {
                "attributes": pairs_of({"usage.command": command, "usage.outcome": outcome}),
                **times,
                "count": str(len(seconds)),
                "sum": sum(seconds),
                "bucketCounts": [str(n) for n in buckets],
                "explicitBounds": list(DURATION_BOUNDS_S),
                "min": min(seconds),
                "max": max(seconds),
            }
        )
    content = {"dataPoints": points, "aggregationTemporality": DELTA}
    return [{"name": "usage.run.duration", "unit": "s", "histogram": content}] if points else []
