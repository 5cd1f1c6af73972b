"""Say once, where a person looks, that a program exports much and nothing of it is sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from .once import print_once

PATIENCE = 20  # spans or data points: the first ones of a service may be of its start, or of health checks
MAX_NAMES = 5  # that the line shows


class Unexported:
    """Watches what one exporter is handed, until something of it becomes an event.

    label: the vendor's. things: what they are, "spans". advice: what to do.
    """

    def __init__(self, log: logging.Logger, label: str, things: str, advice: str) -> None:
        self._log = log
        self._label = label
        self._things = things
        self._advice = advice
        self._n = 0
        self._names: dict[str, None] = {}
        self.over = False  # True once something was exported, or the line was printed

    def watch(self, n: int, events: int, names: Iterable[str] = ()) -> None:
        """Count *n* things, of which *events* became events. names: of those that did not; looked at while it matters."""
        if self.over:
            return
        if events:
            self.over = True
            return
        self._n += n
        for name in names:
            if len(self._names) < MAX_NAMES:
                self._names[name] = None
        if self._n >= PATIENCE:
            self.end()

    def end(self) -> None:
        """Print the line if there was something, and none of it became an event."""
        if not self.over and self._n:
            self.over = True
            seen = f" ({', '.join(self._names)})" if self._names else ""
            text = f"otel-usage, {self._label}: {self._n} {self._things} seen{seen}, none is exported; {self._advice}"
            # The number is not the same everywhere, and a program's several exporters are to say this once.
            print_once(self._log, text, key=f"{self._label} {self._things}")
