"""The same events sent by Segment's own client and by us carry the same fields."""

from __future__ import annotations

import gzip
import json
import time
from datetime import datetime, timezone

import pytest
from otel_usage_exporters.segment import SegmentSpanExporter
from otel_usage_exporters.usage_event import events_from_spans
from segment.analytics.client import Client

from otel_usage.receiver import segment as wire

from .servers import INSTALLATION, action, error, heartbeat, run

KEY = "wk-1"
OK = (200, {"Content-Type": "application/json"}, b'{"success":true}')

# Every difference there is, and why.
DIFFERENCES = {
    "integrations": "theirs is always {}: it says nothing",
    "context.library": "each says who sends",
    "context.ip": "ours is 0.0.0.0, so that no server fills in the user's",
    "context.traits": "for RudderStack's destinations, of which some read them there alone",
    "channel": "RudderStack's documentation requires it",
    "request_ip": "RudderStack's newer servers fill in the user's where it is missing",
}


@pytest.fixture
def both(serve):
    """Send the same four events with both; return what arrived, (path, headers, body) each."""
    theirs, ours = serve(OK), serve(OK)
    now = time.time_ns()
    spans = [make(n, end_ns=now + n) for n, make in enumerate((run, action, error, heartbeat), 1)]
    exporter = SegmentSpanExporter(write_key=KEY, endpoint=ours.url, folder="")
    assert () == exporter.deliver(spans).unsent
    client = Client(KEY, host=theirs.url, gzip=True, sync_mode=True)
    events, _ = events_from_spans(spans)
    context = {"app": {"name": "mycli", "version": "1.4.0"}, "os": {"name": "Linux", "version": "6.8"}}
    ran = {"command": "report upload", "outcome": "success", "exit_code": 0}
    ran |= {"options": "--format,--quiet", "options_count": 2}
    told = {
        "run": ("Command Run", {**ran, "ci": False, "tty": True, "duration_ms": 250}),
        "action": ("Report Upload", {"duration_ms": 40, "format": "pdf", "retried": False}),
        "error": ("CLI Error", {"error_code": "config.invalid", "section": "auth"}),
        "heartbeat": ("Heartbeat", {"heartbeat_name": "alive", "clusters": 3, "plan": "team"}),
    }
    traits = {"app": "mycli", "app_version": "1.4.0", "os": "linux", "os_version": "6.8", "arch": "amd64"}
    traits |= {"runtime": "cpython", "python": "3.12.4"}
    moments = [datetime.fromtimestamp(event.end_ns // 10**6 / 1e3, timezone.utc) for event in events]
    client.identify(anonymous_id=INSTALLATION, traits=traits, context=dict(context), timestamp=moments[0])
    for event, moment in zip(events, moments, strict=True):
        name, properties = told[event.kind]
        client.track(
            anonymous_id=INSTALLATION,
            event=name,
            properties={**traits, **properties},
            context=dict(context),
            timestamp=moment,
            message_id=event.event_id,
        )
    return theirs.requests, ours.requests


def flat(message):
    """Return a message as ``{path: value}``, context one level deep, times as moments."""
    found = {}
    for name, value in message.items():
        if name == "context":
            found |= {f"context.{key}": inner for key, inner in value.items()}
        elif name == "timestamp":
            found[name] = datetime.fromisoformat(value.replace("Z", "+00:00"))
        elif value is not None:
            found[name] = value
    return found


def messages(requests):
    return [flat(message) for _, _, body in requests for message in json.loads(gzip.decompress(body))["batch"]]


def test_the_same_fields_arrive(both):
    """But for the differences listed, and the random id of their identify, messages are equal field by field."""
    theirs, ours = map(messages, both)

    assert len(theirs) == len(ours) == 5
    for their, our in zip(theirs, ours, strict=True):
        differ = {name for name in their.keys() | our.keys() if their.get(name) != our.get(name)}
        if our["type"] == "identify":
            differ.discard("messageId")
        assert differ == set(DIFFERENCES)
        assert {} == their["integrations"]


def test_the_request_around_them_is_the_same(both):
    """Path, authentication, content type, compression, and the fields around the messages."""
    (path, headers, body), (our_path, our_headers, our_body) = both[0][0], both[1][0]

    same = ("Authorization", "Content-Type", "Content-Encoding")
    assert path == our_path
    assert [headers[name] for name in same] == [our_headers[name] for name in same]
    assert set(json.loads(gzip.decompress(body))) == set(json.loads(gzip.decompress(our_body)))


def test_our_rules_accept_their_requests(both):
    """The validator is not made to our measure: what Segment's own client sends has one problem, its missing ip."""
    for path, headers, body in both[0]:
        status, _, _, problems = wire.answer(path, headers, body)

        assert status == 200
        assert [] == [problem for problem in problems if ".context.ip" not in problem]
