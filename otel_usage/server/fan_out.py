"""One request's deliveries, to one destination or to several side by side, and the one answer that comes of them.

RULES of the answer, for a client that has one word for all destinations
  1. 503 (or 429) if any of them may take later what it has not taken now. The client sends the whole request again, and
     each destination's window knows what that destination has: there it is not delivered a second time.
  2. 500 if an exporter failed. The request would fail again, and what is lost is in log and metrics.
  3. 400 if a request to all destinations was refused by all of them.
  4. Else 200, with ``partialSuccess`` if some of it was rejected here or refused there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Sized
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from otel_usage.delivery.verdict import VALIDATED

from .answers import RefusedError, format_retry_after
from .outcome import RelayOutcome
from .received import Received


class Deliverer(Protocol):
    """What a request is delivered to: workers.DestinationWorkers, or the store of ``otel-usage serve``.

    exporters: its keys are the signals that it takes. Any: an exporter. waiting: requests accepted for it and not answered;
    used from the event loop only.
    """

    name: str
    exporters: Mapping[str, Any]
    waiting: int

    @property
    def window(self) -> Sized:
        """The ids it remembers."""

    def submit(self, received: Received, deadline: float) -> Future[RelayOutcome] | asyncio.Future[RelayOutcome]:
        """Have *received* delivered before *deadline*, on the monotonic clock. Called from the event loop."""

    def close(self) -> None:
        """Finish what is under way."""


EVERYWHERE = "*"  # stands for all destinations, where one is named in metrics


@dataclass(frozen=True, slots=True)
class Rejected:
    """How many records of a request will never be delivered, to one destination at least, and why."""

    n: int
    why: str


class FanOut:
    """One request's places at its destinations, and its deliveries. Used from the event loop only.

    RACE  Deliveries go on when their client has been answered. Each keeps its place until it ends; *on_end* is called when
          the last of them has ended.

    waiting: requests that a destination may have. to_all: the client has named no destination.
    """

    def __init__(self, destinations: Sequence[Deliverer], *, waiting: int, to_all: bool) -> None:
        self._destinations = destinations
        self._waiting = waiting
        self._to_all = to_all
        self._waited: asyncio.Future[None] = (
            asyncio.get_running_loop().create_future()
        )  # for all of them, or long enough
        self._held: list[Deliverer] = []
        self._deliveries: dict[str, asyncio.Future[RelayOutcome]] = {}

    def check_places(self) -> list[Deliverer]:
        """Return the destinations that have a place. Raises RefusedError if there is none."""
        free = [one for one in self._destinations if one.waiting < self._waiting]
        if not free:
            raise RefusedError(429, "too many requests are waiting", retry_after=format_retry_after())
        return free

    def take_places(self) -> None:
        """Take a place wherever there is one. Raises RefusedError if there is none."""
        self._held = self.check_places()
        for one in self._held:
            one.waiting += 1

    def release(self) -> None:
        """Give back the places of a request that will not be delivered."""
        for one in self._held:
            one.waiting -= 1
        self._held = []

    def submit(
        self,
        received: Received,
        deadline: float,
        on_outcome: Callable[[Deliverer, RelayOutcome], None],
        on_end: Callable[[], None],
    ) -> None:
        """Begin to deliver *received* wherever it has a place. deadline: on the monotonic clock."""
        held, self._held = self._held, []
        left = set(held)

        def give_back(one: Deliverer, ended: asyncio.Future[RelayOutcome]) -> None:
            one.waiting -= 1
            left.discard(one)
            if not left:
                on_end()
                self._end_waiting()
            if not ended.cancelled():
                on_outcome(one, ended.result())

        for one in held:
            delivery = asyncio.wrap_future(one.submit(received, deadline))
            delivery.add_done_callback(lambda ended, one=one: give_back(one, ended))  # type: ignore[misc]
            self._deliveries[one.name] = delivery

    def _end_waiting(self) -> None:
        if not self._waited.done():
            self._waited.set_result(None)

    async def wait(self, received: Received, within_s: float) -> Rejected:
        """Wait for the deliveries, and return what was rejected. Raises RefusedError: see RULES."""
        timer = asyncio.get_running_loop().call_later(max(0.0, within_s), self._end_waiting)
        try:
            await self._waited
        finally:
            timer.cancel()
        if not all(delivery.done() for delivery in self._deliveries.values()):
            raise RefusedError(503, "the destination takes too long", retry_after=format_retry_after())
        outcomes = {name: delivery.result() for name, delivery in self._deliveries.items()}
        for one in self._destinations:
            if one.name not in outcomes:
                outcomes[one.name] = RelayOutcome(again=len(received.ids), status=429)
        return judge(received, outcomes, to_all=self._to_all)


def judge(received: Received, outcomes: Mapping[str, RelayOutcome], *, to_all: bool) -> Rejected:
    """Return what was rejected, as `FanOut.wait` does. outcomes: by destination."""
    again = [outcome for outcome in outcomes.values() if outcome.again]
    if again:
        waits_s = [outcome.retry_after_s for outcome in again if outcome.retry_after_s is not None]
        wait = format_retry_after(max(waits_s, default=None))
        if all(outcome.status == 429 for outcome in again):
            raise RefusedError(429, "the destination asks to slow down", retry_after=wait)
        why = next((outcome.explanation for outcome in again if outcome.explanation), "")
        raise RefusedError(503, why or "the destination did not take all of it", retry_after=wait)
    if any(outcome.failed for outcome in outcomes.values()):
        raise RefusedError(500, "the exporter failed")
    reasons = dict(received.rejected)
    for name, outcome in outcomes.items():
        for reason, n in outcome.dropped.items():
            key = f"{name}: {reason}" if len(outcomes) > 1 else reason
            reasons[key] = reasons.get(key, 0) + n
    why = ", ".join(f"{reason}: {n}" for reason, n in sorted(reasons.items()))
    if to_all and all(_is_refusal(outcome) for outcome in outcomes.values()):
        raise RefusedError(400, f"every destination refused it: {why}")
    most = max(sum(outcome.dropped.values()) for outcome in outcomes.values())
    return Rejected(received.rejected.total() + most, why)


def _is_refusal(outcome: RelayOutcome) -> bool:
    """True if the destination has dropped all that it was sent, and was to do more with it than to check it."""
    n = sum([n for reason, n in outcome.dropped.items() if reason != VALIDATED])
    return n > 0 and not (outcome.sent or outcome.known or outcome.skipped)
