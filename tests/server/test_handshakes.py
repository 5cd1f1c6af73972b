"""TLS at the relay: whoever connects and does not finish a handshake costs little, and keeps nobody out."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from otel_usage.server import connections, tls
from otel_usage.server.serve import load_tls
from tests.collector.harness import DEADLINE_S, memory_mib, traces
from tests.server.clients import Healthy
from tests.server.encrypted import LOOPS, Certificate, Hands, connection_to, post_encrypted
from tests.server.serving import Process, Serving
from tests.server.vendors import Vendors
from tests.server.wire import Wire, request

TRACES = "/fake/v1/traces"
TOKEN = {"authorization": "Bearer s3cret-token"}
GET = b"GET /x HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One for all tests of this module."""
    return Certificate(tmp_path_factory.mktemp("tls"))


def serving(certificate: Certificate, **options: Any) -> Serving:
    """Return a relay that speaks TLS, in this process."""
    return Serving(tls=load_tls(certificate.cert, certificate.key), **options)


def record(kind: int, payload: bytes, version: bytes = b"\x03\x01") -> bytes:
    """Return one record of TLS."""
    return bytes([kind]) + version + len(payload).to_bytes(2, "big") + payload


def run(n: int) -> tuple[str, bytes, dict[str, str]]:
    """Return path, body and headers of a request with one run."""
    return "/segment/v1/traces", traces([n]).SerializeToString(), TOKEN


LARGE = record(22, b"\x01" + (131_000).to_bytes(3, "big") + b"\x03\x03" + bytes(16_000))
SPLIT = record(22, b"\x01") + record(22, (131_000).to_bytes(3, "big"))


@contextmanager
def started(loop: str, certificate: Certificate, folder: Path, *before: str) -> Iterator[Process]:
    """A relay in a process of its own, on the event loop *loop*. before: words of a command that starts it."""
    environ = {"OTEL_USAGE_RELAY_TOKEN": "s3cret-token"}
    if loop == "asyncio":
        (folder / "uvloop.py").write_text("raise ImportError\n")
        environ["PYTHONPATH"] = str(folder)
    with Vendors() as vendors:
        process = Process(["segment"], *certificate.options(), **vendors.environ(), **environ)
        process.command[:0] = before
        with process:
            yield process


@pytest.mark.parametrize("loop", LOOPS)
def test_half_open_handshakes_are_bounded(loop: str, certificate: Certificate, tmp_path: Path) -> None:
    """1,500 connections that say nothing, half a hello, a hello, or that announce much; who has a token is served."""
    context = certificate.client()
    hello = Hands(context).hello()
    opened = []
    with started(loop, certificate, tmp_path) as process:
        post_encrypted(process.port, context, *run(0))
        before = memory_mib(process.pid)
        with Healthy(lambda n: post_encrypted(process.port, context, *run(n))) as healthy:
            for begun in (b"", hello[:40], hello, LARGE, SPLIT):
                opened += [Wire(process.port).send(begun) for _ in range(300)]
            healthy.wait_for_more()
        descriptors = len(os.listdir(f"/proc/{process.pid}/fd"))
        grown = memory_mib(process.pid, peak=True) - before
    for wire in opened:
        wire.close()

    assert {200} == set(healthy.answers)
    assert descriptors < connections.MAX_CONNECTIONS + 100
    assert grown < 96, f"{grown:.0f} MiB"


def test_few_descriptors_do_not_stop_it_accepting(certificate: Certificate, tmp_path: Path) -> None:
    """With 256 descriptors a burst of 600 connections makes room for itself, and writes nothing into the log."""
    few = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh")
    with started("asyncio", certificate, tmp_path, *few) as process:
        opened = [Wire(process.port) for _ in range(600)]

        status = post_encrypted(process.port, certificate.client(), *run(1))

        process.end()
    for wire in opened:
        wire.close()
    assert 200 == status
    assert [] == [line for line in process.log if "ERROR" in line]


