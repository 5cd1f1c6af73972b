"""The same events sent by Mixpanel's own client and by us carry the same fields, to /track and to /import."""

from __future__ import annotations

import gzip
import json
import time
from urllib.parse import parse_qs

import pytest
from mixpanel import Consumer, Mixpanel, ServiceAccountCredentials
from otel_usage_exporters.usage_event import events_from_spans

from otel_usage.receiver import mixpanel as wire

from .named_vendors import KEY, MIXPANEL
from .servers import INSTALLATION, action, error, heartbeat, run

# Every difference there is in an event, and why.
DIFFERENCES = {
    "mp_lib": "each says who sends",
    "$lib_version": "likewise",
    "$os": "ours: theirs says nothing of the system",
    "$os_version": "likewise",
    "$app_version_string": "ours: theirs has no notion of an app",
}
CALLS = {
    "Command Run": {
        "command": "report upload",
        "outcome": "success",
        "exit_code": 0,
        "options": "--format,--quiet",
        "options_count": 2,
        "ci": False,
        "tty": True,
        "duration_ms": 250,
    },
    "Report Upload": {"duration_ms": 40, "format": "pdf", "retried": False},
    "CLI Error": {"error_code": "config.invalid", "section": "auth"},
    "Heartbeat": {"heartbeat_name": "alive", "clusters": 3, "plan": "team"},
}
TRAITS = {"app": "mycli", "app_version": "1.4.0", "os": "linux", "os_version": "6.8", "arch": "amd64"}
TRAITS |= {"runtime": "cpython", "python": "3.12.4"}
ACCOUNT = {"token": None, "service_account": "s.1", "service_secret": KEY, "project_id": "17"}


@pytest.mark.parametrize("call", ["track", "import"])
def test_the_same_fields_arrive(call, serve):
    """But for the differences listed, events are equal field by field; theirs is one request for each, as a form."""
    theirs, ours = serve((200, {}, b'{"status":1}')), serve((200, {}, b'{"status":1}'))
    spans = [make(n, end_ns=time.time_ns() + n) for n, make in enumerate((run, action, error, heartbeat), 1)]
    assert () == MIXPANEL.exporter(ours.url, **(ACCOUNT if call == "import" else {})).deliver(spans).unsent
    consumer = Consumer(
        events_url=f"{theirs.url}/track",
        import_url=f"{theirs.url}/import",
        credentials=ServiceAccountCredentials("s.1", KEY, "17") if call == "import" else None,
    )
    client = Mixpanel(KEY, consumer=consumer)
    for event, (name, properties) in zip(events_from_spans(spans)[0], CALLS.items(), strict=True):
        at_ms = event.end_ns // 10**6
        own = {**TRAITS, **properties, "time": at_ms, "$insert_id": event.event_id}
        if call == "track":
            client.track(INSTALLATION, name, own)
        else:
            client.import_data(None, INSTALLATION, name, at_ms, own)

    their_events = [json.loads(parse_qs(body.decode())["data"][0]) for _, _, body in theirs.requests]
    our_events = json.loads(gzip.decompress(ours.requests[0][2]))
    without = {"token"} if call == "import" else set()  # theirs repeats it beside the account; it is not needed there
    assert 4 == len(their_events) == len(our_events)
    for their, our in zip(their_events, our_events, strict=True):
        names = their["properties"].keys() | our["properties"].keys()
        differ = {name for name in names if their["properties"].get(name) != our["properties"].get(name)}
        assert set(DIFFERENCES) | without == differ
        assert their["event"] == our["event"]
    assert theirs.requests[0][1].get("Authorization") == ours.requests[0][1].get("Authorization")


def test_our_rules_accept_their_events(serve):
    """The validator is not made to our measure: an event of theirs, put into a list as the documentation has it, is good."""
    server = serve((200, {}, b'{"status":1}'))
    client = Mixpanel(KEY, consumer=Consumer(events_url=f"{server.url}/track"))
    client.track(INSTALLATION, "Command Run", {**TRAITS, "time": time.time_ns() // 10**6})

    form = parse_qs(server.requests[0][2].decode())
    event = json.loads(form["data"][0])

    body = json.dumps([event]).encode()
    assert (["0"], ["1"]) == (form["ip"], form["verbose"])
    assert [] == wire.answer("/track?ip=0&verbose=1", {"Content-Type": "application/json"}, body)[3]
