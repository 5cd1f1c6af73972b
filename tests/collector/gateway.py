"""A Collector with the files of collector-config/, for tests and benches."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.collector.harness import DEADLINE_S, Backend, free_port, get, memory_mib, post
from tests.hosts import ROOT

CONFIG = ROOT / "collector-config"


def binary() -> str | None:
    """Return the path of the Collector to test with, None if there is none. Raises ValueError if OTELCOL is wrong."""
    named = os.environ.get("OTELCOL")
    path = named or str(ROOT / "build" / "otelcol-usage")
    if os.path.isfile(path) and os.access(path, os.X_OK):
        return path
    if named:
        raise ValueError(f"OTELCOL={named!r} is not a program; leave it out to test with build/otelcol-usage")
    return None


class Gateway:
    """A Collector running our files on free ports of this machine. stop() is SIGTERM, kill() SIGKILL."""

    def __init__(self, path: str, folder: Path, files: Sequence[str] = ("gateway.yaml",), **environ: str) -> None:
        self.http, self.grpc, self.health, self.metrics = (free_port() for _ in range(4))
        self.command = [path, *(f"--config={CONFIG / file}" for file in files)]
        self.environ = {
            "PATH": os.environ.get("PATH", ""),
            "GATEWAY_HTTP": f"127.0.0.1:{self.http}",
            "GATEWAY_GRPC": f"127.0.0.1:{self.grpc}",
            "GATEWAY_HEALTH": f"127.0.0.1:{self.health}",
            "GATEWAY_METRICS_PORT": str(self.metrics),
            "GATEWAY_STORAGE": str(folder / "storage"),
            "GATEWAY_FLUSH": "50ms",
            **environ,
        }
        self.log: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self._line = threading.Condition()
        self._reader: threading.Thread | None = None

    def start(self) -> Gateway:
        """Start it, and return when it takes data."""
        self.process = subprocess.Popen(self.command, env=self.environ, stderr=subprocess.PIPE, text=True)
        self.log.clear()
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        self.wait_log("Everything is ready")
        return self

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                with self._line:
                    self.log.append(line)
                    self._line.notify_all()
        with self._line:
            self.log.append("(ended)")
            self._line.notify_all()

    def wait_log(self, text: str, deadline_s: float = DEADLINE_S) -> None:
        """Return when the log has a line with *text*."""

        def there() -> bool:
            return any(text in line or line == "(ended)" for line in self.log)

        with self._line:
            self._line.wait_for(there, deadline_s)
        assert any(text in line for line in self.log), f"no {text!r} in its log:\n" + "".join(self.log[-15:])

    def counters(self) -> dict[str, float]:
        """Return the Collector's own metrics, labels included in the names."""
        lines = [line for line in get(self.metrics, "/metrics")[1].splitlines() if line and line[0] != "#"]
        return {name: float(number) for name, _, number in (line.rpartition(" ") for line in lines)}

    def wait_counters(self, names: set[str]) -> None:
        """Return when all of *names* are among its metrics, or never come."""
        end = time.monotonic() + DEADLINE_S / 3
        while time.monotonic() < end and names - {name.partition("{")[0] for name in self.counters()}:
            time.sleep(0.05)  # nothing tells of it

    def memory_mib(self) -> float:
        """Return its resident memory."""
        assert self.process is not None
        return memory_mib(self.process.pid)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(DEADLINE_S)
            assert self._reader is not None
            self._reader.join(DEADLINE_S)
            self.process = None

    def stop(self) -> None:
        """End it as an operator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as the kernel does."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Gateway:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self._end(signal.SIGKILL)


Running = tuple[Gateway, Backend]


def sent_and_arrived(running: Running, request: Any) -> tuple[dict[str, Any], Any]:
    """Send one span or data point; return (resource attributes, what arrived)."""
    gateway, backend = running
    signal, kept = ("traces", backend.spans) if "Trace" in type(request).__name__ else ("metrics", backend.points)
    before = len(kept)
    status, _, _ = post(gateway.http, f"/v1/{signal}", request.SerializeToString())
    assert 200 == status
    backend.wait(lambda: len(kept) > before)
    return kept[before][0], kept[before][-1]
