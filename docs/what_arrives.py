"""The tables of what-arrives.md, made by the translators themselves: what an attribute becomes is what changes without it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags
from otel_usage_exporters.amplitude import translate as amplitude
from otel_usage_exporters.ga4 import translate as ga4
from otel_usage_exporters.matomo import translate as matomo
from otel_usage_exporters.mixpanel import translate as mixpanel
from otel_usage_exporters.packing import Translation
from otel_usage_exporters.piwik_pro import translate as piwik_pro
from otel_usage_exporters.posthog import translate as posthog
from otel_usage_exporters.segment import translate as segment
from otel_usage_exporters.usage_event import UsageEvent, events_from_metrics, events_from_spans

NOW = 1_795_000_000_000_000_000
MS = 1_000_000
# Any in this module: an attribute's value, or JSON that a translator wrote.
ABOUT: dict[str, Any] = {
    "service.name": "mycli",
    "service.version": "1.4.0",
    "app.installation.id": "0a0b0c0d-1111-4222-8333-444455556666",
    "os.type": "linux",
    "os.version": "6.8",
    "host.arch": "amd64",
    "process.runtime.name": "cpython",
    "process.runtime.version": "3.12.4",
    "telemetry.sdk.name": "otel-usage",
    "telemetry.sdk.version": "0.1.0",
}
# {kind: (what it is called in OTLP, its attributes)}: an example of each kind that is recorded.
SPANS: dict[str, tuple[str, dict[str, Any]]] = {
    "run": (
        "mycli report upload",
        {
            "usage.kind": "run",
            "usage.command": "report upload",
            "usage.outcome": "failure",
            "usage.options": ("--format", "--quiet"),
            "process.executable.name": "mycli",
            "process.exit.code": 2,
            "error.type": "ValueError",
            "usage.ci": False,
            "usage.tty": True,
            "usage.agent": "cursor",
            "usage.surface": "cli",
        },
    ),
    "action": ("report.upload", {"usage.kind": "action", "usage.action": "report.upload", "usage.field.format": "pdf"}),
    "error": (
        "config.invalid",
        {
            "usage.kind": "error",
            "usage.error": "config.invalid",
            "error.type": "config.invalid",
            "usage.field.section": "auth",
        },
    ),
    "heartbeat": (
        "alive",
        {
            "usage.kind": "heartbeat",
            "usage.heartbeat": "alive",
            "usage.field.nodes": 3,
            "usage.field.plugins": ("git", "slack"),
        },
    ),
    "start": ("start", {"usage.kind": "start", "usage.start": "upgrade", "usage.previous_version": "1.3.0"}),
    "stop": ("stop", {"usage.kind": "stop"}),
    "crash": (
        "crash",
        {
            "usage.kind": "crash",
            "error.type": "ValueError",
            "usage.signal": "SIGSEGV",
            "usage.frames": "0f1e2d3c4b5a6978",
        },
    ),
    "first run": ("first_run", {"usage.kind": "first_run"}),
}
COUNTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "count": ("usage.count.events.handled", {"usage.field.channel": "slack"}),
    "lost records": ("usage.dropped", {"reason": "limit"}),
    "run counter": ("usage.runs", {"usage.command": "report upload", "usage.outcome": "failure"}),
}
KINDS = {**SPANS, **COUNTERS}
MEASURES = ("`count`", "`duration_ms`", "`options_count`")
TABLES = ("every event", *KINDS)


def arrival(
    kind: str, attributes: Mapping[str, Any], about: Mapping[str, Any], took_ms: int = 250
) -> dict[str, dict[str, Any]]:
    """Return ``{vendor: {where: value}}`` of what the exporters send of one record."""
    [event] = _events(kind, attributes, Resource(dict(about)), took_ms)
    [request] = ga4.translate([event], ga4.GA4Options(), now_ns=NOW).requests
    body = json.loads(request.body(ga4.TAIL))
    [sent] = body["events"]
    at_ga4 = {f"user property `{name}`": each["value"] for name, each in body.get("user_properties", {}).items()}
    at_ga4 |= {f"`device.{name}`": text for name, text in body.get("device", {}).items()}
    at_ga4 |= {f"`{name}`": value for name, value in sent["params"].items()}
    at_ga4 |= {"the event's name": sent["name"], "`client_id`": body["client_id"]}
    message = _track(event)
    at_segment = {f"`{name}`": value for name, value in message["properties"].items()}
    at_segment |= {"the event's name": message["event"], "`anonymousId`": message["anonymousId"]}
    for name in ("app", "os"):
        at_segment |= {f"`context.{name}.{key}`": text for key, text in message["context"].get(name, {}).items()}
    return {"ga4": at_ga4, "segment": at_segment, **{name: dict(at(event)) for name, at in OTHERS.items()}}


def _at_posthog(event: UsageEvent) -> Iterator[tuple[str, Any]]:
    [request] = posthog.translate([event], posthog.PostHogOptions(), now_ns=NOW).requests
    sent = json.loads(request.units[0].parts[0])
    yield from {"the event's name": sent["event"], "`distinct_id`": sent["distinct_id"]}.items()
    yield from [(f"`{name}`", value) for name, value in sent["properties"].items()]


def _at_mixpanel(event: UsageEvent) -> Iterator[tuple[str, Any]]:
    [request] = mixpanel.translate([event], mixpanel.MixpanelOptions(), now_ns=NOW).requests
    sent = json.loads(request.units[0].parts[0])
    yield "the event's name", sent["event"]
    yield from [(f"`{name}`", value) for name, value in sent["properties"].items() if name != "$insert_id"]


def _at_amplitude(event: UsageEvent) -> Iterator[tuple[str, Any]]:
    [request] = amplitude.translate([event], amplitude.AmplitudeOptions(), now_ns=NOW).requests
    sent = json.loads(request.units[0].parts[0])
    properties = sent.pop("event_properties")
    yield "the event's name", sent.pop("event_type")
    yield from [(f"`{name}`", value) for name, value in properties.items()]
    del sent["insert_id"]
    yield from [(f"`{name}` of the event itself", value) for name, value in sent.items()]


def _at_matomo(event: UsageEvent) -> Iterator[tuple[str, Any]]:
    """Without custom dimensions, which are as the settings say."""
    yield from _of_visit(matomo.translate([event], matomo.MatomoOptions(), now_ns=NOW))


def _at_piwik_pro(event: UsageEvent) -> Iterator[tuple[str, Any]]:
    """As Matomo's."""
    yield from _of_visit(piwik_pro.translate([event], piwik_pro.PiwikProOptions(), now_ns=NOW))


