"""A TLS handshake that fails is counted by reason, and in the log once a minute: a wrong certificate shows nowhere else."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from otel_usage.server import connections, operator_log, tls
from otel_usage.server.operator_log import HandshakeFailure
from otel_usage.server.serve import load_tls
from tests.collector.harness import DEADLINE_S, traces
from tests.server.encrypted import Certificate, Hands, post_encrypted
from tests.server.serving import Serving
from tests.server.wire import Wire

TRACES = "/fake/v1/traces"
HTTP = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One for all tests of this module."""
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def relay(certificate: Certificate) -> Iterator[Serving]:
    """A relay that speaks TLS."""
    with Serving(tls=load_tls(certificate.cert, certificate.key)) as serving:
        yield serving


def count(relay: Serving, failure: HandshakeFailure) -> float:
    """Return how many handshakes failed so."""
    return relay.relay.metrics.value("handshake_failures_total", reason=failure.value)


def wait_for(relay: Serving, failure: HandshakeFailure, n: int = 1) -> None:
    """Return when *n* handshakes failed so: the client may hear of it a moment before it is counted."""
    end = time.monotonic() + DEADLINE_S
    while count(relay, failure) < n:
        assert time.monotonic() < end, relay.relay.metrics.format()
        time.sleep(0.001)


def stranger(relay: Serving) -> None:
    """A client that does not trust the certificate, and says so."""
    with suppress(ssl.SSLError):
        post_encrypted(relay.port, ssl.create_default_context(), TRACES, b"", {})


def says(first: bytes) -> Callable[[Serving], None]:
    """Return a client that says *first*, and waits to be closed."""

    def client(relay: Serving) -> None:
        with Wire(relay.port) as wire:
            wire.send(first).rest()

    return client


def leaves(relay: Serving) -> None:
    """A client that closes in the middle of its hello."""
    with Wire(relay.port) as wire:
        wire.send(Hands(ssl.create_default_context()).hello()[:40])


@pytest.mark.parametrize(
    ("client", "failure"),
    [
        (says(HTTP), HandshakeFailure.NOT_TLS),
        (stranger, HandshakeFailure.REFUSED),
        (says(b"\x16\x03\x01\x00\x44\x01\x00\x00\x40\x03\x03" + bytes(62)), HandshakeFailure.REFUSED),
        (says(b"\x16\x03\x01\x00\x05\x01\x00\x40\x00\x00" + (b"\x16\x03\x01\x00\x05" + bytes(5)) * 3_000), HandshakeFailure.TOO_LONG),
        (leaves, HandshakeFailure.LEFT),
    ],
)  # fmt: skip
def test_each_failure_is_counted_once_by_reason(
    relay: Serving, caplog: pytest.LogCaptureFixture, client: Callable[[Serving], None], failure: HandshakeFailure
) -> None:
    """Plain HTTP, a client that trusts somebody else, nonsense, too much, half a hello; the log says it once for all."""
    for n in range(3):
        client(relay)
        wait_for(relay, failure, n + 1)

    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["a TLS handshake failed: " + operator_log.HANDSHAKE_FAILURES[failure]] == warnings
    assert f'handshake_failures_total{{reason="{failure.value}"}} 3' in relay.relay.metrics.format()
    assert [0.0] * 4 == [count(relay, one) for one in HandshakeFailure if one is not failure]


def test_a_slow_handshake_is_counted(relay: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a hello, and no more: it is closed, and counted as that."""
    for module in (tls, connections):
        monkeypatch.setattr(module, "HEAD_S", 0.05)

    end = time.monotonic() + DEADLINE_S
    while not count(relay, HandshakeFailure.TOO_LONG):  # on a busy machine one may be closed before it was heard
        assert time.monotonic() < end, relay.relay.metrics.format()
        says(Hands(ssl.create_default_context()).hello()[:40])(relay)


def test_one_that_makes_way_is_counted(certificate: Certificate) -> None:
    """Half a hello on every place that there is: the oldest goes when another comes, and is counted if it had said something."""
    wires = []
    end = time.monotonic() + DEADLINE_S
    with Serving(tls=load_tls(certificate.cert, certificate.key), connections=2) as relay:
        while not count(relay, HandshakeFailure.NO_ROOM):
            assert time.monotonic() < end, relay.relay.metrics.format()
            wires.append(Wire(relay.port).send(b"\x16"))
        for wire in wires:
            wire.close()


def test_what_is_no_failure_is_not_counted(relay: Serving, certificate: Certificate) -> None:
    """A look whether the port is open, a request, and a server that stops while a handshake is under way."""
    for _ in range(3):
        with Wire(relay.port):
            pass
    assert 200 == post_encrypted(relay.port, certificate.client(), TRACES, traces([1]).SerializeToString(), {})
    with Wire(relay.port) as wire:
        wire.send(b"\x16")
        relay.server.should_exit = True
        wire.rest()

    assert [0.0] * 5 == [count(relay, one) for one in HandshakeFailure]
