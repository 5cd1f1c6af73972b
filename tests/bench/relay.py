"""The relay, measured: all the way from OTLP/HTTP to Segment and GA4 on this machine.

`python -m tests.bench.relay`. Variables: BENCH_SCALE (default 1) makes less of everything; BENCH_SOAK_S (default 600)
is how long the last part runs. CPU is the relay's own: load and destinations run in processes of their own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otel_usage_exporters.usage_event import _uuid

from tests.collector.harness import cpu_s, get, memory_mib, traces
from tests.server.serving import Process
from tests.server.vendors import Vendors

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
SOAK_S = float(os.environ.get("BENCH_SOAK_S", str(600 * min(1.0, SCALE))))
INSTALLATION = "4f8b12f2-92a8-4d67-8a8a-%012x"


class Bodies:
    """Makes requests of *per* spans with numbers of their own, in microseconds: by overwriting ids in a template."""

    def __init__(self, per: int, installations: int = 1) -> None:
        self.per = per
        self.next = 0
        request = traces([])
        share = max(1, per // installations)
        for first in range(0, per, share):
            marks = [(1 << 56) + number for number in range(first, min(first + share, per))]
            request.MergeFrom(traces(marks, installation=INSTALLATION % (first // share)))
        template = request.SerializeToString()
        self._pieces: list[bytes] = []
        self._trace = [(number + (1 << 56) + (1 << 64)).to_bytes(16, "big") for number in range(per)]
        rest = template
        for number in range(per):
            own = ((1 << 56) + number + 1).to_bytes(8, "big")
            for mark in (self._trace[number], own):
                before, found, rest = rest.partition(mark)
                assert found
                self._pieces.append(before)
        self._pieces.append(rest)

    def make(self) -> tuple[list[int], bytes]:
        """Return (numbers, body) of the next request."""
        numbers = list(range(self.next, self.next + self.per))
        self.next += self.per
        parts: list[bytes] = []
        for at, number in enumerate(numbers):
            parts += [self._pieces[2 * at], (number + (1 << 64)).to_bytes(16, "big")]
            parts += [self._pieces[2 * at + 1], (number + 1).to_bytes(8, "big")]
        return numbers, b"".join([*parts, self._pieces[-1]])


def message_id(number: int) -> str:
    """Return Segment's messageId for the span that `traces` makes of *number*."""
    return _uuid(f"{number + (1 << 64):032x}{number + 1:016x}")


class Load:
    """Posts bodies over kept connections, as fast as they are answered or at a rate; knows every answer."""

    def __init__(self, port: int, path: str, bodies: Bodies) -> None:
        self.port, self.path, self.bodies = port, path, bodies
        self.answers: Counter[int] = Counter()
        self.acknowledged: list[int] = []
        self.times_s: list[float] = []

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    async def _post(self, streams: Any, numbers: list[int], body: bytes, since: float) -> None:
        reader, writer = streams
        head = f"POST {self.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(answer.split(" ", 2)[1])
        length = answer.partition("content-length: ")[2].partition("\r\n")[0]
        if length and length != "0":
            await reader.readexactly(int(length))
        if "connection: close" in answer:
            raise ConnectionResetError
        self.answers[status] += 1
        if status == 200:
            self.times_s.append(time.perf_counter() - since)
            self.acknowledged += numbers

    async def closed(self, connections: int, seconds: float) -> float:
        """Post from *connections* at once for *seconds*; return how long it took."""
        began = time.perf_counter()

        async def one() -> None:
            streams = await self._connection()
            while time.perf_counter() - began < seconds:
                numbers, body = self.bodies.make()
                await self._post(streams, numbers, body, time.perf_counter())
            streams[1].close()

        await asyncio.gather(*(one() for _ in range(connections)))
        return time.perf_counter() - began

    async def paced(
        self, rate: float, seconds: float, connections: int, tick: Callable[[], None] | None = None
    ) -> float:
        """Post *rate* requests a second for *seconds*, timed from when each was due: waiting counts."""
        due: asyncio.Queue[float | None] = asyncio.Queue()
        began = time.perf_counter()

        async def one() -> None:
            streams = await self._connection()
            while (at := await due.get()) is not None:
                numbers, body = self.bodies.make()
                try:
                    await self._post(streams, numbers, body, at)
                except (ConnectionError, asyncio.IncompleteReadError):
                    self.answers[0] += 1
                    streams = await self._connection()
            streams[1].close()

        workers = [asyncio.create_task(one()) for _ in range(connections)]
        sent, ticked = 0, began
        while (now := time.perf_counter()) - began < seconds:
            while sent < (now - began) * rate:
                due.put_nowait(began + sent / rate)
                sent += 1
            if tick is not None and now - ticked >= 5:
                ticked = now
                tick()
            await asyncio.sleep(0.002)
        for _ in workers:
            due.put_nowait(None)
        await asyncio.gather(*workers)
        return time.perf_counter() - began


