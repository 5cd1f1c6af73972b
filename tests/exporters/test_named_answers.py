"""Answers that only some vendors give: part of a batch was refused, or all of it under a 200."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from dataclasses import replace

import pytest
from otel_usage_exporters.posthog import PostHogSpanExporter
from otel_usage_exporters.segment import SegmentSpanExporter
from otel_usage_exporters.usage_event import events_from_spans

from otel_usage import SettingError
from otel_usage.delivery.verdict import Verdict

from .named_vendors import NAMED, NOW
from .servers import action, resource, run

DAY = 86_400 * 10**9
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


IMPORT = {"token": None, "api_secret": "sh-secret-9"}


def test_mixpanel_imports_what_is_good(serve):
    """A 400 of /import that names records has imported the others: these are not sent again, and the named ones are gone."""
    failed = [{"index": 2, "insert_id": "x", "field": "properties.time", "message": "…"}]
    server = serve((400, {}, json.dumps({"code": 400, "num_records_imported": 7, "failed_records": failed}).encode()))

    verdict = NAMED["mixpanel"].exporter(server.url, **IMPORT).deliver(SPANS)

    assert ({"http_400": 1}, {2: "http_400"}, ()) == (verdict.dropped, verdict.gone, verdict.unsent)
    assert 1 == len(server.requests)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no",
        b"[]",
        b"{}",
        b'{"failed_records":7}',
        b'{"failed_records":[{"index":99}]}',
        b'{"failed_records":[{"index":-1}]}',
        b'{"failed_records":[{"index":"1"}]}',
        b'{"failed_records":[{"index":0},{}]}',
    ],
)
def test_mixpanel_says_400_and_not_of_what(body, serve):
    """Where it can't be known which events are refused, all count as refused: none is sent twice, and none is lost track of."""
    server = serve((400, {}, body))

    assert {"http_400": 8} == NAMED["mixpanel"].exporter(server.url, **IMPORT).deliver(SPANS).dropped
    assert 1 == len(server.requests)


def test_mixpanel_track_refuses_under_a_200(serve):
    """``status`` 0 is no delivery."""
    server = serve((200, {}, b'{"status":0,"error":"no token"}'))

    assert {"refused": 8} == NAMED["mixpanel"].exporter(server.url).deliver(SPANS).dropped


def test_mixpanels_two_ways(serve):
    """A token goes to /track in each event; a secret or a service account goes to /import, by Authorization alone."""
    server = serve((200, {}, b'{"status":1}'))
    account = {"token": None, "service_account": "s.1", "service_secret": "sh-secret-9", "project_id": "17"}

    for settings in ({}, IMPORT, account, {**account, "token": "pub"}):
        NAMED["mixpanel"].exporter(server.url, **settings).deliver(SPANS[:1])

    paths = ["/track?ip=0&verbose=1", "/import?strict=1", *["/import?strict=1&project_id=17"] * 2]
    assert paths == [path for path, _, _ in server.requests]
    assert 4 == len(NAMED["mixpanel"].received(server))
    bodies = [gzip.decompress(body) for _, _, body in server.requests]
    assert [True, False, False, False] == [b"token" in body or b"sh-secret-9" in body for body in bodies]
    logins = [b64decode(headers.get("Authorization", "")[6:]).decode() for _, headers, _ in server.requests]
    assert ["", "sh-secret-9:", "s.1:sh-secret-9", "s.1:sh-secret-9"] == logins


@pytest.mark.parametrize("missing", ["service_secret", "project_id"])
def test_half_a_service_account(missing):
    """Part of what a service account needs is an error that names what is missing."""
    settings = {"service_account": "s", "service_secret": "x", "project_id": "17", missing: None}

    with pytest.raises(SettingError, match=f"OTEL_EXPORTER_MIXPANEL_{missing.upper()} "):
        NAMED["mixpanel"].exporter("https://example.org", token=None, **settings)


