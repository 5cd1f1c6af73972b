"""The vendors besides GA4 and Segment, in one table: how each is set up, read and judged, for tests that are of all.

NAMED: of named events with properties, who know a repetition. VISITS: of page views and events, who do not. OTHERS: all.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from otel_usage_exporters import amplitude, matomo, mixpanel, piwik_pro, posthog
from otel_usage_exporters.amplitude import translate as to_amplitude
from otel_usage_exporters.matomo import translate as to_matomo
from otel_usage_exporters.mixpanel import translate as to_mixpanel
from otel_usage_exporters.packing import Translation
from otel_usage_exporters.piwik_pro import translate as to_piwik_pro
from otel_usage_exporters.posthog import translate as to_posthog

from otel_usage.receiver.vendors import VENDORS
from otel_usage.receiver.visits import parameters

KEY = "sh-secret-9"
SITE = "892d04bd-6e2b-4914-bfb4-bac721b37235"
NOW = 1_795_000_000_123_456_789


@dataclass(frozen=True)
class Named:
    """A vendor. settings: enough for an exporter. translate: (events, options, now_ns). listed: the events in a request's JSON.

    name, who, id, time_ms, properties: read one of these. path: where requests go. one: the option, and keyword, that says who
    the client is for all. refused: a word that may not be who the client is.
    """

    vendor: str
    settings: Mapping[str, Any]
    span_exporter: type
    metric_exporter: type
    options: type
    translate: Callable[..., Translation]
    tail: Callable[[], bytes]
    path: str
    listed: Callable[[Any], list[Any]]
    name: Callable[[Any], str]
    who: Callable[[Any], str]
    id: Callable[[Any], str]
    time_ms: Callable[[Any], int]
    properties: Callable[[Any], Mapping[str, Any]]
    one: str
    refused: str
    field: str  # by which the vendor knows an installation

    def exporter(self, url: str, *, counts: bool = False, **more: Any) -> Any:
        """Return an exporter to *url* that remembers nothing on disk."""
        cls = self.metric_exporter if counts else self.span_exporter
        return cls(endpoint=url, **{"folder": "", "timeout_s": 5.0, **self.settings, **more})

    def bodies(self, events: Sequence[Any], *, now_ns: int = NOW, **options: Any) -> list[Any]:
        """Return the requests' JSON for *events*, each of which breaks no rule."""
        translation = self.translate(events, self.options(**options), now_ns=now_ns)
        texts = [request.body(self.tail()) for request in translation.requests]
        for text in texts:
            assert [] == self.problems(text)
        return [json.loads(text) for text in texts]

    def problems(self, body: bytes, headers: Mapping[str, str] | None = None, path: str = "") -> list[str]:
        """Return which of the vendor's rules a request breaks."""
        plain = {"Content-Type": "application/json"} if headers is None else headers
        if self.vendor == "mixpanel" and headers is None:  # the token is added when a request is written
            body = body.replace(to_mixpanel.NO_TOKEN, b'"token":"sh-secret-9"')
        more = {"now_s": NOW / 1e9} if self.vendor in ("mixpanel", *VISITS) and headers is None else {}
        return VENDORS[self.vendor].answer(path or self.path, plain, body, **more)[3]

    def events(self, events: Sequence[Any], **more: Any) -> list[Any]:
        """Return what the vendor is sent of *events*."""
        return [event for body in self.bodies(events, **more) for event in self.listed(body)]

    def received(self, server: Any) -> list[Any]:
        """Return the events that a server got, in requests that break no rule."""
        sent: list[Any] = []
        for path, headers, body in server.requests:
            assert [] == self.problems(body, headers, path)
            plain = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
            sent += self.listed(json.loads(plain))
        return sent


def milliseconds(text: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


POSTHOG = Named(
    vendor="posthog",
    settings={"api_key": KEY},
    span_exporter=posthog.PostHogSpanExporter,
    metric_exporter=posthog.PostHogMetricExporter,
    options=to_posthog.PostHogOptions,
    translate=to_posthog.translate,
    tail=lambda: to_posthog.tail(KEY, NOW),
    path="/batch/",
    listed=lambda body: body["batch"],
    name=lambda event: event["event"],
    who=lambda event: event["distinct_id"],
    id=lambda event: event["uuid"],
    time_ms=lambda event: milliseconds(event["timestamp"]),
    properties=lambda event: event["properties"],
    one="distinct_id",
    refused="anonymous",
    field="distinct_id",
)
MIXPANEL = Named(
    vendor="mixpanel",
    settings={"token": KEY},
    span_exporter=mixpanel.MixpanelSpanExporter,
    metric_exporter=mixpanel.MixpanelMetricExporter,
    options=to_mixpanel.MixpanelOptions,
    translate=to_mixpanel.translate,
    tail=lambda: to_mixpanel.TAIL,
    path="/track?ip=0&verbose=1",
    listed=lambda body: body,
    name=lambda event: event["event"],
    who=lambda event: event["properties"]["distinct_id"],
    id=lambda event: event["properties"]["$insert_id"],
    time_ms=lambda event: event["properties"]["time"],
    properties=lambda event: event["properties"],
    one="distinct_id",
    refused="anonymous",
    field="distinct_id",
)
AMPLITUDE = Named(
    vendor="amplitude",
    settings={"api_key": KEY},
    span_exporter=amplitude.AmplitudeSpanExporter,
    metric_exporter=amplitude.AmplitudeMetricExporter,
    options=to_amplitude.AmplitudeOptions,
    translate=to_amplitude.translate,
    tail=lambda: to_amplitude.tail(KEY),
    path="/2/httpapi",
    listed=lambda body: body["events"],
    name=lambda event: event["event_type"],
    who=lambda event: event["device_id"],
    id=lambda event: event["insert_id"],
    time_ms=lambda event: event["time"],
    properties=lambda event: event["event_properties"],
    one="device_id",
    refused="undefined",
    field="device_id",
)


def queries(body: Any) -> list[Any]:
    return [parameters(query) for query in body["requests"]]


MATOMO = Named(
    vendor="matomo",
    settings={"site_id": 3, "token_auth": KEY, "dimensions": "format=1,many=2,of=3,x=4"},
    span_exporter=matomo.MatomoSpanExporter,
    metric_exporter=matomo.MatomoMetricExporter,
    options=to_matomo.MatomoOptions,
    translate=to_matomo.translate,
    tail=lambda: to_matomo.tail(""),
    path="/matomo.php",
    listed=queries,
    name=lambda query: "Command Run" if "action_name" in query else query["e_a"],
    who=lambda query: query["_id"],
    id=lambda query: query["url"] + query["cdt"],
    time_ms=lambda query: int(query["cdt"]) * 1000,
    properties=lambda query: query,
    one="visitor_id",
    refused="anonymous",
    field="visitorId",
)
PIWIK_PRO = replace(
    MATOMO,
    vendor="piwik_pro",
    settings={"site_id": SITE, "dimensions": MATOMO.settings["dimensions"]},
    span_exporter=piwik_pro.PiwikProSpanExporter,
    metric_exporter=piwik_pro.PiwikProMetricExporter,
    options=to_piwik_pro.PiwikProOptions,
    translate=to_piwik_pro.translate,
    tail=to_piwik_pro.tail,
    path="/ppms.php",
    field="visitor_id",
)
NAMED = {each.vendor: each for each in (POSTHOG, MIXPANEL, AMPLITUDE)}
VISITS = {each.vendor: each for each in (MATOMO, PIWIK_PRO)}
OTHERS = {**NAMED, **VISITS}
