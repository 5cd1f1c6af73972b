"""Backends on loopback that fail in every way there is, by a seed, until they are told to be well: for tests/bench/chaos.py.

What each request meets is chosen as it arrives. A request that was read counts as taken wherever its client can't know better:
the answer says so, or there is none. One that is refused by a status was not taken.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from collections import Counter
from random import Random
from typing import Any, NamedTuple

from otel_usage.otlp import attributes_of, json_from_protobuf

TAKEN = ("takes", "hangs", "drips", "resets in the answer", "answers without end", "answers garbage")
STATUSES = {"500": 500, "503": 503, "429": 429, "401": 401, "400": 400}
UNREAD = ("closes at once", "resets in the request")  # and at times nobody listens
MANNERS = ("takes",) * 6 + TAKEN[1:] + tuple(STATUSES) + UNREAD
MAX_HEAD = 65_536
COUNTER = "events.seen"  # of the hosts, with the field ``who``
TRICKLE_S = 0.1


class Count(NamedTuple):
    """One count of a host's. id: what the vendor recognises a repetition by, "" if it can't."""

    who: int
    amount: int
    id: str


def runs_of(path: str, body: bytes) -> list[tuple[str, str]]:
    """Return (command, id) of the runs in one request; the id is what the vendor recognises a repetition by, if it can."""
    if path.endswith("/v1/traces"):
        groups = json_from_protobuf("traces", body).get("resourceSpans", ())
        spans = [span for group in groups for scoped in group["scopeSpans"] for span in scoped["spans"]]
        attributes = [attributes_of(span["attributes"]) for span in spans]
        return [
            (str(of["usage.command"]), span["spanId"])
            for span, of in zip(spans, attributes, strict=True)
            if of["usage.kind"] == "run"
        ]
    if path.endswith("/mp/collect"):
        events = json.loads(body)["events"]
        return [(event["params"]["command"], "") for event in events if event["name"] == "command_run"]
    if path.endswith("/v1/batch"):
        tracks = [one for one in json.loads(body)["batch"] if one["type"] == "track" and "command" in one["properties"]]
        return [(one["properties"]["command"], one["messageId"]) for one in tracks]
    return []


def counts_of(path: str, body: bytes) -> list[Count]:
    """Return the host's counts in one request."""
    if path.endswith("/v1/metrics"):
        counts = []
        for group in json_from_protobuf("metrics", body).get("resourceMetrics", ()):
            whose = attributes_of(group["resource"]["attributes"])["app.installation.id"]
            for metric in [metric for scoped in group["scopeMetrics"] for metric in scoped["metrics"]]:
                for point in metric["sum"]["dataPoints"] if metric["name"] == f"usage.count.{COUNTER}" else ():
                    who = int(attributes_of(point["attributes"])["usage.field.who"])
                    times = (point["startTimeUnixNano"], point["timeUnixNano"])
                    counts.append(Count(who, int(point["asInt"]), repr((whose, who, *times))))
        return counts
    if path.endswith("/mp/collect"):
        events = [event["params"] for event in json.loads(body)["events"] if event["name"] == COUNTER.replace(".", "_")]
        return [Count(params["who"], params["count"], "") for params in events]
    if path.endswith("/v1/batch"):
        tracks = [one for one in json.loads(body)["batch"] if one["type"] == "track" and "who" in one["properties"]]
        return [Count(one["properties"]["who"], one["properties"]["count"], one["messageId"]) for one in tracks]
    return []


