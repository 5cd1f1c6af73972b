"""The same events sent by PostHog's own client and by us carry the same fields."""

from __future__ import annotations

import gzip
import json
import time
from datetime import datetime, timezone

import pytest
from otel_usage_exporters.usage_event import events_from_spans
from posthog import Posthog

from otel_usage.receiver import posthog as wire

from .named_vendors import KEY, POSTHOG
from .servers import INSTALLATION, action, error, heartbeat, run

# Every difference there is in an event, and why.
DIFFERENCES = {
    "timestamp": "ours has milliseconds and Z, theirs microseconds and +00:00: the same moment, tested below",
    "properties.$lib": "each says who sends",
    "properties.$lib_version": "likewise",
    "properties.$is_server": "theirs says true of what is no browser; ours may be a user's own machine",
    "properties.$os": "theirs is the machine's that sends, which is not that of the event where a relay sends",
    "properties.$os_version": "likewise",
    "properties.$os_distro": "likewise",
    "properties.$python_runtime": "likewise; ours are the properties runtime and python",
    "properties.$python_version": "likewise",
    "properties.$app_name": "ours: theirs has no notion of an app",
    "properties.$app_version": "likewise",
}


@pytest.fixture
def both(serve):
    """Send the same four events with both; return what arrived, (path, headers, body) each."""
    theirs, ours = serve((200, {}, b'{"status":1}')), serve((200, {}, b'{"status":1}'))
    now = time.time_ns()
    spans = [make(n, end_ns=now + n) for n, make in enumerate((run, action, error, heartbeat), 1)]
    assert () == POSTHOG.exporter(ours.url).deliver(spans).unsent
    client = Posthog(KEY, host=theirs.url, gzip=True, disable_geoip=True)
    traits = {"app": "mycli", "app_version": "1.4.0", "os": "linux", "os_version": "6.8", "arch": "amd64"}
    traits |= {"runtime": "cpython", "python": "3.12.4", "$process_person_profile": False}
    ran = {"command": "report upload", "outcome": "success", "exit_code": 0, "options": "--format,--quiet"}
    ran |= {"options_count": 2, "ci": False, "tty": True, "duration_ms": 250}
    calls = {
        "Command Run": ran,
        "Report Upload": {"duration_ms": 40, "format": "pdf", "retried": False},
        "CLI Error": {"error_code": "config.invalid", "section": "auth"},
        "Heartbeat": {"heartbeat_name": "alive", "clusters": 3, "plan": "team"},
    }
    for event, (name, properties) in zip(events_from_spans(spans)[0], calls.items(), strict=True):
        client.capture(
            name,
            distinct_id=INSTALLATION,
            properties={**traits, **properties},
            timestamp=datetime.fromtimestamp(event.end_ns // 10**6 / 1e3, timezone.utc),
            uuid=event.event_id,
        )
    client.shutdown()
    return theirs.requests, ours.requests


def flat(event):
    properties = {f"properties.{name}": value for name, value in event["properties"].items()}
    return {name: value for name, value in event.items() if name != "properties"} | properties


def events(requests):
    return [flat(event) for _, _, body in requests for event in json.loads(gzip.decompress(body))["batch"]]


def test_the_same_fields_arrive(both):
    """But for the differences listed, events are equal field by field; times are the same moments."""
    theirs, ours = map(events, both)

    assert len(theirs) == len(ours) == 4
    for their, our in zip(theirs, ours, strict=True):
        differ = {name for name in their.keys() | our.keys() if their.get(name) != our.get(name)}
        assert set() == differ - set(DIFFERENCES)
        moments = [datetime.fromisoformat(each["timestamp"].replace("Z", "+00:00")) for each in (their, our)]
        assert moments[0] == moments[1]


def test_the_request_around_them_is_the_same(both):
    """Path, content type, compression, no header with the key, and the fields around the events."""
    (path, headers, body), (our_path, our_headers, our_body) = both[0][0], both[1][0]
    batch, our_batch = json.loads(gzip.decompress(body)), json.loads(gzip.decompress(our_body))

    same = ("Content-Type", "Content-Encoding", "Authorization")
    assert path == our_path
    assert [headers.get(name) for name in same] == [our_headers.get(name) for name in same]
    assert {"historical_migration"} >= set(batch) ^ set(our_batch)
    assert batch["api_key"] == our_batch["api_key"]


def test_our_rules_accept_their_requests(both):
    """The validator is not made to our measure: what PostHog's own client sends breaks none of its rules."""
    for path, headers, body in both[0]:
        status, _, _, broken = wire.answer(path, headers, body)

        assert (200, []) == (status, broken)
