"""Turn usage events into bulk requests of Piwik PRO's Tracking API. Pure: clock and settings are passed in.

A run is a view of the page of its command, ``https://cli.invalid/mycli/report/upload``; all else is a custom event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from otel_usage import __version__
from otel_usage_exporters.packing import Translation
from otel_usage_exporters.usage_event import UsageEvent
from otel_usage_exporters.visitor import visitor_id
from otel_usage_exporters.visits import VisitRules, translate_visits

# PiwikPRO/PPMS-PublicDocs, data_collection/api/tracking_api.yaml (OpenAPI), read 2026-11-26: a time is taken without
# authentication up to 24 hours later, and there is none; the largest value of an event. Five minutes are for the way and for
# clocks that differ. bots=1: a User-Agent that it takes for a bot's is counted. ts_n, ts_v: the library that tracks.
MAX_AGE_S = 24 * 3600 - 300
MAX_VALUE = 100_000_000_000
START = "?idsite={}&rec=1&bots=1&ts_n=otel-usage&ts_v=" + quote(__version__)


@dataclass(frozen=True, slots=True)
class PiwikProOptions:
    """How to write requests. visitor_id: instead of one per installation.

    names: ``{declared name: Piwik PRO's}``. dimensions: ``{property's name: the number of a custom dimension}``.
    """

    site_id: str = "00000000-0000-4000-8000-000000000001"
    visitor_id: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    dimensions: Mapping[str, int] = field(default_factory=dict)


def translate(events: Sequence[UsageEvent], options: PiwikProOptions, *, now_ns: int) -> Translation:
    """Return the requests for *events*, as `translate_visits` does. What is a day old is too_old."""
    rules = VisitRules(
        start=START.format(options.site_id),
        of_event="",
        visitor=lambda installation_id: options.visitor_id or visitor_id("piwik_pro", installation_id),
        names=options.names,
        dimensions=options.dimensions,
        oldest_ns=now_ns - MAX_AGE_S * 10**9,
        largest=MAX_VALUE,
    )
    return translate_visits(events, rules, now_ns=now_ns)


def tail(token: str = "") -> bytes:  # noqa: ARG001
    """Return the end of a body. Piwik PRO takes no token."""
    return b"]}"
