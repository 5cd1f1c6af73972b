"""What all exporters do alike: read settings, find identities, deliver, retry a little, say what went wrong.

Ring 1 (background). A vendor adds what it takes (`Vendor`), how to write it and how to read its answers.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from enum import Enum
from typing import Any, ClassVar
from urllib.parse import quote

from opentelemetry.sdk.metrics import Counter as SDKCounter
from opentelemetry.sdk.metrics import Histogram as SDKHistogram
from opentelemetry.sdk.metrics import ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_usage import __version__, getter, home
from otel_usage.delivery import Verdict
from otel_usage.event import FILTERED, Origin, UsageEvent, events_from_metrics, events_from_spans
from otel_usage.identity import installation_id
from otel_usage.schema import SettingError

from .kept import Kept
from .post import Answer, Post
from .settings import Common
from .translation import Request, Translation

try:
    from opentelemetry.instrumentation.utils import suppress_instrumentation
except ImportError:  # an extra: then there is no instrumentation of requests either

    def suppress_instrumentation() -> AbstractContextManager[None]:  # type: ignore[misc]
        return nullcontext()


USER_AGENT = f"otel-usage/{__version__}"
REDACTED = "REDACTED"
MAX_TRIES = 4  # per export, in a program that has no sender to try again later
BACKOFF_S = 0.5

_told: set[str] = set()  # what was logged once in this process
_kept: dict[tuple[str, str], Kept] = {}  # by folder and name


class Fate(Enum):
    """What an answer means for a request, and for those after it."""

    SENT = "sent"
    DROP = "drop"  # never to be sent; the next may fare better
    DROP_AND_STOP = "drop and stop"
    RETRY = "retry"  # and stop
    SPLIT = "split"  # too large: its halves may pass


class Vendor(ABC):
    """One destination: settings, the way to write events, the way to read answers. Any: settings are as given."""

    label: ClassVar[str]  # for people
    prefix: ClassVar[str]  # of its variables, after OTEL_EXPORTER_
    remembers: ClassVar[str]  # name of the file with what is remembered per installation
    common: Common

    @abstractmethod
    def __init__(self, given: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        """Read the settings. Raises SettingError."""

    @abstractmethod
    def identified(self) -> bool:
        """True if the settings say who the client is."""

    @abstractmethod
    def translate(self, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]) -> Translation:
        """Return the requests for *events*. known: what was learned before."""

    @abstractmethod
    def write(self, request: Request, now_ns: int, *, redact: bool) -> tuple[str, str, dict[str, str], bytes]:
        """Return (address, what is secret of its query, headers, body). redact: as shown to people."""

    @abstractmethod
    def judge(self, answer: Answer, events: int) -> tuple[Fate, str]:
        """Return what *answer* means for a request of *events* units, and the reason if it is dropped."""


class Exporter:
    """What span and metric exporters of all vendors share.

    Settings that are wrong raise SettingError where a program's own code gives them as keywords. Otherwise (variables
    only, or `lenient` classes, which entry points name) one error is logged, and the exporter takes events and drops
    them, counted: an exception here would take down every other exporter of the program.
    """

    vendor_class: ClassVar[type[Vendor]]
    lenient: ClassVar[bool] = False
    at_most_once: ClassVar[bool] = False  # True where a repetition would count twice

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self.problem = ""  # why nothing is sent, if a setting is wrong
        self.dropped: Counter[str] = Counter()  # events that never were sent, by reason, so far
        self.altered: Counter[str] = Counter()  # cut, renamed, left out: so far
        # If a list, (method, address, headers, body, events) of requests are put there, keys redacted, and taken for
        # delivered; what is remembered is read, and not written. See `rehearse`.
        self.shown: list[tuple[str, str, dict[str, str], bytes, int]] | None = None
        self._log = logging.getLogger(f"otel_usage_exporters.{self.vendor_class.prefix.lower()}")
        self._closed = threading.Event()
        self._post = Post()
        self._kept: dict[tuple[str, str], Kept] = {}
        self._ids: dict[str, str] = {}
        self._seen = False
        self._vendor: Vendor | None = None
        given = {name: value for name, value in given.items() if value is not None}
        try:
            self._vendor = self.vendor_class(given, os.environ)
        except SettingError as exc:
            if given and not self.lenient:
                raise
            self.problem = str(exc)
            self._say(logging.ERROR, f"{self.vendor_class.label}: nothing is sent: {exc}")

    # Delivering.

    def _deliver(
        self, events: list[UsageEvent], skipped: Counter[str], *, within_s: float = math.inf, cut: bool = True
    ) -> Verdict:
        """Send *events*, each at most once in this call; return what became of them, by position.

        within_s: what is not begun by then, or by `shutdown`, is unsent. One request has the time limit of the
        settings, at most; cut: and no more than what is left of *within_s*.
        """
        end = time.monotonic() + within_s
        lost = Counter({reason: n for reason, n in skipped.items() if reason not in FILTERED})
        filtered = sum(n for reason, n in skipped.items() if reason in FILTERED)
        vendor = self._vendor
        if vendor is None:
            lost["misconfigured"] += len(events)
            gone = {event.position: "misconfigured" for event in events}
            return self._counted(Verdict(dropped=dict(+lost), skipped=filtered, gone=gone))
        if not events:
            return self._counted(Verdict(dropped=dict(+lost), skipped=filtered))
        events = self._identified(vendor, events)
        now_ns = time.time_ns()
        memory = self._memory(vendor, events[0].origin.app)
        translation = vendor.translate(events, now_ns, memory.read())
        memory.update(translation.learned)
        self.altered.update(translation.altered)
        lost.update(translation.dropped)
        gone = dict(translation.gone)
        waiting = deque(translation.requests)
        unsent: list[int] = []
        status: int | None = None
        wait_s: float | None = None
        with suppress_instrumentation():
            while waiting:
                left_s, limit_s = end - time.monotonic(), vendor.common.timeout_s
                if left_s <= 0 or self._closed.is_set():
                    break
                request = waiting.popleft()
                if self.shown is not None:
                    address, secret, headers, body = vendor.write(request, time.time_ns(), redact=True)
                    self.shown.append(("POST", address + secret, headers, body, len(request.units)))
                    memory.update(request.learned)
                    continue
                address, secret, headers, body = vendor.write(request, time.time_ns(), redact=False)
                answer = self._post(
                    address, headers, body, timeout_s=min(left_s, limit_s) if cut else limit_s, secret=secret
                )
                fate, reason = vendor.judge(answer, len(request.units))
                status = answer.status if answer.status is not None else status
                wait_s = answer.retry_after_s if fate is not Fate.SENT else wait_s
                if fate is Fate.SENT:
                    memory.update(request.learned)
                elif fate is Fate.SPLIT:
                    half = len(request.units) // 2
                    waiting.appendleft(replace(request, units=request.units[half:]))
                    waiting.appendleft(replace(request, units=request.units[:half], learned={}))
                    continue
                elif fate is Fate.RETRY:
                    waiting.appendleft(request)
                    break
                else:
                    lost[reason] += len(request.units)
                    gone.update((unit.position, reason) for unit in request.units)
                if reason and reason != "validated":
                    self._say(logging.WARNING, f"{vendor.label}: {reason}", *_explained(answer))
                if fate is Fate.DROP_AND_STOP:
                    break
        for request in waiting:
            unsent += [unit.position for unit in request.units]
        wait_s = wait_s if unsent else None
        return self._counted(Verdict(tuple(sorted(unsent)), wait_s, dict(+lost), status, filtered, gone))

    def _export(self, deliver: Any, timeout_s: float | None) -> bool:
        """Call *deliver* with the positions to send, None for all, until none is left. True if all were sent.

        In a program of its own nobody tries later: so here, a few times, until the time limit. Any: a local function.
        """
        vendor = self._vendor
        limit_s = min(timeout_s or 1e9, vendor.common.timeout_s if vendor else 0.0)
        end = time.monotonic() + limit_s
        verdict: Verdict = deliver(None, limit_s)
        sound = not verdict.dropped
        tries = 1
        while verdict.unsent and tries < MAX_TRIES and not self._closed.is_set():
            pause_s = verdict.retry_after_s
            if pause_s is None:
                pause_s = BACKOFF_S * 2 ** (tries - 1) * random.uniform(0.8, 1.2)  # noqa: S311  jitter
            if time.monotonic() + pause_s >= end:
                break
            if self._closed.wait(pause_s):
                break
            verdict = deliver(frozenset(verdict.unsent), max(end - time.monotonic(), 0.05))
            sound = sound and not verdict.dropped
            tries += 1
        if verdict.unsent:
            self.dropped["undelivered"] += len(verdict.unsent)
            what = f"HTTP {verdict.status}" if verdict.status else "no connection, or no answer"
            self._say(logging.WARNING, f"{self.vendor_class.label}: events could not be delivered", what)
        return sound and not verdict.unsent

    def _prepared(self, events: list[UsageEvent]) -> list[tuple[str, str, dict[str, str], bytes]]:
        """Return (method, address, headers, body before compression) of what `_deliver` would send; keys redacted."""
        vendor = self._vendor
        if vendor is None or not events:
            return []
        now_ns = time.time_ns()
        events = self._identified(vendor, events)
        known = self._memory(vendor, events[0].origin.app).read()
        prepared = []
        for request in vendor.translate(events, now_ns, known).requests:
            address, secret, headers, body = vendor.write(request, now_ns, redact=True)
            prepared.append(("POST", address + secret, headers, body))
        return prepared

    def rehearse(self, kept: dict[tuple[str, str], Kept]) -> None:
        """Send nothing from now on, and remember in *kept* alone, which exporters of spans and of metrics share."""
        self.shown, self._kept = [], kept

    def _counted(self, verdict: Verdict) -> Verdict:
        self.dropped.update(verdict.dropped)
        return verdict

    # Identity, and what is remembered.

    def _identified(self, vendor: Vendor, events: list[UsageEvent]) -> list[UsageEvent]:
        """Return *events*, those without an installation given the one kept for their service."""
        if vendor.identified() or all(event.origin.installation_id for event in events):
            return events
        made: dict[Origin, Origin] = {}
        for event in events:
            if event.origin not in made:
                known = event.origin.installation_id or self._installation(vendor, event.origin.app)
                made[event.origin] = replace(event.origin, installation_id=known)
        return [replace(event, origin=made[event.origin]) for event in events]

    def _installation(self, vendor: Vendor, app: str) -> str:
        known = self._ids.get(app)
        if known is None:
            folder = self._folder(vendor, app)
            known = self._ids[app] = installation_id(folder) if folder else str(uuid.uuid4())
        return known

    def _folder(self, vendor: Vendor, app: str) -> str:
        """Return where things about *app* are kept, "" if nowhere."""
        if vendor.common.folder is not None:
            return vendor.common.folder
        root = home(getter(os.environ))
        if not root:
            return ""
        name = quote(app or "unknown_service", safe="")[:100]
        return os.path.join(root, "services", name.replace(".", "%2E") if not name.strip(".") else name)

    def _memory(self, vendor: Vendor, app: str) -> Kept:
        folder = self._folder(vendor, app)
        # Exporters of spans and metrics remember together, but in memory alone.
        kept = _kept if folder and self.shown is None else self._kept
        return kept.setdefault((folder, vendor.remembers), Kept(folder, vendor.remembers, writes=self.shown is None))

    # Telling.

    def _say(self, level: int, text: str, *details: str) -> None:
        """Log *text* once in this process. Details are shown, but do not make it another."""
        if text not in _told:
            _told.add(text)
            self._log.log(level, "%s", " · ".join([text, *details]))

    def _filtered(self, what: str, given: int, events: int) -> None:
        """Say once if nothing of what a program exports is about use."""
        if given and not events and not self._seen and self._vendor is not None:
            self._say(logging.WARNING, f"{self.vendor_class.label}: {what}")
        self._seen = self._seen or events > 0

    # What OTel calls. Flushing has nothing to do: nothing is held back.

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        """Return True: every export is complete when it returns."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # noqa: ARG002
        """Begin no further request, wait for no other try, close connections. Any: the SDK passes its own keywords."""
        self._closed.set()
        self._post.close()


