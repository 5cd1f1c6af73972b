"""A relay in this process, with a destination that does as it is told; clients; and a relay in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from google.rpc.status_pb2 import Status
from opentelemetry.sdk.metrics.export import MetricsData

from otel_usage.delivery.verdict import Verdict
from otel_usage.server.app import make_app
from otel_usage.server.connections import make_protocol
from otel_usage.server.options import Options
from otel_usage.server.tls import make_tls_protocol
from otel_usage.server.workers import DestinationWorkers
from tests.collector.harness import DEADLINE_S, free_port, post, traces

TRACES = "/fake/v1/traces"
HEAD = f"POST {TRACES} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n".encode()
METRICS = "/fake/v1/metrics"
JSON = {"content-type": "application/json"}


class Fake:
    """A destination's exporter: notes what it is given, and answers with what *verdict* returns."""

    def __init__(self, verdict: Callable[[list[Any]], Verdict] = lambda given: Verdict()) -> None:
        self.verdict = verdict
        self.given: list[list[Any]] = []  # spans, or data points with their metric's name
        self.closed = False
        self.changed = threading.Condition()

    def deliver(self, what: Any) -> Verdict:
        """Take spans or metrics."""
        given = points(what) if isinstance(what, MetricsData) else list(what)
        with self.changed:
            self.given.append(given)
            self.changed.notify_all()
        return self.verdict(given)

    def wait(self, condition: Callable[[], object]) -> None:
        """Return when *condition* holds, looked at after every delivery."""
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE_S)

    def shutdown(self) -> None:
        """Note that we were shut down."""
        self.closed = True

    def numbers(self) -> list[int]:
        """Return the numbers of all spans given so far; see `harness.traces`."""
        return [span.context.span_id - 1 for given in self.given for span in given]


def points(metrics: MetricsData) -> list[Any]:
    """Return (name, data point) of all data points, in order."""
    return [
        (metric.name, point)
        for group in metrics.resource_metrics
        for scoped in group.scope_metrics
        for metric in scoped.metrics
        for point in metric.data.data_points
    ]


class Serving:
    """The relay on a port of this machine, in a thread. fake: the exporter of /fake/v1/… tls: None for plain HTTP"""

    def __init__(
        self,
        fake: Fake | None = None,
        *,
        connections: int = 1_024,
        tls: ssl.SSLContext | None = None,
        **limits: Any,
    ) -> None:
        protocol = make_protocol(connections)
        options = Options(**limits)
        self.fake = fake or Fake()
        self.port = free_port()
        self.destination = DestinationWorkers(
            "fake", {"traces": self.fake, "metrics": self.fake}, window=options.window, workers=options.workers
        )
        self.app = make_app([self.destination], options)
        self.relay = self.app.state.relay
        config = uvicorn.Config(
            self.app,
            host="127.0.0.1",
            port=self.port,
            log_config=None,
            log_level="error",
            access_log=False,
            ws="none",
            http=protocol if tls is None else make_tls_protocol(protocol, tls, self.relay.count_handshake),
            timeout_graceful_shutdown=10,
        )
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Serving:
        ready = threading.Event()
        startup = self.server.startup

        async def told(sockets: Any = None) -> None:
            await startup(sockets)
            ready.set()

        self.server.startup = told  # type: ignore[method-assign]
        self._thread.start()
        assert ready.wait(DEADLINE_S)
        return self

    def __exit__(self, *error: object) -> None:
        self.server.should_exit = True
        self._thread.join(DEADLINE_S)


class Process:
    """``otel-usage relay`` as an operator starts it, on a free port of this machine."""

    def __init__(self, destinations: Sequence[str], *options: str, **environ: str) -> None:
        self.port = free_port()
        command = ["-m", "otel_usage.server.serve", *destinations, "--listen", f"127.0.0.1:{self.port}", *options]
        self.command = [sys.executable, *command]
        self.environ = {"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1", **environ}
        self.process: subprocess.Popen[str] | None = None
        self.log: list[str] = []

    def start(self) -> Process:
        """Start it, and return when it listens."""
        self.process = subprocess.Popen(self.command, env=self.environ, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if "listening on" in line:
                break
        else:
            raise AssertionError("it ended: " + "".join(self.log))
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        return self

    def _read(self, stream: Any) -> None:
        with stream:
            self.log.extend(stream)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(how)
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        self.process = None
        return code

    def __enter__(self) -> Process:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.end(signal.SIGKILL)


def status_of(answer: tuple[int, Mapping[str, str], bytes]) -> tuple[int, int, str]:
    """Return (HTTP status, google.rpc code, message) of a failure."""
    told = Status.FromString(answer[2])
    return answer[0], told.code, told.message


@contextmanager
def clients(serving: Serving, n: int, begun: bytes) -> Iterator[list[socket.socket]]:
    """Open *n* connections, one after the other, each of which sends *begun* and then nothing."""
    opened = []
    try:
        for _ in range(n):
            opened.append(socket.create_connection(("127.0.0.1", serving.port), DEADLINE_S))
            opened[-1].sendall(begun)
        yield opened
    finally:
        for one in opened:
            one.close()


def heard(client: socket.socket) -> bytes:
    """Return all that *client* hears until the relay closes the connection."""
    said = b""
    try:
        while part := client.recv(65_536):
            said += part
    except ConnectionError:
        pass
    return said


def send(serving: Serving, *numbers: int) -> tuple[int, Any, bytes]:
    """Post runs as another client."""
    return post(serving.port, TRACES, traces(numbers).SerializeToString())
