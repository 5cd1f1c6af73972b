"""gateway.yaml in a real Collector: what services send."""

from __future__ import annotations

import pytest

from tests.collector.gateway import Running, sent_and_arrived
from tests.collector.harness import plain, post, resource, traces

HEARTBEAT = {"usage.kind": "heartbeat", "usage.heartbeat": "alive"}
WHOLE = [
    ({"usage.kind": "start"}, "start"),
    ({"usage.kind": "start", "usage.start": "first"}, "start"),
    ({"usage.kind": "start", "usage.start": "upgrade", "usage.previous_version": "1.3.0+local"}, "start"),
    ({"usage.kind": "stop"}, "stop"),
    ({"usage.kind": "crash", "error.type": "app.errors.Broken", "usage.frames": "0f1e2d3c4b5a6978"}, "crash"),
    ({"usage.kind": "crash", "usage.signal": "SIGRTMIN+3"}, "crash"),
    ({**HEARTBEAT, "usage.field.plugins": ["git-lab", "slack v2"]}, "alive"),
    ({**HEARTBEAT, "usage.field.plugins": [], "usage.field.nodes": "1-10 nodes"}, "alive"),
    ({"usage.kind": "action", "usage.action": "a", "usage.field.of": ["x" * 64] * 100}, "a"),
]


@pytest.mark.parametrize(("attributes", "name"), WHOLE, ids=[str(n) for n in range(len(WHOLE))])
def test_what_a_service_tells_arrives_whole(running: Running, attributes: dict[str, object], name: str) -> None:
    """Starts, stops, crashes and sets of words arrive as they were recorded."""
    about = {**resource(), "app.installation.ephemeral": True}
    number = 6_000 + len(running[1].spans)

    arrived_about, span = sent_and_arrived(running, traces([number], of=about, attributes=attributes, name=name))

    assert (about, attributes, name) == (arrived_about, plain(span.attributes), span.name)


BAD = [
    ({"usage.kind": "start", "usage.start": "again"}, "start"),
    ({"usage.kind": "start", "usage.start": ["first"]}, "start"),
    ({"usage.kind": "start", "usage.previous_version": "/home/ada"}, "start"),
    ({"usage.kind": "start", "usage.signal": "SIGKILL"}, "start"),
    ({"usage.kind": "stop", "usage.field.of": "ada"}, "stop"),
    ({"usage.kind": "stop", "usage.action": "ada"}, "stop"),
    ({"usage.kind": "stop"}, "halt"),
    ({"usage.kind": "crash", "usage.signal": "ada"}, "crash"),
    ({"usage.kind": "crash", "usage.frames": "main.py:3"}, "crash"),
    ({"usage.kind": "crash", "error.type": "no such file: /home/ada"}, "crash"),
    ({**HEARTBEAT, "usage.field.plugins": ["x" * 65]}, "alive"),
    ({**HEARTBEAT, "usage.field.plugins": ["~/.netrc"]}, "alive"),
    ({**HEARTBEAT, "usage.field.plugins": [["git"]]}, "alive"),
    ({**HEARTBEAT, "usage.field.plugins": [1]}, "alive"),
    ({**HEARTBEAT, "usage.field.plugins": ['a"b']}, "alive"),
    ({**HEARTBEAT, "usage.field.plugins": ["word"] * 3_000}, "alive"),
]


def test_what_no_service_tells_does_not_arrive(running: Running) -> None:
    """Other words, longer ones, lists in lists, and attributes of another kind are dropped with their span."""
    gateway, backend = running

    for number, (attributes, name) in enumerate(BAD):
        request = traces([7_000 + number], attributes=attributes, name=name)
        assert 200 == post(gateway.http, "/v1/traces", request.SerializeToString())[0]
    for about in ({"app.installation.ephemeral": "ada"}, {"app.installation.ephemeral": [True]}):
        request = traces([7_900], of={**resource(), **about})
        assert 200 == post(gateway.http, "/v1/traces", request.SerializeToString())[0]
    sent_and_arrived(running, traces([7_999]))

    assert [7_999] == [number for number in backend.numbers if number // 1_000 == 7]


def test_what_is_of_another_kind_is_removed(running: Running) -> None:
    """A heartbeat has nothing of a start or a crash."""
    more = {"usage.start": "first", "usage.signal": "ada", "usage.field.x": 1}

    _, span = sent_and_arrived(running, traces([8_000], attributes={**HEARTBEAT, **more}, name="alive"))

    assert {**HEARTBEAT, "usage.field.x": 1} == plain(span.attributes)
