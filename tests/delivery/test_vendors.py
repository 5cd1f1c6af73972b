"""One run, three destinations: each gets it in its own way, and none waits for another."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator

import pytest

from otel_usage.delivery.queue import Queue
from otel_usage.receiver.arrival import Arrival
from otel_usage.receiver.server import Listener

from ..spools import Sink, Spool


class Vendors:
    """GA4 and Segment, played on loopback."""

    def __init__(self) -> None:
        self.arrived: list[Arrival] = []
        self.server = Listener(0, self.arrived.append)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def events(self, kind: str) -> list[str]:
        """Return the names of the events that arrived at ``ga4`` or ``segment``."""
        bodies = [arrival.body for arrival in self.arrived if arrival.kind == kind]
        if kind == "ga4":
            return [event["name"] for body in bodies for event in body["events"]]
        return [message.get("event", message["type"]) for body in bodies for message in body["batch"]]


@pytest.fixture
def vendors() -> Iterator[Vendors]:
    """Receivers that check every request against the vendors' documented rules."""
    made = Vendors()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()
    assert [] == [problem for arrival in made.arrived for problem in arrival.problems]


@pytest.fixture
def all_three(spool: Spool, sink: Sink, vendors: Vendors) -> Spool:
    """A spool whose runs go to OTLP, GA4 and Segment."""
    address = vendors.server.address
    spool.settings["destinations"] = {
        "otlp": sink.address,
        "ga4": {"measurement_id": "G-ABC1234567", "api_secret": "s3cret-of-ga4", "endpoint": address},
        "segment": {"write_key": "key-of-segment", "endpoint": address},
    }
    return spool


def test_one_run_reaches_all_three(all_three: Spool, sink: Sink, vendors: Vendors) -> None:
    """A span at OTLP, an event at GA4, a message at Segment whose id is the event's; no key in any file of ours."""
    own = all_three.run()

    all_three.drain()

    assert [own] == sink.ids()
    assert ["command_run"] == vendors.events("ga4")
    assert ["Command Run", "identify"] == sorted(vendors.events("segment"))
    assert [] == all_three.files()
    kept = b"".join(path.read_bytes() for path in all_three.home.rglob("*") if path.is_file())
    assert b"s3cret-of-ga4" not in kept
    assert b"key-of-segment" not in kept


def test_a_failing_destination_holds_up_nobody(all_three: Spool, sink: Sink, vendors: Vendors) -> None:
    """OTLP is down: the vendors have theirs, and only OTLP's segments wait."""
    sink.answer = lambda _n: (503, {}, b"")
    all_three.run()

    all_three.drain()

    assert ["command_run"] == vendors.events("ga4")
    assert "Command Run" in vendors.events("segment")
    assert {"queue/otlp/wait"} == {os.path.dirname(name) for name in all_three.files()}


def test_a_sender_killed_while_sending(all_three: Spool, sink: Sink, vendors: Vendors) -> None:
    """What was in flight is sent again where ids tell a repetition, and dropped and counted at GA4."""
    sink.answer = lambda _n: (503, {}, b"")
    own = all_three.run()
    all_three.drain()
    (name,) = [name for name in all_three.files() if name.endswith("traces.jsonl")]
    text = (all_three.folder / name).read_bytes()
    before = {kind: len(vendors.events(kind)) for kind in ("ga4", "segment")}
    for destination in ("otlp", "ga4", "segment"):
        flight = all_three.folder / "queue" / destination / "flight" / os.path.basename(name)
        flight.write_bytes(text)
    (all_three.folder / name).unlink()
    sink.answer = lambda _n: (200, {}, b"")
    Queue(str(all_three.folder), "otlp").resume()

    all_three.drain()

    assert own in sink.ids()
    assert before["ga4"] == len(vendors.events("ga4"))
    assert before["segment"] < len(vendors.events("segment"))
    ids = {
        message["messageId"]
        for arrival in vendors.arrived
        if arrival.kind == "segment"
        for message in arrival.body["batch"]
        if message["type"] == "track"
    }
    assert 1 == len(ids)
    assert {"unknown_delivery": 1} == json.loads((all_three.folder / "dropped").read_text())
