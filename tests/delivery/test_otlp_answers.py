"""What an OTLP destination answers, and what becomes of the records and of the destination's pause."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_usage.delivery.ledger import Ledger
from otel_usage.delivery.queue import Queue

from ..spools import Spool
from .backends import OTLP_TYPE, Answer, Backend, backends, takes
from .test_partial_delivery import revive

HTML = {"Content-Type": "text/html"}
TEXT = {"Content-Type": "text/plain"}
JSON_TYPE = {"Content-Type": "application/json"}


@pytest.fixture
def spool(tmp_path: Path, plain_environ: None, otlp: Backend) -> Spool:
    """A spool whose runs go there."""
    return Spool(tmp_path / "state", {"otlp": otlp.url})


def entries(spool: Spool, signal: str = "traces") -> list[tuple[str, Any, Any]]:
    """Return (result, status, reason) of the ledger's entries about *signal*."""
    rows = [entry for entry in Ledger(str(spool.home)).entries() if entry["signal"] == signal]
    return [(row["result"], row["status"], row.get("reason")) for row in rows]


WAITS: list[tuple[int, dict[str, str], bytes]] = [
    (401, OTLP_TYPE, b""), (403, JSON_TYPE, b'{"code": 7, "message": "no"}'), (404, TEXT, b"not here"), (405, {}, b""),
    (407, HTML, b"<html>"), (302, {"Location": "https://portal.example"}, b""), (308, {"Location": "/"}, b""),
    (400, TEXT, b"Client sent an HTTP request to an HTTPS server.\n"), (400, HTML, b"<html>"), (400, {}, b""),
    (400, JSON_TYPE, b'{"message": "Forbidden"}'), (400, JSON_TYPE, b"[" * 60_000), (500, HTML, b"<html>"), (501, {}, b""),
    (505, {}, b""), (511, HTML, b"<html>"), (200, HTML, b"<html>Please log in"), (418, {}, b""),
]  # fmt: skip


@pytest.mark.parametrize("answer", WAITS, ids=lambda answer: f"{answer[0]}-{answer[1].get('Content-Type', '')}")
def test_wrong_settings_wait_and_say_so(spool: Spool, otlp: Backend, answer: Answer) -> None:
    """Nothing is lost, the ledger says why, the pauses grow, and all of it arrives once somebody has mended it."""
    otlp.answer = lambda n, commands: answer
    spool.run(command="c0")
    queue = Queue(str(spool.folder), "otlp")

    spool.drain()
    first_s = queue.paused_until_s(time.time()) - time.time()
    asked = len(otlp.asked)
    spool.drain()

    assert asked == len(otlp.asked) == 2  # paused; spans and metrics each on their own
    assert [("retry", answer[0], f"http_{answer[0]}")] == entries(spool)
    assert 29 < first_s < 61
    assert f"HTTP {answer[0]}" in queue.blamed_settings()[1]
    otlp.answer = takes
    revive(spool)
    spool.drain()
    assert (2 if answer[0] == 200 else 1) == otlp.acknowledged["c0"]
    assert [] == spool.files()


def test_new_settings_end_the_pause(spool: Spool, otlp: Backend) -> None:
    """A release with the right token: its first sender does not wait for the end of the pause."""
    otlp.answer = lambda n, commands: (401, TEXT, b"")
    spool.run(command="c0")
    spool.drain()

    otlp.answer = lambda n, commands: takes(n, commands) if "authorization" in otlp.requests[n][1] else (401, TEXT, b"")
    spool.settings["destinations"] = {"otlp": {"endpoint": otlp.url, "headers": {"authorization": "Bearer k"}}}
    spool.drain()

    assert {"c0": 1} == otlp.acknowledged
    assert [] == spool.files()


def test_a_backend_of_traces_alone_gets_its_traces(spool: Spool, otlp: Backend) -> None:
    """404 for metrics is the pause of metrics."""
    otlp.answer = lambda n, commands: takes(n, commands) if otlp.requests[n][0] == "/v1/traces" else (404, TEXT, b"")

    for n in range(3):
        spool.run(command=f"c{n}")
        spool.drain()

    assert {"c0", "c1", "c2"} == set(otlp.acknowledged)
    assert 1 == sum(path == "/v1/metrics" for path, _, _ in otlp.requests)
    assert 3 == len(spool.files())


DROPS = [(400, OTLP_TYPE, b""), (400, JSON_TYPE, b'{"code": 3, "message": "bad"}'), (413, HTML, b""), (415, {}, b""),
         (422, TEXT, b""), (500, OTLP_TYPE, b""), (501, OTLP_TYPE, b"")]  # fmt: skip


@pytest.mark.parametrize("answer", DROPS, ids=lambda answer: f"{answer[0]}-{answer[1].get('Content-Type', '')}")
def test_what_a_receiver_has_read_and_refuses_is_dropped(spool: Spool, otlp: Backend, answer: Answer) -> None:
    """In the protocol's own words, or for a reason that no mending takes away: dropped, counted in records, with the reason."""
    otlp.answer = lambda n, commands: answer if otlp.requests[n][0] == "/v1/traces" else takes(n, commands)
    for n in range(3):
        spool.run(command=f"c{n}")

    spool.drain()

    assert [("dropped", answer[0], f"http_{answer[0]}")] == entries(spool)
    assert {"rejected": 3} == json.loads((spool.folder / "dropped").read_text())
    assert [] == spool.files()


