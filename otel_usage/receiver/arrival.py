"""One request that arrived at the receiver, and the readable lines that ``otel-usage listen`` prints of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ..otlp import attributes_of
from ..proto_json import read_double, read_int64, read_uint64
from .vendors import VENDORS


class Arrival:
    """One request that arrived.

    kind: ``otlp``, or a vendor's name, as in vendors.py. body: as JSON, also where it came as protobuf. problems: the
    vendor's rules that it breaks, one line each. Any: JSON, of any shape.
    """

    def __init__(self, kind: str, body: Any, problems: Sequence[str] = ()) -> None:
        self.kind = kind
        self.body = body
        self.problems = problems

    def lines(self) -> list[str]:
        """Return one readable line per span, data point, event or message, and one per broken rule."""
        if self.kind == "otlp":
            return [*_span_lines(self.body), *_point_lines(self.body)]
        broken = [f"         {self.kind}  NOT VALID  {problem}" for problem in self.problems]
        return [
            *[f"{at[11:19] or '--:--:--'} {self.kind:<5} {name}  {_pairs(of)}" for at, name, of in self.events()],
            *broken,
        ]

    def events(self) -> list[tuple[str, str, Mapping[str, Any]]]:
        """Return (time in ISO 8601, name, properties) of each event that a vendor got; none of what has another shape."""
        try:
            return list(VENDORS[self.kind].events_of(self.body))
        except (AttributeError, TypeError, ValueError):  # the broken rules say so
            return []


def _clock_time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, timezone.utc).strftime("%H:%M:%S")


def _pairs(attributes: Mapping[str, Any], skip: tuple[str, ...] = ()) -> str:
    """Return ``key=value …`` of what is not in *skip* and no empty list."""

    def short(value: Any) -> str:
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)

    return " ".join(f"{key}={short(value)}" for key, value in attributes.items() if key not in skip and value != [])


def _span_lines(body: Mapping[str, Any]) -> list[str]:
    lines = []
    for group in body.get("resourceSpans", ()):
        resource = attributes_of((group.get("resource") or {}).get("attributes", ()))
        program = f"{resource.get('service.name', '?')} {resource.get('service.version', '')}".strip()
        for scoped in group.get("scopeSpans", ()):
            for span in scoped.get("spans", ()):
                start, end = read_uint64(span.get("startTimeUnixNano", 0)), read_uint64(span.get("endTimeUnixNano", 0))
                at = _clock_time(start)
                status = "ERROR" if (span.get("status") or {}).get("code") == 2 else "ok"
                pairs = _pairs(attributes_of(span.get("attributes", ())), ("process.executable.name",))
                lines.append(f"{at} span  {program}  {span['name']}  {(end - start) / 1e6:.1f} ms  {status}  {pairs}")
    return lines


def _point_lines(body: Mapping[str, Any]) -> list[str]:
    lines = []
    for group in body.get("resourceMetrics", ()):
        resource = attributes_of((group.get("resource") or {}).get("attributes", ()))
        program = f"{resource.get('service.name', '?')} {resource.get('service.version', '')}".strip()
        for scoped in group.get("scopeMetrics", ()):
            for metric in scoped.get("metrics", ()):
                points = metric.get("sum") or metric.get("gauge") or metric.get("histogram") or {}
                for point in points.get("dataPoints", ()):
                    at = _clock_time(read_uint64(point.get("timeUnixNano", 0)))
                    if "count" in point:
                        value = f"count={read_uint64(point['count'])} sum={read_double(point.get('sum', 0)):.3f}"
                    elif "asInt" in point:
                        value = f"+{read_int64(point['asInt'])}"
                    else:
                        value = f"+{read_double(point.get('asDouble', 0))}"
                    pairs = _pairs(attributes_of(point.get("attributes", ())))
                    unit = metric.get("unit", "")
                    value += f" {unit}" if unit not in ("", "1") else ""  # "1" says that it has none
                    lines.append(f"{at} count {program}  {metric['name']}  {value}  {pairs}")
    return lines
