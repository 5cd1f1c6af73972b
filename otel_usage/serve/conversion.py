"""Turn what the relay's decoder let pass into rows of the store.

Most spans of an app share what they say but for ids and times, and the decoder gives equal ones one object for it
(`decode_protobuf`). So what is read off attributes and resources is remembered by those objects' identities.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric, MetricsData, Sum
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from otel_usage.otlp import json_of_metrics, pairs_of
from otel_usage.schema.attributes import DERIVED, FIELD_PREFIX
from otel_usage.schema.records import COUNT_PREFIX
from otel_usage.server.decode import Decoder
from otel_usage.server.received import Received, select

from .store.rows import SHARED, CountRow, DropRow, EventRow, Shape
from .store.writer import Batch

MAX_REMEMBERED = 8_192
_ID_BITS = (1 << 64) - 1
_DROPPED = "usage.dropped"
_SCOPE = {"name": "otel_usage", "version": ""}
# {column: attribute of the resource}
_OF_RESOURCE = {
    "app": "service.name",
    "version": "service.version",
    "ci_system": "usage.ci_system",
    "os": "os.type",
    "os_version": "os.version",
    "arch": "host.arch",
    "runtime": "process.runtime.name",
    "runtime_version": "process.runtime.version",
    "first_week": "usage.first_week",
    "cluster": "k8s.cluster.uid",
}
# {column: attribute of the span}
_OF_SPAN = {
    "outcome": "usage.outcome",
    "error_type": "error.type",
    "agent": "usage.agent",
    "surface": "usage.surface",
}
_NAMES = {"run": "usage.command", "action": "usage.action", "error": "usage.error", "heartbeat": "usage.heartbeat"}


@dataclass(slots=True)
class ReceivedRows(Received):
    """What one request asks to keep: as `Received`, and as rows.

    unwanted: data points that become no row, and no loss: they repeat the spans.
    """

    batch: Batch = field(default_factory=Batch)
    unwanted: int = 0


class RowMaker:
    """Makes rows. Concurrency: safe in threads: two that meet something new at the same time both read it.

    passing_on: the rows' records are wanted as OTLP JSON, too, for vendors.
    """

    def __init__(self, *, passing_on: bool = False) -> None:
        self._passing_on = passing_on
        # By the identity of an object, which is held beside the result, so that no other gets its id meanwhile.
        self._resources: dict[int, tuple[Resource, Mapping[str, Any], str | None]] = {}
        self._shapes: dict[tuple[int, int], tuple[object, object, Shape]] = {}
        self._columns: dict[tuple[Any, ...], Mapping[str, Any]] = {}

    def convert(self, received: Received) -> ReceivedRows:
        """Return *received* with its rows."""
        rows = ReceivedRows(
            received.signal,
            received.spans,
            received.metrics,
            received.ids,
            received.rejected,
            received.skipped,
        )
        if received.metrics is None:
            events = [self._event_of(span) for span in received.spans]
            rows.batch = Batch(events=events, lines=partial(_trace_lines, received) if self._passing_on else None)
        else:
            self._convert_points(received, rows)
        return rows

    def _event_of(self, span: ReadableSpan) -> EventRow:
        columns, installation = self._read_resource(span.resource)
        attributes = span._attributes  # the decoder's own object: the property makes a new one each time
        key = (id(columns), id(attributes))
        entry = self._shapes.get(key)
        if entry is None:
            entry = (columns, attributes, _shape_of(columns, attributes or {}))
            _remember(self._shapes, key, entry)
        context = span.context
        assert context is not None
        at_us = (span.start_time or 0) // 1_000
        return EventRow(at_us, installation, (span.end_time or 0) // 1_000 - at_us, context.span_id, entry[2])

    def _read_resource(self, resource: Resource) -> tuple[Mapping[str, Any], str | None]:
        """Return the columns that *resource* fills, one object for equal ones, and the installation."""
        entry = self._resources.get(id(resource))
        if entry is None:
            get = resource.attributes.get
            values = (*[str(get(key, "")) for key in _OF_RESOURCE.values()], get("app.installation.ephemeral") is True)
            columns = self._columns.get(values)
            if columns is None:
                columns = dict(zip((*_OF_RESOURCE, "ephemeral"), values, strict=True))
                _remember(self._columns, values, columns)
            entry = (resource, columns, _installation_of(resource))
            _remember(self._resources, id(resource), entry)
        return entry[1], entry[2]

    def _convert_points(self, received: Received, rows: ReceivedRows) -> None:
        """Put the rows of data points into *rows*."""
        counts: list[CountRow] = []
        drops: list[DropRow] = []
        of_counts: list[int] = []  # their positions
        of_drops: list[int] = []
        ids: list[int] = []
        for position, (resource, metric, point) in enumerate(_points_of(received)):
            if metric.name in DERIVED:
                rows.unwanted += 1
                ids.append(received.ids[position])
                continue
            amount = _amount_of(metric.data, point)
            if amount is None:
                rows.reject("value", 1)
                continue
            ids.append(received.ids[position])
            columns, installation = self._read_resource(resource)
            attributes = point.attributes or {}
            app, version, at_us = columns["app"], columns["version"], point.time_unix_nano // 1_000
            number = received.ids[position] & _ID_BITS
            if metric.name == _DROPPED:
                drops.append(DropRow(at_us, app, str(attributes.get("reason", "")), version, amount, number))
                of_drops.append(position)
                continue
            name, ci = metric.name.removeprefix(COUNT_PREFIX), columns["ci_system"] != ""
            values = (at_us, app, name, installation, columns["ephemeral"], version, ci, "", amount)
            counts.append(CountRow(*values, _fields_of(attributes), number))
            of_counts.append(position)
        rows.ids = ids
        lines = partial(_metrics_lines, received, (*of_counts, *of_drops)) if self._passing_on else None
        rows.batch = Batch(counts=counts, drops=drops, lines=lines)


class RowDecoder(Decoder):
    """Decodes requests into rows, in the thread in which it is asked to."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]], *, items: int, maker: RowMaker) -> None:
        super().__init__(schemas, items=items)
        self._maker = maker

    def decode(self, signal: str, body: bytes, *, as_json: bool, apps: Collection[str] = ()) -> ReceivedRows:
        """Return what *body* holds, with its rows. apps: those that it may be of; empty for any.

        Raises as `Decoder.decode` does.
        """
        received = super().decode(signal, body, as_json=as_json)
        return self._maker.convert(_restrict(received, apps) if apps else received)


