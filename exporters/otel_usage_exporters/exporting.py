"""What the exporters of all vendors do alike: find identities, deliver, try again a little, say what went wrong.

A vendor adds what differs (`Vendor`, in vendor.py), and two classes that join it to those of signals.py::

    class ToySpanExporter(ToyExporter, UsageSpanExporter): ...
    class ToyMetricExporter(ToyExporter, UsageMetricExporter): ...

The sender and the relay find exporters by their entry points, and know no vendor by name. What an exporter can do it says
itself, in attributes of its class: see `Exporter`.

ALGORITHM  of one delivery:
           1. Spans or data points become usage events (usage_event.py). Those that name no installation get an id
              (identity.py).
           2. The vendor translates all events into requests.
           3. The requests are sent in their order, each at most once, until the time is over. What an answer means the
              vendor says, as a `RequestOutcome`: the request is done with, or halved, or sent again without
              some of it, or it and all after it wait.
           4. The verdict says what became of every event, by its position.
"""

from __future__ import annotations

import copy
import functools
import logging
import math
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar, TypeVar, cast

from otel_usage.delivery.verdict import VALIDATED, Verdict
from otel_usage.setting_error import SettingError

from .identity import Identities
from .memory import Memory
from .once import log_once
from .packing import Request, Translation, Unit
from .post import Answer, Post
from .remembering import Memories, Remembering
from .span_choice import USAGE_ONLY, SpanChoice
from .unexported import Unexported
from .usage_event import FILTERED, UsageEvent
from .vendor import RequestOutcome, Vendor, translate_without_odd

try:
    from opentelemetry.instrumentation.utils import suppress_instrumentation
except ImportError:  # an extra: then there is no instrumentation of requests either

    def suppress_instrumentation() -> AbstractContextManager[None]:  # type: ignore[misc]
        return nullcontext()


MAX_TRIES = 4  # per export, in a program that has no sender to try again later
BACKOFF_S = 0.5


Constructor = TypeVar("Constructor", bound=Callable[..., None])


def keywords(constructor: Constructor) -> Constructor:
    """Make of a vendor's *constructor*, whose keywords have types and names and whose body does nothing, one of an `Exporter`.

    What is raised shows no key: tools that report an error show the variables of its frames.
    """

    @functools.wraps(constructor)
    def construct(self: Exporter, **settings: Any) -> None:
        try:
            constructor(self, **settings)
        except TypeError:  # a keyword that there is not
            settings.clear()
            raise
        self._configure(settings)

    return cast("Constructor", construct)


