"""Exporters to Matomo, in its cloud or your own: settings, and what answers mean.

At most once: Matomo can't tell a repeated request from another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_usage_exporters.exporting import Exporter, Lenient, keywords
from otel_usage_exporters.packing import Translation
from otel_usage_exporters.settings import parse_key
from otel_usage_exporters.signals import UsageMetricExporter, UsageSpanExporter
from otel_usage_exporters.usage_event import UsageEvent
from otel_usage_exporters.visit_vendor import VisitVendor

from .translate import MatomoOptions, tail, translate


class Matomo(VisitVendor):
    """What the settings say, and how Matomo wants to be talked to."""

    label = "Matomo"
    prefix = "MATOMO"
    memory_name = "matomo"
    script = "matomo.php"
    a_site = "the number of a website"
    takes_token = True
    tail = staticmethod(tail)

    def translate(self, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]) -> Translation:  # noqa: ARG002
        options = MatomoOptions(self.site, self.visitor, self.names, self.dimensions, with_token=bool(self.token))
        return translate(events, options, now_ns=now_ns)

    @staticmethod
    def parse_site(value: Any) -> str:
        text = parse_key(value)
        if not text.isdigit() or not 0 < int(text) < 2**32:
            raise ValueError
        return text


class MatomoExporter(Exporter):
    """What both exporters to Matomo share: the vendor, and the keywords. Each has a variable, ``OTEL_EXPORTER_MATOMO_…``.

    endpoint: of your Matomo, like ``https://example.matomo.cloud``; ``/matomo.php`` is added, unless it ends in ``.php``.
    site_id: the number of a website there.
    token_auth: of a user that may write to it, for what is older than a day. No program that others run may hold it.
    visitor_id: who the client is, 16 hexadecimal digits, instead of one per installation.
    dimensions: ``{property: number of a custom dimension}``, like ``{"outcome": 1, "app_version": 2}``.
    names: ``{declared name: Matomo's}``.
    spans: "usage" (the default), "all", or names of further spans, in which ``*`` stands for any characters.
    attributes: which of theirs leave: "standard" (the default), "all", or names. Not those that never leave by default.
    allow_personal_data: let attributes leave that never do by default, such as addresses, queries and users' ids.
    user: the attribute of a span, or of the resource, that says whose it is, or several: the first that is there counts.
    user_key: at least 16 characters, with which users' ids are hashed. send_raw_user: send them as they are, too.
    derived: also send the run counters, which repeat what the spans say.
    timeout_s: of one export, or of one request in ``deliver``.
    folder: for what must be remembered between processes, "" for in memory only.
    """

    vendor_class = Matomo
    at_most_once = True
    schema_key = "segment"

    @keywords
    def __init__(
        self,
        *,
        site_id: int | str | None = None,
        token_auth: str | None = None,
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


class MatomoSpanExporter(MatomoExporter, UsageSpanExporter):
    """Sends runs, actions, errors and heartbeats to Matomo. Keywords: see `MatomoExporter`.

    ::

        exporter = MatomoSpanExporter(endpoint="https://example.matomo.cloud", site_id=1)
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    """


class MatomoMetricExporter(MatomoExporter, UsageMetricExporter):
    """Sends a host's counts to Matomo, one event per delta. Keywords: see `MatomoExporter`.

    ::

        exporter = MatomoMetricExporter(endpoint="https://example.matomo.cloud", site_id=1)
        meter_provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    """


class LenientMatomoSpanExporter(Lenient, MatomoSpanExporter):
    """`MatomoSpanExporter` as entry points name it: a wrong setting is one error in the log."""


class LenientMatomoMetricExporter(Lenient, MatomoMetricExporter):
    """`MatomoMetricExporter` as entry points name it: a wrong setting is one error in the log."""
