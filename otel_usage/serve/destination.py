"""The store as a destination of the relay's code: a request is answered with 200 when its rows are committed, not before."""

from __future__ import annotations

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
    """Takes what requests ask to keep. Concurrency: `submit` may be called from many threads."""

    def __init__(self, store: Store) -> None:
        self.name = NAME
        self.exporters: Mapping[str, Any] = {"traces": store, "metrics": store}  # Any: as the protocol has it
        self.waiting = 0
        self._store = store

    @property
    def window(self) -> Sized:
        """The ids that are remembered."""
        return self._store.writer.window

    def submit(self, received: Received, deadline: float) -> Future[RelayOutcome]:  # noqa: ARG002  it takes milliseconds
        """Have the rows of *received* stored; the outcome is there when they are on the disk."""
        assert isinstance(received, ReceivedRows)
        outcome: Future[RelayOutcome] = Future()
        outcome.set_running_or_notify_cancel()
        if not len(received.batch):
            outcome.set_result(_judge(received, Written(0, 0)))
            return outcome
        try:
            writing = self._store.writer.submit(received.batch)
        except FullError:
            outcome.set_result(RelayOutcome(again=len(received.ids), explanation="too much waits to be stored"))
            return outcome

        def settle(written: Future[Written]) -> None:
            exc = written.exception()
            if exc is None:
                outcome.set_result(_judge(received, written.result()))
                return
            if isinstance(exc, UnfitRowsError):
                outcome.set_result(RelayOutcome(dropped={"fault": len(received.ids)}, reason="fault", failed=True))
                return
            why = str(exc) if isinstance(exc, UnwritableError) else type(exc).__name__
            outcome.set_result(
                RelayOutcome(again=len(received.ids), reason="fault", explanation=f"the store can't write: {why}")
            )

        writing.add_done_callback(settle)
        return outcome

    def close(self) -> None:
        """Write what was submitted."""
        self._store.writer.close()


def _judge(received: ReceivedRows, written: Written) -> RelayOutcome:
    return RelayOutcome(sent=written.stored, known=written.known, skipped=received.unwanted)
