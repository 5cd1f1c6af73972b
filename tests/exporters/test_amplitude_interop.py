"""The same events sent by Amplitude's own client and by us carry the same fields."""

from __future__ import annotations

import gzip
import json
import time

import pytest
from amplitude import Amplitude, BaseEvent, Config
from otel_usage_exporters.usage_event import events_from_spans

from otel_usage.receiver import amplitude as wire

from .named_vendors import AMPLITUDE, KEY
from .servers import INSTALLATION, action, error, heartbeat, run, wait_until
from .test_mixpanel_interop import CALLS, TRAITS

DIFFERENCES = {"library": "each says who sends"}  # in an event, every one there is
# Around the events: theirs takes ids of fewer than five characters only if it is told to.
AROUND = {"options"}


@pytest.fixture
def both(serve):
    """Send the same four events with both; return the request that arrived of each."""
    says = b'{"code":200,"events_ingested":4}'
    theirs, ours = serve((200, {}, says)), serve((200, {}, says))
    spans = [make(n, end_ns=time.time_ns() + n) for n, make in enumerate((run, action, error, heartbeat), 1)]
    assert () == AMPLITUDE.exporter(ours.url).deliver(spans).unsent
    client = Amplitude(
        KEY, Config(server_url=f"{theirs.url}/2/httpapi", flush_queue_size=100, flush_interval_millis=200)
    )
    for event, (name, properties) in zip(events_from_spans(spans)[0], CALLS.items(), strict=True):
        client.track(
            BaseEvent(
                name,
                device_id=INSTALLATION,
                time=event.end_ns // 10**6,
                insert_id=event.event_id,
                event_properties={**TRAITS, **properties},
                app_version="1.4.0",
                os_name="Linux",
                os_version="6.8",
            )
        )
    wait_until(lambda: 4 == sum(len(json.loads(body)["events"]) for _, _, body in theirs.requests))  # its thread sends
    client.shutdown()
    events = [event for _, _, body in theirs.requests for event in json.loads(body)["events"]]
    path, headers, body = theirs.requests[0]  # its thread may have sent them in several
    return (path, headers, json.dumps({**json.loads(body), "events": events}).encode()), ours.requests[0]


def test_the_same_fields_arrive(both):
    """But for the differences listed, events are equal field by field, and so is what is around them; ours is compressed."""
    (path, headers, body), (our_path, our_headers, our_body) = both
    their_body, our_body = json.loads(body), json.loads(gzip.decompress(our_body))

    assert path == our_path
    assert "application/json" == headers["Content-Type"].partition(";")[0] == our_headers["Content-Type"]
    assert their_body.keys() ^ our_body.keys() == AROUND
    assert 4 == len(their_body["events"]) == len(our_body["events"])
    for their, our in zip(their_body["events"], our_body["events"], strict=True):
        assert set(DIFFERENCES) == {name for name in their.keys() | our.keys() if their.get(name) != our.get(name)}


def test_our_rules_accept_their_request(both):
    """The validator is not made to our measure: what Amplitude's own client sends breaks none of its rules."""
    path, headers, body = both[0]

    assert (200, []) == wire.answer(path, headers, body)[::3]
