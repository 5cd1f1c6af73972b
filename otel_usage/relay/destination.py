"""Deliver to one destination: an exporter per signal, threads of its own, and the window of what was delivered.

Ring 2 (extra ``[relay]``).
"""

from __future__ import annotations

import inspect
import logging
import math
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_usage.delivery import Verdict
from otel_usage.schema import SettingError

from .decode import Received, only
from .window import Claim, Window

log = logging.getLogger("otel_usage.relay")

# GA4's requests are about one client each: those of a batch of many are sent side by side, or a batch takes seconds.
ONE_CLIENT_A_REQUEST = ("ga4",)
LANES_PER_WORKER = 4
CLIENTS_PER_LANE = 8  # fewer are not worth a thread

CLOSE_S = 15.0  # for requests under way when closing; longer than any of ours takes by default
TOGETHER = 500  # spans of small requests that are delivered as one

GROUPS = {"traces": "opentelemetry_traces_exporter", "metrics": "opentelemetry_metrics_exporter"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    sent: delivered now. known: delivered before. again: to be sent once more by the client, with the whole request;
    of these, busy: another request is delivering them.
    dropped: ``{reason: how many}`` that never will be. skipped: not meant for the destination, and no loss.
    status: the destination's last, None if there was no answer. All of it is about the request's own items.
    """

    sent: int = 0
    known: int = 0
    again: int = 0
    busy: int = 0
    retry_after_s: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    skipped: int = 0
    status: int | None = None


@dataclass(slots=True)
class Job:
    """What one request asks for, until when, and where its outcome goes."""

    received: Received
    deadline: float
    outcome: Future[Outcome]


class Destination:
    """One destination. Any: exporters are found by name, and only what they can do counts.

    exporters: ``{"traces": …, "metrics": …}``, each with ``deliver(spans or metrics) -> Verdict``, or the SDK's
    ``export``. One whose ``deliver`` has ``within_s`` begins no request to the destination after it, or after its
    ``shutdown``: all of ours. Small requests that wait at the same time are delivered as one. Concurrency: `submit`
    and `deliver` may be called from many threads; *workers* threads deliver what was submitted.
    """

    def __init__(self, name: str, exporters: Mapping[str, Any], *, window: int, workers: int, path: str = "") -> None:
        self.name = name
        self.exporters = exporters
        self.waiting = 0  # requests the app has accepted for it and not answered; used from the event loop only
        self.failing = False
        self.told = False  # the log says that it fails
        self.told_s = float("-inf")  # since when, on the monotonic clock
        self.window = Window(window, path)
        self._timed = {signal for signal, exporter in exporters.items() if _is_timed(exporter)}
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._width = workers * LANES_PER_WORKER if name in ONE_CLIENT_A_REQUEST else 1
        self._lanes = ThreadPoolExecutor(self._width, thread_name_prefix=f"relay-{name}-lane")
        self._threads = [
            threading.Thread(target=self._serve, name=f"relay-{name}-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, received: Received, deadline: float) -> Future[Outcome]:
        """Have *received* delivered before *deadline*, on the monotonic clock; after it nothing is begun."""
        job = Job(received, deadline, Future())
        with self._changed:
            if self._closed:
                job.outcome.set_result(Outcome(again=len(received.ids)))
            else:
                self._jobs.append(job)
                self._changed.notify()
        return job.outcome

    def _serve(self) -> None:
        while jobs := self._take():
            try:
                outcomes = self.deliver([job.received for job in jobs], max(job.deadline for job in jobs))
            except Exception as exc:  # no memory left, most likely: the thread must go on, and the clients come again
                log.error("%s: a delivery failed with %s", self.name, type(exc).__name__)
                outcomes = [Outcome(again=len(job.received.ids)) for job in jobs]
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
                    first.outcome.set_result(Outcome(again=len(first.received.ids)))
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

    def deliver(self, requests: Sequence[Received], deadline: float = math.inf) -> list[Outcome]:
        """Deliver what *requests* of one signal hold and is not known or under way; return what became of each.

        More than one have spans. deadline: on the monotonic clock; what is not begun by then is unsent.
        """
        claims = [self.window.claim(received.ids) for received in requests]
        fresh = [received.ids[at] for received, claim in zip(requests, claims, strict=True) for at in claim.fresh]
        again: set[int] = set(fresh)
        verdict = Verdict()
        try:
            if fresh:
                if len(requests) == 1:
                    verdict = self._verdict(requests[0], claims[0].fresh, deadline)
                else:
                    spans = [r.spans[at] for r, claim in zip(requests, claims, strict=True) for at in claim.fresh]
                    verdict = self._verdict(Received("traces", spans, ids=fresh), range(len(fresh)), deadline)
            again = {fresh[position] for position in verdict.unsent}
        except Exception as exc:
            # What can't be translated today can't be tomorrow: asked for again it would block the client's queue.
            log.error("%s: the exporter failed with %s: %d dropped", self.name, type(exc).__name__, len(fresh))
            again = set()
            verdict = Verdict(dropped={"fault": len(fresh)})
        finally:
            self.window.settle((one for one in fresh if one not in again), again)
        return _shares(claims, verdict)

    def _verdict(self, received: Received, positions: Sequence[int], deadline: float) -> Verdict:
        """Return what became of the spans or data points at *positions*; its own positions are among these."""
        parts = self._parts(received, positions)
        if len(parts) == 1:
            return self._hand_over(received.signal, only(received, positions), deadline)
        work = [
            self._lanes.submit(self._hand_over, received.signal, [received.spans[positions[i]] for i in part], deadline)
            for part in parts
        ]
        wait(work)
        verdicts = [one.result() for one in work]
        dropped: Counter[str] = Counter()
        for verdict in verdicts:
            dropped.update(verdict.dropped)
        told = [verdict for verdict in verdicts if verdict.unsent] or verdicts
        waits = [verdict.retry_after_s for verdict in told if verdict.retry_after_s is not None]
        return Verdict(
            unsent=tuple(part[i] for part, verdict in zip(parts, verdicts, strict=True) for i in verdict.unsent),
            retry_after_s=max(waits, default=None),
            dropped=dict(dropped),
            status=next((verdict.status for verdict in told if verdict.status is not None), None),
            skipped=sum(verdict.skipped for verdict in verdicts),
            gone={
                part[i]: why for part, verdict in zip(parts, verdicts, strict=True) for i, why in verdict.gone.items()
            },
        )

    def _parts(self, received: Received, positions: Sequence[int]) -> list[list[int]]:
        """Return the indexes of *positions* in parts to be sent side by side; what a client did stays together."""
        if self._width == 1 or received.metrics is not None:
            return [[]]
        clients: dict[object, list[int]] = {}
        for i, position in enumerate(positions):
            attributes = received.spans[position].resource.attributes
            clients.setdefault(attributes.get("app.installation.id"), []).append(i)
        width = min(self._width, max(1, len(clients) // CLIENTS_PER_LANE))
        parts: list[list[int]] = [[] for _ in range(width)]
        for n, part in enumerate(clients.values()):
            parts[n % width] += part
        return parts

    def _hand_over(self, signal: str, what: Any, deadline: float) -> Verdict:
        exporter = self.exporters[signal]
        deliver = getattr(exporter, "deliver", None)
        if deliver is not None:
            limit = {"within_s": deadline - time.monotonic()} if signal in self._timed else {}
            verdict: Verdict = deliver(what, **limit)
            return verdict
        done = exporter.export(what)
        if done in (SpanExportResult.SUCCESS, MetricExportResult.SUCCESS):
            return Verdict()
        return Verdict(unsent=tuple(range(_count(what))))

    def close(self) -> None:
        """Finish the requests under way, let the rest be sent again, and shut the exporters down.

        Takes as long as one request to the destination, `CLOSE_S` at most: then what is left is left to its threads.
        """
        with self._changed:
            self._closed = True
            while self._jobs:
                job = self._jobs.popleft()
                if job.outcome.set_running_or_notify_cancel():
                    job.outcome.set_result(Outcome(again=len(job.received.ids)))
            self._changed.notify_all()
        for signal in self._timed:
            self.exporters[signal].shutdown()
        end = time.monotonic() + CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            log.warning("%s: a delivery does not end, and is left", self.name)
            self._lanes.shutdown(wait=False, cancel_futures=True)
            return
        self._lanes.shutdown(wait=True)
        for signal, exporter in self.exporters.items():
            if signal not in self._timed:
                exporter.shutdown()
        self.window.close()


def _is_timed(exporter: Any) -> bool:
    deliver = getattr(exporter, "deliver", None)
    return deliver is not None and "within_s" in inspect.signature(deliver).parameters


def _shares(claims: Sequence[Claim], verdict: Verdict) -> list[Outcome]:
    """Return what *verdict*, about the fresh items of all *claims* in their order, says about each claim's own.

    An exporter that tells only how many it dropped, not which, leaves open whose they were: then the first ones'.
    """
    unsent = set(verdict.unsent)
    unplaced = Counter(verdict.dropped)
    unplaced.subtract(verdict.gone.values())
    skipped = verdict.skipped
    outcomes, at = [], 0
    for claim in claims:
        mine = range(at, at + len(claim.fresh))
        at = mine.stop
        again = len(unsent.intersection(mine)) if unsent else 0
        dropped = Counter([verdict.gone[position] for position in mine if position in verdict.gone])
        room = len(mine) - again - dropped.total()
        for reason, n in unplaced.items():
            share = max(0, min(n, room))
            if share:
                dropped[reason] += share
                unplaced[reason] -= share
                room -= share
        passed = max(0, min(skipped, room))
        skipped -= passed
        outcomes.append(
            Outcome(
                sent=max(0, room - passed),
                known=claim.known,
                again=again + claim.busy,
                busy=claim.busy,
                retry_after_s=verdict.retry_after_s,
                dropped=dict(dropped),
                skipped=passed,
                status=verdict.status,
            )
        )
    return outcomes


def _count(what: Any) -> int:
    if isinstance(what, list):
        return len(what)
    metrics = (m for group in what.resource_metrics for scoped in group.scope_metrics for m in scoped.metrics)
    return sum(len(metric.data.data_points) for metric in metrics)


def load(name: str, *, window: int, workers: int, state: str = "") -> Destination:
    """Return the destination that installed exporters call *name*, configured by its variables. Raises SettingError.

    state: folder for the window of a destination that can't tell a repetition; "" keeps it in memory.
    """
    exporters: dict[str, Any] = {}
    for signal, group in GROUPS.items():
        for point in entry_points(group=group, name=name):
            try:
                exporters[signal] = _make(point.load(), ours=point.value.startswith("otel_usage_exporters"))
            except ValueError as exc:
                raise SettingError(f"{name}: {exc}") from exc
    if not exporters:
        known = sorted({point.name for group in GROUPS.values() for point in entry_points(group=group)})
        raise SettingError(f"destination {name!r} is not an installed exporter; found: {', '.join(known)}")
    path = ""
    if state and any(getattr(exporter, "at_most_once", False) for exporter in exporters.values()):
        try:
            os.makedirs(state, 0o700, exist_ok=True)
        except OSError as exc:
            raise SettingError(f"--state {state!r} can't be made: {exc.strerror}") from exc
        path = os.path.join(state, f"{name}.window")
    return Destination(name, exporters, window=window, workers=workers, path=path)


def _make(kind: Any, *, ours: bool) -> SpanExporter | MetricExporter:
    """Return an exporter. Ours is told to keep what it remembers in memory, and to raise when it lacks a setting."""
    if not ours:
        made: SpanExporter | MetricExporter = kind()
        return made
    # Any: mypy knows no class made at run time.
    strict: Any = type(
        kind.__name__, (kind,), {"lenient": False}
    )  # as an entry point it would log, and drop everything
    return strict(folder="")  # type: ignore[no-any-return]
