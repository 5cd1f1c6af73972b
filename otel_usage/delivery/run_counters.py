"""Run counters, derived from the spans of a batch, so that spans and counters can't disagree.

They are what a meter of the SDK makes of the same runs, to the letter, which costs a tenth of a drain: tests/delivery/
test_run_counters.py holds both against each other. Names and attributes are those of `schema.attributes.DERIVED`.

What happened on one day (UTC) is one data point of each counter, from the start of the first span to the end of the last: a
laptop that was offline for a weekend counts on the days on which it was used, as its spans do. What is older than `LATE_S` is
apart, so that a destination that does not take such spans can leave out the very points that count them.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter as Multiset
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import __version__
from ..otlp import Record, pairs_of
from ..recording.otlp_events import DELTA

_UNITS = {"run": "{run}", "action": "{action}", "error": "{error}"}
DURATION_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


DAY_NS = 86_400 * 10**9
LATE_S = 72 * 3600 - 60  # what analytics take; as MAX_AGE_S of GA4, and no difference of seconds matters


@dataclass
class _Day:
    """What was counted of one resource on one day. durations: by command and outcome, in seconds."""

    resource: Mapping[str, Any]
    start_ns: int
    end_ns: int
    counts: Multiset[tuple[str, ...]] = field(default_factory=Multiset)
    durations: dict[tuple[str, str], list[float]] = field(default_factory=dict)


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
                day.durations.setdefault((command, outcome), []).append((end_ns - start_ns) / 1e9)
        elif kind in ("action", "error"):
            day.counts[(kind, attributes[f"usage.{kind}"])] += 1

    def period_of(self, end_ns: int) -> tuple[int, bool]:
        """Return what tells apart the ends of what is not to be added up; in the order of time."""
        return end_ns // DAY_NS, end_ns >= self._late_ns

    def metrics(self) -> list[dict[str, Any]]:
        """Return the counters as OTLP JSON metrics, one object per resource and day."""
        rows = []
        for _, day in sorted(self._days.items(), key=lambda item: item[0]):
            times = {"startTimeUnixNano": str(day.start_ns), "timeUnixNano": str(day.end_ns)}
            scope = {"name": "otel_usage", "version": __version__}
            metrics = [*_sums(day.counts, times), *_histograms(day.durations, times)]
            if metrics:
                group = {
                    "resource": {"attributes": pairs_of(day.resource)},
                    "scopeMetrics": [{"scope": scope, "metrics": metrics}],
                }
                rows.append({"resourceMetrics": [group]})
        return rows


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
