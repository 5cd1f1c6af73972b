"""The same recording through the OpenTelemetry API, for programs that run an SDK of their own.

Ring 1 (background), in the host's process: `opentelemetry-instrument some-cli …` loads it by its entry point.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Collection
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.trace import SpanKind, Status, StatusCode

from . import __version__, _usage, decide
from .recorder import BRAKE, Run, guarded, hook


class UsageInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Records one span and the run counters for the program's run, with the program's own providers.

    ``instrument(app=…, tracer_provider=…, meter_provider=…)``; app defaults to ``OTEL_SERVICE_NAME``, then to the name
    of the installed program. The variables that switch usage data off are heeded. Where the program calls
    `otel_usage.init` and that records, this stays silent: a run is one span.
    """

    _observer: _Observer | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no requirement: argparse, click and typer are taken as they come."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        app = kwargs.get("app") or os.environ.get("OTEL_SERVICE_NAME") or _program()
        if BRAKE.decode() in os.environ:
            return
        decision = decide(app, "opt-in", 1, os.environ)
        if decision.mode == "off" and decision.layer != "default":
            return
        self._observer = _Observer(app, kwargs.get("tracer_provider"), kwargs.get("meter_provider"), decision.ci)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002  the base class's shape
        if self._observer is not None:
            atexit.unregister(self._observer.finish)
            self._observer.run.close()
            self._observer = None


def _program() -> str:
    """Return the name of the installed program that runs, or ``python``: a path that a user typed is not one."""
    folder, name = os.path.split(sys.argv[0] if getattr(sys, "argv", None) else "")
    return name if name and folder == os.path.dirname(sys.executable) else "python"


class _Observer:
    """Watches one run, and tells it when it ends."""

    def __init__(self, app: str, tracer_provider: Any, meter_provider: Any, ci: str) -> None:
        self.app = app
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self.ci = ci
        self.start_ns = time.time_ns()
        self.clock_ns = time.monotonic_ns()
        try:
            self.tty = os.isatty(1)
        except OSError:
            self.tty = False
        self.run = Run(None, self._named)
        hook(self.run)
        atexit.register(self.finish)

    def _named(self) -> None:
        # Handlers run last in, first out: a provider made since must not be shut down before our span is ended.
        atexit.unregister(self.finish)
        atexit.register(self.finish)

    def finish(self) -> None:
        """Emit the span and the counters."""
        atexit.unregister(self.finish)
        if not _usage.recording and self.run.pid == os.getpid():
            guarded(self._emit)
        self.run.close()

    def _emit(self) -> None:
        code, outcome, error = self.run.ending()
        end_ns = self.start_ns + max(0, time.monotonic_ns() - self.clock_ns)
        path = self.run.path()
        attributes: dict[str, Any] = {
            "usage.kind": "run",
            "usage.command": path,
            "usage.outcome": outcome,
            "usage.options": list(self.run.options),
            "process.executable.name": self.app,
            "usage.ci": bool(self.ci),
            "usage.tty": self.tty,
        }
        if code is not None:
            attributes["process.exit.code"] = code
        if error:
            attributes["error.type"] = error
        tracer = trace.get_tracer("otel_usage", __version__, self.tracer_provider)
        span = tracer.start_span(
            self.app if path == "(root)" else f"{self.app} {path}",
            context=Context(),
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            start_time=self.start_ns,
        )
        if code:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_ns)
        meter = metrics.get_meter("otel_usage", __version__, self.meter_provider)
        labels = {"usage.command": path, "usage.outcome": outcome}
        meter.create_counter("usage.runs", "{run}").add(1, labels)
        meter.create_histogram("usage.run.duration", "s").record((end_ns - self.start_ns) / 1e9, labels)
