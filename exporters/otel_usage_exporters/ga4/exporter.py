"""Exporters to Google Analytics 4 (Measurement Protocol).

Ring 1 (background): settings, and what GA4's answers mean. At most once: GA4 can't tell a repeated event from another.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from otel_usage.event import UsageEvent

from ..base import REDACTED, USER_AGENT, Fate, UsageMetricExporter, UsageSpanExporter, Vendor
from ..post import Answer
from ..settings import Reader, choice, flag, key
from ..translation import Request, Translation, clean
from .translate import TAIL, Style, translate

ENDPOINT = "https://www.google-analytics.com"
ENDPOINT_EU = "https://region1.google-analytics.com"

_WEB = re.compile(r"G-[A-Z0-9]{4,20}")
_APP = re.compile(r"[0-9]:[0-9]+:[A-Za-z]+:[A-Za-z0-9]+")  # ga-dev-tools, formatCheckLib.ts


class GA4(Vendor):
    """What the settings say, and how GA4 wants to be talked to."""

    label = "GA4"
    prefix = "GA4"
    remembers = "ga4-sessions"

    def __init__(self, given: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        read = Reader(self.prefix, given, environ)
        web_id = "the id of a web data stream, like G-AB12CD34EF"
        app_id = "the id of an app stream, like 1:1234567890:android:0123456789abcdef"
        web = read.read("measurement_id", _matching(_WEB), "", web_id)
        app = read.read("firebase_app_id", _matching(_APP), "", app_id)
        if not web and not app:
            raise read.wrong("measurement_id", f"{web_id} (or firebase_app_id for an app stream)", missing=True)
        if web and app:
            raise read.wrong("firebase_app_id", "it or measurement_id, not both")
        a_secret = "a Measurement Protocol API secret of that stream"  # noqa: S105
        self._secret = read.read("api_secret", key, "", a_secret)
        if not self._secret:
            raise read.wrong("api_secret", a_secret, missing=True)
        screens = read.read("screens", choice("page_view", "screen_view"), "", '"page_view" or "screen_view"')
        if screens and (screens == "screen_view") != bool(app):
            raise read.wrong("screens", "page_view for a web stream, screen_view for an app stream")
        form = _matching(re.compile("[0-9A-Fa-f]{32}")) if app else key
        client = read.read("client_id", form, "", "32 hexadecimal digits" if app else "an id without spaces")
        self.validate = read.read("validate", flag, False, '"true" or "false"')
        self._endpoint = read.endpoint(ENDPOINT)
        self.common = read.common()
        self.style = Style(bool(app), screens, client, self.validate)
        # Quoted by hand: the colons of a Firebase id must stay (action-destinations 970a17e, ga4-functions.ts).
        self._query = f"?firebase_app_id={quote(app, safe=':')}" if app else f"?measurement_id={quote(web)}"

    def identified(self) -> bool:
        return bool(self.style.client_id)

    def translate(self, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]) -> Translation:
        return translate(events, self.style, now_ns=now_ns, sessions=known)

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
        headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        return address, secret, headers, request.body(TAIL)

    def judge(self, answer: Answer, events: int) -> tuple[Fate, str]:  # noqa: ARG002
        """A request of which nothing left is tried again. All others have had their chance."""
        if not answer.sent:
            return Fate.RETRY, ""
        status = answer.status
        if status is None:
            return Fate.DROP_AND_STOP, "unknown_delivery"
        if 200 <= status < 300:
            if self.validate:
                _report(answer.body)
                return Fate.DROP, "validated"
            return Fate.SENT, ""
        if 300 <= status < 400:
            return Fate.DROP_AND_STOP, "redirect"
        return (Fate.DROP_AND_STOP if status in (408, 429) or status >= 500 else Fate.DROP), f"http_{status}"


class GA4SpanExporter(UsageSpanExporter):
    """Sends runs, actions, errors and heartbeats to GA4. Every setting can be a variable: ``OTEL_EXPORTER_GA4_…``.

    measurement_id or firebase_app_id, and api_secret: the data stream. client_id: instead of one per installation.
    endpoint: `ENDPOINT_EU`, or a proxy of your own. screens: also send "page_view" or "screen_view". validate: have
    GA4 check what would be sent, log what it says, and record nothing. spans: "usage" or "all". timeout_s: of one
    export, or of one request in ``deliver``. folder: for what must be remembered between processes, "" for none.
    """

    vendor_class = GA4
    at_most_once = True

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
        spans: str | None = None,
        derived: bool | None = None,
        timeout_s: float | None = None,
        folder: str | None = None,
    ) -> None:
        super().__init__(
            measurement_id=measurement_id,
            firebase_app_id=firebase_app_id,
            api_secret=api_secret,
            client_id=client_id,
            endpoint=endpoint,
            screens=screens,
            validate=validate,
            spans=spans,
            derived=derived,
            timeout_s=timeout_s,
            folder=folder,
        )


class GA4MetricExporter(UsageMetricExporter):
    """Sends a host's counts to GA4, one event per delta. Settings: those of `GA4SpanExporter`.

    derived: also send the run counters, which repeat what the spans say.
    """

    vendor_class = GA4
    at_most_once = True

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
        spans: str | None = None,
        derived: bool | None = None,
        timeout_s: float | None = None,
        folder: str | None = None,
    ) -> None:
        super().__init__(
            measurement_id=measurement_id,
            firebase_app_id=firebase_app_id,
            api_secret=api_secret,
            client_id=client_id,
            endpoint=endpoint,
            screens=screens,
            validate=validate,
            spans=spans,
            derived=derived,
            timeout_s=timeout_s,
            folder=folder,
        )


def messages_of(body: bytes) -> list[str]:
    """Return what the validation server says, one line per message."""
    try:
        found = json.loads(body)["validationMessages"]
        return [
            clean(f"{each.get('fieldPath') or '(request)'}: {each.get('description')} [{each.get('validationCode')}]")
            for each in found
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ["the validation server's answer can't be read"]


def _report(body: bytes) -> None:
    log = logging.getLogger("otel_usage_exporters.ga4")
    for line in messages_of(body):
        log.warning("GA4 validation: %s", line)
    if messages_of(body) == []:
        log.warning("GA4 validation: no objection; nothing was recorded, as validate is on")


def _matching(pattern: re.Pattern[str]) -> Any:
    def parse(value: Any) -> str:
        text = str(value.strip())
        if not pattern.fullmatch(text):
            raise ValueError
        return text

    return parse