def test_requests_are_compressed_unless_the_receiver_refuses(spool: Spool, otlp: Backend) -> None:
    """gzip by default; 415 to that is answered with plain text at once, and from then on."""
    spool.run(command="c0")
    spool.drain()
    assert {"gzip"} == {headers.get("content-encoding") for _, headers, _ in otlp.requests}
    assert {"identity"} == {headers["accept-encoding"] for _, headers, _ in otlp.requests}
    del otlp.requests[:], otlp.asked[:]

    otlp.answer = lambda n, commands: (
        (415, TEXT, b"") if "content-encoding" in otlp.requests[n][1] else takes(n, commands)
    )
    spool.run(command="c1")
    spool.drain()

    assert 1 == otlp.acknowledged["c1"]
    assert [] == spool.files()


def test_compression_none(spool: Spool, otlp: Backend) -> None:
    """The keyword, and the standard variable."""
    spool.settings["destinations"] = {"otlp": {"endpoint": otlp.url, "compression": "none"}}
    spool.run()
    spool.drain()

    assert 2 == len(otlp.requests)
    assert not any("content-encoding" in headers for _, headers, _ in otlp.requests)


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics/", "/otlp/v1/traces"])
def test_an_endpoint_of_one_signal_is_understood(spool: Spool, otlp: Backend, path: str) -> None:
    """As vendors' pages print it: spans and metrics go where they belong."""
    spool.settings["destinations"] = {"otlp": otlp.url + path}
    spool.run()
    spool.drain()

    base = path.partition("/v1/")[0]
    assert {f"{base}/v1/traces", f"{base}/v1/metrics"} == {path for path, _, _ in otlp.requests}


def test_the_timeout_variable_counts(spool: Spool, otlp: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the standard variables decide, OTEL_EXPORTER_OTLP_TIMEOUT does too."""
    otlp.answer = lambda n, commands: (otlp.over.wait(5), takes(n, commands))[1]
    spool.settings["destinations"] = None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
    spool.run()
    began_s = time.monotonic()

    spool.drain()

    assert time.monotonic() - began_s < 4
    assert ("retry", None, "timeout") in entries(spool, "metrics")


class Raw:
    """A TCP server that reads a request and answers with *chunks*, until the other side or the test ends."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.sent_bytes = 0
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

        def serve() -> None:
            while not self.over.is_set():
                try:
                    connection, _ = self.listener.accept()
                    with connection:
                        connection.recv(65_536)
                        for chunk in chunks:
                            connection.sendall(chunk)
                            self.sent_bytes += len(chunk)
                except OSError:
                    continue

        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


def endless() -> Iterator[bytes]:
    """1 GB of an answer, of a type of its own."""
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000000000\r\n\r\n"
    for _ in range(1_000):
        yield b"\0" * 1_000_000


def bomb() -> Iterator[bytes]:
    """An answer of 100 kB that would be 100 MB."""
    body = gzip.compress(b"\0" * 100_000_000)
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n"
    yield b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("chunks", [endless, bomb])
def test_an_answer_is_read_under_a_bound(tmp_path: Path, plain_environ: None, chunks: Any) -> None:
    """Of an endless or exploding answer 64 KiB are read: memory does not grow, and the status counts."""
    raw = Raw(chunks())
    spool = Spool(tmp_path / "state", {"otlp": raw.url})
    spool.run()

    spool.drain()

    raw.close()
    assert ("sent", 200, None) in entries(spool, "metrics")
    assert raw.sent_bytes < 20_000_000  # what the sockets' buffers take


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"])
def test_a_dripping_server_starves_nobody(tmp_path: Path, plain_environ: None, head: bytes) -> None:
    """One deadline for the whole answer; then GA4 gets its events, and the dripping one is paused and asked last."""

    def drips() -> Iterator[bytes]:
        yield head
        while not raw.over.wait(0.05):
            yield b"x"

    with backends(takes) as (ga4,):
        raw = Raw(drips())
        spool = Spool(tmp_path / "state", {"otlp": {"endpoint": raw.url, "timeout_s": 0.5}, "ga4": ga4.as_ga4})
        spool.run(command="c0")
        began_s = time.monotonic()

        spool.drain()

        took_s = time.monotonic() - began_s
        raw.close()
        assert {"c0": 1} == ga4.acknowledged
        assert took_s < 5
    if head.endswith(b"\r\n\r\n"):  # the status was read, and says all that counts
        assert ("sent", 200, None) in entries(spool, "metrics")
    else:
        assert ("retry", None, "timeout") in entries(spool, "metrics")
        assert 1 == Queue(str(spool.folder), "otlp").failures()


def test_reasons_of_unreachable_destinations(tmp_path: Path, plain_environ: None) -> None:
    """Refused, not resolved, not TLS: each has its word in the ledger, and ``history`` has it too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with backends(takes) as (plain,):
        words = {}
        for n, address in enumerate(
            (f"http://127.0.0.1:{port}", "https://no-such-host.invalid", plain.url.replace("http:", "https:"))
        ):
            spool = Spool(tmp_path / f"state{n}", {"otlp": address})
            spool.run()
            spool.drain()
            words[address.partition(":")[0] + str(n)] = entries(spool, "metrics")[0][2]

    assert {"http0": "refused", "https1": "dns", "https2": "tls"} == words


def test_grpc_has_reasons_too(tmp_path: Path, plain_environ: None) -> None:
    """Nobody listens: the official gRPC exporter returns no more than a failure, the ledger says connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    keywords = {"endpoint": f"http://127.0.0.1:{port}", "protocol": "grpc", "timeout_s": 0.5}
    spool = Spool(tmp_path / "state", {"otlp": keywords})
    spool.run()

    spool.drain()

    assert entries(spool, "metrics")[0][2] in ("connection", "timeout")
    assert 2 == len(spool.files())