class Lab:
    """Destinations and a relay, each in a process of its own."""

    def __init__(self, *options: str) -> None:
        self.vendors = Vendors()
        self.options = options
        self.held: list[int] = []  # requests for GA4 that the relay had accepted and not answered, at each kill

    def __enter__(self) -> Lab:
        command = [sys.executable, "-m", "tests.server.vendors", str(self.vendors.port)]
        self._vendors = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._vendors.stdout is not None
        self._vendors.stdout.readline()
        self.relay = Process(["ga4", "segment"], *self.options, **self.vendors.environ()).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.relay.end()
        self._vendors.kill()
        self._vendors.wait()
        assert self._vendors.stdout is not None
        self._vendors.stdout.close()

    def fail(self, segment: float, ga4: float) -> None:
        """Have the destinations fail a share of requests."""
        get(self.vendors.port, f"/fail?{segment},{ga4}")

    def kill(self) -> None:
        """End the relay with SIGKILL, and start it again; note how many batches for GA4 it held."""
        shown = get(self.relay.port, "/metrics")[1]
        held = shown.partition('waiting_requests{destination="ga4"} ')[2].partition("\n")[0]
        self.held.append(int(held))
        self.relay.end(signal.SIGKILL)
        self.relay.start()

    def counts(self) -> dict[str, int]:
        """Return how much the destinations took."""
        told: dict[str, int] = json.loads(get(self.vendors.port, "/counts")[1])
        return told

    def wait(self, n: int) -> None:
        """Return when Segment has *n* events."""
        end = time.monotonic() + 600
        while self.counts()["segment"] < n:
            assert time.monotonic() < end, self.counts()
            time.sleep(0.02)

    def seen(self) -> dict[str, Any]:
        """Return what the destinations took."""
        told: dict[str, Any] = json.loads(get(self.vendors.port, "/seen")[1])
        return told


def machine() -> str:
    """Return what this was measured on."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = model[0].partition(": ")[2] if model else "?"
    return (
        f"{os.cpu_count()} cores ({name}), CPython {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f} at the start"
    )


def quantiles(times_s: list[float]) -> str:
    """Return median and tail in milliseconds."""
    cuts = statistics.quantiles(times_s, n=100) if len(times_s) > 1 else [0.0] * 99
    return f"p50 {cuts[49] * 1e3:.0f} ms, p99 {cuts[98] * 1e3:.0f} ms"


def throughput(seconds: float) -> float:
    """Print spans/s for each destination and size; return the requests/s of 500 spans that Segment takes."""
    best = 0.0
    print(
        "| to | spans a request | installations in it | spans/s | spans per CPU second | CPU | peak memory | latency |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, per, installations, connections in (
        ("segment", 500, 1, 4),
        ("segment", 500, 25, 4),
        ("segment", 1, 1, 16),
        ("ga4", 500, 1, 4),
        ("ga4", 500, 25, 4),
        ("ga4", 1, 1, 16),
    ):
        with Lab() as lab:
            load = Load(lab.relay.port, f"/{name}/v1/traces", Bodies(per, installations))
            asyncio.run(load.closed(connections, 0.5))
            load.times_s.clear()
            before, spent = len(load.acknowledged), cpu_s(lab.relay.pid)
            took = asyncio.run(load.closed(connections, seconds))
            spent = cpu_s(lab.relay.pid) - spent
            n = len(load.acknowledged) - before
            assert set(load.answers) == {200}, load.answers
            if (name, per, installations) == ("segment", 500, 1):
                best = n / took / per
            print(
                f"| {name} | {per} | {installations} | {n / took:,.0f} | {n / spent:,.0f} | {spent / took * 100:.0f} % "
                f"| {memory_mib(lab.relay.pid, peak=True):.0f} MiB | {quantiles(load.times_s)} |",
                flush=True,
            )
    return best


def half(rate: float, seconds: float) -> None:
    """Print the latency at half of what it can do."""
    with Lab() as lab:
        load = Load(lab.relay.port, "/segment/v1/traces", Bodies(500))
        asyncio.run(load.paced(rate / 2, seconds, 16))
        told = f"half load ({rate / 2:.0f} requests/s of 500 spans)"
        print(f"{told}: {quantiles(load.times_s)}, answers {dict(load.answers)}")


def overload(rate: float, seconds: float) -> None:
    """Print what becomes of twice what it can do, and check that what was acknowledged arrived."""
    with Lab() as lab:
        load = Load(lab.relay.port, "/segment/v1/traces", Bodies(500))
        asyncio.run(load.paced(rate * 2, seconds, 96))
        peak = memory_mib(lab.relay.pid, peak=True)
        arrived = set(lab.seen()["segment"])
        lost = [number for number in load.acknowledged if message_id(number) not in arrived]
        print(
            f"twice that for {seconds:.0f} s over 96 connections: answers {dict(sorted(load.answers.items()))}, "
            f"{quantiles(load.times_s)} for those taken, peak memory {peak:.0f} MiB; "
            f"of {len(load.acknowledged):,} spans acknowledged {len(lost)} are missing"
        )
        assert not lost


def soak(rate: float, seconds: float) -> None:
    """Print memory and descriptors during a long time at half load."""
    points: list[tuple[float, float, int]] = []
    with Lab() as lab:
        began = time.perf_counter()

        def look() -> None:
            descriptors = len(os.listdir(f"/proc/{lab.relay.pid}/fd"))
            points.append((time.perf_counter() - began, memory_mib(lab.relay.pid), descriptors))

        load = Load(lab.relay.port, "/segment/v1/traces", Bodies(500))
        asyncio.run(load.paced(rate / 2, seconds, 16, look))
        look()
    late = [point for point in points if point[0] >= seconds / 2]
    shown = ", ".join(f"{at:.0f} s: {mib:.0f} MiB, {fds} fds" for at, mib, fds in points[:: max(1, len(points) // 8)])
    drift = late[-1][1] - late[0][1]
    print(f"{seconds:.0f} s at half load, {len(load.acknowledged):,} spans: {shown}; second half: {drift:+.1f} MiB")


def main() -> None:
    """Measure and print."""
    print(f"## Relay\n\n{machine()}\n")
    rate = throughput(max(1.0, 10 * SCALE))
    print()
    half(rate, max(2.0, 20 * SCALE))
    overload(rate, max(2.0, 20 * SCALE))
    soak(rate, SOAK_S)


if __name__ == "__main__":
    main()
