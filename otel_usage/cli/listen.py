"""``otel-usage listen``: a loopback receiver that shows what arrives.

Ring 1 (background).
"""

from __future__ import annotations

import argparse
import json
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TextIO

from ..otlp import MalformedError, attributes_of, json_from_protobuf
from ..wire import ga4, segment

MAX_BODY = 64 * 1024 * 1024  # OTLP/HTTP specification: the largest request, before compression


class Arrival:
    """One request that arrived. kind: ``otlp``, ``ga4`` or ``segment``; body: as JSON; problems: rules it breaks."""

    def __init__(self, kind: str, body: Any, problems: Sequence[str] = ()) -> None:
        self.kind = kind
        self.body = body
        self.problems = problems

    def lines(self) -> list[str]:
        """Return one readable line per span, data point, event or message, and one per broken rule."""
        if self.kind == "otlp":
            return [*_span_lines(self.body), *_point_lines(self.body)]
        events = _ga4_lines(self.body) if self.kind == "ga4" else _segment_lines(self.body)
        return [*events, *(f"         {self.kind}  NOT VALID  {problem}" for problem in self.problems)]


def _ga4_lines(body: Mapping[str, Any]) -> list[str]:
    lines = []
    for event in body.get("events", ()):
        at = _clock(int(event.get("timestamp_micros", body.get("timestamp_micros", 0))) * 1000)
        lines.append(f"{at} ga4   {event['name']}  {_facts(event.get('params', {}))}")
    return lines


def _segment_lines(body: Mapping[str, Any]) -> list[str]:
    lines = []
    for message in body.get("batch", [body]):
        at = str(message.get("timestamp", ""))[11:19] or "--:--:--"
        told = message.get("properties") or message.get("traits") or {}
        lines.append(f"{at} segment  {message.get('type', '')} {message.get('event', '')}  {_facts(told)}")
    return lines


def _clock(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, timezone.utc).strftime("%H:%M:%S")


def _facts(attributes: Mapping[str, Any], skip: tuple[str, ...] = ()) -> str:
    def short(value: Any) -> str:
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)

    return " ".join(f"{key}={short(value)}" for key, value in attributes.items() if key not in skip and value != [])


def _span_lines(body: Mapping[str, Any]) -> list[str]:
    lines = []
    for group in body.get("resourceSpans", ()):
        resource = attributes_of((group.get("resource") or {}).get("attributes", ()))
        whose = f"{resource.get('service.name', '?')} {resource.get('service.version', '')}".strip()
        for scoped in group.get("scopeSpans", ()):
            for span in scoped.get("spans", ()):
                start, end = int(span.get("startTimeUnixNano", 0)), int(span.get("endTimeUnixNano", 0))
                at = _clock(start)
                mark = "ERROR" if (span.get("status") or {}).get("code") == 2 else "ok"
                facts = _facts(attributes_of(span.get("attributes", ())), ("process.executable.name",))
                lines.append(f"{at} span  {whose}  {span['name']}  {(end - start) / 1e6:.1f} ms  {mark}  {facts}")
    return lines


def _point_lines(body: Mapping[str, Any]) -> list[str]:
    lines = []
    for group in body.get("resourceMetrics", ()):
        resource = attributes_of((group.get("resource") or {}).get("attributes", ()))
        whose = f"{resource.get('service.name', '?')} {resource.get('service.version', '')}".strip()
        for scoped in group.get("scopeMetrics", ()):
            for metric in scoped.get("metrics", ()):
                told = metric.get("sum") or metric.get("gauge") or metric.get("histogram") or {}
                for point in told.get("dataPoints", ()):
                    at = _clock(int(point.get("timeUnixNano", 0)))
                    if "count" in point:
                        value = f"count={point['count']} sum={point.get('sum', 0):.3f}"
                    else:
                        value = f"+{point.get('asInt', point.get('asDouble', 0))}"
                    facts = _facts(attributes_of(point.get("attributes", ())))
                    lines.append(f"{at} count {whose}  {metric['name']}  {value} {metric.get('unit', '')}  {facts}")
    return lines


