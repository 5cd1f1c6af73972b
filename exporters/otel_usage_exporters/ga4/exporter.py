"""Exporters to Google Analytics 4 (Measurement Protocol): settings, and what GA4's answers mean.

At most once: GA4 cannot tell a repeated event from another.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from otel_usage.delivery.verdict import VALIDATED
from otel_usage_exporters.exporting import Exporter, Lenient, keywords
from otel_usage_exporters.once import log_once
from otel_usage_exporters.packing import Request, Translation
from otel_usage_exporters.post import Answer
from otel_usage_exporters.settings import SettingReader, parse_choice, parse_flag, parse_key
from otel_usage_exporters.signals import UsageMetricExporter, UsageSpanExporter
from otel_usage_exporters.text import clean
from otel_usage_exporters.usage_event import UsageEvent
from otel_usage_exporters.vendor import REDACTED, RequestOutcome, Vendor, judge_once, plain_request

from .translate import MAX_EVENTS, TAIL, GA4Options, translate

ENDPOINT = "https://www.google-analytics.com"
ENDPOINT_EU = "https://region1.google-analytics.com"

UNREADABLE = "the validation server's answer can't be read"
MAX_OBJECTIONS = 500  # characters
_CODE_OR_PATH = re.compile(r"[A-Za-z0-9_.\[\]]{1,100}")

LOGGER = "otel_usage_exporters.ga4"
# Measurement Protocol (GA4), "Verify implementation", read 2026-11-22.
APP_STREAM_WARNING = (
    "GA4: of an app stream Google counts only events whose app_instance_id has been used by its Firebase SDK before, so "
    "these events may show nowhere: use a web stream (measurement_id), or say as client_id an id that the SDK has made"
)

_WEB = re.compile(r"G-[A-Z0-9]{4,20}")
_APP = re.compile(r"[0-9]:[0-9]+:[A-Za-z]+:[A-Za-z0-9]+")  # ga-dev-tools, formatCheckLib.ts


class GA4(Vendor):
    """What the settings say, and how GA4 wants to be talked to."""

    label = "GA4"
    prefix = "GA4"
    memory_name = "ga4-sessions"

    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        reader = SettingReader(self.prefix, settings, environ)
        web_id = "the id of a web data stream, like G-AB12CD34EF"
        app_id = "the id of an app stream, like 1:1234567890:android:0123456789abcdef"
        web = reader.read("measurement_id", _matching(_WEB), "", web_id)
        app = reader.read("firebase_app_id", _matching(_APP), "", app_id)
        if not web and not app:
            raise reader.wrong("measurement_id", f"{web_id} (or firebase_app_id for an app stream)", missing=True)
        if web and app:
            raise reader.wrong("firebase_app_id", "it or measurement_id, not both")
        a_secret = "a Measurement Protocol API secret of that stream"  # noqa: S105
        self._secret = reader.read("api_secret", parse_key, "", a_secret)
        if not self._secret:
            raise reader.wrong("api_secret", a_secret, missing=True)
        screens = reader.read("screens", parse_choice("page_view", "screen_view"), "", '"page_view" or "screen_view"')
        if screens and (screens == "screen_view") != bool(app):
            raise reader.wrong("screens", "page_view for a web stream, screen_view for an app stream")
        form = _matching(re.compile("[0-9A-Fa-f]{32}")) if app else parse_key
        client = reader.read("client_id", form, "", "32 hexadecimal digits" if app else "an id without spaces")
        self.validate = reader.read("validate", parse_flag, False, '"true" or "false"')
        debug = reader.read("debug", parse_flag, False, '"true" or "false"')
        self._endpoint = reader.endpoint(ENDPOINT)
        self.records_per_request = MAX_EVENTS // (2 if screens else 1)  # a run is two events then
        self.common = reader.common("client_id", client)
        self.options = GA4Options(bool(app), screens, client, self.validate, debug)
        if app and not client:
            log_once(logging.getLogger(LOGGER), logging.WARNING, APP_STREAM_WARNING)
        # Quoted by hand: the colons of a Firebase id must stay (action-destinations 970a17e, ga4-functions.ts).
        self._query = f"?firebase_app_id={quote(app, safe=':')}" if app else f"?measurement_id={quote(web)}"

    def identifies_client(self) -> bool:
        return bool(self.options.client_id)

    def translate(self, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]) -> Translation:
        return translate(events, self.options, now_ns=now_ns, sessions=known)

    def write(
        self,
        request: Request,
        now_ns: int,  # noqa: ARG002
        *,
        redact: bool,
    ) -> tuple[str, str, dict[str, str], bytes]:
        path = "/debug/mp/collect" if self.validate else "/mp/collect"
        base = self._endpoint if not urlsplit(self._endpoint).path.endswith("/mp/collect") else ""
        address = (base + path if base else self._endpoint) + self._query
        secret = "&api_secret=" + (REDACTED if redact else quote(self._secret, safe=""))
        return address, secret, *plain_request(request.body(TAIL))

    def judge(self, answer: Answer, events: int) -> tuple[RequestOutcome, str]:  # noqa: ARG002
        """A request of which nothing left is tried again, or which came to somebody else. All others have had their chance."""
        outcome, reason = judge_once(answer)
        if self.validate and outcome is RequestOutcome.SENT:
            _log_validation(answer.body)
            return RequestOutcome.DROP, VALIDATED
        return outcome, reason

    def objections(self, answer: Answer) -> str:
        """Return the validation server's codes, and where each applies; its sentences may repeat what was sent."""
        if not self.validate or answer.status is None:
            return ""
        messages = _validation_messages(answer.body)
        if messages is None:
            return UNREADABLE
        objections = [
            " ".join([word for word in (_plain(each.get("validationCode")), _plain(each.get("fieldPath"))) if word])
            for each in messages
        ]
        return "; ".join(dict.fromkeys(objections))[:MAX_OBJECTIONS]


