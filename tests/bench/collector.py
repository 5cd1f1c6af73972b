"""The gateway, measured; and the whole way under kills: programs → gateway → fan-out → relay → GA4 and Segment.

`python -m tests.bench.collector`. Variables: BENCH_SCALE (default 1) makes less of everything. Needs the Collector of
`make collector`.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.bench.relay import INSTALLATION, SCALE, Bodies, Lab, Load, machine, message_id, quantiles
from tests.collector.gateway import Gateway, binary
from tests.collector.harness import cpu_s, free_port, memory_mib, post, traces

SPANS = int(200_000 * min(1.0, SCALE)) // 1_000 * 1_000
INSTALLATIONS = 1_000
GA4_BATCH = 100  # fan-out.yaml, max_size
FLUSH = 20  # spans of one installation in a request
KILLS = 4  # of the Collector, and as many of the relay
SEGMENT_FAILS = 0.05  # of requests; Segment's are tried again
GA4_OFFSET_US = 120_000  # an event's time is its span's end
GA4_FAILS = 0.01  # GA4's are not: what GA4 answers with an error is lost, by policy


class Sink:
    """An OTLP backend in a process of its own that says 200 and forgets."""

    def __enter__(self) -> Sink:
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.collector", "sink", str(self.port)], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


async def sink(port: int) -> None:
    """Serve as `Sink`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


