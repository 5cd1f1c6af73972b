"""One destination behind worker threads: its exporters, and the window of what was delivered.

ALGORITHM
  1. The app submits what a request asks to deliver, as a job. Each worker takes the oldest job, and with it those that
     wait right behind it, as long as all have spans and together no more than TOGETHER: many small requests cost the
     destination as much as one.
  2. The worker claims the ids of these records in the window. What was delivered before, or is being delivered for
     another request, is not delivered again.
  3. The rest goes to the exporter, for some destinations in parts side by side (lanes.py).
  4. The verdict is settled in the window, and split into one outcome for each job.

RACES
  1. A request's deadline passes while its job waits: the worker that takes the job does not begin it, and its outcome
     is "again", as its client has been told already.
  2. A request's deadline passes while it is being delivered: delivery goes on. The window knows what was sent when the
     client tries again.
  3. `close` comes while workers deliver: it waits for them, and jobs that still wait have the outcome "again".
     `submit` after that never queues: both hold the same lock.
"""

from __future__ import annotations

import inspect
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_usage.delivery.installed import GROUPS, load_by_name
from otel_usage.delivery.verdict import Verdict
from otel_usage.setting_error import SettingError
from otel_usage.spool.layout import MEMORY_SUFFIX, WINDOW_SUFFIX

from . import otlp_forwarding
from .lanes import Lanes
from .otlp_forwarding import count_items
from .outcome import RelayOutcome, split_verdict
from .received import Received, select
from .window import Window

log = logging.getLogger("otel_usage.relay")

CLOSE_S = 15.0  # for requests under way when closing; longer than any of ours takes by default
TOGETHER = 500  # spans of small requests that are delivered as one


@dataclass(slots=True)
class Job:
    """What one request asks for, until when on the monotonic clock, and where its outcome goes."""

    received: Received
    deadline: float
    outcome: Future[RelayOutcome]


