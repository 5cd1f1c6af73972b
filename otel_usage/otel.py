"""The same recording through the OpenTelemetry API, for programs that run an SDK of their own.

Runs in the host's process: ``opentelemetry-instrument some-cli …`` loads it by its entry point.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Collection
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.trace import SpanKind, Status, StatusCode

from . import __version__, _guarded, _usage
from .consent.gate import decide
from .otlp import attributes_of
from .recording.agent import environment, find_agent
from .recording.frameworks import hook_frameworks
from .recording.otlp_text import run_attributes, span_name
from .recording.recorder import is_worker
from .recording.run import Run
from .recording.sender_start import BRAKE

# Set in a program that ``opentelemetry-instrument`` started, to its process id. It leaves its own variables to what the
# program starts, and so each of those would be instrumented, and be a run, too.
INSTRUMENTED = "OTEL_USAGE_INSTRUMENTED"


class UsageInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Records one span and the run counters for the program's run, with the program's own providers.

    ::

        from otel_usage.otel import UsageInstrumentor

        UsageInstrumentor().instrument(app="mycli")

    ``instrument`` takes ``app``, ``tracer_provider`` and ``meter_provider``; app defaults to ``OTEL_SERVICE_NAME``, then
    to the name of the installed program. The variables that switch usage data off are heeded. Where the program calls
    `otel_usage.init` and that records, this stays silent: a run is one span. Workers, and what a program that
    ``opentelemetry-instrument`` started starts itself, are no runs.
    """

    _observer: _RunObserver | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no requirement: argparse, click and typer are taken as they come."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        app = kwargs.get("app") or os.environ.get("OTEL_SERVICE_NAME") or _program_name()
        if BRAKE.decode() in os.environ or is_worker():
            return
        if not kwargs.get("app"):
            pid = str(os.getpid())  # the same after an exec
            if os.environ.setdefault(INSTRUMENTED, pid) != pid:
                return
        decision = decide(app, "opt-in", 1, os.environ)
        if decision.mode == "off" and decision.layer != "default":
            return
        self._observer = _RunObserver(app, kwargs.get("tracer_provider"), kwargs.get("meter_provider"), decision.ci)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002  the base class's shape
        if self._observer is not None:
            atexit.unregister(self._observer.finish)
            self._observer.run.close()
            self._observer = None


def _program_name() -> str:
    """Return the name of the installed program that runs, or ``python``: a path that a user typed is not one."""
    folder, name = os.path.split(sys.argv[0] if getattr(sys, "argv", None) else "")
    return name if name and folder == os.path.dirname(sys.executable) else "python"


class _RunObserver:
    """Watches one run, and emits its span and counters when it ends. Any: the providers, of whichever SDK there is."""

    def __init__(self, app: str, tracer_provider: Any, meter_provider: Any, ci: str) -> None:
        self.app = app
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self.ci = ci
        self.start_ns = time.time_ns()
        self.start_clock_ns = time.monotonic_ns()
        try:
            self.tty = os.isatty(1)
        except OSError:
            self.tty = False
        self.agent = find_agent(environment(), self.tty)
        self.run = Run(None, self._finish_before_providers)
        hook_frameworks(self.run)
        atexit.register(self.finish)
        self._watch_providers(trace, "set_tracer_provider")
        self._watch_providers(metrics, "set_meter_provider")

    def _finish_before_providers(self) -> None:
        """Register our exit handler anew, so that it is the first to run.

        Called when the run has got its name, and when the program has set a provider. Handlers run in the reverse of their
        order: a provider that the program made after `__init__` would otherwise be shut down before our span is ended.
        """
        if self.run.watching:
            atexit.unregister(self.finish)
            atexit.register(self.finish)

    def _watch_providers(self, module: Any, name: str) -> None:
        """Have the API's function *name* tell when the program has called it. Any: a module of the API."""
        plain: Callable[[Any], None] = getattr(module, name)

        def set_provider(provider: Any) -> None:
            plain(provider)
            _guarded(self._finish_before_providers)

        set_provider.__dict__.update(__wrapped__=plain, __doc__=plain.__doc__)
        setattr(module, name, set_provider)

    def finish(self) -> None:
        """Emit the span and the counters."""
        atexit.unregister(self.finish)
        if not _usage.recording and self.run.pid == os.getpid() and not is_worker():
            # A provider that the program has shut down itself says so at whatever comes later: nobody is to read it.
            logger = logging.getLogger("opentelemetry")
            propagate, nothing = logger.propagate, logging.NullHandler()
            logger.propagate = False
            logger.addHandler(nothing)
            try:
                _guarded(self._emit)
            finally:
                logger.removeHandler(nothing)
                logger.propagate = propagate
        self.run.close()

    def _emit(self) -> None:
        ending = self.run.ending()
        end_ns = self.start_ns + max(0, time.monotonic_ns() - self.start_clock_ns)
        command = self.run.command_name()
        json_text = run_attributes(
            self.app, command, self.run.options, ending, bool(self.ci), self.tty, self.agent, "cli"
        )
        attributes = attributes_of(json.loads(f"[{json_text}]"))
        tracer = trace.get_tracer("otel_usage", __version__, self.tracer_provider)
        span = tracer.start_span(
            span_name(self.app, command),
            context=Context(),
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            start_time=self.start_ns,
        )
        if ending[0]:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_ns)
        meter = metrics.get_meter("otel_usage", __version__, self.meter_provider)
        labels = {"usage.command": command, "usage.outcome": ending[1]}
        meter.create_counter("usage.runs", "{run}").add(1, labels)
        meter.create_histogram("usage.run.duration", "s").record((end_ns - self.start_ns) / 1e9, labels)
