"""The same recording through the OpenTelemetry API, for programs that run an SDK of their own.

Runs in the host's process. ``opentelemetry-instrument mycli …`` loads `OwnProgramInstrumentor` by its entry point, in every
program of an environment where this package is installed, if only for its exporters: it acts in few of them.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import unquote

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.trace import SpanKind, Status, StatusCode

from . import __version__, _guarded, _usage
from .consent.gate import decide
from .otlp import attributes_of
from .recording.agent import find_agent
from .recording.frameworks import hook_frameworks
from .recording.otlp_text import run_attributes, span_name
from .recording.recorder import is_worker
from .recording.run import Run
from .recording.sender_start import BRAKE

# Set in a program that ``opentelemetry-instrument`` started, to its process id. It leaves its own variables to what the
# program starts, and so each of those would be instrumented, and be a run, too.
INSTRUMENTED = "OTEL_USAGE_INSTRUMENTED"
# Says whether `OwnProgramInstrumentor` acts: true or false, whatever the program is.
INSTRUMENT = "OTEL_USAGE_INSTRUMENT"


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


class OwnProgramInstrumentor:
    """What ``opentelemetry-instrument`` calls: records the runs of a program that is the service itself, and of no other.

    The process of ``opentelemetry-instrument flask run``, gunicorn or uvicorn is no run of a command-line program, and there is
    no list of all servers. So the program has to be the one that ``OTEL_SERVICE_NAME`` names, as in
    ``OTEL_SERVICE_NAME=mycli opentelemetry-instrument mycli report upload``; or ``OTEL_USAGE_INSTRUMENT=true`` asks for it.
    ``OTEL_USAGE_INSTRUMENT=false``, or ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=usage``, never does.
    """

    def instrument(self, **kwargs: Any) -> None:
        """Instrument the program, if it is one to be instrumented. Any: as opentelemetry-instrument calls all of them."""
        if is_own_program(os.environ):
            UsageInstrumentor().instrument(**kwargs)

    def uninstrument(self, **kwargs: Any) -> None:
        """Undo it. Any: as above."""
        if UsageInstrumentor()._observer is not None:
            UsageInstrumentor().uninstrument(**kwargs)


def is_own_program(environ: Mapping[str, str]) -> bool:
    """True if the process runs the program that is the service, or if the environment asks to record it."""
    asked = environ.get(INSTRUMENT, "").strip().lower()
    if asked:
        return asked in ("1", "true", "yes", "on")
    service = environ.get("OTEL_SERVICE_NAME", "")
    if not service:
        pairs = [pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")]
        service = next((unquote(value.strip()) for name, _, value in pairs if name.strip() == "service.name"), "")
    return bool(service) and _plain(service) == _plain(_script_name())


def _script_name() -> str:
    """Return the name of the script or module that the interpreter was started with, "" if it has none."""
    words = sys.orig_argv[1:]
    script = sys.argv[0] if getattr(sys, "argv", None) else ""
    if script == "-m" and "-m" in words[:-1]:  # it is not known yet, where this is loaded before the program
        return words[words.index("-m") + 1].removesuffix(".__main__").rpartition(".")[2]
    folder, name = os.path.split(script)
    if name == "__main__.py":
        name = os.path.basename(folder)
    return name.removesuffix(".py").removesuffix(".exe")


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-")


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
        self.agent = find_agent(os.environ, self.tty)
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