class Exporter(Remembering):
    """What span and metric exporters of all vendors share.

    Settings that are wrong raise SettingError where a program's own code gives them as keywords. Otherwise (variables
    only, or `Lenient` classes, which entry points name) one error is logged, and the exporter takes events and drops
    them, counted: an exception here would take down every other exporter of the program.

    What an exporter says of itself, in attributes, to the sender and the relay:
    vendor_class: where its events go. lenient: True if a wrong setting never raises.
    at_most_once: True where a repetition would count twice, so that what may have arrived is never sent again.
    records_per_request: the vendor's. The sender takes no more into flight, where what was when it is killed is lost.
    one_client_per_request: True if a request holds events of one resource, and of CI or not, only: the relay sends several side
    by side then, and the sender takes no others into flight with them.
    takes_folder: True if the keyword ``folder`` says where to remember things between processes.
    schema_key: the key of a schema row under which a host says how the vendor is to name that event, "" for none. The
    sender passes these names as the keyword ``names``.
    """

    lenient: ClassVar[bool] = False
    at_most_once: ClassVar[bool] = False
    records_per_request: int = 0
    one_client_per_request: ClassVar[bool] = False
    takes_folder: ClassVar[bool] = True
    schema_key: ClassVar[str] = ""

    def __init__(self, **settings: Any) -> None:
        self._configure(settings)

    @classmethod
    def check_settings(cls, settings: Mapping[str, Any]) -> None:
        """Raise SettingError unless *settings* alone are enough for an exporter. Reads no variable. Any: as written."""
        cls.vendor_class({name: value for name, value in settings.items() if value is not None}, {})

    def _configure(self, settings: dict[str, Any]) -> None:
        """Do what constructors do, and empty *settings* before a SettingError is raised. Apart
        from them, since a vendor's has named keywords and a `Lenient` one takes any."""
        self.problem = ""  # why nothing is sent, if a setting is wrong
        self.dropped: Counter[str] = Counter()  # events that never were sent, by reason, so far
        self.altered: Counter[str] = Counter()  # cut, renamed, left out: so far
        # If a list, requests are put there, as (method, address, headers, body, events) with keys redacted, and count as
        # delivered. What is remembered is read, and not written. See `rehearse`.
        self.shown: list[tuple[str, str, dict[str, str], bytes, int]] | None = None
        self._log = logging.getLogger(f"otel_usage_exporters.{self.vendor_class.prefix.lower()}")
        self._closed = threading.Event()
        self._post = Post()
        self._memories: Memories = {}
        self._identities = Identities()
        things, advice = self._advice()
        self._unexported = Unexported(self._log, self.vendor_class.label, things, advice)
        self._vendor: Vendor | None = None
        some = any(value is not None for value in settings.values())
        try:
            self._vendor = self.vendor_class({k: v for k, v in settings.items() if v is not None}, os.environ)
        except SettingError as exc:
            self.problem = str(exc)
        self.records_per_request = self._vendor.records_per_request if self._vendor is not None else 0
        settings.clear()  # tools that report an error show the variables of its frames too, and these hold keys
        if self.problem and some and not self.lenient:
            raise SettingError(self.problem)
        for text in self._choice.warnings():
            log_once(self._log, logging.WARNING, f"{self.vendor_class.label}: {text}")
        if self.problem:
            log_once(self._log, logging.ERROR, f"{self.vendor_class.label}: nothing is sent: {self.problem}")

    # Delivering.

    def _deliver(
        self, events: list[UsageEvent], skipped: Counter[str], *, within_s: float = math.inf, cut_short: bool = True
    ) -> Verdict:
        """Send *events*, each at most once in this call; return what became of them, by position.

        skipped: what gave no event, by reason.
        within_s: what is not begun by then, or by `shutdown`, is unsent. One request has the time limit of the
        settings at most; cut_short: and no more than what is left of *within_s*.
        """
        end = time.monotonic() + within_s
        dropped = Counter({reason: n for reason, n in skipped.items() if reason not in FILTERED})
        filtered = sum(n for reason, n in skipped.items() if reason in FILTERED)
        vendor = self._vendor
        if vendor is None:
            dropped["misconfigured"] += len(events)
            gone = {event.position: "misconfigured" for event in events}
            return self._counted(Verdict(dropped=dict(+dropped), skipped=filtered, gone=gone))
        if not events:
            return self._counted(Verdict(dropped=dict(+dropped), skipped=filtered))
        translation, memory = self._translate(vendor, events)
        filtered += sum(n for reason, n in translation.dropped.items() if reason in FILTERED)
        dropped.update({reason: n for reason, n in translation.dropped.items() if reason not in FILTERED})
        gone = {position: reason for position, reason in translation.gone.items() if reason not in FILTERED}
        waiting = deque(translation.requests)
        status: int | None = None
        wait_s: float | None = None
        word, objections, stopped, wrong = "", "", False, False
        with suppress_instrumentation():
            while waiting:
                left_s, limit_s = end - time.monotonic(), vendor.common.timeout_s
                if left_s <= 0 or self._closed.is_set():
                    break
                request = waiting.popleft()
                outcome, reason, answer = self._send(vendor, request, min(left_s, limit_s) if cut_short else limit_s)
                status = answer.status if answer.status is not None else status
                objections = vendor.objections(answer) or objections
                if outcome is not RequestOutcome.SENT:
                    throttled_s = vendor.throttle_s or None if answer.status == 429 else None
                    wait_s = answer.retry_after_s if answer.retry_after_s is not None else throttled_s
                if outcome is RequestOutcome.SENT:
                    memory.update(request.learned)
                elif outcome is RequestOutcome.SPLIT:
                    half = len(request.units) // 2
                    # What a request teaches is learned when all of it was delivered: so only with the second half.
                    waiting.appendleft(replace(request, units=request.units[half:]))
                    waiting.appendleft(replace(request, units=request.units[:half], learned={}))
                    continue
                elif outcome in (RequestOutcome.RETRY, RequestOutcome.WAIT):
                    word, wrong = _word(answer), outcome is RequestOutcome.WAIT
                    waiting.appendleft(request)
                    break
                else:
                    refused: tuple[Unit, ...] = request.units
                    rest: tuple[Unit, ...] = ()
                    if outcome in (RequestOutcome.PARTLY, RequestOutcome.WITHOUT):
                        refused, rest = _parted(request, vendor.refused(answer, len(request.units)))
                        if outcome is RequestOutcome.WITHOUT and rest:
                            waiting.appendleft(replace(request, units=rest))
                    dropped[reason] += len(refused)
                    gone.update((unit.position, reason) for unit in refused)
                    if reason != VALIDATED:
                        word = _word(answer)
                        log_once(self._log, logging.WARNING, f"{vendor.label}: events were dropped, {reason}: {word}")
                if outcome is RequestOutcome.DROP_AND_STOP:
                    stopped = True
                    break
        unsent = tuple(sorted([unit.position for request in waiting for unit in request.units]))
        wait_s = wait_s if unsent or stopped else None
        return self._counted(Verdict(unsent, wait_s, dict(+dropped), status, filtered, gone, word, objections, wrong))

    def _translate(self, vendor: Vendor, events: list[UsageEvent]) -> tuple[Translation, Memory]:
        """Return the requests for *events*, and the memory to which belongs what they teach."""
        if not vendor.identifies_client():
            events = self._identities.identify(events, vendor.common)
        now_ns = time.time_ns()
        memory = self._memory(vendor, events[0].origin.app)
        with memory.exclusive():  # else two batches of one client, side by side, could begin a session each
            try:
                translation = vendor.translate(events, now_ns, memory.read())
            except Exception:  # one of them is so odd that no rule has thought of it
                translation = translate_without_odd(vendor, events, now_ns, memory.read())
            memory.update(translation.learned)
        self.altered.update(translation.altered)
        return translation, memory

    def _send(self, vendor: Vendor, request: Request, timeout_s: float) -> tuple[RequestOutcome, str, Answer]:
        """Post *request*; return what became of it, the reason if it is dropped, and the answer."""
        if self.shown is not None:
            address, secret, headers, body = vendor.write(request, time.time_ns(), redact=True)
            self.shown.append(("POST", address + secret, headers, body, len(request.units)))
            return RequestOutcome.SENT, "", Answer()
        address, secret, headers, body = vendor.write(request, time.time_ns(), redact=False)
        answer = self._post(address, headers, body, timeout_s=timeout_s, secret=secret)
        outcome, reason = vendor.judge(answer, len(request.units))
        return outcome, reason, answer

    def _counted(self, verdict: Verdict) -> Verdict:
        self.dropped.update(verdict.dropped)
        return verdict

    def _export(self, events: list[UsageEvent], skipped: Counter[str], timeout_s: float) -> bool:
        """Deliver *events*, and those that are unsent again, until none is left. True if all were sent.

        A program of its own has no sender that tries later: it is done here, a few times, unless the settings are wrong.
        """
        vendor = self._vendor
        limit_s = min(timeout_s, vendor.common.timeout_s if vendor else 0.0)
        end = time.monotonic() + limit_s
        verdict = self._deliver(events, skipped, within_s=limit_s)
        none_dropped = not verdict.dropped
        tries = 1
        while verdict.unsent and not verdict.wrong_settings and tries < MAX_TRIES and not self._closed.is_set():
            pause_s = verdict.retry_after_s
            if pause_s is None:
                pause_s = BACKOFF_S * 2 ** (tries - 1) * random.uniform(0.8, 1.2)  # noqa: S311  jitter
            if time.monotonic() + pause_s >= end:
                break
            if self._closed.wait(pause_s):
                break
            positions = frozenset(verdict.unsent)
            unsent = [event for event in events if event.position in positions]
            verdict = self._deliver(unsent, Counter(), within_s=max(end - time.monotonic(), 0.05))
            none_dropped = none_dropped and not verdict.dropped
            tries += 1
        if verdict.unsent:
            self.dropped[verdict.reason if verdict.wrong_settings else "undelivered"] += len(verdict.unsent)
            text = f"{self.vendor_class.label}: events could not be delivered: {verdict.reason or 'no time was left'}"
            log_once(self._log, logging.WARNING, text)
        return none_dropped and not verdict.unsent

    # Rehearsing: all of the above, but for the posting.

    def rehearse(self, memories: Memories) -> None:
        """Send nothing from now on: put requests into `shown`. What is learned is remembered in *memories* alone.

        memories: empty at first; the exporters of a destination's spans and of its metrics share it.
        """
        self.shown, self._memories, self._rehearses = [], memories, True

    def _requests_for(self, events: list[UsageEvent]) -> list[tuple[str, str, dict[str, str], bytes]]:
        """Return the requests that delivering *events* would make, and change nothing: a copy of this exporter rehearses."""
        vendor = self._vendor
        if vendor is None or not events:
            return []
        twin = copy.copy(self)
        twin.dropped, twin.altered = Counter(), Counter()
        twin._closed = threading.Event()  # one that was shut down can be asked too
        app = events[0].origin.app
        twin.rehearse({self._memory_key(vendor, app): self._memory(vendor, app).copy_without_file()})
        twin._deliver(events, Counter())
        return [(method, address, headers, body) for method, address, headers, body, _ in twin.shown or ()]

    # Settings.

    def _advice(self) -> tuple[str, str]:
        """Return what this exporter exports, in the plural, and what to do where nothing of it is sent."""
        return "records", "see docs/exporters.md"

    @property
    def _choice(self) -> SpanChoice:
        return self._vendor.common.choice if self._vendor is not None else USAGE_ONLY

    # What OTel calls. Flushing has nothing to do: nothing is held back.

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        """Return True: every export is complete when it returns."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # noqa: ARG002
        """Begin no further request, wait for no other try, close connections. Any: the SDK passes its own keywords."""
        if self._vendor is not None:
            self._unexported.end()
        self._closed.set()
        self._post.close()


class Lenient(Exporter):
    """Comes first among the bases of what entry points name: takes any keyword, and never raises for a wrong setting.

    There the SDK calls the constructor, and an exception in it would end the program's other exporters too.
    """

    lenient = True

    def __init__(self, **settings: Any) -> None:  # Any: declarative configuration passes what YAML holds
        self._configure(settings)


def _parted(request: Request, places: frozenset[int]) -> tuple[tuple[Unit, ...], tuple[Unit, ...]]:
    """Return the units of *request* at *places*, and the others."""
    return (
        tuple([unit for place, unit in enumerate(request.units) if place in places]),
        tuple([unit for place, unit in enumerate(request.units) if place not in places]),
    )


def _word(answer: Answer) -> str:
    """Return why a request was not sent, as `Verdict.reason`."""
    return f"http_{answer.status}" if answer.status is not None else answer.fault