def _of_visit(translation: Translation) -> Iterator[tuple[str, Any]]:
    [request] = translation.requests
    pairs = parse_qsl(request.units[0].parts[0].decode().strip('"?'))
    yield from [(f"`{name}`", value) for name, value in pairs if name != "cdt"]


# The first three take Segment's names and properties as they are: only what differs is shown.
OTHERS: dict[str, Callable[[UsageEvent], Iterator[tuple[str, Any]]]] = {
    "PostHog": _at_posthog,
    "Mixpanel": _at_mixpanel,
    "Amplitude": _at_amplitude,
    "Matomo": _at_matomo,
    "Piwik PRO": _at_piwik_pro,
}


def _events(kind: str, attributes: Mapping[str, Any], resource: Resource, took_ms: int) -> list[UsageEvent]:
    name = KINDS[kind][0]
    scope = InstrumentationScope("otel-usage")
    if kind in SPANS:
        context = SpanContext(1, 1, False, TraceFlags(1))
        start_ns = NOW - took_ms * MS
        span = ReadableSpan(
            name, context, resource=resource, attributes=dict(attributes), start_time=start_ns, end_time=NOW
        )
        return events_from_spans([span])[0]
    point = NumberDataPoint(dict(attributes), NOW - 60_000 * MS, NOW, took_ms)
    metric = Metric(name, None, "", Sum([point], AggregationTemporality.DELTA, is_monotonic=True))
    scoped = ScopeMetrics(scope, [metric], "")
    return events_from_metrics(MetricsData([ResourceMetrics(resource, [scoped], "")]), derived=True)[0]


def _track(event: UsageEvent) -> dict[str, Any]:
    [request] = segment.translate([event], segment.SegmentOptions()).requests
    message: dict[str, Any] = json.loads(request.units[0].parts[-1])
    return message


def rows(table: str) -> list[tuple[str, ...]]:
    """Return (recorded, at GA4, to be registered there as, at Segment, what others have besides) of one table: "every event",
    or a kind."""
    if table == "every event":
        attributes = SPANS["action"][1]
        without = {key: {other: value for other, value in ABOUT.items() if other != key} for key in ABOUT}
        whole = arrival("action", attributes, ABOUT)
        return [_row(f"`{key}`", whole, arrival("action", attributes, about)) for key, about in without.items()]
    _, attributes = KINDS[table]
    whole = arrival(table, attributes, ABOUT)
    made = []
    for key in attributes:
        if key == "usage.kind":
            continue
        rest = {other: value for other, value in attributes.items() if other != key}
        if key in (f"usage.{table}", "usage.command"):  # what has none is called by its span's name
            rest[key] = "something.else"
        made.append(_row(f"`{key}`", whole, arrival(table, rest, ABOUT)))
    what = "its duration" if table in SPANS else "its value"
    made.append(_row(what, whole, arrival(table, attributes, ABOUT, took_ms=40)))
    return made


def _row(
    recorded: str, whole: Mapping[str, Mapping[str, Any]], without: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    gone = {
        vendor: {where: value for where, value in of.items() if without[vendor].get(where) != value}
        for vendor, of in whole.items()
    }
    registered = ", ".join(dict.fromkeys(_registered(gone["ga4"])))
    besides = [f"{name} {where}" for name in OTHERS for where in gone[name] if where not in gone["segment"]]
    columns = (", ".join(gone["ga4"]), registered, ", ".join(gone["segment"]), ", ".join(besides))
    return recorded, *[column or "-" for column in columns]


def _registered(at_ga4: Mapping[str, Any]) -> Iterator[str]:
    for where, value in at_ga4.items():
        if where.startswith("user property"):
            yield "user-scoped dimension"
        elif where == "`engagement_time_msec`":
            yield "nothing: User engagement"
        elif where.startswith("`device."):
            yield "nothing: Tech details"
        elif where == "`client_id`":
            yield "nothing: Users"
        elif where == "the event's name":
            yield "nothing: Events"
        elif where in MEASURES:
            yield "metric"
        else:
            yield "dimension" if isinstance(value, str) else "dimension or metric"


def names() -> list[tuple[str, ...]]:
    """Return (kind, in OTLP, at GA4, at Segment and what it passes names on to, at GA4 through Segment) per kind."""
    made: list[tuple[str, ...]] = []
    for kind, (name, attributes) in KINDS.items():
        of = arrival(kind, attributes, ABOUT)
        title = of["segment"]["the event's name"]
        what = "span" if kind in SPANS else "counter"
        at_ga4 = of["ga4"]["the event's name"]
        lowered = title.lower().replace(" ", "_")
        made.append((kind, f"{what} `{name}`", f"`{at_ga4}`", f"`{title}`", f"`{lowered}`"))
    return made
