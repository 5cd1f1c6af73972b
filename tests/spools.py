"""A receiver on loopback, a spool filled as hosts fill it, and senders run over it."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from otel_usage.delivery.ledger import Ledger
from otel_usage.delivery.sender import Sender
from otel_usage.otlp import attributes_of, json_from_protobuf
from otel_usage.recording import otlp_events, otlp_text

Answer = tuple[int, Mapping[str, str], bytes]


class Sink:
    """An OTLP receiver. answer: what to say to the n-th request, (status, headers, body); told: what was received."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[int], Answer] = lambda _n: (200, {}, b"")
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                with sink.lock:
                    sink.told.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                    n = len(sink.told) - 1
                status, headers, text = sink.answer(n)
                self.send_response(status)
                for name, value in {"Content-Type": "application/x-protobuf", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def spans(self, *, first_runs: bool = False) -> list[dict[str, Any]]:
        """Return the spans received, each with attributes and resource as dicts.

        first_runs: also those that say that an installation is new, which come with what a fresh home sends first.
        """
        found = []
        for path, _headers, body in list(self.told):
            if path == "/v1/traces":
                for group in json_from_protobuf("traces", body).get("resourceSpans", ()):
                    resource = attributes_of(group["resource"]["attributes"])
                    for scoped in group["scopeSpans"]:
                        for span in scoped["spans"]:
                            found.append(
                                {**span, "attributes": attributes_of(span["attributes"]), "resource": resource}
                            )
        return [span for span in found if first_runs or span["attributes"].get("usage.kind") != "first_run"]

    def ids(self) -> list[str]:
        return [span["spanId"] for span in self.spans()]

    def points(self) -> dict[tuple[str, str], int]:
        """Return ``{(metric, values of its attributes): total}`` of the sums received."""
        totals: dict[tuple[str, str], int] = {}
        for path, _headers, body in list(self.told):
            if path == "/v1/metrics":
                for group in json_from_protobuf("metrics", body)["resourceMetrics"]:
                    for scoped in group["scopeMetrics"]:
                        for metric in scoped["metrics"]:
                            for point in metric.get("sum", {}).get("dataPoints", ()):
                                told = " ".join(str(v) for v in attributes_of(point.get("attributes", ())).values())
                                key = (metric["name"], told)
                                totals[key] = totals.get(key, 0) + int(point["asInt"])
        return totals


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A receiver that takes everything, until told otherwise."""
    made = Sink()
    yield made
    made.close()


SCHEMA: dict[str, Any] = {
    "report.upload": {
        "why": "x",
        "fields": {"format": ["pdf", "html"], "size": ("bucket", "MB", 1, 10), "again": "bool"},
    },
    "events.seen": {"kind": "count", "why": "x", "fields": {"channel": ["slack", "discord"]}},
    "config.invalid": {"kind": "error", "why": "x"},
}


class Spool:
    """One user's folder of the app ``prog``, and what a sender is told about it."""

    def __init__(self, root: Path, destinations: Mapping[str, Any] | None) -> None:
        self.home = root / "prog"
        self.folder = self.home / "1"
        for name in ("open", "new"):
            (self.folder / name).mkdir(parents=True)
        # One that is not new: else a first run would be sent too, see delivery/test_first_run.py.
        (self.home / "id").write_text(f"4f8b12f2-92a8-4d67-8a8a-0c4f6f1f2a11 {int(time.time())}\n")
        self.settings: dict[str, Any] = {
            "app": "prog",
            "version": "1.0",
            "consent": "opt-out",
            "policy": 1,
            "about": "",
            "schema": SCHEMA,
            "destinations": destinations,
            "home": str(self.home),
            "mode": "on",
            "since_s": 0,
            "ci": "",
            "lines": [],
        }

    def put(self, text: bytes, name: str | None = None, where: str = "new", signal: str = "traces") -> Path:
        name = name or f"{time.time_ns():016x}-{os.urandom(8).hex()}.{signal}.jsonl"
        path = self.folder / where / name
        path.write_bytes(text)
        return path

    def run(self, *, command: str = "report upload", more: Sequence[tuple[str, object]] = (), **changes: Any) -> str:
        """Add one finished run as a host writes it; return its span id."""
        _trace, own, text = run_line(command=command, more=more, **changes)
        self.put(text, f"{time.time_ns():016x}-{own}.traces.jsonl")
        return own

    def files(self) -> list[str]:
        """Return what waits anywhere in the spool."""
        kept = ("lock", "wake", "pause", "dropped")
        return sorted(
            str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file() and p.name not in kept
        )

    def drain(self) -> None:
        """Run one sender's life, in this process."""
        Sender(self.settings).run()

    def drain_apart(self) -> str:
        """Run one sender's life in a process of its own; return what it printed."""
        code = f"from otel_usage.delivery.start import main; main({self.settings!r})"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout


def run_line(
    *,
    command: str = "report upload",
    more: Sequence[tuple[str, object]] = (),
    app: str = "prog",
    start_ns: int | None = None,
    name: str | None = None,
    resource: Sequence[tuple[str, object]] = (),
) -> tuple[str, str, bytes]:
    """Return (trace id, span id, line) of one run, as the recorder formats it."""
    ids = os.urandom(24).hex()
    start = time.time_ns() if start_ns is None else start_ns
    pairs: list[tuple[str, object]] = [
        ("usage.kind", "run"),
        ("usage.command", command),
        ("usage.outcome", "success"),
        ("usage.options", ["--verbose"]),
        ("process.executable.name", app),
        ("process.exit.code", 0),
        *more,
    ]
    name = name or (app if command == "(root)" else f"{app} {command}")
    span = otlp_events.span(ids[:32], ids[32:], "", name, start, start + 5_000_000, pairs, False)
    told = otlp_events.attributes([("service.name", app), ("service.version", "1.0"), *resource])
    return ids[:32], ids[32:], otlp_text.line("Spans", "spans", told, span)


@pytest.fixture
def plain_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """This process's environment, without anybody's telemetry settings, put back as it was afterwards."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("OTEL_", "DO_NOT_TRACK", "CI", "GITHUB_")):
            del os.environ[name]
    os.environ.update(OTEL_USAGE_HOME=str(tmp_path / "state"), HOME=str(tmp_path), PROG_TELEMETRY="on")
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def spool(tmp_path: Path, sink: Sink, plain_environ: None) -> Spool:
    """An empty spool whose runs go to the sink."""
    return Spool(tmp_path / "state", {"otlp": sink.address})


def results(spool: Spool) -> list[tuple[str, str, int | None]]:
    """Return (signal, result, status) of the ledger's entries."""
    return [(e["signal"], e["result"], e["status"]) for e in Ledger(str(spool.home)).entries()]
