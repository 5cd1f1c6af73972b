"""Clients that send too much, too slowly or not at all keep nobody else out."""

from __future__ import annotations

import gzip
import threading
import time
from typing import Any

import pytest
from google.rpc.status_pb2 import Status

from otel_usage.delivery.verdict import Verdict
from otel_usage.server import body_reader, connections
from tests.collector.harness import DEADLINE_S, get, post, traces
from tests.hosts import until
from tests.server.serving import HEAD, TRACES, Fake, Serving, clients, heard, send

# -- heads and connections --------------------------------------------------------------------------------------


def test_a_head_is_bounded() -> None:
    """A request whose headers do not end is refused after 16 KiB, before anything is asked of it."""
    with Serving(tokens=("one",)) as serving, clients(serving, 1, HEAD) as [client]:
        sent = 0
        try:
            while sent < 1 << 20:
                client.sendall(b"x-a: " + b"a" * 2_000 + b"\r\n")
                sent += 2_000
                time.sleep(0.001)
        except ConnectionError:
            pass

    assert sent < 200_000


@pytest.mark.parametrize("begun", [b"", b"POST /fake", HEAD])
def test_a_head_has_to_come_in_time(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which no whole head comes is closed; one that is kept alive between requests is not."""
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    monkeypatch.setattr(connections.Connection, "head_s", 0.2)
    body = traces([1]).SerializeToString()
    whole = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    with Serving() as serving, clients(serving, 1, begun) as [client], clients(serving, 1, whole) as [kept]:
        assert kept.recv(1_000).startswith(b"HTTP/1.1 200 ")
        assert b"" == heard(client)
        time.sleep(0.3)
        kept.sendall(whole[:50])
        kept.sendall(whole[50:])
        assert kept.recv(1_000).startswith(b"HTTP/1.1 200 ")
        kept.sendall(whole[:50])
        assert b"" == heard(kept)


def test_connections_that_do_nothing_make_room() -> None:
    """With as many connections as there may be, a new one takes the place of the one that is idle for longest."""
    with Serving(connections=8) as serving, clients(serving, 8, b"POST /fake") as idle:
        until(lambda: len(serving.server.server_state.connections) == 8)
        answers = [send(serving, n)[0] for n in range(3)]

        assert [200] * 3 == answers
        assert b"" == heard(idle[0])


def test_connections_that_are_all_in_use_are_told() -> None:
    """Where none is idle, the newest hears at once to come again."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(DEADLINE_S)
        return Verdict()

    with Serving(Fake(slow), connections=2) as serving:
        threads = [threading.Thread(target=send, args=(serving, n)) for n in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: serving.destination.waiting == 2)
        with clients(serving, 1, b"") as [client]:
            said = heard(client)
        released.set()
        for thread in threads:
            thread.join()

        assert said.startswith(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n")
        assert 200 == send(serving, 9)[0]


# -- bodies -----------------------------------------------------------------------------------------------------


def test_slow_bodies_take_no_place() -> None:
    """Clients that stop within their body keep nobody waiting: a place is taken when a body has come."""
    stalled = HEAD + b"content-length: 100\r\n\r\nx"
    with Serving(waiting=2) as serving, clients(serving, 4, stalled):
        until(lambda: len(serving.relay.reader.reading) == 4)

        assert 200 == send(serving, 1)[0]
        assert "otel_usage_relay_reading_requests 4" in get(serving.port, "/metrics")[1]


def test_of_too_many_slow_bodies_the_oldest_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hears to come again, and holds nothing any more."""
    monkeypatch.setattr(body_reader, "MAX_READING", 3)
    stalled = HEAD + b"content-length: 100\r\n\r\nx"
    with Serving() as serving, clients(serving, 3, stalled) as slow:
        until(lambda: len(serving.relay.reader.reading) == 3)
        first = send(serving, 1)[0]
        said = heard(slow[0])

        assert 200 == first
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\nconnection: close\r\n" in said
        assert 2 == serving.relay.reader.budget.held_bytes


def test_slow_bodies_that_hold_all_there_is_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies that have nearly come, and do not end, are interrupted when others need the room."""
    monkeypatch.setattr(body_reader, "SLOW_S", 0.0)
    begun = HEAD + b"content-length: 50001\r\n\r\n" + bytes(50_000)
    with Serving(held_bytes=51_000) as serving, clients(serving, 1, begun) as [slow]:
        until(lambda: serving.relay.reader.budget.held_bytes >= 50_000)
        body = traces(range(10)).SerializeToString()
        first = post(serving.port, TRACES, body)
        said = heard(slow)

        assert (429, "1") == (first[0], first[1]["retry-after"])
        assert said.startswith(b"HTTP/1.1 503 ")
        assert 200 == post(serving.port, TRACES, body)[0]


def test_the_rest_of_a_refused_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that goes on sending after it was told that its body is too large is cut off."""
    monkeypatch.setattr(connections, "REST_BYTES", 1 << 20)
    with (
        Serving(body_bytes=1_000) as serving,
        clients(serving, 1, HEAD + b"transfer-encoding: chunked\r\n\r\n") as [one],
    ):
        sent = 0
        try:
            while sent < 64 << 20:
                one.sendall(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
                sent += 1 << 16
        except ConnectionError:
            pass

    assert sent < 64 << 20


def test_the_deadline_covers_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that waits for others to be decoded hears in time that it is to come again."""
    released = threading.Event()
    with Serving(deadline_s=0.3) as serving:
        real = serving.relay.decoder.decode

        def slow(signal: str, body: bytes, *, as_json: bool) -> Any:
            assert released.wait(DEADLINE_S)
            return real(signal, body, as_json=as_json)

        monkeypatch.setattr(serving.relay.decoder, "decode", slow)
        threads = [threading.Thread(target=send, args=(serving, *range(n, n + 200))) for n in (0, 200)]
        for thread in threads:
            thread.start()
        status, headers, _ = send(serving, *range(400, 600))
        released.set()
        for thread in threads:
            thread.join()

        assert (503, "1") == (status, headers["retry-after"])
        until(lambda: send(serving, *range(400, 600))[0] == 200)
        assert (0, 0) == (serving.destination.waiting, serving.relay.reader.budget.held_bytes)


def test_a_body_that_is_too_large_is_told_what_it_exceeds() -> None:
    """The client's operator reads which limit it was, and where to raise it."""
    with Serving(body_bytes=1_000, decoded_bytes=5_000, items=5) as serving:
        told = []
        for body in (bytes(1_001), gzip.compress(bytes(5_001)), gzip.compress(traces(range(6)).SerializeToString())):
            headers = {"content-encoding": "gzip"} if body[:1] == b"\x1f" else {}
            status, _, said = post(serving.port, TRACES, body, headers)
            assert 413 == status
            told.append(Status.FromString(said).message)

    assert [
        "a body of more than 1000 bytes: send less, or raise --body-mib",
        "a body of more than 5000 bytes once decompressed: send less, or raise --decoded-mib",
        "6 spans in one request, more than 5: send fewer, or raise --items",
    ] == told
