"""A healthy client of the relay, which goes on while others do what they like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tests.collector.harness import DEADLINE_S


class Healthy:
    """Posts again and again, each time on a connection of its own; every answer counts, 0 if there was none.

    ask: posts the run of that number, and returns the status. longest_s: how long it has waited for one answer at most.
    """

    def __init__(self, ask: Callable[[int], int]) -> None:
        self._ask = ask
        self.answers: list[int] = []
        self.longest_s = 0.0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                status = self._ask(len(self.answers) + 1)
            except OSError:
                status = 0
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            with self._changed:
                self.answers.append(status)
                self._changed.notify_all()

    def wait_for_more(self) -> None:
        """Return when it has heard three more answers."""
        with self._changed:
            n = len(self.answers)
            assert self._changed.wait_for(lambda: len(self.answers) >= n + 3, DEADLINE_S)

    def __enter__(self) -> Healthy:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)
