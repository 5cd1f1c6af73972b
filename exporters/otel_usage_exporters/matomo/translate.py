"""Turn usage events into bulk requests of Matomo's Tracking HTTP API. Pure: clock and settings are passed in.

A run is a view of the page of its command, ``https://cli.invalid/mycli/report/upload``; all else is an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from otel_usage_exporters.packing import Translation
from otel_usage_exporters.text import encode_json
from otel_usage_exporters.usage_event import UsageEvent
from otel_usage_exporters.visitor import visitor_id
from otel_usage_exporters.visits import VisitRules, translate_visits

# Matomo, core/Tracker/Request.php: it takes a time that old without a token (tracking_requests_require_authentication_when_
# custom_timestamp_newer_than is 86,400 seconds), and none that is 20 years old; read 2026-11-26. Five minutes are for the way
# and for clocks that differ.
MAX_AGE_S = 24 * 3600 - 300
MAX_AGE_WITH_TOKEN_S = 20 * 365 * 86_400 - 86_400
# matomo-org/developer-documentation, docs/5.x/tracking-api.md, read 2026-11-26. bots=1: a User-Agent that it takes for a bot,
# as those of most libraries are, is counted. ca=1: should events be turned off there, they do not become page views.
START = "?idsite={}&rec=1&apiv=1&bots=1"
OF_EVENT = "&ca=1"


@dataclass(frozen=True, slots=True)
class MatomoOptions:
    """How to write requests. visitor_id: instead of one per installation. with_token: a token is sent along.

    names: ``{declared name: Matomo's}``. dimensions: ``{property's name: the number of a custom dimension}``.
    """

    site_id: str = "1"
    visitor_id: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    dimensions: Mapping[str, int] = field(default_factory=dict)
    with_token: bool = False


def translate(events: Sequence[UsageEvent], options: MatomoOptions, *, now_ns: int) -> Translation:
    """Return the requests for *events*, as `translate_visits` does. Without a token what is a day old is too_old."""
    age_s = MAX_AGE_WITH_TOKEN_S if options.with_token else MAX_AGE_S
    rules = VisitRules(
        start=START.format(options.site_id),
        of_event=OF_EVENT,
        visitor=lambda installation_id: options.visitor_id or visitor_id("matomo", installation_id),
        names=options.names,
        dimensions=options.dimensions,
        oldest_ns=now_ns - age_s * 10**9,
    )
    return translate_visits(events, rules, now_ns=now_ns)


def tail(token: str) -> bytes:
    """Return the end of a body. token: of a user that may write to the site, "" without."""
    return b"]" + (b"," + encode_json({"token_auth": token})[1:].encode() if token else b"}")
