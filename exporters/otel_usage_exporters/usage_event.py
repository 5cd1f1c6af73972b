"""What spans and data points say about use, before any vendor's format.

Pure: knows the OTel SDK's types, no exporter and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha1
from numbers import Integral, Real
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
from opentelemetry.trace import StatusCode

from .marking import FIELD
from .span_choice import USAGE_ONLY, SpanChoice

COUNT = "usage.count."
DROPPED = "usage.dropped"
DERIVED = frozenset({"usage.runs", "usage.run.duration", "usage.actions", "usage.errors"})

MALFORMED = "malformed"  # the reason for what is not as the SDK's types say

# Reasons for which something gives no event, and nothing is lost by it.
DERIVED_TOO_OLD = "derived_too_old"  # a run counter of spans that are too old themselves, and counted as that
FILTERED = frozenset({"not_usage", "derived", "zero", DERIVED_TOO_OLD})

# Event ids are UUIDs of version 5 under this name: anyone who has the span can compute them.
NAMESPACE = UUID("5f2a9c1e-8d0b-5b7e-9a64-3c1d7e20b9f4").bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Where events come from: one version of one program in one installation, or of one user of a service. Unknown is "".

    user_id: a user's own id, where the settings say that it may leave as it is.
    ci_system: of a program that ran in CI, where nothing is installed: then installation_id is ``ci.<ci_system>``.
    first_week: in which the installation ran first, like 2026-W48. ephemeral: its id will not last.
    cluster: of Kubernetes, that a service runs in. service: the service's own installation_id, where installation_id is of
    one of its users.
    """

    app: str = ""
    app_version: str = ""
    installation_id: str = ""
    os_type: str = ""
    os_version: str = ""
    arch: str = ""
    runtime: str = ""
    runtime_version: str = ""
    # Ids of counts are made of the others, as written: these are not in repr.
    ci_system: str = field(default="", repr=False)
    first_week: str = field(default="", repr=False)
    user_id: str = field(default="", repr=False)
    cluster: str = field(default="", repr=False)
    service: str = field(default="", repr=False)
    ephemeral: bool = field(default=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One thing that happened, as every translation needs it.

    position: of the span or data point it comes from, among those exported together. kind: run, action, error, heartbeat,
    first_run, start, stop, crash, count, dropped (records of ours that were lost), derived (a run counter), span (of no
    usage kind; only when chosen).
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
    agent: str = ""
    surface: str = ""
    start: str = ""
    previous_version: str = ""
    signal: str = ""
    frames: str = ""

    @property
    def duration_ms(self) -> int:
        """Milliseconds from start to end, never negative."""
        return max(0, self.end_ns - self.start_ns) // 1_000_000


def events_from_spans(
    spans: Sequence[ReadableSpan], choice: SpanChoice = USAGE_ONLY
) -> tuple[list[UsageEvent], Counter[str]]:
    """Return the events of *spans*, in their order, and how many spans gave none, by reason.

    choice: which spans of no usage kind become events too, and whose spans are.
    Reasons: not_usage, unknown_kind, no_time, malformed. Those in `FILTERED` are no loss.
    """
    events: list[UsageEvent] = []
    skipped: Counter[str] = Counter()
    origins = _Origins(choice)
    for position, span in enumerate(spans):
        try:
            event = _event_of_span(span, position, origins, choice)
        except Exception:  # the SDK checks little of what a program says, and one odd span must not cost the others
            event = MALFORMED
        if isinstance(event, str):
            skipped[event] += 1
        else:
            events.append(event)
    return events, skipped


def _event_of_span(span: ReadableSpan, position: int, origins: _Origins, choice: SpanChoice) -> UsageEvent | str:
    """Return the event of *span*, or the reason why there is none. Raises whatever an odd span raises."""
    attributes = _plain(span.attributes)
    kind = attributes.get("usage.kind")
    chosen = choice.event_of(span, attributes) if kind is None else None
    if kind is None and chosen is None:
        return "not_usage"
    start_ns, end_ns = _times(span.start_time, span.end_time)
    if end_ns <= 0:
        return "no_time"
    name = span.name
    origin = origins.of(span.resource, attributes)
    context = span.context
    if context is not None and context.trace_id and context.span_id:
        event_id = _uuid(f"{context.trace_id:032x}{context.span_id:016x}")
    else:
        event_id = _uuid(repr((origin, name, start_ns, end_ns)))
    error_type = _text(attributes.get("error.type"))
    if kind == "run":
        code = attributes.get("process.exit.code")
        options = attributes.get("usage.options")
        event = UsageEvent(
            position,
            "run",
            name,
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
            agent=_text(attributes.get("usage.agent")),
            surface=_text(attributes.get("usage.surface")),
        )
    elif kind in ("action", "error", "heartbeat"):
        name = _text(attributes.get(f"usage.{kind}")) or name
        if kind == "error" and error_type == name:
            error_type = ""  # it says nothing more
        fields = {key[12:]: choice.cleaned(value) for key, value in attributes.items() if key.startswith(FIELD)}
        event = UsageEvent(
            position, str(kind), name, event_id, origin, start_ns, end_ns, error_type=error_type, fields=fields
        )
    elif kind in ("first_run", "start", "stop", "crash"):
        event = UsageEvent(
            position,
            str(kind),
            str(kind),
            event_id,
            origin,
            start_ns,
            end_ns,
            error_type=error_type if kind == "crash" else "",
            start=_text(attributes.get("usage.start")),
            previous_version=_text(attributes.get("usage.previous_version")),
            signal=_text(attributes.get("usage.signal")),
            frames=_text(attributes.get("usage.frames")),
        )
    elif chosen is not None:
        if not error_type and getattr(span.status, "status_code", None) is StatusCode.ERROR:
            error_type = "_OTHER"  # the old semantic conventions say no more
        name, fields = chosen
        error_type = choice.cleaned(error_type)
        event = UsageEvent(
            position, "span", name, event_id, origin, start_ns, end_ns, error_type=error_type, fields=fields
        )
    else:
        return "unknown_kind"
    return event if isinstance(name, str) else MALFORMED


def events_from_metrics(
    metrics: MetricsData, choice: SpanChoice = USAGE_ONLY, *, derived: bool = False
) -> tuple[list[UsageEvent], Counter[str]]:
    """Return the events of *metrics*, one per delta data point, and how many points gave none, by reason.

    Position is that in ``data_points(metrics)``. choice: whose resources are. derived: the run counters, which repeat the
    spans, too.
    Reasons: not_usage, derived, zero, cumulative (its increments are unknown), unsupported (gauges, sums that go
    down, histograms but that of the run's duration), no_time, value, malformed. Those in `FILTERED` are no loss.
    """
    events: list[UsageEvent] = []
    skipped: Counter[str] = Counter()
    origins = _Origins(choice)
    for position, (resource, metric, point) in enumerate(data_points(metrics)):
        try:
            event = _event_of_point(resource, metric, point, position, origins, derived=derived)
        except Exception:  # as for spans
            event = MALFORMED
        if isinstance(event, str):
            skipped[event] += 1
        else:
            events.append(event)
    return events, skipped


def _event_of_point(
    resource: Any, metric: Any, point: Any, position: int, origins: _Origins, *, derived: bool
) -> UsageEvent | str:
    """Return the event of a data point, or the reason why there is none. Raises, and Any: as `data_points` has them."""
    name = metric.name
    if not (name.startswith(COUNT) or name == DROPPED or name in DERIVED):
        return "not_usage"
    if name in DERIVED and not derived:
        return "derived"
    aggregated = metric.data
    start_ns, end_ns = _times(point.start_time_unix_nano, point.time_unix_nano)
    attributes: Mapping[str, Any] = point.attributes or {}
    fields = {
        key.removeprefix(FIELD).removeprefix("usage."): value
        for key, value in attributes.items()
        if key.startswith("usage.") or key == "reason"
    }
    count: int | float
    if isinstance(aggregated, Sum) and aggregated.is_monotonic and isinstance(point, NumberDataPoint):
        count = point.value
    elif isinstance(aggregated, Histogram) and name in DERIVED:
        count = point.count
        fields["sum_s"] = round(float(point.sum), 6)
    else:
        return "unsupported"
    if aggregated.aggregation_temporality != AggregationTemporality.DELTA:
        return "cumulative"
    if count == 0:
        return "zero"
    if isinstance(count, Integral) and not isinstance(count, bool):
        count = int(count)  # of a program that counts with numpy
    if isinstance(count, bool) or not isinstance(count, (int, float)) or not 0 < count < 2**63:
        return "value"
    if end_ns <= 0:
        return "no_time"
    origin = origins.of(resource)
    instance = resource.attributes.get("service.instance.id", "")  # tells processes apart; never sent
    identity = (
        origin,
        instance if isinstance(instance, str) else _token(instance),
        name,
        sorted((key, _token(value)) for key, value in attributes.items()),
        start_ns,
        end_ns,
    )
    kind = "derived" if name in DERIVED else "dropped" if name == DROPPED else "count"
    declared = name.removeprefix(COUNT)
    return UsageEvent(
        position, kind, declared, _uuid(repr(identity)), origin, start_ns, end_ns, fields=fields, count=count
    )


def data_points(metrics: MetricsData) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (resource, metric, data point) in the order that positions count. Any: points of five kinds."""
    for of_resource in metrics.resource_metrics:
        for scope in of_resource.scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric.data, "data_points", (None,)):  # one position for what has no points
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
    "usage.ci_system",
    "usage.first_week",
)  # in the order of Origin's fields


class _Origins:
    """Makes one `Origin` per resource and user, and the same one for those that say the same."""

    def __init__(self, choice: SpanChoice) -> None:
        self._choice = choice
        self._by_id: dict[int, Origin] = {}
        self._same: dict[tuple[str | bool, ...], Origin] = {}

    def of(self, resource: Any, attributes: Mapping[str, Any] | None = None) -> Origin:  # Any: a Resource, or None
        """Return where a record of *resource* comes from. attributes: a span's, which may say whose it is."""
        if self._choice.user:
            about = _plain(resource.attributes if resource is not None else None)
            pseudonym, user_id = self._choice.user_of(attributes or {}, about)
            if pseudonym:
                # The system and the runtime are the service's, and not its user's.
                program = (_text(about.get("service.name")), _text(about.get("service.version")))
                service, cluster = _text(about.get("app.installation.id")), _text(about.get("k8s.cluster.uid"))
                whose = (*program, pseudonym, user_id, cluster, service)
                if whose not in self._same:
                    self._same[whose] = Origin(
                        *program, installation_id=pseudonym, user_id=user_id, cluster=cluster, service=service
                    )
                return self._same[whose]
        origin = self._by_id.get(id(resource))
        if origin is None:
            get = _plain(resource.attributes if resource is not None else None).get
            ephemeral = get("app.installation.ephemeral") is True
            texts = [_text(get(name)) for name in _ORIGIN_ATTRIBUTES]
            cluster = _text(get("k8s.cluster.uid"))
            key: tuple[str | bool, ...] = (*texts, cluster, ephemeral)
            origin = self._same.get(key)
            if origin is None:
                origin = replace(Origin(*texts), cluster=cluster, ephemeral=ephemeral)
                if origin.ci_system and not origin.installation_id:
                    origin = replace(origin, installation_id=f"ci.{origin.ci_system}")
                self._same[key] = origin
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


def _times(start: Any, end: Any) -> tuple[int, int]:
    """Return start and end, the end where there is no usable start, and 0 twice without either. Any: of any program."""
    start_ns = _time_ns(start)
    end_ns = _time_ns(end) or start_ns
    return (start_ns if 0 < start_ns <= end_ns else end_ns), end_ns


def _time_ns(value: Any) -> int:
    """Return *value* in whole nanoseconds, 0 if it is no time. ``time.time() * 1e9`` is a float. Any: of any program."""
    if type(value) is int:
        return value
    if isinstance(value, Integral):  # of numpy, and without a float's loss
        return int(value)
    try:
        return int(float(value)) if isinstance(value, Real) else 0
    except (ValueError, OverflowError):  # NaN, infinity
        return 0


def _token(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # a number of more digits than Python writes, or somebody's object
        return "?"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
