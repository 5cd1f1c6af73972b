"""The relay under attack, beside the Collector's OTLP receiver under the same attack: memory, and who else is served.

`python -m tests.bench.attack`, or `… attack handshake` for the attacks in whose names that is. BENCH_SCALE (default 1) makes
each attack shorter. The Collector is measured if there is one:
`make collector`. Attackers run in a process of their own; meanwhile one client posts a run every 50 ms, on a connection that
it keeps, and times every answer. The relay asks for a token, which the attackers have where the table says so. Peak memory is
what the attack adds up to, the server's own included.
"""

from __future__ import annotations

import gzip
import http.client
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.relay import Lab, machine
from tests.collector.gateway import Gateway, binary
from tests.collector.harness import Backend, memory_mib, traces
from tests.server.encrypted import Certificate, Hands

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
ATTACK_S = max(2.0, 10 * SCALE)
EVERY_S = 0.05
ANSWER_S = 10.0  # after that the healthy client gives up
TOKEN = "bench-token"
PATH = "/v1/traces"


def post_bytes(body: bytes, *lines: str, length: int | None = None) -> bytes:
    """Return a POST with the token, as bytes. length: what it says of its body."""
    size = len(body) if length is None else length
    head = [f"POST {PATH} HTTP/1.1", "host: x", "content-type: application/x-protobuf", f"content-length: {size}"]
    return "\r\n".join([*head, f"authorization: Bearer {TOKEN}", *lines, "", ""]).encode() + body


def hello() -> bytes:
    """Return how a TLS handshake begins."""
    return Hands(ssl.create_default_context()).hello()


# {attack: (connections, what each sends, again and again?, with the token?)}; those whose names have "handshake" meet TLS.
Attack = tuple[int, Callable[[], bytes], bool, bool]
ATTACKS: dict[str, Attack] = {
    "none": (0, lambda: b"", False, False),
    "pipelining, 256 kB on each of 400 connections": (400, lambda: b"GET /x HTTP/1.1\r\n\r\n" * 13_000, False, False),
    "pipelining, on and on from 100 connections": (100, lambda: b"GET /x HTTP/1.1\r\n\r\n" * 13_000, True, False),
    "headers that do not end, 500 connections": (500, lambda: b"POST /v1/traces HTTP/1.1\r\nx: ", False, False),
    "bodies that stop after a byte, 900 connections": (900, lambda: post_bytes(b"x", length=1_000), False, True),
    "4 MiB of empty gzip members, on and on from 8": (
        8,
        lambda: post_bytes(gzip.compress(b"") * 200_000, "content-encoding: gzip"),
        True,
        True,
    ),
    "4 kB of gzip for two million spans, on and on from 8": (
        8,
        lambda: post_bytes(gzip.compress(b"\x0a\xfa\xff\xff\x01\x12\xf5\xff\xff\x01" + b"\x12\0" * 2_097_146),
                           "content-encoding: gzip"),
        True,
        True,
    ),
    "10,000 connections that do nothing": (10_000, lambda: b"", False, False),
    "none, without a handshake of others": (0, lambda: b"", False, False),
    "10,000 connections without a handshake": (10_000, lambda: b"", False, False),
    "900 handshakes that end after the hello": (900, hello, False, False),
    "900 handshakes that announce 128 kB": (900, lambda: b"\x16\x03\x01\x40\0\x01\x01\xff\0\x03\x03" + bytes(16_378), False, False),
    "handshakes, on and on from 100 connections": (100, hello, True, False),
    "handshakes of plain HTTP, on and on from 100": (100, lambda: b"GET /x HTTP/1.1\r\n\r\n" * 100, True, False),
}  # fmt: skip