def _restrict(received: Received, apps: Collection[str]) -> Received:
    """Return what *received* has of *apps*. What is another app's is rejected, as ``app``."""
    resources: Iterable[Resource] = (span.resource for span in received.spans)
    if received.metrics is not None:
        resources = (resource for resource, _, _ in _points_of(received))
    allowed = [at for at, resource in enumerate(resources) if resource.attributes.get("service.name") in apps]
    if len(allowed) == len(received.ids):
        return received
    part = Received(received.signal, rejected=Counter(received.rejected), skipped=received.skipped)
    part.reject("app", len(received.ids) - len(allowed))
    selected: Any = select(received, allowed)
    if received.metrics is None:
        part.spans = selected
    else:
        part.metrics = selected
    part.ids = [received.ids[at] for at in allowed]
    return part


# Any: the SDK's data point.
def _points_of(received: Received) -> Iterator[tuple[Resource, Metric, Any]]:
    """Yield the data points of *received* in the order of its ids, each with its resource and metric."""
    assert received.metrics is not None
    for group in received.metrics.resource_metrics:
        for scoped in group.scope_metrics:
            for metric in scoped.metrics:
                for point in metric.data.data_points:
                    yield group.resource, metric, point


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    """Put *value* into a memory that stays bounded. Any: of either memory."""
    if len(memory) >= MAX_REMEMBERED:
        memory.clear()
    memory[key] = value


