"""The store as a destination of the relay's code: a request is answered with 200 when its rows are committed, not before."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sized
from concurrent.futures import Future
from typing import Any

from otel_usage.server.outcome import RelayOutcome
from otel_usage.server.received import Received

from .conversion import ReceivedRows
from .store.store import Store
from .store.writer import FullError, UnfitRowsError, UnwritableError, Written

NAME = "store"


class StoreDestination:
    """Takes what requests ask to keep. Used from the event loop only.

    RACE  The writer's thread ends many batches at once, and wakes the loop once for them: for the first, or for the first that
          ends after the loop has begun to look. So none is left lying, and most wake nobody.
    """

    def __init__(self, store: Store) -> None:
        self.name = NAME
        self.exporters: Mapping[str, Any] = {"traces": store, "metrics": store}  # Any: as the protocol has it
        self.waiting = 0
        self._store = store
        self._ended: deque[tuple[asyncio.Future[RelayOutcome], ReceivedRows, Future[Written]]] = deque()
        self._woken = False

    @property
    def window(self) -> Sized:
        """The ids that are remembered."""
        return self._store.writer.window

    def submit(self, received: Received, deadline: float) -> asyncio.Future[RelayOutcome]:  # noqa: ARG002  milliseconds
        """Have the rows of *received* stored; the outcome is there when they are on the disk."""
        assert isinstance(received, ReceivedRows)
        rows, loop = received, asyncio.get_running_loop()
        outcome: asyncio.Future[RelayOutcome] = loop.create_future()
        if not len(rows.batch):
            outcome.set_result(_judge(rows, Written(0, 0)))
            return outcome
        try:
            writing = self._store.writer.submit(rows.batch)
        except FullError:
            outcome.set_result(RelayOutcome(again=len(rows.ids), explanation="too much waits to be stored"))
            return outcome

        def end(written: Future[Written]) -> None:  # in the writer's thread
            self._ended.append((outcome, rows, written))
            if not self._woken:
                self._woken = True
                loop.call_soon_threadsafe(self._settle)

        writing.add_done_callback(end)
        return outcome

    def _settle(self) -> None:
        """Give all requests whose batches have ended their outcomes."""
        self._woken = False  # first: see RACE
        while self._ended:
            outcome, received, written = self._ended.popleft()
            if not outcome.done():
                outcome.set_result(_explain(received, written))

    def close(self) -> None:
        """Write what was submitted."""
        self._store.writer.close()


def _explain(received: ReceivedRows, written: Future[Written]) -> RelayOutcome:
    """Return what became of a request whose batch has ended."""
    exc = written.exception()
    if exc is None:
        return _judge(received, written.result())
    if isinstance(exc, UnfitRowsError):
        return RelayOutcome(dropped={"fault": len(received.ids)}, reason="fault", failed=True)
    why = str(exc) if isinstance(exc, UnwritableError) else type(exc).__name__
    return RelayOutcome(again=len(received.ids), reason="fault", explanation=f"the store can't write: {why}")


def _judge(received: ReceivedRows, written: Written) -> RelayOutcome:
    return RelayOutcome(sent=written.stored, known=written.known, skipped=received.unwanted)