def test_mixpanel_track_takes_five_days():
    """What is older is dropped and counted for /track, and imported by /import."""
    of = NAMED["mixpanel"]
    events, _ = events_from_spans([run(1, end_ns=NOW - 6 * DAY), run(2, end_ns=NOW - 4 * DAY)])

    assert {"too_old": 1} == of.translate(events, of.options(), now_ns=NOW).dropped
    assert {} == of.translate(events, of.options(track=False), now_ns=NOW).dropped


def test_a_text_that_looks_like_a_token(serve):
    """A value that holds what stands for the token is sent as it is: the token is put into its own place alone."""
    of = NAMED["mixpanel"]
    server = serve((200, {}, b'{"status":1}'))

    of.exporter(server.url).deliver([action(fields={"a": '"token":""', "token": ""})])

    [sent] = of.received(server)
    assert ('"token":""', "sh-secret-9") == (sent["properties"]["a"], sent["properties"]["token"])


def test_amplitude_names_what_is_bad(serve):
    """A 400 that names events took none: the others are sent again at once, and each is there once."""
    of = NAMED["amplitude"]
    says = {"code": 400, "error": "Invalid field values on some events", "events_with_invalid_fields": {"time": [1, 4]}}
    server = serve((400, {}, json.dumps({**says, "silenced_events": [0]}).encode()), (200, {}, b'{"code":200}'))

    verdict = of.exporter(server.url).deliver(SPANS)

    first, second = [of.listed(json.loads(gzip.decompress(body))) for _, _, body in server.requests]
    assert {"http_400": 3} == verdict.dropped
    assert dict.fromkeys((0, 1, 4), "http_400") == verdict.gone
    assert [first[place] for place in (2, 3, 5, 6, 7)] == second


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"missing_field":"events"}',
        b'{"events_with_invalid_fields":{"time":[8]}}',
        b'{"events_with_invalid_fields":{"time":"x"}}',
        b'{"events_with_missing_fields":[1],"silenced_events":{}}',
    ],
)
def test_amplitude_says_400_and_not_of_what(body, serve):
    """Where no event is named, all are refused, in one request."""
    server = serve((400, {}, body))

    assert {"http_400": 8} == NAMED["amplitude"].exporter(server.url).deliver(SPANS).dropped
    assert 1 == len(server.requests)


def test_amplitude_does_not_know_the_key(serve):
    """A wrong key is a 400 there, and says nothing about the events: they wait."""
    server = serve((400, {}, b'{"code":400,"error":"Invalid API key: x"}'))

    verdict = NAMED["amplitude"].exporter(server.url).deliver(SPANS)

    assert (tuple(range(8)), True) == (verdict.unsent, verdict.wrong_settings)


def test_amplitude_in_ci():
    """A device may send 30 events a second: runs in CI are spread over 64, a repetition has the same."""
    of = NAMED["amplitude"]
    about = resource(installation=None)
    about._attributes = {**about.attributes, "usage.ci_system": "github"}
    events, _ = events_from_spans([run(n, end_ns=NOW, of=about) for n in range(1, 400)])

    devices = [event["device_id"] for event in of.events(events)]

    assert devices == [event["device_id"] for event in of.events(events)]
    assert 40 < len(set(devices)) <= 64
    assert all(device.startswith("ci.github.") for device in devices)


def test_amplitudes_addresses(serve):
    """``batch`` chooses the address; all else is the same."""
    server = serve((200, {}, b'{"code":200}'))

    for batch in (False, True):
        NAMED["amplitude"].exporter(server.url, batch=batch).deliver(SPANS[:1])

    assert ["/2/httpapi", "/batch"] == [path for path, _, _ in server.requests]
    assert 2 == len(NAMED["amplitude"].received(server))


@pytest.mark.parametrize("vendor", [*NAMED, "segment"])
def test_an_answer_that_is_nested_without_end(serve, vendor):
    """The status says that it was received; the text of it is no reason for anything."""
    server = serve((200, {}, b"[" * 60_000))

    segment = SegmentSpanExporter(write_key="k", endpoint=server.url, folder="")
    exporter = segment if vendor == "segment" else NAMED[vendor].exporter(server.url)

    assert Verdict((), None, {}, 200) == replace(exporter.deliver(SPANS), gone={}, reason="")