def attack(name: str, port: int) -> None:
    """Attack until standard input ends. Runs in a process of its own."""
    n, make, repeats, _ = ATTACKS[name]
    content = make()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 12_000)), hard))

    def connect() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except OSError:
            return None

    def work() -> None:
        while True:
            connection = connect()
            if connection is None:
                continue
            try:
                connection.settimeout(30)
                connection.sendall(content)
                if repeats:
                    connection.recv(1 << 16)
                else:
                    open_connections.append(connection)
                    return
            except OSError:
                pass
            connection.close()
            if not repeats:
                return

    open_connections: list[socket.socket] = []
    if n > 1_000:  # they send nothing: no thread for each
        open_connections += [one for one in (connect() for _ in range(n)) if one is not None]
    else:
        for _ in range(n):
            threading.Thread(target=work, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


class Healthy:
    """A client that posts a run every 50 ms, on a connection that it keeps; it knows how long each answer took."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.tls = tls
        self.times_s: list[float] = []
        self.failed = 0

    def run(self, seconds: float) -> None:
        """Post for *seconds*."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        if self.tls is not None:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=ANSWER_S, context=self.tls)
        headers = {"content-type": "application/x-protobuf", "authorization": f"Bearer {TOKEN}"}
        end = time.monotonic() + seconds
        number = 0
        while (began := time.monotonic()) < end:
            number += 1
            body = traces([number]).SerializeToString()
            for last in (False, True):  # a connection that was closed between two requests is no failure
                try:
                    connection.request("POST", PATH, body, headers)
                    answer = connection.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException):
                    connection.close()
                    self.failed += last
                else:
                    self.failed += answer.status != 200
                    break
            self.times_s.append(time.monotonic() - began)
            time.sleep(max(0.0, began + EVERY_S - time.monotonic()))
        connection.close()


def measure(name: str, port: int, pid: int, tls: ssl.SSLContext | None) -> str:
    """Return the cells for one attack on one server. tls: what a client of it needs, None for plain HTTP."""
    command = [sys.executable, "-m", "tests.bench.attack", name, str(port)]
    peak = [memory_mib(pid)]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], memory_mib(pid))

    threading.Thread(target=watch, daemon=True).start()
    attackers = subprocess.Popen(command, stdin=subprocess.PIPE)
    healthy = Healthy(port, tls)
    healthy.run(ATTACK_S)
    assert attackers.stdin is not None
    attackers.stdin.close()
    attackers.wait()
    ended.set()
    times_ms = sorted(one * 1_000 for one in healthy.times_s)
    answered = f"{len(times_ms) - healthy.failed} of {len(times_ms)}"
    return f"{peak[0]:.0f} MiB | {statistics.median(times_ms):.0f} ms, {times_ms[-1]:.0f} ms | {answered}"


def main() -> None:
    """Measure and print."""
    print(f"## Under attack\n\n{machine()}; each attack for {ATTACK_S:.0f} s\n")
    print("| attack | token | server | peak memory | a healthy client waits: median, longest | it is answered |")
    print("| --- | --- | --- | --- | --- | --- |")
    collector = binary()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokens").write_text(TOKEN)
        certificate = Certificate(Path(folder))
        wanted = sys.argv[1] if len(sys.argv) > 1 else ""
        for name, (_, _, _, with_token) in [row for row in ATTACKS.items() if wanted in row[0]]:
            tls = certificate.client() if "handshake" in name else None
            options = certificate.options() if tls else []
            cells = f"| {name} | {'yes' if with_token else 'no'} |"
            with Lab("--token-file", f"{folder}/tokens", *options) as lab:
                print(cells, "relay |", measure(name, lab.relay.port, lab.relay.pid, tls), "|", flush=True)
            if collector is not None:
                at = Path(folder) / str(time.monotonic_ns())
                (at / "storage").mkdir(parents=True)
                with Backend() as backend:
                    environ = {"BACKEND_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}"}
                    environ |= {"GATEWAY_TLS_CERT": certificate.cert, "GATEWAY_TLS_KEY": certificate.key} if tls else {}
                    files = ("gateway.yaml", "tls.yaml") if tls else ("gateway.yaml",)
                    with Gateway(collector, at, files, **environ) as gateway:
                        assert gateway.process is not None
                        figures = measure(name, gateway.http, gateway.process.pid, tls)
                        print(cells, "Collector |", figures, "|", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        attack(sys.argv[1], int(sys.argv[2]))
    else:
        main()
