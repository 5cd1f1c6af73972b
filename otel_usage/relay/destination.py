"""Deliver to one destination: an exporter per signal, threads of its own, and the window of what was delivered.

Ring 2 (extra ``[relay]``).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_usage.delivery import Verdict
from otel_usage.schema import SettingError

from .decode import Received, only
from .window import Window

log = logging.getLogger("otel_usage.relay")

# GA4's requests are about one client each: those of a batch of many are sent side by side, or a batch takes seconds.
ONE_CLIENT_A_REQUEST = ("ga4",)
LANES_PER_WORKER = 4
CLIENTS_PER_LANE = 8  # fewer are not worth a thread

GROUPS = {"traces": "opentelemetry_traces_exporter", "metrics": "opentelemetry_metrics_exporter"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    sent: delivered now. known: delivered before. again: to be sent once more by the client, the whole request.
    dropped: ``{reason: how many}`` that never will be. status: the destination's last, None if there was no answer.
    """

    sent: int = 0
    known: int = 0
    again: int = 0
    retry_after_s: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    status: int | None = None


class Destination:
    """One destination. Any: exporters are found by name, and only what they can do counts.

    exporters: ``{"traces": …, "metrics": …}``, each with ``deliver(spans or metrics) -> Verdict``, or the SDK's
    ``export``. Concurrency: `deliver` may be called from many threads; `executor` is where the app calls it.
    """

    def __init__(self, name: str, exporters: Mapping[str, Any], *, window: int, workers: int) -> None:
        self.name = name
        self.exporters = exporters
        self.waiting = 0  # requests the app has accepted for it and not answered; used from the event loop only
        self.failing = False
        self.window = Window(window)
        self.executor = ThreadPoolExecutor(workers, thread_name_prefix=f"relay-{name}")
        self._width = workers * LANES_PER_WORKER if name in ONE_CLIENT_A_REQUEST else 1
        self._lanes = ThreadPoolExecutor(self._width, thread_name_prefix=f"relay-{name}-lane")

    def deliver(self, received: Received) -> Outcome:
        """Deliver what *received* holds and is not known or under way, and return what became of it."""
        claim = self.window.claim(received.ids)
        fresh = [received.ids[position] for position in claim.fresh]
        again: set[int] = set(fresh)
        verdict = Verdict()
        try:
            if fresh:
                verdict = self._verdict(received, claim.fresh)
            again = {fresh[position] for position in verdict.unsent}
        except Exception as exc:
            # What can't be translated today can't be tomorrow: asked for again it would block the client's queue.
            log.error("%s: the exporter failed with %s: %d dropped", self.name, type(exc).__name__, len(fresh))
            again = set()
            verdict = Verdict(dropped={"fault": len(fresh)})
        finally:
            self.window.settle((one for one in fresh if one not in again), again)
        return Outcome(
            sent=max(0, len(fresh) - len(again) - sum(verdict.dropped.values())),
            known=claim.known,
            again=len(again) + claim.busy,
            retry_after_s=verdict.retry_after_s,
            dropped=dict(verdict.dropped),
            status=verdict.status,
        )

    def _verdict(self, received: Received, positions: Sequence[int]) -> Verdict:
        """Return what became of the spans or data points at *positions*; its own positions are among these."""
        parts = self._parts(received, positions)
        if len(parts) == 1:
            return self._hand_over(received.signal, only(received, positions))
        work = [
            self._lanes.submit(self._hand_over, received.signal, [received.spans[positions[i]] for i in part])
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

    def _hand_over(self, signal: str, what: Any) -> Verdict:
        exporter = self.exporters[signal]
        deliver = getattr(exporter, "deliver", None)
        if deliver is not None:
            verdict: Verdict = deliver(what)
            return verdict
        done = exporter.export(what)
        if done in (SpanExportResult.SUCCESS, MetricExportResult.SUCCESS):
            return Verdict()
        return Verdict(unsent=tuple(range(_count(what))))

    def close(self) -> None:
        """Wait for what is under way, and shut the exporters down."""
        self.executor.shutdown(wait=True, cancel_futures=True)
        self._lanes.shutdown(wait=True)
        for exporter in self.exporters.values():
            exporter.shutdown()


def _count(what: Any) -> int:
    if isinstance(what, list):
        return len(what)
    metrics = (m for group in what.resource_metrics for scoped in group.scope_metrics for m in scoped.metrics)
    return sum(len(metric.data.data_points) for metric in metrics)


def load(name: str, *, window: int, workers: int) -> Destination:
    """Return the destination that installed exporters call *name*, configured by its variables. Raises SettingError."""
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
    return Destination(name, exporters, window=window, workers=workers)


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
