"""One segment file of a queue, as exporters take it.

FORMAT  OTLP JSON, as the host wrote it and the intake let it pass; see queue.py for names and states.
        ``*.traces.jsonl``   a ``TracesData`` object per line
        ``*.metrics.jsonl``  one ``MetricsData`` object, in one line
        Neither holds the installation's id, nor anything that describes the machine: these attributes are added to each
        resource as the file is read.
ALGORITHM  A destination may take a part of a file only. `lines` returns what is left of it, by the positions that the
        verdict names; these lines replace the file's content. Spans are counted in the order of the file, data points through
        all metrics in the order of the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ..otlp import Record, metrics_of, pairs_of, records_of, span_of
from ..spool.layout import TRACES

MAX_COUNTED = 16_777_216  # bytes of a file that are looked at to count what is in it


class Spans:
    """The spans of one segment file, with the added resource attributes. items: what a span exporter takes."""

    def __init__(self, records: Sequence[Record], items: Sequence[ReadableSpan]) -> None:
        self.records = records
        self.items = items

    @classmethod
    def of(cls, records: Sequence[Record], added: Mapping[str, str | bool]) -> Spans:
        """Return *records* as a file of them would be read. Raises ValueError if they are no spans."""
        resources: dict[int, Resource] = {}
        scopes: dict[tuple[str, str], InstrumentationScope] = {}
        items: list[ReadableSpan] = []
        try:
            for record in records:
                key = id(record.resource)
                if key not in resources:
                    resources[key] = Resource({**record.resource, **added})
                if record.scope not in scopes:
                    scopes[record.scope] = InstrumentationScope(*record.scope)
                items.append(span_of(record.span, record.attributes, resources[key], scopes[record.scope]))
        except (AttributeError, KeyError, TypeError) as exc:
            raise ValueError("no spans") from exc
        return cls(records, items)

    @classmethod
    def read(cls, path: str, added: Mapping[str, str | bool]) -> Spans:
        """Return the spans of the file at *path*. added: resource attributes. Raises ValueError if it holds no spans."""
        resources: dict[bytes, Mapping[str, Any]] = {}
        try:
            with open(path, "rb") as file:
                return cls.of([record for row in file for record in records_of(row, resources)], added)
        except (AttributeError, KeyError, TypeError) as exc:
            raise ValueError(f"{path!r} holds no spans") from exc

    def __len__(self) -> int:
        return len(self.records)

    def origins(self) -> list[Hashable]:
        """Return, by position, what tells apart those that can't share a request about one client: resource, and CI or not.

        Only runs say whether they were in CI. If all of one resource say the same, what else there is goes with them.
        """
        places: dict[int, set[object]] = {}
        for record in self.records:
            if record.attributes.get("usage.kind") == "run":
                places.setdefault(id(record.resource), set()).add(record.attributes.get("usage.ci"))
        mixed = {resource for resource, ones in places.items() if len(ones) > 1}
        return [
            (id(record.resource), record.attributes.get("usage.ci") if id(record.resource) in mixed else None)
            for record in self.records
        ]

    def part(self, positions: Sequence[int]) -> Spans:
        """Return the spans at *positions*."""
        return Spans([self.records[at] for at in positions], [self.items[at] for at in positions])

    def lines(self, positions: Sequence[int]) -> list[bytes]:
        """Return the spans at *positions* as lines of a segment file."""
        return [self.records[position].line() for position in positions]


class Points:
    """The metrics of one segment file, with the added resource attributes.

    items: what a metric exporter takes. The length is the number of data points.
    """

    def __init__(self, payload: Mapping[str, Any], added: Mapping[str, str | bool]) -> None:
        self.payload = payload
        self.added = added
        added_pairs = pairs_of(added)
        groups = [
            {
                "resource": {"attributes": [*group["resource"]["attributes"], *added_pairs]},
                "scopeMetrics": group["scopeMetrics"],
            }
            for group in payload["resourceMetrics"]
        ]
        self.items: MetricsData = metrics_of({"resourceMetrics": groups})

    @classmethod
    def read(cls, path: str, added: Mapping[str, str | bool]) -> Points:
        """Return the metrics of the file at *path*, in its one line. Raises ValueError if it holds no metrics."""
        try:
            with open(path, "rb") as file:
                return cls(json.loads(file.readline()), added)
        except (AttributeError, KeyError, TypeError) as exc:
            raise ValueError(f"{path!r} holds no metrics") from exc

    def __len__(self) -> int:
        return sum(
            len(_points(metric))
            for group in self.payload["resourceMetrics"]
            for scoped in group["scopeMetrics"]
            for metric in scoped["metrics"]
        )

    def origins(self) -> list[Hashable]:
        """Return, by position, what tells apart those that can't share a request about one client: the resource."""
        return [
            number
            for number, group in enumerate(self.payload["resourceMetrics"])
            for scoped in group["scopeMetrics"]
            for metric in scoped["metrics"]
            for _ in _points(metric)
        ]

    def part(self, positions: Sequence[int]) -> Points:
        """Return the points at *positions*."""
        return Points(json.loads(self.lines(positions)[0]), self.added)

    def lines(self, positions: Sequence[int]) -> list[bytes]:
        """Return the points at *positions*, as the line of a segment file."""
        wanted, first = set(positions), 0
        payload = json.loads(json.dumps(self.payload))
        for group in payload["resourceMetrics"]:
            for scoped in group["scopeMetrics"]:
                for metric in scoped["metrics"]:
                    points = _points(metric)
                    left = [point for position, point in enumerate(points, first) if position in wanted]
                    first += len(points)
                    points[:] = left
                scoped["metrics"] = [metric for metric in scoped["metrics"] if _points(metric)]
        payload["resourceMetrics"] = [
            g for g in payload["resourceMetrics"] if any(s["metrics"] for s in g["scopeMetrics"])
        ]
        return [json.dumps(payload, separators=(",", ":")).encode() + b"\n"]


def parts_of(origins: Sequence[Hashable], most: int) -> list[list[int]]:
    """Return the positions of records in parts of *most* at most, each of one origin.

    >>> parts_of(["a", "b", "a", "a"], 2)
    [[0, 2], [3], [1]]
    """
    by_origin: dict[Hashable, list[int]] = {}
    for position, origin in enumerate(origins):
        by_origin.setdefault(origin, []).append(position)
    return [
        positions[first : first + most] for positions in by_origin.values() for first in range(0, len(positions), most)
    ]


def count_records(path: str) -> int:
    """Return how many spans or data points the file at *path* holds, at least 1 if it holds anything. Nothing is parsed.

    Each span has one ``spanId``, each data point one ``timeUnixNano``. Within a text of JSON the quotation marks of such a key
    would be escaped, so that it is not taken for one.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return count_in(file.read(MAX_COUNTED), path.endswith(TRACES))
    except OSError:
        return 1


def count_in(content: bytes, spans: bool) -> int:
    """Return how many spans, or data points, *content* holds; at least 1 if it is not empty."""
    return max(content.count(b'"spanId":' if spans else b'"timeUnixNano":'), 1 if content else 0)


def _points(metric: Mapping[str, Any]) -> list[Any]:
    """Return the metric's data points: the very list, to be changed in place."""
    points: list[Any] = (metric.get("sum") or metric.get("histogram") or metric["gauge"])["dataPoints"]
    return points
