"""What spans and data points say about use, before any vendor's format.

Pure: knows the OTel SDK's types, no exporter and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any
from uuid import UUID

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.trace import ReadableSpan

FIELD = "usage.field."
COUNT = "usage.count."
DROPPED = "usage.dropped"
DERIVED = frozenset({"usage.runs", "usage.run.duration", "usage.actions", "usage.errors"})

# Reasons for which something gives no event, and nothing is lost by it.
FILTERED = frozenset({"not_usage", "derived", "zero"})

# Event ids are UUIDs of version 5 under this name: anyone who has the span can compute them.
NAMESPACE = UUID("5f2a9c1e-8d0b-5b7e-9a64-3c1d7e20b9f4").bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Where events come from: one version of one program in one installation. Unknown is ""."""

    app: str = ""
    app_version: str = ""
    installation_id: str = ""
    os_type: str = ""
    os_version: str = ""
    arch: str = ""
    runtime: str = ""
    runtime_version: str = ""


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One thing that happened, as every translation needs it.

    position: of the span or data point it comes from, among those exported together. kind: run, action, error, heartbeat, count,
    dropped (records of ours that were lost), derived (a run counter), span (of no usage kind; only when asked for).
    name: the declared one; of a run, its span's. event_id: a UUID, the same in every attempt to send it.
    end_ns: when it happened; of a count, until when was counted. fields: as recorded, values not checked.
    """

    position: int
    kind: str
    name: str
    event_id: str
    origin: Origin
    start_ns: int
    end_ns: int
    command: str = ""
    outcome: str = ""
    exit_code: int | None = None
    error_type: str = ""
    options: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)  # Any: an OTel attribute value
    count: int | float = 1
    ci: bool | None = None
    tty: bool | None = None

    @property
    def duration_ms(self) -> int:
        """Milliseconds from start to end, never negative."""
        return max(0, self.end_ns - self.start_ns) // 1_000_000


def events_from_spans(
    spans: Sequence[ReadableSpan], *, all_spans: bool = False
) -> tuple[list[UsageEvent], Counter[str]]:
    """Return the events of *spans*, in their order, and how many spans gave none, by reason.

    all_spans: spans of no usage kind become events too, with all their attributes.
    Reasons: not_usage, unknown_kind, no_time. Those in `FILTERED` are no loss.
    """
    events: list[UsageEvent] = []
    skipped: Counter[str] = Counter()
    origins = _Origins()
    for position, span in enumerate(spans):
        attributes = _plain(span.attributes)
        kind = attributes.get("usage.kind")
        if kind is None and not all_spans:
            skipped["not_usage"] += 1
            continue
        start_ns, end_ns = _times(span.start_time, span.end_time)
        if end_ns <= 0:
            skipped["no_time"] += 1
            continue
        origin = origins.of(span.resource)
        context = span.context
        if context is not None and context.trace_id and context.span_id:
            event_id = _uuid(f"{context.trace_id:032x}{context.span_id:016x}")
        else:
            event_id = _uuid(repr((origin, span.name, start_ns, end_ns)))
        error_type = _text(attributes.get("error.type"))
        if kind == "run":
            code = attributes.get("process.exit.code")
            options = attributes.get("usage.options")
            event = UsageEvent(
                position,
                "run",
                span.name,
                event_id,
                origin,
                start_ns,
                end_ns,
                command=_text(attributes.get("usage.command")),
                outcome=_text(attributes.get("usage.outcome")),
                exit_code=code if isinstance(code, int) and not isinstance(code, bool) else None,
                error_type=error_type,
                options=tuple([o for o in options if isinstance(o, str)]) if isinstance(options, (tuple, list)) else (),
                ci=_flag(attributes.get("usage.ci")),
                tty=_flag(attributes.get("usage.tty")),
            )
        elif kind in ("action", "error", "heartbeat"):
            name = "heartbeat" if kind == "heartbeat" else _text(attributes.get(f"usage.{kind}")) or span.name
            fields = {key[12:]: value for key, value in attributes.items() if key.startswith(FIELD)}
            event = UsageEvent(
                position, str(kind), name, event_id, origin, start_ns, end_ns, error_type=error_type, fields=fields
            )
        elif kind is None:
            event = UsageEvent(position, "span", span.name, event_id, origin, start_ns, end_ns, fields=attributes)
        else:
            skipped["unknown_kind"] += 1
            continue
        events.append(event)
    return events, skipped


def events_from_metrics(metrics: MetricsData, *, derived: bool = False) -> tuple[list[UsageEvent], Counter[str]]:
    """Return the events of *metrics*, one per delta data point, and how many points gave none, by reason.

    Position is that in ``data_points(metrics)``. derived: the run counters, which repeat the spans, too.
    Reasons: not_usage, derived, zero, cumulative (its increments are unknown), unsupported (gauges, sums that go
    down, histograms but that of the run's duration), no_time, value. Those in `FILTERED` are no loss.
    """
    events: list[UsageEvent] = []
    skipped: Counter[str] = Counter()
    origins = _Origins()
    for position, (resource, metric, point) in enumerate(data_points(metrics)):
        name = metric.name
        if not (name.startswith(COUNT) or name == DROPPED or name in DERIVED):
            skipped["not_usage"] += 1
            continue
        if name in DERIVED and not derived:
            skipped["derived"] += 1
            continue
        aggregated = metric.data
        start_ns, end_ns = _times(point.start_time_unix_nano, point.time_unix_nano)
        attributes: Mapping[str, Any] = point.attributes or {}
        fields = {
            key.removeprefix(FIELD).removeprefix("usage."): value
            for key, value in attributes.items()
            if key.startswith("usage.") or key == "reason"
        }
        reason = ""
        count: int | float = 0
        if isinstance(aggregated, Sum) and aggregated.is_monotonic and isinstance(point, NumberDataPoint):
            count = point.value
        elif isinstance(aggregated, Histogram) and name in DERIVED:
            count = point.count
            fields["sum_s"] = round(float(point.sum), 6)
        else:
            reason = "unsupported"
        if not reason:
            if aggregated.aggregation_temporality != AggregationTemporality.DELTA:
                reason = "cumulative"
            elif count == 0:
                reason = "zero"
            elif isinstance(count, bool) or not isinstance(count, (int, float)) or not 0 < count < 2**63:
                reason = "value"
            elif end_ns <= 0:
                reason = "no_time"
        if reason:
            skipped[reason] += 1
            continue
        origin = origins.of(resource)
        instance = resource.attributes.get("service.instance.id", "")  # tells processes apart; never sent
        identity = (
            origin,
            instance,
            name,
            sorted((key, _token(value)) for key, value in attributes.items()),
            start_ns,
            end_ns,
        )
        kind = "derived" if name in DERIVED else "dropped" if name == DROPPED else "count"
        declared = name.removeprefix(COUNT)
        events.append(
            UsageEvent(
                position, kind, declared, _uuid(repr(identity)), origin, start_ns, end_ns, fields=fields, count=count
            )
        )
    return events, skipped


def data_points(metrics: MetricsData) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (resource, metric, data point) in the order that positions count. Any: points of five kinds."""
    for of_resource in metrics.resource_metrics:
        for scope in of_resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    yield of_resource.resource, metric, point


_ORIGIN_ATTRIBUTES = (
    "service.name",
    "service.version",
    "app.installation.id",
    "os.type",
    "os.version",
    "host.arch",
    "process.runtime.name",
    "process.runtime.version",
)  # in the order of Origin's fields


class _Origins:
    """Makes one `Origin` per resource, and the same one for resources that say the same."""

    def __init__(self) -> None:
        self._by_id: dict[int, Origin] = {}
        self._same: dict[tuple[str, ...], Origin] = {}

    def of(self, resource: Any) -> Origin:  # Any: a Resource, or None
        origin = self._by_id.get(id(resource))
        if origin is None:
            get = _plain(resource.attributes if resource is not None else None).get
            values = tuple([_text(get(name)) for name in _ORIGIN_ATTRIBUTES])
            origin = self._same.get(values)
            if origin is None:
                origin = self._same[values] = Origin(*values)
            self._by_id[id(resource)] = origin  # the spans keep their resource alive: no id is used twice
        return origin


def _plain(attributes: Any) -> dict[str, Any]:
    """Return *attributes* as a dict: the SDK's own mapping is slow to look into. Any: a Mapping, or None."""
    try:
        return attributes.copy()  # type: ignore[no-any-return]
    except AttributeError:
        return dict(attributes or {})


def _uuid(name: str) -> str:
    """Return the UUID of version 5 of *name*. As ``uuid.uuid5``, in a third of the time."""
    text = sha1(NAMESPACE + name.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def _times(start: int | None, end: int | None) -> tuple[int, int]:
    end_ns = end or start or 0
    return start or end_ns, end_ns


def _token(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # a number of more digits than Python writes
        return "?"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
