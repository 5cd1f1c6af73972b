"""The requests that Matomo and Piwik PRO document, and ours of the same, field by field: there is no client of theirs to ask.

Sources, read 2026-11-26: matomo-org/developer-documentation, docs/5.x/tracking-api.md, "Example Bulk Requests";
PiwikPRO/PPMS-PublicDocs, data_collection/api/tracking_api.yaml, the example of ``post``.
"""

from __future__ import annotations

import json

import pytest

from otel_usage.receiver.visits import parameters

from .named_vendors import KEY, SITE, VISITS
from .servers import action, run

DOCUMENTED = {
    "matomo": {
        "requests": [
            "?idsite=1&url=https://example.org&action_name=Test bulk log Pageview&rec=1",
            "?idsite=1&url=https://example.net/test.htm&action_name=Another bulk page view&rec=1",
        ],
        "token_auth": "33dc3f2536d3025974cccb4b4d2d98f4",
    },
    "piwik_pro": {
        "requests": [
            f"?idsite={SITE}&url=http%3A%2F%2Fexample.com%2F&action_name=pageview&rec=1",
            f"?idsite={SITE}&url=http%3A%2F%2Fexample.com%2Fsub%2Fpage.html&action_name=pageview&rec=1",
        ],
    },
}
# What ours has besides: who it was and when, that it counts although no browser sent it, and what sent it.
BESIDES = {"matomo": {"_id", "cdt", "bots", "apiv"}, "piwik_pro": {"_id", "cdt", "bots", "ts_n", "ts_v"}}
EVENT = {"matomo": {"e_c", "e_a", "e_v", "ca"}, "piwik_pro": {"e_c", "e_a", "e_v"}}


@pytest.mark.parametrize("of", VISITS.values(), ids=VISITS)
def test_documented_requests_and_ours(of, serve):
    """The body has the same fields, a page view the same parameters and those listed; an event has its own in the title's place."""
    server = serve()
    documented = DOCUMENTED[of.vendor]
    site = parameters(documented["requests"][0])["idsite"]

    of.exporter(server.url, site_id=site, dimensions="").deliver([run(1), action(2)])

    [(_, headers, body)] = server.requests
    ours = json.loads(body)
    page, event = map(parameters, ours["requests"])
    theirs = parameters(documented["requests"][0])
    assert set(documented) == set(ours)
    assert {"?"} == {query[0] for query in [*documented["requests"], *ours["requests"]]}
    assert BESIDES[of.vendor] == set(page) - set(theirs)
    assert set() == set(theirs) - set(page)
    assert {key: theirs[key] for key in ("idsite", "rec")} == {key: page[key] for key in ("idsite", "rec")}
    assert EVENT[of.vendor] == set(event) - set(page)
    assert {"action_name"} == set(page) - set(event)
    assert "application/json" == headers["Content-Type"]
    assert ours.get("token_auth", KEY) == KEY
