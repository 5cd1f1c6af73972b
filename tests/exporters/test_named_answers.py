"""Answers that only some vendors give: part of a batch was refused, or all of it under a 200."""

from __future__ import annotations

import json

from otel_usage_exporters.posthog import PostHogSpanExporter

from otel_usage.delivery.verdict import Verdict

from .named_vendors import NAMED
from .servers import run

SPANS = [run(n) for n in range(1, 9)]


def test_posthog_refuses_a_batch_for_one_event(serve):
    """One bad event costs itself alone: it is looked for by halves."""
    of = NAMED["posthog"]
    server = serve()
    bad = "0b0b0b0b"

    def reply(path, headers, body):
        seen = of.received(type("S", (), {"requests": [(path, headers, body)]}))
        wrong = any(event["properties"]["command"] == bad for event in seen)
        return (400, {}, b"event submitted without a distinct_id") if wrong else (200, {}, b'{"status":1}')

    server.reply = reply
    spans = [*SPANS[:5], run(20, command=bad), *SPANS[5:]]

    verdict = of.exporter(server.url).deliver(spans)

    assert {"http_400": 1} == verdict.dropped
    assert {5: "http_400"} == verdict.gone
    assert len(server.requests) < 2 * len(spans)


def test_posthog_says_400_to_something_else(serve):
    """What is not about one event is one answer for all: no halves."""
    server = serve((400, {}, b"<html>bad gateway configuration</html>"))

    assert {"http_400": 8} == NAMED["posthog"].exporter(server.url).deliver(SPANS).dropped
    assert 1 == len(server.requests)


def test_posthog_over_quota(serve):
    """A 200 that says events are over quota is no delivery."""
    server = serve((200, {}, json.dumps({"status": 1, "quota_limited": ["events"]}).encode()))

    assert Verdict((), None, {"quota_limited": 8}, 200, gone=dict.fromkeys(range(8), "quota_limited")) == (
        NAMED["posthog"].exporter(server.url).deliver(SPANS)
    )


def test_posthogs_addresses(serve):
    """``/batch/`` is added to an endpoint, unless it ends so."""
    server = serve()

    for endpoint in (server.url, f"{server.url}/batch", f"{server.url}/batch/", f"{server.url}/proxy"):
        PostHogSpanExporter(api_key="phc_1", endpoint=endpoint, folder="").deliver([run()])

    assert ["/batch/", "/batch/", "/batch/", "/proxy/batch/"] == [path for path, _, _ in server.requests]
