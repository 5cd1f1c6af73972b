"""An HTTP server on this machine that takes what programs send: OTLP, and vendors' requests.

PROTOCOL

- ``/v1/traces``, ``/v1/metrics``: OTLP/HTTP, as JSON or protobuf. What is not OTLP is answered with 400.
- Any other path: the vendor that has it (vendors.py), or 404. It is answered as the vendor would answer. The real ones
  accept requests that break their rules and drop them later, so the broken rules go to whoever reads the `Arrival`.

Bodies come with a length or in chunks, plain, in gzip or deflate; the rules are checked against what was inside.

RACE  Requests are handled in threads of their own. The callback is called under a lock, one arrival at a time, so that it
      need not be safe for threads.
"""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..otlp import MalformedError, json_from_protobuf
from .arrival import Arrival
from .body import RefusedBodyError, read_body
from .vendors import VENDORS, VendorAnswer

# OTLP/HTTP specification: the largest request, before compression.
MAX_BODY_BYTES = 64 * 1024 * 1024
LINGER_S = 2.0  # for a client to notice that its body is not wanted


class Listener(ThreadingHTTPServer):
    """An HTTP server on loopback that takes OTLP and vendors' requests.

    port: 0 finds a free one. on_arrival: called with each request, one at a time, before it is answered.

        arrivals = []
        server = Listener(0, arrivals.append)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = server.address
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, on_arrival: Callable[[Arrival], None]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self._on_arrival = on_arrival
        self._lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away. Any: the base class's shape."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def hand_over(self, arrival: Arrival) -> None:
        """Call back with *arrival*; one at a time."""
        with self._lock:
            self._on_arrival(arrival)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener
    rfile: io.BufferedReader

    def do_POST(self) -> None:
        try:
            body = read_body(self.headers, self.rfile, MAX_BODY_BYTES)
        except RefusedBodyError as exc:
            # What is left of the body must not be taken for the next request.
            self.close_connection = True
            self._answer(exc.status, "text/plain", f"{exc.why}\n".encode())
            self._forget_rest()
            return
        path = self.path.partition("?")[0]
        if path in ("/v1/traces", "/v1/metrics"):
            self._take_otlp(path.rpartition("/")[2], body)
            return
        headers = {"content-type": self.headers.get("Content-Type", ""), **self._authorization()}
        for kind, vendor in VENDORS.items():
            answer = vendor.answer(self.path, headers, body)
            if answer[0] != 404:
                self._take_vendor(kind, body, answer)
                return
        self._answer(404, "text/plain", b"nothing is received at this path\n")

    def _take_otlp(self, signal: str, body: bytes) -> None:
        """Hand over an OTLP request. signal: ``traces`` or ``metrics``."""
        content_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        try:
            if content_type == "application/json":
                payload = json.loads(body)
                if not isinstance(payload, dict):
                    raise MalformedError("not OTLP JSON: no object")
            elif content_type == "application/x-protobuf":
                payload = json_from_protobuf(signal, body)
            else:
                self._answer(415, "text/plain", b"expected application/json or application/x-protobuf\n")
                return
            arrival = Arrival("otlp", payload)
            arrival.lines()  # what can't be shown was not OTLP
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            self._answer(400, "text/plain", f"{exc}\n".encode())
            return
        self.server.hand_over(arrival)
        self._answer(200, content_type, b"{}" if content_type == "application/json" else b"")

    def _take_vendor(self, kind: str, body: bytes, answer: VendorAnswer) -> None:
        """Hand over a vendor's request with what is wrong with it, and answer as the vendor would, who does not say."""
        status, headers, text, problems = answer
        try:
            payload = json.loads(body)
        except ValueError:
            payload = {}
        self.server.hand_over(Arrival(kind, payload, problems))
        self._answer(status, headers.get("Content-Type", "text/plain"), text)

    def _authorization(self) -> dict[str, str]:
        key = self.headers.get("Authorization")
        return {"authorization": key} if key is not None else {}

    def _forget_rest(self) -> None:
        """Read what the client still sends: closed at once, the connection would break before it has read the answer."""
        try:
            self.connection.settimeout(LINGER_S)
            self.connection.shutdown(socket.SHUT_WR)
            left_bytes = MAX_BODY_BYTES
            while left_bytes > 0 and (part := self.rfile.read1(1 << 16)):
                left_bytes -= len(part)
        except OSError:
            pass

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        if self.close_connection:
            self.send_header("Connection", "close")
        if status != 204:
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what arrives is printed, requests are not. Any: the base class's shape."""