class UsageSpanExporter(Exporter, SpanExporter):
    """A span exporter that also tells the sender what became of each span."""

    def deliver(self, spans: Sequence[ReadableSpan], *, within_s: float = math.inf) -> Verdict:
        """Send *spans* once and return the verdict, whose ``unsent`` are positions in *spans*.

        within_s: no request is begun later. One that was begun is not cut short: of what was sent none would be known.
        """
        return self._deliver(*events_from_spans(spans, all_spans=self._all()), within_s=within_s, cut=False)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send *spans*, trying again for as long as the time limit allows."""
        events, skipped = events_from_spans(spans, all_spans=self._all())
        variable = f"OTEL_EXPORTER_{self.vendor_class.prefix}_SPANS"
        self._filtered(
            f"none of the spans is about use; set {variable}=all to send every span", len(spans), len(events)
        )
        return (
            SpanExportResult.SUCCESS if self._export(_again(self, events, skipped), None) else SpanExportResult.FAILURE
        )

    def requests_for(self, spans: Sequence[ReadableSpan]) -> list[tuple[str, str, dict[str, str], bytes]]:
        """Return (method, address, headers, body) of the requests for *spans*, without sending; keys are redacted."""
        return self._prepared(events_from_spans(spans, all_spans=self._all())[0])

    def _all(self) -> bool:
        return self._vendor is not None and self._vendor.common.all_spans


class UsageMetricExporter(Exporter, MetricExporter):
    """A metric exporter that also tells the sender what became of each data point. Asks the SDK for deltas."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._preferred_temporality = {
            SDKCounter: AggregationTemporality.DELTA,
            ObservableCounter: AggregationTemporality.DELTA,
            SDKHistogram: AggregationTemporality.DELTA,
        }

    def deliver(self, metrics: MetricsData, *, within_s: float = math.inf) -> Verdict:
        """Send *metrics* once and return the verdict, whose ``unsent`` are positions among all their data points.

        within_s: as for spans.
        """
        return self._deliver(*events_from_metrics(metrics, derived=self._derived()), within_s=within_s, cut=False)

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,
        **kwargs: Any,  # noqa: ARG002
    ) -> MetricExportResult:
        """Send *metrics_data*, trying again for as long as the time limits allow. Any: as the SDK's."""
        events, skipped = events_from_metrics(metrics_data, derived=self._derived())
        what = "none of the metrics is about use; only usage.count.* counters are sent"
        self._filtered(what, skipped["not_usage"], len(events))
        whole = self._export(_again(self, events, skipped), timeout_millis / 1_000)
        return MetricExportResult.SUCCESS if whole else MetricExportResult.FAILURE

    def requests_for(self, metrics: MetricsData) -> list[tuple[str, str, dict[str, str], bytes]]:
        """Return (method, address, headers, body) of the requests for *metrics*, without sending; keys are redacted."""
        return self._prepared(events_from_metrics(metrics, derived=self._derived())[0])

    def _derived(self) -> bool:
        return self._vendor is not None and self._vendor.common.derived


def _again(exporter: Exporter, events: list[UsageEvent], skipped: Counter[str]) -> Any:
    """Return a function that delivers all of *events*, or those at some positions. Any: see `Exporter._export`."""

    def deliver(positions: frozenset[int] | None, within_s: float) -> Verdict:
        if positions is None:
            return exporter._deliver(events, skipped, within_s=within_s)
        return exporter._deliver([e for e in events if e.position in positions], Counter(), within_s=within_s)

    return deliver


def _explained(answer: Answer) -> list[str]:
    return [f"HTTP {answer.status}"] if answer.status is not None else [answer.fault]
