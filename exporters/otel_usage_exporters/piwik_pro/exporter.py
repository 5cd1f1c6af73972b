"""Exporters to Piwik PRO: settings, and what answers mean.

At most once: Piwik PRO can't tell a repeated request from another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from otel_usage_exporters.exporting import Exporter, Lenient, keywords
from otel_usage_exporters.packing import Translation
from otel_usage_exporters.settings import parse_key
from otel_usage_exporters.signals import UsageMetricExporter, UsageSpanExporter
from otel_usage_exporters.usage_event import UsageEvent
from otel_usage_exporters.visit_vendor import VisitVendor

from .translate import PiwikProOptions, tail, translate


class PiwikPro(VisitVendor):
    """What the settings say, and how Piwik PRO wants to be talked to."""

    label = "Piwik PRO"
    prefix = "PIWIK_PRO"
    memory_name = "piwik_pro"
    script = "ppms.php"
    a_site = "the id of a site or app, a UUID"
    tail = staticmethod(tail)

    def translate(self, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]) -> Translation:  # noqa: ARG002
        options = PiwikProOptions(self.site, self.visitor, self.names, self.dimensions)
        return translate(events, options, now_ns=now_ns)

    @staticmethod
    def parse_site(value: Any) -> str:
        return str(UUID(parse_key(value)))


class PiwikProExporter(Exporter):
    """What both exporters to Piwik PRO share: the vendor, and the keywords. Each has a variable, ``OTEL_EXPORTER_PIWIK_PRO_…``.

    endpoint: of your account, like ``https://example.piwik.pro``; ``/ppms.php`` is added, unless it ends in ``.php``.
    site_id: of a site or app there, a UUID.
    visitor_id: who the client is, 16 hexadecimal digits, instead of one per installation.
    dimensions: ``{property: number of a custom dimension}``, like ``{"outcome": 1, "app_version": 2}``.
    names: ``{declared name: Piwik PRO's}``.
    spans: "usage" (the default), "all", or names of further spans, in which ``*`` stands for any characters.
    attributes: which of theirs leave: "standard" (the default), "all", or names. Not those that never leave by default.
    allow_personal_data: let attributes leave that never do by default, such as addresses, queries and users' ids.
    user: the attribute of a span, or of the resource, that says whose it is, or several: the first that is there counts.
    user_key: at least 16 characters, with which users' ids are hashed. send_raw_user: send them as they are, too.
    derived: also send the run counters, which repeat what the spans say.
    timeout_s: of one export, or of one request in ``deliver``.
    folder: for what must be remembered between processes, "" for in memory only.
    """

    vendor_class = PiwikPro
    at_most_once = True
    schema_key = "segment"

    @keywords
    def __init__(
        self,
        *,
        site_id: str | None = None,
        visitor_id: str | None = None,
        dimensions: Mapping[str, int] | str | None = None,
        endpoint: str | None = None,
        names: Mapping[str, str] | None = None,
        spans: str | Sequence[str] | None = None,
        attributes: str | Sequence[str] | None = None,
        allow_personal_data: bool | None = None,
        user: str | Sequence[str] | None = None,
        user_key: str | None = None,
        send_raw_user: bool | None = None,
        derived: bool | None = None,
        timeout_s: float | None = None,
        folder: str | None = None,
    ) -> None: ...


class PiwikProSpanExporter(PiwikProExporter, UsageSpanExporter):
    """Sends runs, actions, errors and heartbeats to Piwik PRO. Keywords: see `PiwikProExporter`.

    ::

        exporter = PiwikProSpanExporter(endpoint="https://example.piwik.pro", site_id=site)
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    """


class PiwikProMetricExporter(PiwikProExporter, UsageMetricExporter):
    """Sends a host's counts to Piwik PRO, one event per delta. Keywords: see `PiwikProExporter`.

    ::

        exporter = PiwikProMetricExporter(endpoint="https://example.piwik.pro", site_id=site)
        meter_provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    """


class LenientPiwikProSpanExporter(Lenient, PiwikProSpanExporter):
    """`PiwikProSpanExporter` as entry points name it: a wrong setting is one error in the log."""


class LenientPiwikProMetricExporter(Lenient, PiwikProMetricExporter):
    """`PiwikProMetricExporter` as entry points name it: a wrong setting is one error in the log."""
