"""What the tests and benches of Collector and relay share: a loopback OTLP backend, and usage data to send."""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

Answer = tuple[int, Mapping[str, str], bytes]
DEADLINE_S = 30.0  # for what takes milliseconds: only a test that fails waits as long


_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on, and that was not returned before."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port: int = s.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def post(
    port: int, path: str, body: bytes, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Return (status, headers, body) of one POST of OTLP protobuf to this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request("POST", path, body, {"content-type": "application/x-protobuf", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def get(port: int, path: str) -> tuple[int, str]:
    """Return (status, text) of one GET on this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


# -- usage data -------------------------------------------------------------------------------------------------


def value(of: object) -> AnyValue:
    """Return *of* as OTLP carries it."""
    if isinstance(of, bool):
        return AnyValue(bool_value=of)
    if isinstance(of, int):
        return AnyValue(int_value=of)
    if isinstance(of, str):
        return AnyValue(string_value=of)
    made = AnyValue()
    made.array_value.values.extend(value(one) for one in of)  # type: ignore[attr-defined]
    return made


def pairs(of: Mapping[str, object]) -> list[KeyValue]:
    """Return *of* as OTLP attributes."""
    return [KeyValue(key=key, value=value(one)) for key, one in of.items()]


def resource(installation: str = "4f8b12f2-92a8-4d67-8a8a-0f3d3b6d7f01") -> dict[str, object]:
    """Return the resource attributes of one installation, as our sender stamps them."""
    return {
        "service.name": "mycli",
        "service.version": "1.4",
        "app.installation.id": installation,
        "os.type": "linux",
        "os.version": "6.1",
        "host.arch": "amd64",
        "process.runtime.name": "cpython",
        "process.runtime.version": "3.11.7",
        "telemetry.sdk.name": "otel-usage",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": "0.1.0",
    }


RUN: dict[str, object] = {
    "usage.kind": "run",
    "usage.command": "report upload",
    "usage.outcome": "success",
    "usage.options": ["--format", "--retry"],
    "process.executable.name": "mycli",
    "process.exit.code": 0,
    "usage.ci": False,
    "usage.tty": True,
    "usage.agent": "codex",
    "usage.surface": "cli",
}


def traces(
    numbers: Sequence[int],
    *,
    installation: str | None = None,
    attributes: Mapping[str, object] = RUN,
    name: str = "mycli report upload",
    of: Mapping[str, object] | None = None,
    began_ns: int | None = None,
) -> ExportTraceServiceRequest:
    """Return one request of runs; *numbers* are their span ids, so that a receiver can tell which arrived.

    began_ns: when number 0 began, each other a microsecond after the one before; now if None.
    """
    request = ExportTraceServiceRequest()
    sent = request.resource_spans.add()
    sent.resource.attributes.extend(
        pairs(of if of is not None else resource(*([installation] if installation else [])))
    )
    scope = sent.scope_spans.add()
    scope.scope.name, scope.scope.version = "otel_usage", "0.1.0"
    now, carried = time.time_ns(), pairs(attributes)
    for number in numbers:
        span = scope.spans.add()
        span.trace_id = (number + (1 << 64)).to_bytes(16, "big")
        span.span_id = (number + 1).to_bytes(8, "big")
        span.name, span.kind = name, 1
        start = now - 120_000_000 if began_ns is None else began_ns + number * 1_000
        span.start_time_unix_nano, span.end_time_unix_nano = start, start + 120_000_000
        span.attributes.extend(carried)
    return request


def metrics(
    n: int,
    *,
    name: str = "usage.count.events.handled",
    attributes: Mapping[str, object] | None = None,
    of: Mapping[str, object] | None = None,
) -> ExportMetricsServiceRequest:
    """Return one request of one delta counter with *n* counted."""
    request = ExportMetricsServiceRequest()
    sent = request.resource_metrics.add()
    sent.resource.attributes.extend(pairs(of if of is not None else resource()))
    scope = sent.scope_metrics.add()
    scope.scope.name = "otel_usage"
    metric = scope.metrics.add()
    metric.name, metric.unit = name, "1"
    metric.sum.aggregation_temporality = 1
    metric.sum.is_monotonic = True
    point = metric.sum.data_points.add()
    point.time_unix_nano = time.time_ns()
    point.start_time_unix_nano = point.time_unix_nano - 60_000_000_000
    point.as_int = n
    point.attributes.extend(pairs({"usage.field.channel": "slack"} if attributes is None else attributes))
    return request


def number_of(span: Any) -> int:
    """Return the number that `traces` made *span* with."""
    return int.from_bytes(span.span_id, "big") - 1


def spans_of(body: bytes) -> list[tuple[dict[str, Any], Any]]:
    """Return (resource attributes, span) of each span of a request."""
    return [
        (plain(sent.resource.attributes), span)
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in sent.scope_spans
        for span in scope.spans
    ]


# -- a backend --------------------------------------------------------------------------------------------------


class Backend:
    """An OTLP/HTTP backend on this machine that keeps what it takes.

    answer: called for each request with (path, body); returns the status to answer with; only a 200 takes the data.
    Concurrency: requests are answered in threads of their own; `wait` may be called from any thread.
    """

    def __init__(self, port: int | None = None, answer: Callable[[str, bytes], int] = lambda path, body: 200) -> None:
        self.port = port or free_port()
        self.answer = answer
        self.changed = threading.Condition()
        self.requests = 0  # all that came, taken or not
        self.headers: list[dict[str, str]] = []
        self.taken: list[tuple[str, bytes]] = []
        self.spans: list[tuple[dict[str, Any], Any]] = []  # (resource attributes, span)
        self.points: list[tuple[dict[str, Any], Any, Any]] = []  # (resource attributes, metric, data point)
        self.numbers: dict[int, int] = {}  # how often each span came
        self.decode = True
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> Backend:
        """Listen."""
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"] or 0))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                status = backend.take(self.path, body, dict(self.headers))
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, address: object) -> None:
                pass  # clients are killed in the middle of things here

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def take(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        """Answer one request, and keep its content if the answer is 200."""
        status = self.answer(path, body)
        with self.changed:
            self.requests += 1
            self.headers.append(headers)
            if status == 200:
                self._keep(path, body)
            self.changed.notify_all()
        return status

    def _keep(self, path: str, body: bytes) -> None:
        if not self.decode:
            self.taken.append((path, body))
            return
        if path.endswith("/v1/traces"):
            for about, span in spans_of(body):
                self.spans.append((about, span))
                number = number_of(span)
                self.numbers[number] = self.numbers.get(number, 0) + 1
        else:
            for sent in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                about = plain(sent.resource.attributes)
                for scope in sent.scope_metrics:
                    for metric in scope.metrics:
                        points = metric.sum.data_points or metric.histogram.data_points or metric.gauge.data_points
                        self.points += [(about, metric, point) for point in points]

    def wait(self, condition: Callable[[], object], what: str = "", deadline_s: float = DEADLINE_S) -> None:
        """Return when *condition* holds, looked at after every request; fails after *deadline_s*."""
        with self.changed:
            assert self.changed.wait_for(condition, deadline_s), (
                f"after {deadline_s} s: {what or 'not what was waited for'}; "
                f"{self.requests} requests, {len(self.spans)} spans, {len(self.points)} points"
            )

    def stop(self) -> None:
        """Stop listening: clients are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Backend:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


def plain(attributes: Any) -> dict[str, Any]:
    """Return OTLP attributes as a dict of Python values."""
    return {pair.key: plain_value(pair.value) for pair in attributes}


def plain_value(of: Any) -> Any:
    """Return an OTLP value as a Python value."""
    kind = of.WhichOneof("value")
    if kind == "array_value":
        return [plain_value(one) for one in of.array_value.values]
    if kind == "kvlist_value":
        return plain(of.kvlist_value.values)
    return getattr(of, kind) if kind else None


# -- processes -------------------------------------------------------------------------------------------------


def memory_mib(pid: int, peak: bool = False) -> float:
    """Return a process's resident memory, or its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:" if peak else "VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int) -> float:
    """Return the CPU time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