class Listener(ThreadingHTTPServer):
    """An HTTP server on loopback that takes OTLP and calls *arrived* with each request. Port 0 finds a free one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, arrived: Callable[[Arrival], None]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.arrived = arrived
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.turn = threading.Lock()

    def tell(self, arrival: Arrival) -> None:
        """Hand an arrival over; one at a time."""
        with self.turn:
            self.arrived(arrival)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        path, _, query = self.path.partition("?")
        if path.endswith("/mp/collect"):
            self._vendor("ga4", body, ga4.answer(path, query, body))
            return
        if path not in ("/v1/traces", "/v1/metrics"):
            found = segment.answer(path, {"content-type": self.headers.get("Content-Type", ""), **self._key()}, body)
            if found[0] == 404:
                self._answer(404, "text/plain", b"nothing is received at this path\n")
            else:
                self._vendor("segment", body, found)
            return
        signal = path.rpartition("/")[2]
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        try:
            if kind == "application/json":
                told = json.loads(body)
                if not isinstance(told, dict):
                    raise MalformedError("not OTLP JSON: no object")
            elif kind == "application/x-protobuf":
                told = json_from_protobuf(signal, body)
            else:
                self._answer(415, "text/plain", b"expected application/json or application/x-protobuf\n")
                return
            arrival = Arrival("otlp", told)
            arrival.lines()  # what can't be shown was not OTLP
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            self._answer(400, "text/plain", f"{exc}\n".encode())
            return
        self.server.tell(arrival)
        self._answer(200, kind, b"{}" if kind == "application/json" else b"")

    def _key(self) -> dict[str, str]:
        key = self.headers.get("Authorization")
        return {"authorization": key} if key is not None else {}

    def _vendor(self, kind: str, body: bytes, found: tuple[int, dict[str, str], bytes, list[str]]) -> None:
        """Answer as the vendor would, and show what was wrong with the request: vendors do not tell."""
        status, headers, text, problems = found
        try:
            told = json.loads(body)
        except ValueError:
            told = {}
        self.server.tell(Arrival(kind, told if isinstance(told, dict) else {}, problems))
        self._answer(status, headers.get("Content-Type", "text/plain"), text)

    def _body(self) -> bytes | None:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            self._answer(411, "text/plain", b"a Content-Length is needed\n")
            return None
        if length > MAX_BODY:
            self.close_connection = True
            self._answer(413, "text/plain", b"larger than 64 MiB\n")
            return None
        body = self.rfile.read(length)
        if self.headers.get("Content-Encoding", "") == "gzip":
            try:
                inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
                body = inflate.decompress(body, MAX_BODY)
            except zlib.error:
                self._answer(400, "text/plain", b"not gzip\n")
                return None
            if inflate.unconsumed_tail:
                self._answer(413, "text/plain", b"larger than 64 MiB when unpacked\n")
                return None
        return body

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what arrives is printed, requests are not."""


def add(commands: Any) -> None:
    """Add the sub-command."""
    told = commands.add_parser(
        "listen",
        help="receive telemetry on this machine and show it",
        description="Receive on loopback and print one line per span, data point, event and message: OTLP/HTTP "
        "(/v1/traces, /v1/metrics; protobuf and JSON), GA4's Measurement Protocol (/mp/collect, /debug/mp/collect) and "
        "Segment's tracking API (/v1/batch, /v1/track, …). What breaks a rule of GA4 or Segment is shown: they do not tell.",
    )
    told.add_argument("--port", type=int, default=4318, help="default: 4318; 0 finds a free one")
    told.add_argument("--jsonl", metavar="FILE", help="also append what arrives to FILE, one JSON object per line")
    told.set_defaults(call=call)


def call(told: argparse.Namespace) -> int:
    """Listen until interrupted."""
    file: TextIO | None = open(told.jsonl, "a", encoding="utf-8") if told.jsonl else None  # noqa: SIM115  open for good

    def arrived(arrival: Arrival) -> None:
        for line in arrival.lines():
            print(line, flush=True)
        if file is not None:
            file.write(json.dumps(arrival.body, separators=(",", ":")) + "\n")
            file.flush()

    try:
        server = Listener(told.port, arrived)
    except OSError as exc:
        print(f"otel-usage: port {told.port} can't be listened on ({exc.strerror}); pass another with --port")
        return 1
    print(f"listening on {server.address}  (OTLP/HTTP, GA4, Segment; Ctrl-C ends)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
        if file is not None:
            file.close()
    return 0
