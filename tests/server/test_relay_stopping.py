"""Stopping the relay: what is under way is answered, and nothing waits for ever."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from otel_usage.delivery.verdict import Verdict
from otel_usage.server.decode import Decoder
from otel_usage.server.workers import DestinationWorkers
from tests.collector.harness import DEADLINE_S, traces
from tests.hosts import until
from tests.server.serving import Fake, Serving, send


def test_what_is_interrupted_is_to_be_sent_again() -> None:
    """A server that does not wait for a request has it answered with 503; what is delivered of it stays known."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(DEADLINE_S)
        return Verdict()

    with Serving(Fake(slow)) as serving:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(send(serving, 1)))
        thread.start()
        until(lambda: serving.fake.given)
        loop = next(iter(serving.server.server_state.tasks)).get_loop()
        for task in serving.server.server_state.tasks:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        released.set()

        assert (503, "1") == (answers[0][0], answers[0][1]["retry-after"])
        until(lambda: len(serving.destination.window))
        assert 200 == send(serving, 1)[0]
        assert 1 == len(serving.fake.given)


class Timed(Fake):
    """A fake that can be told how long it has, as ours can."""

    def __init__(self) -> None:
        super().__init__()
        self.within_s: list[float] = []
        self.stopped = threading.Event()

    def deliver(self, what: Any, *, within_s: float = 1e9) -> Verdict:
        """Wait until told to stop."""
        self.within_s.append(within_s)
        with self.changed:
            self.given.append(list(what))
            self.changed.notify_all()
        assert self.stopped.wait(DEADLINE_S)
        return Verdict(unsent=tuple(range(1, len(what))))

    def shutdown(self) -> None:
        """Begin nothing any more."""
        self.stopped.set()


def test_a_delivery_is_told_how_long_it_has_and_when_to_stop() -> None:
    """An exporter that takes a limit gets what is left of the request's; closing stops it, and the rest is unsent."""
    timed = Timed()
    destination = DestinationWorkers("fake", {"traces": timed}, window=100, workers=1)
    received = Decoder({}, items=100).decode("traces", traces([1, 2, 3]).SerializeToString(), as_json=False)
    late = time.monotonic() + 5

    first = destination.submit(received, late)
    timed.wait(lambda: timed.given)
    second = destination.submit(received, late)
    destination.close()
    third = destination.submit(received, late)

    assert [(1, 2), (0, 3), (0, 3)] == [(o.sent, o.again) for o in (first.result(5), second.result(5), third.result(5))]
    assert 4 < timed.within_s[0] <= 5


def test_closing_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An exporter that hangs is left behind, and the log says so."""
    monkeypatch.setattr("otel_usage.server.workers.CLOSE_S", 0.1)
    released = threading.Event()

    def stuck(given: list[Any]) -> Verdict:
        assert released.wait(DEADLINE_S)
        return Verdict()

    fake = Fake(stuck)
    destination = DestinationWorkers("fake", {"traces": fake}, window=100, workers=1)
    received = Decoder({}, items=100).decode("traces", traces([1]).SerializeToString(), as_json=False)
    outcome = destination.submit(received, time.monotonic() + 60)
    fake.wait(lambda: fake.given)

    destination.close()
    released.set()

    assert "a delivery does not end" in caplog.text
    assert 1 == outcome.result(DEADLINE_S).sent
