"""Backends on loopback that a test scripts: what they took and acknowledged, record by record.

A run is known by its command, which is in what OTLP, GA4 and Segment get of it.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from otel_usage.otlp import attributes_of, json_from_protobuf

Answer = tuple[int, Mapping[str, str], bytes]
OTLP_TYPE = {"Content-Type": "application/x-protobuf"}


def commands_of(path: str, body: bytes) -> list[str]:
    """Return the commands of the runs in one request, whatever the vendor."""
    if path.endswith("/v1/traces"):
        groups = json_from_protobuf("traces", body).get("resourceSpans", ())
        spans = [span for group in groups for scoped in group["scopeSpans"] for span in scoped["spans"]]
        return [str(attributes_of(span["attributes"]).get("usage.command", "")) for span in spans]
    if path.endswith("/mp/collect"):
        return [event["params"]["command"] for event in json.loads(body)["events"] if event["name"] == "command_run"]
    if path.endswith("/v1/batch"):
        return [one["properties"]["command"] for one in json.loads(body)["batch"] if one["type"] == "track"]
    return []


class Backend:
    """One receiver. answer: called with the number of the request and its commands; returns (status, headers, body).

    asked: the commands of each request, in their order, metrics as an empty list. acknowledged: how often each command was
    answered with a 2xx. refused: how often with anything else.
    """

    def __init__(self, answer: Callable[[int, list[str]], Answer] = lambda n, commands: (200, OTLP_TYPE, b"")) -> None:
        self.answer = answer
        self.asked: list[list[str]] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.acknowledged: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.over = threading.Event()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
                path = self.path.partition("?")[0]
                commands = commands_of(path, plain)
                with backend.lock:
                    number = len(backend.asked)
                    backend.asked.append(commands)
                    backend.requests.append((path, headers, plain))
                status, more, content = backend.answer(number, commands)
                with backend.lock:
                    (backend.acknowledged if 200 <= status < 300 else backend.refused).update(commands)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is no news
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def as_ga4(self) -> dict[str, Any]:
        """What ``destinations`` has for GA4 at this backend."""
        return {"measurement_id": "G-ABC1234567", "api_secret": "s3cret", "endpoint": self.url}

    @property
    def as_segment(self) -> dict[str, Any]:
        """What ``destinations`` has for Segment at this backend."""
        return {"write_key": "k3y", "endpoint": self.url}

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@contextmanager
def backends(*answers: Callable[[int, list[str]], Answer]) -> Iterator[list[Backend]]:
    """Start a backend for each of *answers*, for as long as the context lasts."""
    started = [Backend(answer) for answer in answers]
    try:
        yield started
    finally:
        for backend in started:
            backend.close()


def takes(number: int, commands: list[str]) -> Answer:
    """Take everything."""
    return 200, OTLP_TYPE, b""
