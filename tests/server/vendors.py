"""Google Analytics 4 and Segment on this machine: they take what the real ones take, and count it.

Run as a program it serves in a process of its own, and is told what to do over HTTP: /counts, /seen, /fail?0.1,0.1.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.collector.harness import DEADLINE_S, free_port

ANSWERS = {200: b"OK", 204: b"No Content", 429: b"Too Many Requests", 500: b"Error", 503: b"Service Unavailable"}


class Vendors:
    """Both receivers on one port. Concurrency: `wait` may be called from any thread.

    ga4, segment: how often each event came: by its ``timestamp_micros``, by its ``messageId``.
    answer: called with (vendor, body) before a request is taken; anything but 200 is answered instead. An answer of 0
    drops the connection: after taking the events if ``lose`` says so.
    """

    def __init__(self, answer: Callable[[str, Any], int] = lambda vendor, body: 200, *, lose: bool = False) -> None:
        self.answer = answer
        self.lose = lose
        self.keep = False
        self.port = free_port()
        self.ga4: Counter[int] = Counter()
        self.segment: Counter[str] = Counter()
        self.bodies: list[tuple[str, Any]] = []
        self.requests: Counter[str] = Counter()
        self.refused: set[int] = set()  # GA4 events that were answered with a failure
        self.changed = threading.Condition()
        self.rates = {"segment": 0.0, "ga4": 0.0}
        self._random = random.Random(7)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None

    # HTTP, no more of it than our exporters speak: a framework would take more CPU than what is measured.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *fields = head[:-4].split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                _, path, _ = line.split(" ")
                status, told = self._take(path, body)
                if not status:
                    return
                reason = ANSWERS.get(status, b"?").decode()
                length = f"content-length: {len(told)}\r\n" if status != 204 else ""
                writer.write(f"HTTP/1.1 {status} {reason}\r\n{length}\r\n".encode() + (told if status != 204 else b""))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _take(self, path: str, body: bytes) -> tuple[int, bytes]:
        where, _, query = path.partition("?")
        if where == "/counts":
            return 200, json.dumps(self.counts()).encode()
        if where == "/seen":
            seen = {"ga4": list(self.ga4.items()), "segment": list(self.segment), "refused": list(self.refused)}
            return 200, json.dumps(seen).encode()
        if where == "/fail":
            segment, _, ga4 = query.partition(",")
            self.rates = {"segment": float(segment), "ga4": float(ga4)}
            return 200, b""
        vendor = "ga4" if where.endswith("/mp/collect") else "segment"
        told = json.loads(body)
        status = self.answer(vendor, told)
        if self._random.random() < self.rates[vendor]:
            status = 503
        with self.changed:
            self.requests[vendor] += 1
            if status == 200 or (not status and self.lose):
                if self.keep:
                    self.bodies.append((vendor, told))
                if vendor == "ga4":
                    self.ga4.update(event["timestamp_micros"] for event in told["events"])
                else:
                    self.segment.update(one["messageId"] for one in told["batch"] if one["type"] == "track")
            elif status and vendor == "ga4":
                self.refused.update(event["timestamp_micros"] for event in told["events"])
            self.changed.notify_all()
        if vendor == "ga4":
            return (204 if status == 200 else status), b""
        return status, b'{"success":true}' if status == 200 else b"{}"

    def counts(self) -> dict[str, int]:
        """Return how much came: distinct events, repetitions, requests."""
        told = {f"{name}_requests": n for name, n in self.requests.items()}
        for name, events in (("ga4", self.ga4), ("segment", self.segment)):
            told[name] = len(events)
            told[name + "_repeated"] = events.total() - len(events)
        return told

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
        self._ready.set()
        await self._stop.wait()
        server.close()

    def wait(self, condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
        """Return when *condition* holds, looked at after every request."""
        with self.changed:
            assert self.changed.wait_for(condition, deadline_s), f"after {deadline_s} s: {self.counts()}"

    def environ(self) -> dict[str, str]:
        """Return the variables that make our exporters send here."""
        return {
            "OTEL_EXPORTER_GA4_MEASUREMENT_ID": "G-AB12CD34EF",
            "OTEL_EXPORTER_GA4_API_SECRET": "s3cret",
            "OTEL_EXPORTER_GA4_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_EXPORTER_SEGMENT_WRITE_KEY": "wr1tekey",
            "OTEL_EXPORTER_SEGMENT_ENDPOINT": f"http://127.0.0.1:{self.port}",
        }

    def __enter__(self) -> Vendors:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)
        return self

    def __exit__(self, *error: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_S)


if __name__ == "__main__":
    vendors = Vendors()
    vendors.port = int(sys.argv[1])
    print("ready", flush=True)
    asyncio.run(vendors._main())
