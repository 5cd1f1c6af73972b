"""Exporters to Segment's HTTP Tracking API and servers that speak it, like RudderStack: settings, and what answers mean.

At least once: ``messageId`` is the same in every attempt, so that a repetition is recognised.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from otel_usage_exporters.exporting import Exporter, Lenient, keywords
from otel_usage_exporters.packing import Request, Translation
from otel_usage_exporters.post import Answer
from otel_usage_exporters.settings import SettingReader, parse_key
from otel_usage_exporters.signals import UsageMetricExporter, UsageSpanExporter
from otel_usage_exporters.usage_event import UsageEvent
from otel_usage_exporters.vendor import REDACTED, RequestOutcome, Vendor, json_request, judge_status

from .translate import SegmentOptions, tail, translate

ENDPOINT = "https://api.segment.io"
ENDPOINT_EU = "https://events.eu1.segmentapis.com"

RETRIED = frozenset({408, 410, 429, 460})  # analytics-python 2.4.0 and analytics-node 3.1.0: tried again besides 5xx


class Segment(Vendor):
    """What the settings say, and how Segment wants to be talked to."""

    label = "Segment"
    prefix = "SEGMENT"
    memory_name = "segment-traits"

    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        reader = SettingReader(self.prefix, settings, environ)
        a_key = "the write key of a source"
        self._key = reader.read("write_key", parse_key, "", a_key)
        if not self._key:
            raise reader.wrong("write_key", a_key, missing=True)
        who = reader.read("anonymous_id", parse_key, "", "an id without spaces")
        names = reader.names(self.label)
        endpoint = reader.endpoint(ENDPOINT)
        self._address = endpoint if endpoint.endswith("/batch") else endpoint + "/v1/batch"
        # Jitsu then keeps the sender's address out of what it stores, where it is new enough: it knows no other way, and takes
        # no word of the body for it. jitsucom/bulker, ingest/router.go: patchEvent, read 2026-11-27.
        self._asks = {} if endpoint in (ENDPOINT, ENDPOINT_EU) else {"X-IP-Policy": "remove"}
        self.common = reader.common("anonymous_id", who)
        self.options = SegmentOptions(who, names)

    def identifies_client(self) -> bool:
        return bool(self.options.anonymous_id)

    def translate(self, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]) -> Translation:
        return translate(events, self.options, traits=known, now_ns=now_ns)

    def write(self, request: Request, now_ns: int, *, redact: bool) -> tuple[str, str, dict[str, str], bytes]:
        body = request.body(tail(REDACTED if redact else self._key, now_ns))
        headers, body = json_request(body, redact=redact)
        key = REDACTED if redact else b64encode(self._key.encode() + b":").decode()
        return self._address, "", {**headers, **self._asks, "Authorization": f"Basic {key}"}, body

    def judge(self, answer: Answer, events: int) -> tuple[RequestOutcome, str]:
        """What may arrive later is tried again, with the same ids."""
        outcome, reason = judge_status(answer, events, retried=RETRIED)
        if outcome is not RequestOutcome.SENT:
            return outcome, reason
        # Jitsu says 200 and {"ok": false} to what it refuses.
        verdict = answer.json_object()
        if verdict.get("ok") is False or verdict.get("success") is False:
            return RequestOutcome.DROP, "refused"
        return outcome, reason


class SegmentExporter(Exporter):
    """What both exporters to Segment share: the vendor, and the keywords. Each has a variable, ``OTEL_EXPORTER_SEGMENT_…``.

    write_key: of the source.
    anonymous_id: who the client is, instead of one per installation.
    endpoint: `ENDPOINT_EU`, or a compatible server.
    names: ``{declared name: Segment's}``.
    spans: "usage" (the default), "all", or names of further spans, in which ``*`` stands for any characters.
    attributes: which of theirs leave: "standard" (the default), "all", or names. Not those that never leave by default.
    allow_personal_data: let attributes leave that never do by default, such as addresses, queries and users' ids.
    user: the attribute of a span, or of the resource, that says whose it is, or several: the first that is there counts.
    user_key: at least 16 characters, with which users' ids are hashed. send_raw_user: send them as they are, too.
    derived: also send the run counters, which repeat what the spans say.
    timeout_s: of one export, or of one request in ``deliver``.
    folder: for what must be remembered between processes, "" for in memory only.
    """

    vendor_class = Segment
    schema_key = "segment"

    @keywords
    def __init__(
        self,
        *,
        write_key: str | None = None,
        anonymous_id: str | None = None,
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


class SegmentSpanExporter(SegmentExporter, UsageSpanExporter):
    """Sends runs, actions, errors and heartbeats to Segment. Keywords: see `SegmentExporter`.

    ::

        exporter = SegmentSpanExporter(write_key=key, names={"report.upload": "Report Uploaded"})
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    """


class SegmentMetricExporter(SegmentExporter, UsageMetricExporter):
    """Sends a host's counts to Segment, one message per delta. Keywords: see `SegmentExporter`.

    ::

        exporter = SegmentMetricExporter(write_key=key)
        meter_provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    """


class LenientSegmentSpanExporter(Lenient, SegmentSpanExporter):
    """`SegmentSpanExporter` as entry points name it: a wrong setting is one error in the log."""


class LenientSegmentMetricExporter(Lenient, SegmentMetricExporter):
    """`SegmentMetricExporter` as entry points name it: a wrong setting is one error in the log."""