class DestinationWorkers:
    """One destination, its exporters and the threads that deliver to it. Any: only what an exporter can do counts.

    exporters: ``{"traces": …, "metrics": …}``, each with ``deliver(spans or metrics) -> Verdict``, or the SDK's
    ``export``. One whose ``deliver`` has ``within_s`` begins no request to the destination after that time, or after
    its ``shutdown``: all of ours.
    window: how many ids to remember. path: the window's file, "" keeps it in memory.
    Concurrency: `submit` and `deliver` may be called from many threads; *workers* threads deliver what was submitted.
    """

    def __init__(self, name: str, exporters: Mapping[str, Any], *, window: int, workers: int, path: str = "") -> None:
        self.name = name
        self.exporters = exporters
        self.waiting = 0  # requests the app has accepted for it and not answered; used from the event loop only
        self.window = Window(window, path)
        self._at_most_once = any(getattr(exporter, "at_most_once", False) for exporter in exporters.values())
        self._timed = {signal for signal, exporter in exporters.items() if _is_timed(exporter)}
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._lanes = Lanes(name, workers if _takes_one_client(exporters) else 0, self._hand_over)
        self._threads = [
            threading.Thread(target=self._work, name=f"relay-{name}-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, received: Received, deadline: float) -> Future[RelayOutcome]:
        """Have *received* delivered before *deadline*, on the monotonic clock; after it nothing is begun."""
        job = Job(received, deadline, Future())
        with self._changed:
            if self._closed:
                job.outcome.set_result(RelayOutcome(again=len(received.ids)))
            else:
                self._jobs.append(job)
                self._changed.notify()
        return job.outcome

    def _work(self) -> None:
        while jobs := self._take():
            try:
                outcomes = self.deliver([job.received for job in jobs], max(job.deadline for job in jobs))
            except Exception as exc:  # no memory left, most likely: the thread must go on, and the clients come again
                log.error("%s: a delivery failed with %s", self.name, type(exc).__name__)
                outcomes = [RelayOutcome(again=len(job.received.ids), reason="fault") for job in jobs]
            for job, outcome in zip(jobs, outcomes, strict=True):
                job.outcome.set_result(outcome)

    def _take(self) -> list[Job]:
        """Return what to deliver next, at once; nothing when it is time to end."""
        with self._changed:
            while True:
                while not self._jobs:
                    if self._closed:
                        return []
                    self._changed.wait()
                first = self._jobs.popleft()
                if not first.outcome.set_running_or_notify_cancel():  # nobody waits for it any more
                    continue
                if time.monotonic() >= first.deadline:  # its client has been told to try again
                    first.outcome.set_result(RelayOutcome(again=len(first.received.ids)))
                    continue
                jobs, items = [first], len(first.received.ids)
                while self._jobs and first.received.metrics is None and self._jobs[0].received.metrics is None:
                    items += len(self._jobs[0].received.ids)
                    if items > TOGETHER:
                        break
                    job = self._jobs.popleft()
                    if job.outcome.set_running_or_notify_cancel():
                        jobs.append(job)
                return jobs

    def deliver(self, requests: Sequence[Received], deadline: float = math.inf) -> list[RelayOutcome]:
        """Deliver what is in *requests* and neither known nor under way; return what became of each.

        All are of one signal; if there are more than one they have spans.
        deadline: on the monotonic clock; what has not begun by then is to be sent again.
        """
        claims = [self.window.claim(received.ids) for received in requests]
        fresh = [received.ids[at] for received, claim in zip(requests, claims, strict=True) for at in claim.fresh]
        again: set[int] = set(fresh)
        verdict = Verdict()
        failed = False
        try:
            if fresh:
                if len(requests) == 1:
                    verdict = self._send(requests[0], claims[0].fresh, deadline)
                else:
                    spans = [r.spans[at] for r, claim in zip(requests, claims, strict=True) for at in claim.fresh]
                    verdict = self._send(Received("traces", spans, ids=fresh), range(len(fresh)), deadline)
            again = {fresh[position] for position in verdict.unsent}
        except Exception as exc:
            if self._may_pass(exc):
                log.error("%s: the exporter failed with %s: to be tried again", self.name, type(exc).__name__)
                verdict = Verdict(unsent=tuple(range(len(fresh))), reason="fault")
            else:
                log.error("%s: the exporter failed with %s: %d dropped", self.name, type(exc).__name__, len(fresh))
                verdict = Verdict(dropped={"fault": len(fresh)}, reason="fault")
                again, failed = set(), True
        finally:
            self.window.settle((one for one in fresh if one not in again), again)
        outcomes = split_verdict(claims, verdict)
        return [replace(outcome, failed=bool(outcome.dropped)) for outcome in outcomes] if failed else outcomes

    def _may_pass(self, exc: Exception) -> bool:
        """True if a delivery that raised *exc* is to be tried again.

        What can't be translated today can't be tomorrow: asked for again it would block the client's queue. Memory,
        threads and descriptors come back. But where a repetition would count twice nothing is, as something may have
        left.
        """
        return isinstance(exc, (MemoryError, OSError, RuntimeError)) and not self._at_most_once

    def _send(self, received: Received, positions: Sequence[int], deadline: float) -> Verdict:
        """Return what became of the spans or data points at *positions*; the verdict's positions are among these."""
        items = select(received, positions)
        if isinstance(items, list):
            return self._lanes.send(items, deadline)
        return self._hand_over(received.signal, items, deadline)

    def _hand_over(self, signal: str, items: Any, deadline: float) -> Verdict:
        """Have the exporter of *signal* deliver *items*, spans or metrics, and wait for its verdict."""
        exporter = self.exporters[signal]
        deliver = getattr(exporter, "deliver", None)
        if deliver is not None:
            limit = {"within_s": deadline - time.monotonic()} if signal in self._timed else {}
            verdict: Verdict = deliver(items, **limit)
            return verdict
        result = exporter.export(items)
        if result in (SpanExportResult.SUCCESS, MetricExportResult.SUCCESS):
            return Verdict()
        return Verdict(unsent=tuple(range(count_items(items))))

    def close(self) -> None:
        """Finish the requests under way, let the rest be sent again, and shut the exporters down.

        Takes as long as one request to the destination, `CLOSE_S` at most: after that the threads are left alone.
        """
        with self._changed:
            self._closed = True
            while self._jobs:
                job = self._jobs.popleft()
                if job.outcome.set_running_or_notify_cancel():
                    job.outcome.set_result(RelayOutcome(again=len(job.received.ids)))
            self._changed.notify_all()
        # Exporters that mind a time limit begin nothing after their shutdown, so they are shut down first: the threads
        # then wait for one request at most. All others might fail if shut down while they export.
        for signal in self._timed:
            self.exporters[signal].shutdown()
        end = time.monotonic() + CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            log.warning("%s: a delivery does not end, and is left", self.name)
            self._lanes.close(finish=False)
            return
        self._lanes.close(finish=True)
        for signal, exporter in self.exporters.items():
            if signal not in self._timed:
                exporter.shutdown()
        self.window.close()
        for exporter in self.exporters.values():
            if hasattr(exporter, "close_memory"):
                exporter.close_memory()


def _is_timed(exporter: Any) -> bool:
    deliver = getattr(exporter, "deliver", None)
    return deliver is not None and "within_s" in inspect.signature(deliver).parameters


def load_destination(name: str, *, window: int, workers: int, state: str = "") -> DestinationWorkers:
    """Return the destination that installed exporters call *name*, configured by its variables. Raises SettingError.

    state: folder for the window of a destination that can't tell a repetition, and for what exporters of ours remember of
    installations; "" keeps both in memory.

    >>> load_destination("ga4", window=500_000, workers=4)  # doctest: +SKIP
    """
    exporters: dict[str, Any] = {}
    if name == otlp_forwarding.NAME:
        exporters = {signal: otlp_forwarding.OtlpForwarder(signal) for signal in GROUPS}
    else:
        for signal, exporter_class in load_by_name(name).items():
            try:
                exporters[signal] = _construct(exporter_class)
            except ValueError as exc:
                raise SettingError(f"{name}: {exc}") from exc
    sharing = [exporter for exporter in exporters.values() if hasattr(exporter, "share_memory")]
    at_most_once = any(getattr(exporter, "at_most_once", False) for exporter in exporters.values())
    if state and (sharing or at_most_once):
        try:
            os.makedirs(state, 0o700, exist_ok=True)
        except OSError as exc:
            raise SettingError(f"--state {state!r} can't be made: {exc.strerror}") from exc
    share_memory(exporters, os.path.join(state, name + MEMORY_SUFFIX) if state else "")
    path = os.path.join(state, name + WINDOW_SUFFIX) if state and at_most_once else ""
    return DestinationWorkers(name, exporters, window=window, workers=workers, path=path)


def share_memory(exporters: Mapping[str, Any], path: str) -> None:
    """Have exporters that remember installations share what they remember, in the file *path*, "" for in memory.

    Any: of whatever distribution.
    """
    sharing = [exporter for exporter in exporters.values() if hasattr(exporter, "share_memory")]
    if path and sharing:
        sharing[0].remember_in(path)
    for exporter in sharing[1:]:
        exporter.share_memory(sharing[0])


def _takes_one_client(exporters: Mapping[str, Any]) -> bool:
    """True if an exporter sends what is about one client in each request, as GA4's does. Any: of whatever kind."""
    return any(getattr(exporter, "one_client_per_request", False) for exporter in exporters.values())


def _construct(exporter_class: Any) -> SpanExporter | MetricExporter:
    """Return an exporter. One that ``takes_folder`` remembers in memory only, and raises ValueError if a setting is missing.

    Found by its entry point it would only log what is missing, and drop everything: for a program that is right, for a
    relay it is not.
    """
    if not getattr(exporter_class, "takes_folder", False):
        return exporter_class()  # type: ignore[no-any-return]
    # Any: mypy knows no class made at run time.
    strict_class: Any = type(exporter_class.__name__, (exporter_class,), {"lenient": False})
    return strict_class(folder="")  # type: ignore[no-any-return]
