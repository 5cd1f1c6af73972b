"""Servers on this machine that behave well, or badly on purpose; spans and counts, and exporters that send them."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from otel_usage_exporters.ga4 import GA4SpanExporter
from otel_usage_exporters.segment import SegmentSpanExporter
from otel_usage_exporters.span_choice import SpanChoice

from otel_usage.receiver import ga4 as ga4_wire
from otel_usage.receiver import segment as segment_wire

SECRET = "sh-secret-9"
GA4: dict[str, Any] = {"measurement_id": "G-AB12CD", "api_secret": SECRET}
OK = (200, {}, b'{"success":true}')
INSTALLATION = "0a0b0c0d-1111-4222-8333-444455556666"
RESOURCE = {
    "service.name": "mycli",
    "service.version": "1.4.0",
    "app.installation.id": INSTALLATION,
    "os.type": "linux",
    "os.version": "6.8",
    "host.arch": "amd64",
    "process.runtime.name": "cpython",
    "process.runtime.version": "3.12.4",
}
SCOPE = InstrumentationScope("otel_usage", "0.1.0")
MS = 1_000_000


def resource(**changes: Any) -> Resource:
    """Return what the sender stamps on records; ``installation=None`` leaves the id out."""
    attributes = dict(RESOURCE)
    for name, value in changes.items():
        key = {"installation": "app.installation.id", "app": "service.name", "version": "service.version"}[name]
        attributes.pop(key)
        if value is not None:
            attributes[key] = value
    return Resource(attributes)


def span(
    attributes: dict[str, Any],
    *,
    name: str = "mycli report upload",
    number: int = 1,
    end_ns: int | None = None,
    took_ms: int = 250,
    of: Resource | None = None,
) -> ReadableSpan:
    """Return a finished span as the sender makes it of a spool line."""
    end = time.time_ns() if end_ns is None else end_ns
    return ReadableSpan(
        name=name,
        context=SpanContext(0xABCDEF << 64 | number, 0x1000 + number, False, TraceFlags(1)),
        resource=of or resource(),
        attributes=attributes,
        kind=SpanKind.INTERNAL,
        start_time=end - took_ms * MS,
        end_time=end,
        instrumentation_scope=SCOPE,
    )


def everything() -> SpanChoice:
    """Return the choice of all spans, with all that they hold."""
    return SpanChoice(spans=["*"], attributes=["*"], personal=True)


def run(number: int = 1, *, command: str = "report upload", code: int | None = 0, **more: Any) -> ReadableSpan:
    attributes: dict[str, Any] = {
        "usage.kind": "run",
        "usage.command": command,
        "usage.outcome": "success" if code == 0 else "failure",
        "usage.options": ("--format", "--quiet"),
        "process.executable.name": "mycli",
        "usage.ci": False,
        "usage.tty": True,
    }
    if code is not None:
        attributes["process.exit.code"] = code
    if code:
        attributes["error.type"] = "ValueError"
    return span(attributes, name=f"mycli {command}", number=number, **more)


def action(
    number: int = 2, *, action_name: str = "report.upload", fields: dict[str, Any] | None = None, **more: Any
) -> ReadableSpan:
    given = {"format": "pdf", "retried": False} if fields is None else fields
    attributes = {"usage.kind": "action", "usage.action": action_name}
    attributes |= {f"usage.field.{key}": value for key, value in given.items()}
    return span(attributes, name=action_name, number=number, took_ms=40, **more)


def error(number: int = 3, **more: Any) -> ReadableSpan:
    attributes = {"usage.kind": "error", "usage.error": "config.invalid", "usage.field.section": "auth"}
    return span(attributes, name="config.invalid", number=number, took_ms=0, **more)


def heartbeat(number: int = 4, **more: Any) -> ReadableSpan:
    attributes = {
        "usage.kind": "heartbeat",
        "usage.heartbeat": "alive",
        "usage.field.clusters": 3,
        "usage.field.plan": "team",
    }
    return span(attributes, name="alive", number=number, took_ms=0, **more)


def start(number: int = 9, **more: Any) -> ReadableSpan:
    attributes = {"usage.kind": "start", "usage.start": "upgrade", "usage.previous_version": "1.3.0"}
    return span(attributes, name="start", number=number, took_ms=0, **more)


def stop(number: int = 6, **more: Any) -> ReadableSpan:
    return span({"usage.kind": "stop"}, name="stop", number=number, took_ms=0, **more)


def crash(number: int = 7, **more: Any) -> ReadableSpan:
    attributes = {
        "usage.kind": "crash",
        "error.type": "ValueError",
        "usage.signal": "SIGSEGV",
        "usage.frames": "0f1e2d3c4b5a6978",
    }
    return span(attributes, name="crash", number=number, took_ms=0, **more)


def several(number: int = 8, **more: Any) -> ReadableSpan:
    """Return a heartbeat with a set of words, of an installation whose id will not last."""
    attributes = {"usage.kind": "heartbeat", "usage.heartbeat": "alive", "usage.field.plugins": ("git", "slack")}
    about = Resource({**RESOURCE, "app.installation.ephemeral": True})
    return span(attributes, name="alive", number=number, took_ms=0, of=about, **more)


def first_run(number: int = 5, **more: Any) -> ReadableSpan:
    return span({"usage.kind": "first_run"}, name="first_run", number=number, took_ms=0, **more)


def point(value: Any, attributes: dict[str, Any] | None = None, *, end_ns: int | None = None) -> NumberDataPoint:
    end = time.time_ns() if end_ns is None else end_ns
    return NumberDataPoint(attributes or {}, end - 60_000 * MS, end, value)


def counter(
    name: str, points: Sequence[NumberDataPoint], *, cumulative: bool = False, monotonic: bool = True
) -> Metric:
    kind = AggregationTemporality.CUMULATIVE if cumulative else AggregationTemporality.DELTA
    return Metric(name, None, "1", Sum(points, kind, monotonic))


def gauge(name: str, value: float) -> Metric:
    return Metric(name, None, "1", Gauge([point(value)]))


def histogram(name: str, *, end_ns: int | None = None) -> Metric:
    end = time.time_ns() if end_ns is None else end_ns
    attributes = {"usage.command": "report upload"}
    one = HistogramDataPoint(attributes, end - 60_000 * MS, end, 4, 2.5, [1, 3], [1.0], 0.2, 1.4)
    return Metric(name, None, "s", Histogram([one], AggregationTemporality.DELTA))


def metrics(*given: Metric, of: Resource | None = None) -> MetricsData:
    return MetricsData([ResourceMetrics(of or resource(), [ScopeMetrics(SCOPE, list(given), "")], "")])


# -- servers ----------------------------------------------------------------------------------------------------


class Receiver:
    """An HTTP server that keeps what it gets and answers as told: (status, headers, body), the last one for ever."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes], tls: Any = None) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.answers = list(answers) or [(200, {}, b"")]
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                receiver.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), body))
                status, headers, answer = receiver.reply(self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is no news
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def reply(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Rude:
    """A TCP server that hands each connection to a function, and keeps what was read."""

    def __init__(self, behave: Callable[[socket.socket, Rude], None]) -> None:
        self.received: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.over = threading.Event()

        def serve() -> None:
            while True:
                try:
                    connection, _ = self.listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        behave(connection, self)
                    except OSError:
                        pass

        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def read_request(connection: socket.socket, server: Rude) -> None:
    """Read one whole request."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65_536)
    head, _, body = text.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65_536)
    server.received.append(head + b"\r\n\r\n" + body)


def silent(connection: socket.socket, server: Rude) -> None:
    """Take the request and say nothing."""
    read_request(connection, server)
    server.over.wait(20)


def hang_up(connection: socket.socket, server: Rude) -> None:
    """Take the request and close."""
    read_request(connection, server)


def half_an_answer(connection: socket.socket, server: Rude) -> None:
    """A status line, and an end in the middle of the headers."""
    read_request(connection, server)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")


def half_a_body(connection: socket.socket, server: Rude) -> None:
    """An answer that promises more than it holds."""
    read_request(connection, server)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"succ')


def half_a_status(connection: socket.socket, server: Rude) -> None:
    """An end in the middle of the status line."""
    read_request(connection, server)
    connection.sendall(b"HTT")


def endless(connection: socket.socket, server: Rude) -> None:
    """An answer of 100 MB."""
    read_request(connection, server)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
    block = b"x" * 65_536
    for _ in range(1_600):
        server.received.append(block)
        connection.sendall(block)


def dripping(connection: socket.socket, server: Rude) -> None:
    """An answer that comes a byte at a time, faster than a socket's time limit, for ever."""
    read_request(connection, server)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not server.over.wait(0.02):
        connection.sendall(b"x")


def not_tls(connection: socket.socket, server: Rude) -> None:
    """Plain text where a TLS handshake is expected."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def wait_until(condition: Callable[[], bool], *, limit_s: float = 10.0) -> None:
    """Return as soon as *condition* holds."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def ga4(server: Any, **more: Any) -> GA4SpanExporter:
    """Return an exporter to *server* that remembers nothing on disk."""
    return GA4SpanExporter(endpoint=server.url, **{**GA4, "folder": "", **more})


def segment(server: Any, **more: Any) -> SegmentSpanExporter:
    """Return an exporter to *server* that remembers nothing on disk."""
    return SegmentSpanExporter(write_key=SECRET, endpoint=server.url, **{"folder": "", **more})


def messages(server: Any) -> list[dict[str, Any]]:
    """Return all messages that a server got, after Segment's rules agreed."""
    sent: list[dict[str, Any]] = []
    for path, headers, body in server.requests:
        assert [] == segment_wire.answer(path, headers, body)[3]
        sent += json.loads(gzip.decompress(body))["batch"]
    return sent


def events(server: Any) -> list[dict[str, Any]]:
    """Return all events that a server got, after GA4's rules agreed."""
    sent: list[dict[str, Any]] = []
    for path, _, body in server.requests:
        assert [] == ga4_wire.answer(path, "", body)[3]
        sent += json.loads(body)["events"]
    return sent
