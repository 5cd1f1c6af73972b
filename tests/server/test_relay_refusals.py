"""What the relay refuses, and how: malformed, too large, too slow, unauthorized, or too much at once."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import random
import socket
import threading
import time
from typing import Any

import pytest

from otel_usage.delivery.verdict import Verdict
from tests.collector.harness import get, memory_mib, post, traces
from tests.server.serving import JSON, METRICS, TRACES, Fake, Serving, status_of


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        (TRACES, b"\xff\xff\xff", {}, 400, 3),
        (METRICS, b"\xff\xff\xff", {}, 400, 3),
        (TRACES, b"not gzip", {"content-encoding": "gzip"}, 400, 3),
        (TRACES, gzip.compress(b"x" * 1000, mtime=0)[:-9], {"content-encoding": "gzip"}, 400, 3),
        (TRACES, b"", {"content-encoding": "gzip"}, 400, 3),
        (TRACES, gzip.compress(b"", mtime=0), {"content-encoding": "gzip"}, 400, 3),
        (TRACES, b"", {"content-encoding": "br"}, 415, 3),
        (TRACES, b"", {"content-type": "text/plain"}, 415, 3),
        (TRACES, b"x" * (1 << 20) + b"x", {}, 413, 3),
        ("/other/v1/traces", b"", {}, 404, 5),
        ("/*/v1/traces", b"", {}, 404, 5),
        ("/fake/other/v1/traces", b"", {}, 404, 5),
        ("/fake/v1/logs", b"", {}, 404, 5),
        ("/v1/logs", b"", {}, 404, 5),
    ],
)
def test_what_cant_be_taken_is_refused(
    shared: Serving, path: str, body: bytes, headers: dict[str, str], status: int, code: int
) -> None:
    """The status says whose fault it is, and the body is a google.rpc.Status."""
    told = status_of(post(shared.port, path, body, headers))

    assert (status, code) == told[:2]
    assert told[2]


@pytest.mark.parametrize("headers", [{}, {"content-encoding": "gzip"}, {"content-encoding": "br"}])
def test_a_refusal_can_be_read(shared: Serving, headers: dict[str, str]) -> None:
    """A client that sends its whole body before it reads hears why it is refused; the connection stays usable."""
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
        for _ in range(2):
            large = random.Random(1).randbytes(8 << 20)
            connection.request("POST", TRACES, large, {"content-type": "application/x-protobuf", **headers})
            answer = connection.getresponse()
            answer.read()

            assert (415 if headers.get("content-encoding") == "br" else 413) == answer.status
        connection.close()


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b'{"resourceSpans":[5]}', b"\xff"])
def test_json_that_is_not_otlp_is_refused_in_json(shared: Serving, body: bytes) -> None:
    """A JSON client hears in JSON, whatever it sent."""
    status, headers, told = post(shared.port, TRACES, body, JSON)

    assert (400, "application/json") == (status, headers["content-type"])
    assert 3 == json.loads(told)["code"]


def test_only_post_is_allowed(shared: Serving) -> None:
    """Other methods hear 405, and which one is right."""
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    connection.request("PUT", TRACES, b"")
    answer = connection.getresponse()
    answer.read()
    connection.close()

    assert (405, "POST") == (answer.status, answer.headers["allow"])


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "Basic b25l", "one", "Bearer oneone"])
def test_without_the_token_nothing_is_taken(given: str | None) -> None:
    """A wrong token, or none, is a 401 for data and metrics; health is for everybody."""
    with Serving(tokens=("one", "two")) as serving:
        body = traces([1]).SerializeToString()
        status, headers, _ = post(serving.port, TRACES, body, {} if given is None else {"authorization": given})

        assert (401, "Bearer") == (status, headers["www-authenticate"])
        assert [] == serving.fake.given
        assert 200 == post(serving.port, TRACES, body, {"authorization": "Bearer one"})[0]
        assert 200 == post(serving.port, TRACES, body, {"authorization": "bearer two "})[0]
        assert (401, 200) == (get(serving.port, "/metrics")[0], get(serving.port, "/healthz")[0])


BOMBS = {
    "one member": lambda: gzip.compress(bytes(64 << 20), 1),
    "nested": lambda: gzip.compress(gzip.compress(bytes(64 << 20), 1) * 100, 1),
    "many members": lambda: gzip.compress(bytes(1 << 20), 1) * 64,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_gzip_bomb_is_refused_in_bounded_memory(kind: str) -> None:
    """A body that is small only while compressed is refused without ever being held whole."""
    bomb = BOMBS[kind]()
    with Serving(decoded_bytes=4 << 20) as serving:
        post(serving.port, TRACES, traces([1]).SerializeToString())
        before = memory_mib(os.getpid())

        answers = {post(serving.port, TRACES, bomb, {"content-encoding": "gzip"})[0] for _ in range(3)}

        assert answers <= {413, 400}
        assert memory_mib(os.getpid()) - before < 32
        assert 0 == serving.relay.reader.budget.held_bytes


def field(number: int, content: bytes) -> bytes:
    """Return a protobuf field that holds *content*."""
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


N = 1_000_000
SMALL_THINGS = {
    "groups": (TRACES, b"\x0a\0" * N, 413),
    "scopes": (TRACES, field(1, b"\x12\0" * N), 413),
    "spans": (TRACES, field(1, field(2, b"\x12\0" * N)), 413),
    "attributes": (TRACES, field(1, field(2, field(2, b"\x4a\0" * N))), 200),
    "resource attributes": (TRACES, field(1, field(1, b"\x0a\0" * N)), 200),
    "list elements": (TRACES, field(1, field(2, field(2, field(9, field(2, field(5, b"\x0a\0" * N)))))), 200),
    "metrics' groups": (METRICS, b"\x0a\0" * N, 413),
    "metrics": (METRICS, field(1, field(2, b"\x12\0" * N)), 413),
    "sums": (METRICS, field(1, field(2, b"\x12\x02\x3a\0" * (N // 2))), 413),
    "points": (METRICS, field(1, field(2, field(2, field(7, b"\x0a\0" * N)))), 413),
    "point attributes": (METRICS, field(1, field(2, field(2, field(7, field(1, b"\x3a\0" * N))))), 200),
    "metrics' resource attributes": (METRICS, field(1, field(1, b"\x0a\0" * N)), 200),
    "exemplars": (METRICS, field(1, field(2, field(2, field(7, field(1, b"\x2a\0" * N))))), 200),
    "buckets": (METRICS, field(1, field(2, field(2, field(9, field(1, field(6, bytes(2 * N))))))), 200),
    "what is not UTF-8": (TRACES, field(1, field(2, b"\x12\0" * N) + field(3, b"\xff")), 413),
}


@pytest.mark.parametrize("kind", SMALL_THINGS)
def test_many_small_things_are_refused(kind: str) -> None:
    """Messages of two bytes on the wire are large in memory and slow to look at; their number is bounded as well."""
    path, body, expected = SMALL_THINGS[kind]
    with Serving(items=10_000) as serving:
        spent = time.process_time()
        status = post(serving.port, path, body)[0]
        spent = time.process_time() - spent

        assert expected == status
        assert [] == serving.fake.given
        assert spent < 1.5  # seconds of CPU, all of this process


def test_a_body_that_does_not_come_is_given_up() -> None:
    """A client that stalls within its body is told so when the deadline is over, and holds nothing."""
    with Serving(deadline_s=0.2) as serving, socket.create_connection(("127.0.0.1", serving.port), 10) as client:
        head = (
            f"POST {TRACES} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 100\r\n\r\n"
        )
        client.sendall(head.encode() + b"x" * 10)
        answer = client.recv(1000)

        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer
        assert (0, 0) == (serving.destination.waiting, serving.relay.reader.budget.held_bytes)


def test_a_client_that_goes_away_holds_nothing() -> None:
    """A connection that ends within a body gives everything back, and the next request is served."""
    with Serving() as serving:
        for _ in range(40):  # more than may wait
            with socket.create_connection(("127.0.0.1", serving.port), 10) as client:
                head = f"POST {TRACES} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
                client.sendall(head.encode() + b"content-length: 100\r\n\r\n" + b"x" * 10)
        status = post(serving.port, TRACES, traces([1]).SerializeToString())[0]
        while serving.destination.waiting:
            pass

        assert 200 == status or serving.destination.waiting == 0
        assert 0 == serving.relay.reader.budget.held_bytes


def test_beyond_what_may_wait_clients_are_told_to_wait() -> None:
    """Requests beyond the bound hear 429 at once; those within it are delivered, every one."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(30)
        return Verdict()

    fake = Fake(slow)
    with Serving(fake, waiting=4, workers=2) as serving:
        answers: list[tuple[int, int]] = []
        threads = [
            threading.Thread(
                target=lambda n=n: answers.append((n, post(serving.port, TRACES, traces([n]).SerializeToString())[0]))
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        while serving.destination.waiting < 4:
            pass
        status, headers, _ = post(serving.port, TRACES, traces([99]).SerializeToString())
        released.set()
        for thread in threads:
            thread.join()

    assert (429, "1") == (status, headers["retry-after"])
    assert [(n, 200) for n in range(4)] == sorted(answers)
    assert [0, 1, 2, 3] == sorted(fake.numbers())


def test_beyond_what_may_be_held_clients_are_told_to_wait() -> None:
    """When the bodies of all requests together are as large as they may be, more hear 429 until some are delivered."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(30)
        return Verdict()

    fake = Fake(slow)
    bodies = [traces(range(first, first + 20)).SerializeToString() for first in (0, 20)]
    with Serving(fake, held_bytes=len(bodies[0]) * 3 // 2) as serving:
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(post(serving.port, TRACES, bodies[0])[0]))
        thread.start()
        fake.wait(lambda: fake.given)
        refused = post(serving.port, TRACES, bodies[1])
        released.set()
        thread.join()
        again = post(serving.port, TRACES, bodies[1])[0]

    assert (429, "1", [200], 200) == (refused[0], refused[1]["retry-after"], answers, again)


def test_one_destination_does_not_delay_another() -> None:
    """A destination that hangs takes neither threads nor places from another."""
    from otel_usage.server.workers import DestinationWorkers

    released = threading.Event()

    def stuck(given: list[Any]) -> Verdict:
        assert released.wait(30)
        return Verdict()

    with Serving(Fake(stuck), waiting=2, workers=1) as serving:
        other = Fake()
        serving.relay.destinations["other"] = DestinationWorkers("other", {"traces": other}, window=10, workers=1)
        threads = [
            threading.Thread(target=post, args=(serving.port, TRACES, traces([n]).SerializeToString())) for n in (1, 2)
        ]
        for thread in threads:
            thread.start()
        while serving.destination.waiting < 2:
            pass
        status = post(serving.port, "/other/v1/traces", traces([3]).SerializeToString())[0]
        released.set()
        for thread in threads:
            thread.join()

    assert (200, [3]) == (status, other.numbers())