def throughput(path: str, seconds: float) -> None:
    """Print spans/s that the gateway takes, checks, keeps on disk and passes on."""
    print("| spans a request | fsync | spans/s | spans per CPU second | CPU | peak memory | latency |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for per, connections, fsync in ((500, 4, "true"), (500, 4, "false"), (1, 32, "true"), (1, 32, "false")):
        with Sink() as backend, tempfile.TemporaryDirectory() as folder:
            settings = {"BACKEND_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}", "GATEWAY_FSYNC": fsync}
            with Gateway(path, Path(folder), GATEWAY_FLUSH="1s", **settings) as gateway:
                assert gateway.process is not None
                pid = gateway.process.pid
                load = Load(gateway.http, "/v1/traces", Bodies(per))
                asyncio.run(load.closed(connections, 0.5))
                load.times_s.clear()
                before, spent, began = delivered(gateway), cpu_s(pid), time.perf_counter()
                asyncio.run(load.closed(connections, seconds))
                while any(waiting(gateway)):  # taken faster than passed on is not kept up
                    time.sleep(0.05)
                took = time.perf_counter() - began
                accepted, spent = delivered(gateway) - before, cpu_s(pid) - spent
                told = f"{accepted / took:,.0f} | {accepted / spent:,.0f} | {spent / took * 100:.0f} %"
                print(
                    f"| {per} | {fsync} | {told} | {memory_mib(pid, peak=True):.0f} MiB | {quantiles(load.times_s)} |",
                    flush=True,
                )


def delivered(gateway: Gateway) -> float:
    """Return how many spans the gateway has passed on."""
    return sum(n for name, n in gateway.counters().items() if name.startswith("otelcol_exporter_sent_spans"))


class Programs:
    """The senders of all installations: each flush is posted until it is acknowledged."""

    def __init__(self, port: int, began_ns: int) -> None:
        self.port = port
        self.began_ns = began_ns
        self.acknowledged = 0
        self.changed = threading.Condition()
        flushes = list(range(SPANS // FLUSH))
        random.Random(7).shuffle(flushes)
        self._flushes = iter(flushes)
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while True:
            with self.changed:
                flush = next(self._flushes, None)
            if flush is None:
                return
            numbers = range(flush * FLUSH, flush * FLUSH + FLUSH)
            installation = INSTALLATION % (flush % INSTALLATIONS)
            body = traces(numbers, installation=installation, began_ns=self.began_ns).SerializeToString()
            for pause_s in itertools.chain((0.01, 0.02, 0.05), itertools.repeat(0.1)):
                try:
                    if post(self.port, "/v1/traces", body)[0] == 200:
                        break
                except OSError:
                    pass
                time.sleep(pause_s)  # nobody listens just now
            with self.changed:
                self.acknowledged += FLUSH
                self.changed.notify_all()

    def wait(self, n: int) -> None:
        """Return when *n* spans are acknowledged."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.acknowledged >= n, 600), self.acknowledged


def whole_way(path: str, *, keep: bool) -> None:
    """Print what arrives of all spans while Collector and relay are killed and destinations fail at random.

    keep: the relay keeps GA4's window on disk.
    """
    began_ns = time.time_ns() - 60_000_000_000
    began = time.perf_counter()
    kills: list[str] = []
    with tempfile.TemporaryDirectory() as folder, Sink() as backend, Lab(*_state(folder, keep)) as lab:
        lab.fail(SEGMENT_FAILS, GA4_FAILS)
        settings = {
            "BACKEND_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}",
            "RELAY_ENDPOINT": f"http://127.0.0.1:{lab.relay.port}",
            "GATEWAY_FLUSH": "200ms",
        }
        with Gateway(path, Path(folder), ("gateway.yaml", "fan-out.yaml"), **settings) as gateway:
            programs = Programs(gateway.http, began_ns)
            chance = random.Random(11)
            for turn in range(2 * KILLS):
                # Not before both have something to lose, and never at the same point of their work.
                lab.wait(int(SPANS * (turn + 1) / (2 * KILLS + 2)))
                time.sleep(chance.uniform(0, 0.3))
                if turn % 2:
                    lab.kill()
                    kills.append("relay")
                else:
                    gateway.kill()
                    gateway.start()
                    kills.append("Collector")
            programs.wait(SPANS)
            acknowledged_s = time.perf_counter() - began
            settle(gateway)
            took = time.perf_counter() - began
        seen, repetitions = lab.seen(), lab.counts()["segment_repeated"]
    expected = {message_id(number) for number in range(SPANS)}
    arrived = set(seen["segment"])
    start_us = began_ns // 1_000 + GA4_OFFSET_US
    wanted = set(range(SPANS))
    ga4 = {int(at) - start_us: n for at, n in seen["ga4"]}
    refused = {int(at) - start_us for at in seen["refused"]}
    missing = wanted - ga4.keys()
    repeated = sum(n - 1 for n in ga4.values())
    kill = f"{kills.count('Collector')} kills of the Collector and {kills.count('relay')} of the relay"
    fail = f"Segment failed {SEGMENT_FAILS:.0%} of requests, GA4 {GA4_FAILS:.0%}"
    print(
        f"Relay {'with' if keep else 'without'} --state: "
        f"{SPANS:,} spans of {INSTALLATIONS:,} installations, {kill}; {fail}. "
        f"Acknowledged after {acknowledged_s:.0f} s, delivered after {took:.0f} s.\n"
        f"- Segment: {len(arrived & expected):,} distinct messageIds, {len(expected - arrived)} missing, "
        f"{repetitions:,} repetitions for Segment to remove.\n"
        f"- GA4: {len(ga4.keys() & wanted):,} events; {len(missing):,} missing, of which GA4 refused "
        f"{len(missing & refused):,}; {repeated:,} counted twice. Just before its kills the relay held "
        f"{', '.join(map(str, lab.held))} batches of {GA4_BATCH} for GA4."
    )
    assert not expected - arrived
    if keep:
        assert not repeated
    else:
        assert missing <= refused


def _state(folder: str, keep: bool) -> list[str]:
    return ["--state", folder + "/relay"] if keep else []


def waiting(gateway: Gateway) -> list[float]:
    """Return the sizes of the gateway's queues."""
    return [n for name, n in gateway.counters().items() if name.startswith("otelcol_exporter_queue_size{")]


def settle(gateway: Gateway) -> None:
    """Return when the gateway's queues are empty, and stay so."""
    end, empty = time.monotonic() + 900, 0
    while empty < 3:
        assert time.monotonic() < end, "the queues do not empty"
        sizes = waiting(gateway)
        empty = empty + 1 if sizes and not any(sizes) else 0
        time.sleep(0.5)


def main() -> None:
    """Measure and print."""
    path = binary()
    if path is None:
        print("no Collector: make collector builds one")
        return
    print(f"## Collector\n\n{machine()}\n")
    throughput(path, max(1.0, 10 * SCALE))
    print()
    for keep in (True, False):
        whole_way(path, keep=keep)


if __name__ == "__main__":
    if sys.argv[1:2] == ["sink"]:
        asyncio.run(sink(int(sys.argv[2])))
    else:
        main()