def old_hello() -> bytes:
    """Return the hello of a client that knows no TLS above 1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return Hands(context).hello()


@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
@pytest.mark.parametrize(
    ("first", "answered_with"),
    [
        (lambda: GET + b"\r\n", b""),
        (lambda: request(TRACES, b"x" * 100_000), b""),
        (lambda: b"\x80\x2e\x01\x03\x01" + bytes(44), b""),  # a hello of SSL 2
        (lambda: bytes(1 << 20), b""),
        (lambda: LARGE, b""),
        (lambda: SPLIT, b""),
        (lambda: record(22, b"\x01\x00\x00\x40" + b"\x03\x03" + bytes(62)), b"\x15"),
        (lambda: record(21, b"\x02\x28"), b""),
        (lambda: record(23, b"early"), b""),
        (old_hello, b"\x15"),
    ],
)
def test_what_is_no_handshake_is_closed(
    certificate: Certificate, first: Callable[[], bytes], answered_with: bytes
) -> None:
    """Plain HTTP, old versions, nonsense: closed at once, with TLS's alert where it is TLS. Nobody reads it as a request."""
    with serving(certificate) as relay:
        with Wire(relay.port) as wire:
            heard = wire.send(first()).rest()
        status = post_encrypted(relay.port, certificate.client(), TRACES, traces([1]).SerializeToString(), {})

    assert answered_with == heard[:1]
    assert 200 == status


@pytest.mark.parametrize("stage", ["nothing", "half a hello", "no last message", "no request"])
def test_a_handshake_and_the_first_head_have_one_deadline(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Wherever a client stops, it is closed."""
    for module in (tls, connections):
        monkeypatch.setattr(module, "HEAD_S", 0.2)
    hands = Hands(certificate.client())
    with serving(certificate) as relay, Wire(relay.port) as wire:
        if stage == "half a hello":
            wire.send(hands.hello()[:40])
        elif stage != "nothing":
            last = hands.shake(wire)
            wire.send(last if stage == "no request" else b"")
        wire.rest()

        assert not relay.server.server_state.connections


def test_a_handshake_of_many_small_messages_ends(certificate: Certificate) -> None:
    """A hello that goes on and on within what it may announce is cut off where it exceeds the bound."""
    part = record(22, bytes(5))
    with serving(certificate) as relay, Wire(relay.port) as wire:
        wire.send(record(22, b"\x01" + (tls.HANDSHAKE_BYTES).to_bytes(3, "big")) + part * 3_000)

        assert b"" == wire.rest()


def test_nobody_waits_for_a_farewell(certificate: Certificate) -> None:
    """Clients that are answered with ``connection: close``, and do not close, hold no place."""
    context = certificate.client()
    with serving(certificate, connections=4) as relay, ExitStack() as opened:
        for _ in range(12):
            wire, hands = opened.enter_context(Wire(relay.port)), Hands(context)
            wire.send(hands.shake(wire) + hands.encrypt(GET + b"connection: close\r\n\r\n"))
            assert b"".join(iter(lambda: hands.read(wire), b"")).startswith(b"HTTP/1.1 404 ")  # noqa: B023  at once
        status = post_encrypted(relay.port, context, TRACES, traces([1]).SerializeToString(), {})

    assert 200 == status


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_of_every_size_come_through(certificate: Certificate, version: ssl.TLSVersion) -> None:
    """Several on one connection, the first with the last message of the handshake; large ones, and large answers."""
    context = certificate.client()
    context.minimum_version = context.maximum_version = version
    numbers = range(1, 3_000)
    with serving(certificate) as relay:
        with Wire(relay.port) as wire:
            hands = Hands(context)
            wire.send(hands.shake(wire) + hands.encrypt(request(TRACES, traces([0]).SerializeToString())))
            first = hands.read(wire)
        connection = connection_to(relay.port, context)
        statuses = []
        for n in numbers[:3]:
            body = traces([n]).SerializeToString() if n != 2 else traces(numbers[3:]).SerializeToString()
            connection.request("POST", TRACES, body, {"content-type": "application/x-protobuf"})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.request("GET", "/metrics")
        shown = connection.getresponse().read()
        connection.close()

    assert first.startswith(b"HTTP/1.1 200 ")
    assert [200, 200, 200] == statuses
    assert b"otel_usage_relay_sent_total" in shown
    assert len(body) < 1_000 < 100_000 < len(traces(numbers[3:]).SerializeToString())
    assert {0, 1, 3, *numbers[3:]} == set(relay.fake.numbers())


def test_a_client_that_is_closed_and_does_not_read_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits until the client has read its answers: not for longer than others wait for theirs."""
    monkeypatch.setattr(connections, "WRITE_S", 0.1)
    monkeypatch.setattr(connections, "WRITE_BYTES", 64 << 20)  # so that nothing else ends it
    with Serving() as relay, Wire(relay.port) as wire:
        with contextlib.suppress(ConnectionError):  # it may have been closed by then
            for _ in range(600):
                wire.send(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 4)
            wire.send(b"GET /metrics HTTP/1.1\r\nconnection: close\r\n\r\n")
        end = time.monotonic() + DEADLINE_S
        while relay.server.server_state.connections:
            assert time.monotonic() < end
            time.sleep(0.01)