class BadBackend:
    """One vendor. taken, refused: how often each run was; ids: under which ids; met: how many requests met what.

    counts, refused_counts: the host's counts, each time that one was taken, or refused, by status.
    well: from when it is set everything is taken. listening: whether connections are accepted at all.
    """

    def __init__(self, seed: str) -> None:
        self.chance = Random(seed)
        self.well = threading.Event()
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.taken: Counter[str] = Counter()
        self.refused: dict[str, Counter[str]] = {status: Counter() for status in STATUSES}
        self.ids: dict[str, set[str]] = {}
        self.counts: list[Count] = []
        self.refused_counts: dict[str, list[Count]] = {status: [] for status in STATUSES}
        self.met: Counter[str] = Counter()
        self.listening: socket.socket | None = None
        self.port = 0
        self.listen()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def listen(self) -> None:
        """Accept connections, if it does not yet; always on one port."""
        if self.listening is None:
            self.listening = socket.create_server(("127.0.0.1", self.port), backlog=512)
            self.port = self.listening.getsockname()[1]
            threading.Thread(target=self._accept, args=(self.listening,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse connections, until `listen`."""
        listening, self.listening = self.listening, None
        if listening is not None:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            self.met["nobody listens, times"] += 1

    def close(self) -> None:
        """End for good."""
        self.over.set()
        self.refuse()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(60)
                while self._serve_one(connection):
                    pass
            except (OSError, ValueError):  # the client is gone, or was killed in the middle of its request
                pass

    def _serve_one(self, connection: socket.socket) -> bool:
        """Serve one request; False if the connection is to end."""
        with self.lock:
            manner = "takes" if self.well.is_set() else self.chance.choice(MANNERS)
        if manner == "closes at once":
            self._count(manner)
            return False
        if manner == "resets in the request":
            if not connection.recv(100):
                return False
            self._count(manner)
            _reset(connection)
            return False
        request = _read_request(connection)
        if request is None:
            return False
        path, body = request
        runs, counts = runs_of(path, body), counts_of(path, body)
        with self.lock:
            self.met[manner] += 1
            (self.taken if manner in TAKEN else self.refused[manner]).update(command for command, _ in runs)
            (self.counts if manner in TAKEN else self.refused_counts[manner]).extend(counts)
            for command, own in runs:
                self.ids.setdefault(command, set()).add(own)
        return self._answer(connection, manner, path)

    def _count(self, manner: str) -> None:
        with self.lock:
            self.met[manner] += 1

    def _answer(self, connection: socket.socket, manner: str, path: str) -> bool:
        kind = "application/x-protobuf" if "/v1/traces" in path or "/v1/metrics" in path else "application/json"
        body = b"" if "protobuf" in kind else b"{}"
        status = STATUSES.get(manner, 200)
        more = "Retry-After: 1\r\n" if status in (429, 503) else ""
        head = f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode()
        if manner == "takes" or manner in STATUSES:
            connection.sendall(head + body)
            return True
        if manner == "hangs":
            self._outlast(connection, b"", 1.0)
        elif manner == "drips":
            self._outlast(connection, head + body, TRICKLE_S)
        elif manner == "resets in the answer":
            connection.sendall(head[:20])
            _reset(connection)
        elif manner == "answers garbage":
            connection.sendall(b"\x16\x03\x01\x02 SSH-2.0 \x00\xff\r\n\r\n" * 10)
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not (self.over.is_set() or self.well.is_set()):
                connection.sendall(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
        return False

    def _outlast(self, connection: socket.socket, answer: bytes, every_s: float) -> None:
        """Send *answer* byte by byte, then nothing, until the client has gone or all is well."""
        position = 0
        connection.settimeout(every_s)
        while not (self.over.is_set() or self.well.is_set()):
            if position < len(answer):
                connection.sendall(answer[position : position + 1])
                position += 1
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue


def _reset(connection: socket.socket) -> None:
    """Have the close that follows send RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _read_request(connection: socket.socket) -> tuple[str, bytes] | None:
    """Return (path, body) of a whole request, None if the connection ended. Raises OSError or ValueError."""
    received = b""
    while b"\r\n\r\n" not in received:
        some = connection.recv(65_536)
        if not some or len(received) > MAX_HEAD:
            return None
        received += some
    head, _, body = received.partition(b"\r\n\r\n")
    request, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        some = connection.recv(65_536)
        if not some:
            return None
        body += some
    plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
    return request.split(" ")[1].partition("?")[0], plain


def destinations_at(ga4: BadBackend, segment: BadBackend, otlp: BadBackend, timeout_s: float) -> dict[str, Any]:
    """Return what ``init`` gets as ``destinations``. Any: keywords of exporters."""
    return {
        "ga4": {
            "measurement_id": "G-ABC1234567",
            "api_secret": "s3cret",
            "endpoint": ga4.url,
            "timeout_s": timeout_s,
        },
        "segment": {"write_key": "k3y", "endpoint": segment.url, "timeout_s": timeout_s},
        "otlp": {"endpoint": otlp.url, "timeout_s": timeout_s},
    }