# Any: values of attributes, and of columns as their types say.
def _shape_of(of_resource: Mapping[str, Any], attributes: Mapping[str, Any]) -> Shape:
    """Return what a span says but for its ids and times, as the values of `SHARED`."""
    kind = str(attributes.get("usage.kind", ""))
    columns: dict[str, Any] = {name: str(attributes.get(key, "")) for name, key in _OF_SPAN.items()}
    columns |= of_resource
    columns["kind"] = kind
    columns["name"] = str(attributes.get(_NAMES[kind], "")) if kind in _NAMES else kind
    columns["exit_code"] = _exit_code_of(attributes)
    columns["options"] = [str(one) for one in attributes.get("usage.options", ())]
    columns["ci"] = attributes.get("usage.ci") is True or of_resource["ci_system"] != ""
    columns["tty"] = attributes.get("usage.tty") is True
    columns["fields"] = _fields_of(attributes)
    return tuple(columns[name] for name in SHARED)


def _exit_code_of(attributes: Mapping[str, Any]) -> int | None:
    code = attributes.get("process.exit.code")
    # Windows' codes have 32 bits without a sign, and the column one with.
    return None if code is None else code - (1 << 32) if code >= 1 << 31 else int(code)


def _fields_of(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return the declared fields as text."""
    return {
        key[len(FIELD_PREFIX) :]: _text_of(value) for key, value in attributes.items() if key.startswith(FIELD_PREFIX)
    }


def _text_of(value: Any) -> str:
    """Return the value of a field as text; several are sorted and joined by a comma."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(sorted(map(_text_of, value)))
    return str(value)


def _amount_of(content: Any, point: Any) -> int | None:
    """Return how many a data point counts, None if it is none that can be added up. Any: the SDK's."""
    if not (isinstance(content, Sum) and content.aggregation_temporality == AggregationTemporality.DELTA):
        return None
    value = point.value
    return int(value) if value == int(value) and 0 <= value < 1 << 63 else None


def _line_of(span: ReadableSpan) -> str:
    """Return a span as a line of OTLP JSON, as a segment file has it."""
    context, parent = span.context, span.parent
    assert context is not None
    record: dict[str, Any] = {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}
    if parent is not None:
        record["parentSpanId"] = f"{parent.span_id:016x}"
    record |= {
        "name": span.name,
        "kind": 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": pairs_of(span.attributes or {}),
    }
    if span.status.status_code.value:
        record["status"] = {"code": span.status.status_code.value}
    group = {
        "resource": {"attributes": pairs_of(span.resource.attributes)},
        "scopeSpans": [{"scope": _SCOPE, "spans": [record]}],
    }
    return json.dumps({"resourceSpans": [group]}, separators=(",", ":"))


def _trace_lines(received: Received, fresh: Sequence[int]) -> list[tuple[str, str, str | None]]:
    """Return the spans at the positions *fresh*: (signal, OTLP JSON, installation)."""
    spans = [received.spans[at] for at in fresh]
    return [("traces", _line_of(span), _installation_of(span.resource)) for span in spans]


def _metrics_lines(received: Received, order: Sequence[int], fresh: Sequence[int]) -> list[tuple[str, str, str | None]]:
    """Return data points likewise, a line for each resource. order: the positions that *fresh* is about."""
    if not fresh:
        return []
    metrics: Any = select(received, sorted(order[at] for at in fresh))
    return [
        (
            "metrics",
            json.dumps(json_of_metrics(MetricsData([group])), separators=(",", ":")),
            _installation_of(group.resource),
        )
        for group in metrics.resource_metrics
    ]


def _installation_of(resource: Resource) -> str | None:
    installation = resource.attributes.get("app.installation.id")
    return str(installation) if installation else None
