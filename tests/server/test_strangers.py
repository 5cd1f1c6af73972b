"""Clients without a token, or without manners: bounded memory, nothing to learn, and everybody else is served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from otel_usage.delivery.verdict import Verdict
from otel_usage.server import connections
from tests.collector.harness import DEADLINE_S, get, memory_mib, post, traces
from tests.server.clients import Healthy
from tests.server.serving import Fake, Process, Serving
from tests.server.vendors import Vendors
from tests.server.wire import Wire, request

TRACES = "/fake/v1/traces"
TOKEN = {"authorization": "Bearer s3cret-token"}


def poster(process: Process) -> Callable[[int], int]:
    """Return what posts a run with a token, for `Healthy`."""
    return lambda n: post(process.port, "/segment/v1/traces", traces([n]).SerializeToString(), TOKEN)[0]


@contextmanager
def relay() -> Iterator[Process]:
    """The relay in a process of its own, whose memory is its own, too."""
    with Vendors() as vendors:
        environ = {**vendors.environ(), "OTEL_USAGE_RELAY_TOKEN": "s3cret-token"}
        with Process(["segment"], **environ) as process:
            yield process


def many_headers(n: int) -> bytes:
    """Return a head of *n* headers of four bytes."""
    return b"GET /x HTTP/1.1\r\n" + b"a:\r\n" * n + b"\r\n"


ATTACKS: dict[str, Callable[[], bytes]] = {
    "no such path": lambda: b"GET /x HTTP/1.1\r\n\r\n" * 13_000,
    "no token": lambda: request("/segment/v1/traces", b"") * 2_000,
    "a token that is none": lambda: request("/segment/v1/traces", b"x", "authorization: Bearer " + "x" * 900) * 250,
    "health": lambda: b"GET /healthz HTTP/1.1\r\n\r\n" * 13_000,
    "large heads": lambda: (b"GET /x HTTP/1.1\r\na: " + b"b" * 16_000 + b"\r\n\r\n") * 16,
    "one large head": lambda: b"GET /x HTTP/1.1\r\n" + b"a: " + b"b" * 250_000 + b"\r\n\r\n",
    "many headers": lambda: many_headers(60_000),
    "many headers, pipelined": lambda: many_headers(90) * 500,
    "offers": lambda: b"GET /x HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" * 4_000,
    "bodies": lambda: request("/segment/v1/traces", bytes(60_000)) * 4,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_pipelining_without_a_token_is_bounded(attack: str) -> None:
    """80 connections of 256 kB each, and who has a token is served through all of it, in bounded memory."""
    content = ATTACKS[attack]()
    with relay() as process:
        post(process.port, "/segment/v1/traces", traces([0]).SerializeToString(), TOKEN)
        before = memory_mib(process.pid)
        with Healthy(poster(process)) as healthy:
            wires = [Wire(process.port) for _ in range(80)]
            threads = [threading.Thread(target=wire.send, args=(content,)) for wire in wires]
            for thread in threads:
                thread.start()
            for wire in wires:
                wire.socket.settimeout(0.001)  # nobody reads the answers
            for thread in threads:
                thread.join(DEADLINE_S)
            healthy.wait_for_more()
        grown = memory_mib(process.pid, peak=True) - before
        for wire in wires:
            wire.socket.close()

    assert {200} == set(healthy.answers)
    assert grown < 48, f"{grown:.0f} MiB"
    assert healthy.longest_s < 10  # a third of what a request may take


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (TRACES, "POST"),
        (TRACES, "GET"),
        ("/other/v1/traces", "POST"),
        ("/v1/traces", "POST"),
        ("/metrics", "GET"),
        ("/x", "PUT"),
        ("/", "GET"),
    ],
)
def test_without_a_token_nothing_says_what_there_is(path: str, method: str) -> None:
    """Whatever a stranger asks for, there or not: the same 401, which names nothing."""
    with Serving(tokens=("one",)) as serving, Wire(serving.port) as wire:
        wire.send(f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        status, _, body = wire.answer()
        shown = serving.relay.metrics.format()

    assert 401 == status
    assert b"fake" not in body
    assert 'requests_total{destination="",signal="",code="401"} 1' in shown


def test_health_is_for_everybody() -> None:
    """It says nothing but that requests are taken."""
    with Serving(tokens=("one",)) as serving:
        assert (200, "ok\n") == get(serving.port, "/healthz")


def test_pipelined_requests_are_answered_in_order_up_to_a_limit() -> None:
    """The last that is answered says that the connection ends; what follows is to be sent again elsewhere."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(DEADLINE_S)
        return Verdict()

    with Serving(Fake(slow)) as serving, Wire(serving.port) as wire:
        wire.send(b"".join(request(TRACES, traces([n]).SerializeToString()) for n in range(20)))
        serving.fake.wait(lambda: serving.fake.given)
        released.set()
        answers = [wire.answer() for _ in range(connections.MAX_PIPELINED + 1)]
        rest = wire.rest()

    assert [200] * (connections.MAX_PIPELINED + 1) == [status for status, _, _ in answers]
    assert [None] * connections.MAX_PIPELINED + ["close"] == [headers.get("connection") for _, headers, _ in answers]
    assert b"" == rest
    assert list(range(connections.MAX_PIPELINED + 1)) == serving.fake.numbers()


def test_who_was_let_in_stays_when_strangers_come() -> None:
    """A connection that is kept for its next request outlives any number of others that have shown no token."""
    with Serving(tokens=("one",), connections=8) as serving, Wire(serving.port) as kept:
        run = request(TRACES, traces([1]).SerializeToString(), "authorization: Bearer one")
        first = kept.send(run).answer()[0]
        strangers = [Wire(serving.port).send(b"GET /x HTTP/1.1\r\n\r\n" if n % 2 else b"") for n in range(40)]
        last = strangers[-1].answer()[0]
        second = kept.send(run).answer()[0]
        for wire in strangers:
            wire.socket.close()

    assert (200, 401, 200) == (first, last, second)


def test_a_client_that_does_not_read_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that asks on and on, and reads no answer, is cut off in time, or when others need its place."""
    monkeypatch.setattr(connections, "WRITE_S", 0.3)
    with Serving() as serving:
        wires = []
        for _ in range(3):
            wire = Wire(serving.port)
            wire.socket.settimeout(DEADLINE_S)
            wires.append(wire)

            def ask(wire: Wire = wire) -> None:
                for _ in range(100_000):
                    try:
                        wire.socket.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
                    except OSError:
                        return

            threading.Thread(target=ask, daemon=True).start()
        end = time.monotonic() + DEADLINE_S
        while serving.server.server_state.connections:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert 200 == get(serving.port, "/healthz")[0]
        for wire in wires:
            wire.socket.close()