class GA4Exporter(Exporter):
    """What both exporters to GA4 share: the vendor, and the keywords. Each has a variable, ``OTEL_EXPORTER_GA4_…``.

    measurement_id: of a web data stream, like ``G-AB12CD34EF``. Or firebase_app_id: of an app stream, of which Google counts
    only events of clients that its Firebase SDK has made, so only with such a client_id.
    api_secret: a Measurement Protocol secret of that stream.
    client_id: who the client is, instead of one per installation.
    endpoint: `ENDPOINT_EU`, or a proxy of your own.
    screens: "page_view" or "screen_view", to send one for every run too.
    validate: have GA4 check what would be sent, log what it says, and record nothing. In the sender it is in the ledger.
    debug: have events show in DebugView at once, and count as a developer's.
    spans: "usage" (the default), "all", or names of further spans, in which ``*`` stands for any characters.
    attributes: which of theirs leave: "standard" (the default), "all", or names. Not those that never leave by default.
    allow_personal_data: let attributes leave that never do by default, such as addresses, queries and users' ids.
    user: the attribute of a span, or of the resource, that says whose it is, or several: the first that is there counts.
    user_key: at least 16 characters, with which users' ids are hashed. send_raw_user: send them as they are, too.
    derived: also send the run counters, which repeat what the spans say.
    timeout_s: of one export, or of one request in ``deliver``.
    folder: for what must be remembered between processes, "" for in memory only.
    """

    vendor_class = GA4
    at_most_once = True
    one_client_per_request = True

    @keywords
    def __init__(
        self,
        *,
        measurement_id: str | None = None,
        firebase_app_id: str | None = None,
        api_secret: str | None = None,
        client_id: str | None = None,
        endpoint: str | None = None,
        screens: str | None = None,
        validate: bool | None = None,
        debug: bool | None = None,
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


class GA4SpanExporter(GA4Exporter, UsageSpanExporter):
    """Sends runs, actions, errors and heartbeats to GA4. Keywords: see `GA4Exporter`.

    ::

        exporter = GA4SpanExporter(measurement_id="G-AB12CD34EF", api_secret=secret)
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    """


class GA4MetricExporter(GA4Exporter, UsageMetricExporter):
    """Sends a host's counts to GA4, one event per delta. Keywords: see `GA4Exporter`.

    ::

        exporter = GA4MetricExporter(measurement_id="G-AB12CD34EF", api_secret=secret)
        meter_provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    """


class LenientGA4SpanExporter(Lenient, GA4SpanExporter):
    """`GA4SpanExporter` as entry points name it: a wrong setting is one error in the log."""


class LenientGA4MetricExporter(Lenient, GA4MetricExporter):
    """`GA4MetricExporter` as entry points name it: a wrong setting is one error in the log."""


def messages_of(body: bytes) -> list[str]:
    """Return what the validation server says, one line per message."""
    messages = _validation_messages(body)
    if messages is None:
        return [UNREADABLE]
    return [
        clean(f"{each.get('fieldPath') or '(request)'}: {each.get('description')} [{each.get('validationCode')}]")
        for each in messages
    ]


def _validation_messages(body: bytes) -> list[dict[str, Any]] | None:
    """Return the messages of the validation server's answer, None if it is not as its reference says. Any: JSON."""
    try:
        messages = json.loads(body)["validationMessages"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return messages if isinstance(messages, list) and all(isinstance(each, dict) for each in messages) else None


def _plain(value: Any) -> str:
    """Return *value*, a code or a path of names, if it is one; "" for all else. Any: JSON."""
    return value if isinstance(value, str) and _CODE_OR_PATH.fullmatch(value) else ""


def _log_validation(body: bytes) -> None:
    log = logging.getLogger(LOGGER)
    lines = messages_of(body)
    for line in lines:
        log.warning("GA4 validation: %s", line)
    if not lines:
        log.warning("GA4 validation: no objection; nothing was recorded, as validate is on")


def _matching(pattern: re.Pattern[str]) -> Callable[[Any], str]:
    """Return a function that takes text of that *pattern*, and raises ValueError for all else."""

    def parse(value: Any) -> str:
        text = str(value.strip())
        if not pattern.fullmatch(text):
            raise ValueError
        return text

    return parse
