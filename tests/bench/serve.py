"""`otel-usage serve` under load, and killed under load: ``python -m tests.bench.serve [load|kill|all]``.

LOAD  The server is a process of its own, as an operator starts it; clients are threads of processes beside it, each with a
      connection that it keeps. Both share the machine, so CPU seconds of the server for what it acknowledged stand beside the
      rates: they depend little on what else the machine does.
KILL  Clients send and note what was acknowledged; the server is killed with SIGKILL again and again, and started again. Then
      the store is opened: what was acknowledged must be in it, each event once.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from otel_usage.serve.store.store import Store
from tests.collector.harness import traces
from tests.serve.store.stores import ServeProcess, ask

HEADERS = {"content-type": "application/x-protobuf"}


@dataclass
class Killed:
    """What became of events while the server was killed."""

    kills: int = 0
    acknowledged: int = 0
    missing: int = 0
    doubled: int = 0
    stored: int = 0


@dataclass
class Client:
    """Sends requests of *size* runs until told to stop; notes the numbers of those that were acknowledged."""

    port: int
    first: int
    size: int
    stop: threading.Event
    acknowledged: list[int] = field(default_factory=list)

    def run(self) -> None:
        """Send."""
        number = self.first
        connection = None
        while not self.stop.is_set():
            numbers = range(number, number + self.size)
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("POST", "/v1/traces", traces(numbers).SerializeToString(), HEADERS)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):  # killed: the same request comes again
                if connection is not None:
                    connection.close()
                connection = None
                self.stop.wait(0.02)
                continue
            if answer.status == 200:
                self.acknowledged += numbers
                number += self.size
        if connection is not None:
            connection.close()


def kill_under_load(path: Path, *, kills: int, seconds: float, clients: int = 6) -> Killed:
    """Kill the server of the store at *path* so often, about every *seconds*; return what became of events."""
    chance = random.Random(kills)
    stop = threading.Event()
    server = ServeProcess(path).start()
    senders = [Client(server.port, 1_000_000 * (n + 1), (1, 7, 50)[n % 3], stop) for n in range(clients)]
    threads = [threading.Thread(target=sender.run) for sender in senders]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        time.sleep(seconds * chance.uniform(0.5, 1.5))
        server.end(signal.SIGKILL)
        server.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    server.end(signal.SIGKILL)
    acknowledged = {number + 1 for sender in senders for number in sender.acknowledged}
    with Store(path) as store:
        events = [event for (event,) in ask(store, "SELECT event FROM events")]
    missing = len(acknowledged - set(events))
    return Killed(kills, len(acknowledged), missing, len(events) - len(set(events)), len(events))


@dataclass
class Load:
    """What a server took under load. cpu_s: of the server, for what was acknowledged."""

    size: int
    per_installation: int
    seconds: float
    requests: int
    cpu_s: float
    p50_ms: float
    p99_ms: float
    refused: int

    def line(self) -> str:
        """Return it as a row of a table."""
        spans = self.requests * self.size
        return (
            f"| {self.size} | {self.per_installation} | {self.requests / self.seconds:,.0f} | {spans / self.seconds:,.0f} "
            f"| {self.cpu_s / self.requests * 1e6:,.0f} | {spans / self.cpu_s:,.0f} "
            f"| {self.p50_ms:.0f} | {self.p99_ms:.0f} | {self.refused} |"
        )


def make_bodies(seed: int, size: int, per_installation: int, n: int) -> list[bytes]:
    """Return *n* requests of *size* runs, each installation with so many in a row."""
    chance = random.Random(seed)
    result = []
    for _ in range(n):
        request = None
        for first in range(0, size, per_installation):
            installation = f"{chance.getrandbits(32):08x}-1111-4111-8111-{chance.getrandbits(48):012x}"
            numbers = [chance.getrandbits(62) for _ in range(min(per_installation, size - first))]
            part = traces(numbers, installation=installation)
            request = part if request is None else request
            if part is not request:
                request.MergeFrom(part)
        assert request is not None
        result.append(request.SerializeToString())
    return result


def _send(arguments: tuple[int, int, int, int, float, float]) -> tuple[int, int, list[float]]:
    """Send for a while over several connections; return (acknowledged, refused, seconds of each). In a process."""
    import asyncio

    port, seed, size, per_installation, seconds, rate = arguments
    bodies = make_bodies(seed, size, per_installation, 4_000 if size == 1 else 60)
    heads = [
        f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {len(b)}\r\n\r\n".encode()
        + b
        for b in bodies
    ]
    durations: list[float] = []
    refused = 0
    connections = 64 if size == 1 else 8
    chance = random.Random(seed)

    async def client(n: int, end: float) -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        pause_s = connections / rate if rate else 0.0
        await asyncio.sleep(chance.random() * pause_s)
        due = time.perf_counter()
        while (began := time.perf_counter()) < end and heads:
            writer.write(heads.pop())
            status = await reader.readline()
            length = 0
            while (line := await reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            await reader.readexactly(length)
            if b" 200 " in status:
                durations.append(time.perf_counter() - began)
            else:
                refused += 1
            if pause_s:
                due += pause_s
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
        writer.close()

    async def work() -> None:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(client(n, end) for n in range(connections)))

    asyncio.run(work())
    return len(durations), refused, durations


def cpu_s_of(pid: int) -> float:
    """Return the CPU seconds of a process."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def load(size: int, per_installation: int, *, rate: float = 0.0, processes: int = 2, seconds: float = 8.0) -> Load:
    """Return what a fresh server takes of requests of *size* runs. rate: requests a second in all; 0 for as fast as it can."""
    with tempfile.TemporaryDirectory() as folder, ServeProcess(Path(folder) / "s") as server:
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(_send, [(server.port, n, size, per_installation, 0.3, 0.0) for n in range(processes)]))
            cpu_s, began = cpu_s_of(server.pid), time.perf_counter()
            jobs = [(server.port, 100 + n, size, per_installation, seconds, rate / processes) for n in range(processes)]
            outcomes = list(pool.map(_send, jobs))
            took_s, cpu_s = time.perf_counter() - began, cpu_s_of(server.pid) - cpu_s
        durations = sorted(one for _, _, many in outcomes for one in many)
        took_s = min(took_s, sum(durations) / (64 * processes if size == 1 else 8 * processes)) if not rate else took_s
        return Load(
            size,
            per_installation,
            took_s,
            len(durations),
            cpu_s,
            statistics.median(durations) * 1e3,
            durations[int(len(durations) * 0.99)] * 1e3,
            sum(refused for _, refused, _ in outcomes),
        )


def main(words: Sequence[str]) -> int:
    """Measure, and print."""
    what = words[0] if words else "all"
    print(f"load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores")
    if what in ("load", "all"):
        print(
            "| runs a request | of one installation | requests/s | spans/s | CPU µs a request | spans a CPU s | p50 ms | p99 ms | refused |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for size, per_installation in ((1, 1), (500, 10), (500, 1)):
            full = load(size, per_installation)
            print(full.line(), flush=True)
            half = load(size, per_installation, rate=full.requests / full.seconds / 2)
            print(half.line(), "(half)", flush=True)
    if what in ("kill", "all"):
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(asdict(kill_under_load(Path(folder) / "s", kills=10, seconds=2.0))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
